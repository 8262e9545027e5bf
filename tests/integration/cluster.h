// A whole service on loopback, of the real programs, in a folder of its own.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/files.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "hwnas/v1/study_service.grpc.pb.h"
#include "nlohmann/json.hpp"
#include "tests/fakes/toy_study.h"
#include "tests/integration/process.h"

namespace hwnas {

// Owned by one thread. Everything is stopped when it goes.
class Cluster {
 public:
  explicit Cluster(const std::string& name, double lease_seconds = 3)
      : dir_(
            absl::StrCat(::testing::TempDir(), "/hwnas_", name, "_", getpid())),
        lease_seconds_(lease_seconds) {
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
    // Our own lock: other test programs on this machine must not interfere.
    setenv("HWNAS_CORES_LOCK", (dir_ + "/cores.lock").c_str(), 1);
  }
  ~Cluster() {
    processes_.clear();
    if (!::testing::Test::HasFailure()) std::filesystem::remove_all(dir_);
  }

  const std::string& dir() const { return dir_; }
  int port() const { return port_; }  // Of the controller.
  std::string address() const { return absl::StrCat("127.0.0.1:", port_); }
  Process* process(const std::string& id) { return processes_.at(id).get(); }
  bool running(const std::string& id) const { return processes_.count(id) > 0; }
  std::string LogOf(const std::string& id) const {
    auto text = ReadFile(absl::StrCat(dir_, "/", id, ".log"));
    return text.ok() ? *text : "";
  }

  // The first start takes a free port; later ones the same. Agents get what a
  // test gives them and nothing else, unless it asks for anchors.
  bool StartController(const std::string& anchor_interval = "0") {
    const std::string port_file = dir_ + "/ports.json";
    std::filesystem::remove(port_file);
    Start("controller", {Bin("hwnas-controller"), "--store=" + dir_ + "/store",
                         absl::StrCat("--listen=127.0.0.1:", port_),
                         "--anchor_interval=" + anchor_interval,
                         "--metrics=127.0.0.1:0", "--port_file=" + port_file,
                         absl::StrCat("--lease_seconds=", lease_seconds_)});
    const bool serving = WaitUntil(
        absl::Seconds(20), [&] { return std::filesystem::exists(port_file); });
    if (!serving) return false;
    const auto ports = nlohmann::json::parse(*ReadFile(port_file));
    const std::string grpc = ports.at("grpc").get<std::string>();
    port_ = std::stoi(grpc.substr(grpc.rfind(':') + 1));
    metrics_address_ = ports.at("metrics").get<std::string>();
    if (channel_ == nullptr) {
      grpc::ChannelArguments arguments;
      arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 200);
      arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
      arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 100);
      channel_ = grpc::CreateCustomChannel(
          address(), grpc::InsecureChannelCredentials(), arguments);
    }
    return true;
  }
  void StartWorker(const std::string& id) {
    Start(id, {Bin("hwnas-worker"), "--controller=" + address(), "--id=" + id,
               "--spool_dir=" + dir_ + "/spool-" + id, "--metrics="});
  }
  // The machine that runs tests is never idle.
  void StartAgent(const std::string& id) {
    Start(id, {Bin("hwnas-agent"), "--controller=" + address(), "--id=" + id,
               "--spool_dir=" + dir_ + "/spool-" + id,
               "--metrics=", "--preflight_wait=0s"});
  }
  // Any program; what it writes goes to {id}.log.
  void Start(const std::string& id, const std::vector<std::string>& command) {
    processes_[id] =
        std::make_unique<Process>(command, absl::StrCat(dir_, "/", id, ".log"));
  }
  void Kill(const std::string& id, int signal = SIGKILL) {
    processes_.at(id)->Kill(signal);
    processes_.erase(id);
  }

  // Runs `hwnas ... --server` to its end.
  CommandResult Hwnas(std::vector<std::string> arguments,
                      absl::Duration timeout = absl::Seconds(60)) {
    arguments.insert(arguments.begin(), Bin("hwnas"));
    arguments.push_back("--server");
    arguments.push_back(address());
    return RunCommand(arguments, dir_ + "/hwnas.log", timeout);
  }

  std::unique_ptr<v1::StudyService::Stub> Studies() {
    return v1::StudyService::NewStub(channel_);
  }
  std::shared_ptr<grpc::Channel> channel() { return channel_; }
  const std::string& metrics_address() const { return metrics_address_; }

  static std::string Bin(const std::string& program) {
    return absl::StrCat(HWNAS_BIN_DIR, "/", program);
  }

 private:
  const std::string dir_;
  const double lease_seconds_;
  int port_ = 0;
  std::string metrics_address_;
  std::shared_ptr<grpc::Channel> channel_;
  std::map<std::string, std::unique_ptr<Process>> processes_;
};

// A real search that is over in seconds: Fashion-MNIST, a tiny network, about
// 500 images.
inline v1::StudySpec TinyStudy(int trials, uint64_t seed) {
  v1::StudySpec spec = ToyStudy(trials);
  spec.mutable_strategy()->mutable_nsga2()->set_population(8);
  spec.mutable_train()->set_epochs(1);
  spec.mutable_train()->set_data_fraction(0.01);
  spec.mutable_measure()->mutable_min_time()->set_nanos(50'000'000);
  spec.mutable_measure()->mutable_max_time()->set_nanos(200'000'000);
  spec.set_seed(seed);
  spec.set_max_attempts(20);
  return spec;
}

}  // namespace hwnas

// Process-level tests train on Debian's dataset-fashion-mnist.
#define HWNAS_REQUIRE_FASHION_MNIST()                                   \
  if (!std::filesystem::exists("/usr/share/datasets/fashion-mnist")) {  \
    GTEST_SKIP() << "install the Debian package dataset-fashion-mnist"; \
  }
