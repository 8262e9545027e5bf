// Models that a caller has measured on a device, outside any study.
#include <memory>
#include <string>

#include "controller/study/study_engine.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/controller/study/engine_harness.h"

namespace hwnas::controller {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Session = EngineHarness::Session;

v1::ProfileModelRequest ProfileRequest() {
  v1::ProfileModelRequest request;
  request.set_onnx("not looked at by the controller");
  request.set_device_class("x86_64");
  return request;
}

TEST(Profiles, ProfilesAModelOnADevice) {
  EngineHarness h;
  auto listener = std::make_shared<FakeListener>();
  EXPECT_EQ(h.engine->StartProfile(ProfileRequest(), listener).status().code(),
            absl::StatusCode::kFailedPrecondition);
  Session agent = h.Connect(AgentHello("a1", "h"));
  ASSERT_TRUE(h.engine->StartProfile(ProfileRequest(), listener).ok());
  const v1::Task task = h.Take(agent);
  EXPECT_EQ(task.measure().onnx(), ProfileRequest().onnx());
  v1::TaskResult result;
  *result.mutable_lease() = task.lease();
  *result.add_measurements() = Value("latency_ms", 2.5, "x86_64");
  h.Reply(agent, result);
  ASSERT_TRUE(listener->end.has_value());
  EXPECT_TRUE(listener->end->ok());
  EXPECT_EQ(listener->updates.back().device(), "devices/a1");
  EXPECT_EQ(listener->updates.back().result().measurements(0).value(), 2.5);
  EXPECT_THAT(*h.journals->ListStudies(), IsEmpty());
}

TEST(Profiles, FreesTheDeviceWhenTheCallerOfAProfileLeaves) {
  EngineHarness h;
  Session agent = h.Connect(AgentHello("a1", "h"));
  const auto id = h.engine->StartProfile(ProfileRequest(),
                                         std::make_shared<FakeListener>());
  ASSERT_TRUE(id.ok());
  h.engine->CancelProfile(*id);
  EXPECT_THAT(agent.stream->cancels, SizeIs(1));
  EXPECT_EQ(h.engine->ListExecutors({})->executors(0).busy_slots(), 0);
}

TEST(Profiles, GivesUpAProfileThatFailsEverywhere) {
  EngineHarness h;
  Session agent = h.Connect(AgentHello("a1", "h"));
  auto listener = std::make_shared<FakeListener>();
  ASSERT_TRUE(h.engine->StartProfile(ProfileRequest(), listener).ok());
  for (int i = 0; i < 3 && !listener->end; ++i) {
    h.Reply(agent, h.Failure(h.Take(agent), "cannot load"));
  }
  ASSERT_TRUE(listener->end.has_value());
  EXPECT_THAT(std::string(listener->end->message()), HasSubstr("cannot load"));
}

}  // namespace
}  // namespace hwnas::controller
