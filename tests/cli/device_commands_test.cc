// hwnas device and hwnas samples against a controller that says what the test
// tells it to.
#include <sstream>
#include <string>

#include "cli/context.h"
#include "cli/device_table.h"
#include "gmock/gmock.h"
#include "grpcpp/grpcpp.h"
#include "hwnas/v1/device_service.grpc.pb.h"
#include "hwnas/v1/study_service.grpc.pb.h"
#include "proto/convert/convert.h"

namespace hwnas::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

const absl::Time kNow = absl::FromUnixSeconds(1700000000);

v1::Device Pi() {
  v1::Device device;
  device.set_name("devices/pi-7");
  device.add_device_classes("raspberrypi5");
  device.add_runtimes("onnxruntime");
  v1::Executor* executor = device.mutable_executor();
  executor->set_state(v1::Executor::QUARANTINED);
  executor->set_quarantine_reason("the anchor takes 4.4 ms");
  executor->set_finished_count(12);
  executor->add_labels("rack-a");
  executor->mutable_environment()->set_temperature_c(61.4);
  *executor->mutable_last_seen_time() = ToProto(kNow - absl::Seconds(7));
  v1::RuntimeCapability* capability = executor->add_capabilities();
  capability->set_runtime("onnxruntime");
  capability->add_precisions("fp32");
  capability->add_precisions("int8");
  v1::DeviceHealth* health = device.mutable_health();
  health->set_quarantined(true);
  health->set_failure_rate(0.25);
  health->set_invalidated_count(3);
  for (const double ratio : {1.0, 1.1}) {
    v1::AnchorRecord* anchor = health->add_anchors();
    anchor->set_latency_ms(4 * ratio);
    anchor->set_ratio(ratio);
    anchor->set_good(ratio == 1);
  }
  v1::CrossCheckRecord* check = health->add_cross_checks();
  check->set_other_device("devices/pi-8");
  check->set_ratio(1.09);
  device.mutable_reservation()->set_user("ann");
  device.mutable_reservation()->set_note("new kernel");
  return device;
}

TEST(DeviceTable, SaysWhetherADeviceIsInOrder) {
  const std::string text = DeviceTable({Pi()}, kNow).ToText();
  EXPECT_THAT(text, AllOf(HasSubstr("quarantined"), HasSubstr("+10.0 % bad"),
                          HasSubstr("61"), HasSubstr("25 %"),
                          HasSubstr("7.0 s ago"), HasSubstr("ann until")));
  const auto json = DeviceTable({Pi()}, kNow).ToJson()[0];
  EXPECT_EQ(json["reserved_for"], "ann");
  EXPECT_EQ(json["anchor_ratio"], 1.1);
  EXPECT_EQ(json["temperature_c"].get<double>(), 61.4);
  EXPECT_EQ(json["labels"][0], "rack-a");
}

TEST(DeviceTable, LeavesOutWhatIsNotKnown) {
  v1::Device device;
  device.set_name("devices/x");
  const auto json = DeviceTable({device}, kNow).ToJson()[0];
  EXPECT_TRUE(json["anchor_ratio"].is_null());
  EXPECT_TRUE(json["temperature_c"].is_null());
  EXPECT_TRUE(json["failure_rate"].is_null());
  EXPECT_TRUE(json["reserved_for"].is_null());
}

TEST(DeviceText, TellsTheWholeStory) {
  EXPECT_THAT(
      DeviceText(Pi(), kNow),
      AllOf(HasSubstr("devices/pi-7: quarantined"),
            HasSubstr("onnxruntime (fp32, int8)"),
            HasSubstr("the anchor takes 4.4 ms"), HasSubstr("new kernel"),
            HasSubstr("3 measurements"), HasSubstr("1.100"), HasSubstr("bad"),
            HasSubstr("devices/pi-8"), HasSubstr("1.090")));
}

class FakeDeviceService final : public v1::DeviceService::Service {
 public:
  grpc::Status GetDevice(grpc::ServerContext*,
                         const v1::GetDeviceRequest* request,
                         v1::Device* response) override {
    if (request->name() != "devices/pi-7") {
      return {grpc::StatusCode::NOT_FOUND, "there is no device"};
    }
    *response = Pi();
    return grpc::Status::OK;
  }
  grpc::Status ListDevices(grpc::ServerContext*, const v1::ListDevicesRequest*,
                           v1::ListDevicesResponse* response) override {
    *response->add_devices() = Pi();
    return grpc::Status::OK;
  }
  grpc::Status ReserveDevice(grpc::ServerContext*,
                             const v1::ReserveDeviceRequest* request,
                             v1::Device* response) override {
    reserve = *request;
    *response = Pi();
    return grpc::Status::OK;
  }
  grpc::Status QuarantineDevice(grpc::ServerContext*,
                                const v1::QuarantineDeviceRequest* request,
                                v1::Device* response) override {
    quarantine = *request;
    *response = Pi();
    return grpc::Status::OK;
  }

  v1::ReserveDeviceRequest reserve;
  v1::QuarantineDeviceRequest quarantine;
};

class FakeSamplesService final : public v1::StudyService::Service {
  grpc::Status GetTrialSamples(grpc::ServerContext*,
                               const v1::GetTrialSamplesRequest* request,
                               v1::TrialSamples* response) override {
    response->set_name(request->name());
    v1::StageSamples* stage = response->add_stages();
    stage->set_device("devices/pi-7");
    stage->set_device_class("raspberrypi5");
    stage->mutable_latency_samples()->add_warmup_block_latency_ms(5);
    for (const double ms : {4.0, 4.125}) {
      stage->mutable_latency_samples()->add_block_latency_ms(ms);
    }
    return grpc::Status::OK;
  }
};

class DeviceCommandsTest : public ::testing::Test {
 protected:
  DeviceCommandsTest() {
    grpc::ServerBuilder builder;
    builder.RegisterService(&devices_);
    builder.RegisterService(&studies_);
    server_ = builder.BuildAndStart();
  }
  ~DeviceCommandsTest() override { server_->Shutdown(); }

  int Run(std::vector<std::string> arguments) {
    out_.str("");
    err_.str("");
    Context context;
    context.out = &out_;
    context.err = &err_;
    context.server = "127.0.0.1:7420";
    context.connect = [this](const std::string&) {
      return server_->InProcessChannel({});
    };
    return RunCli(std::move(arguments), context);
  }

  FakeDeviceService devices_;
  FakeSamplesService studies_;
  std::unique_ptr<grpc::Server> server_;
  std::ostringstream out_, err_;
};

TEST_F(DeviceCommandsTest, ListsAndShows) {
  EXPECT_EQ(Run({"device", "list"}), 0) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("devices/pi-7"));
  EXPECT_EQ(Run({"device", "list", "--class", "x86_64"}), 0);
  EXPECT_THAT(out_.str(), Not(HasSubstr("devices/pi-7")));
  EXPECT_EQ(Run({"device", "show", "pi-7"}), 0) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("devices/pi-7: quarantined"));
  EXPECT_EQ(Run({"device", "show", "pi-7", "-o", "json"}), 0);
  EXPECT_EQ(Json::parse(out_.str())["health"]["invalidated_count"], "3");
  EXPECT_EQ(Run({"device", "show", "pi-9"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("there is no device"));
}

TEST_F(DeviceCommandsTest, Reserves) {
  EXPECT_EQ(Run({"device", "reserve", "pi-7", "--for", "90m", "--user", "ann"}),
            0)
      << err_.str();
  EXPECT_EQ(devices_.reserve.name(), "devices/pi-7");
  EXPECT_EQ(devices_.reserve.user(), "ann");
  EXPECT_EQ(devices_.reserve.duration().seconds(), 5400);
  EXPECT_THAT(out_.str(), HasSubstr("is yours (ann) until"));
  EXPECT_EQ(Run({"device", "reserve", "--user", "ann"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("either the name of a device or --class"));
  EXPECT_EQ(Run({"device", "reserve", "pi-7", "--for", "long"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("--for is \"long\""));
}

TEST_F(DeviceCommandsTest, Quarantines) {
  EXPECT_EQ(Run({"device", "quarantine", "devices/pi-7", "--invalidate",
                 "--reason", "no fan"}),
            0)
      << err_.str();
  EXPECT_TRUE(devices_.quarantine.invalidate());
  EXPECT_FALSE(devices_.quarantine.recheck());
  EXPECT_EQ(devices_.quarantine.reason(), "no fan");
}

TEST_F(DeviceCommandsTest, GivesRawSamples) {
  EXPECT_EQ(Run({"samples", "tiny", "3", "-o", "csv"}), 0) << err_.str();
  EXPECT_EQ(out_.str(),
            "device,device_class,phase,block,latency_ms\n"
            "devices/pi-7,raspberrypi5,warm-up,1,5.0\n"
            "devices/pi-7,raspberrypi5,steady,1,4.0\n"
            "devices/pi-7,raspberrypi5,steady,2,4.125\n");
  EXPECT_EQ(Run({"samples", "tiny", "3", "-o", "json"}), 0);
  EXPECT_EQ(Json::parse(out_.str())["name"], "studies/tiny/trials/3");
  EXPECT_EQ(Run({"samples", "tiny", "0"}), 2);
}

}  // namespace
}  // namespace hwnas::cli
