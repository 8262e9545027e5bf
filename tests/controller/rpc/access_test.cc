// The table of methods and roles, on its own; attack_test tries it on the wire.
#include "controller/rpc/access.h"

#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/files.h"
#include "gmock/gmock.h"
#include "google/protobuf/descriptor.h"
#include "gtest/gtest.h"
#include "hwnas/v1/access_service.grpc.pb.h"
#include "hwnas/v1/device_service.grpc.pb.h"
#include "hwnas/v1/enroll_service.grpc.pb.h"
#include "hwnas/v1/fleet_service.grpc.pb.h"
#include "hwnas/v1/study_service.grpc.pb.h"
#include "hwnas/v1/trial_service.grpc.pb.h"
#include "prometheus/registry.h"
#include "tests/fakes/simulated_clock.h"

namespace hwnas::controller {
namespace {

using security::Role;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAreArray;

std::set<std::string> MethodsOfOurProtos() {
  // Which links them.
  v1::EnrollRequest::descriptor();
  v1::AskTrialsRequest::descriptor();
  std::set<std::string> methods;
  const auto& pool = *google::protobuf::DescriptorPool::generated_pool();
  for (const auto& file : std::filesystem::directory_iterator(
           absl::StrCat(HWNAS_SOURCE_DIR, "/proto/hwnas/v1"))) {
    const auto* const proto = pool.FindFileByName(
        absl::StrCat("hwnas/v1/", file.path().filename().string()));
    if (proto == nullptr) {
      ADD_FAILURE() << file.path() << " is not linked into this test";
      continue;
    }
    for (int s = 0; s < proto->service_count(); ++s) {
      const auto* const service = proto->service(s);
      for (int m = 0; m < service->method_count(); ++m) {
        methods.insert(absl::StrCat("/", service->full_name(), "/",
                                    service->method(m)->name()));
      }
    }
  }
  return methods;
}

TEST(MethodRules, HaveEveryMethodOnce) {
  std::multiset<std::string> ours;
  for (const MethodRule& rule : MethodRules()) {
    if (absl::StartsWith(rule.method, "/hwnas.")) {
      ours.insert(std::string(rule.method));
    }
  }
  EXPECT_THAT(ours, UnorderedElementsAreArray(MethodsOfOurProtos()));
}

// What each role may do beyond the methods that only read.
TEST(MethodRules, SayWhatARoleMayChange) {
  const std::set<std::string> reads = {
      "GetStudy",    "ListStudies", "WatchStudy",
      "ListTrials",  "GetTrial",    "GetTrialSamples",
      "GetFront",    "ExportModel", "ListExecutors",
      "ListDevices", "GetDevice",   "GetStudyAccess",
      "Check",       "Watch",       "ServerReflectionInfo"};
  std::map<Role, std::set<std::string>> changes;
  for (const MethodRule& rule : MethodRules()) {
    const std::string method(rule.method.substr(rule.method.rfind('/') + 1));
    if (reads.count(method) > 0) continue;
    for (const Role role : {Role::kAdmin, Role::kResearcher, Role::kViewer,
                            Role::kWorker, Role::kAgent, Role::kController}) {
      if ((rule.roles & Only(role)) != 0) changes[role].insert(method);
    }
  }
  const std::set<std::string> own = {"Enroll", "Renew"};
  EXPECT_EQ(changes[Role::kViewer], own);
  EXPECT_EQ(changes[Role::kAgent],
            (std::set<std::string>{"Enroll", "Renew", "Session"}));
  EXPECT_EQ(changes[Role::kWorker],
            (std::set<std::string>{"DownloadArtifact", "Enroll", "Renew",
                                   "Session", "UploadArtifact"}));
  EXPECT_EQ(
      changes[Role::kResearcher],
      (std::set<std::string>{
          "AskTrials", "CancelStudy", "CreateStudy", "Enroll", "PauseStudy",
          "ProfileModel", "ReleaseDevice", "Renew", "ReportProgress",
          "ReserveDevice", "ResumeStudy", "ShareStudy", "TellTrials"}));
  std::set<std::string> of_admins = changes[Role::kResearcher];
  of_admins.insert({"DrainDevice", "QuarantineDevice", "ResumeDevice"});
  EXPECT_EQ(changes[Role::kAdmin], of_admins);
  EXPECT_EQ(changes.count(Role::kController), 0u);
}

TEST(AuditRecord, ThinsOutAFloodOfRefusals) {
  const std::string path =
      std::filesystem::path(::testing::TempDir()) / "audit_flood.log";
  std::filesystem::remove(path);
  SimulatedClock clock;
  ControllerMetrics metrics(std::make_shared<prometheus::Registry>());
  auto access =
      *Access::Create({.audit_log = path}, &clock, &metrics, NullLogger());
  const auto record = [&](absl::StatusCode outcome) {
    access->Audit("worker w1", "ipv4:10.0.0.9:1", "/hwnas.v1.X/Y", "", outcome);
  };
  for (int i = 0; i < 1500; ++i) record(absl::StatusCode::kPermissionDenied);
  record(absl::StatusCode::kOk);
  clock.Advance(absl::Seconds(1));
  record(absl::StatusCode::kPermissionDenied);
  access = nullptr;
  const std::string text = *ReadFile(path);
  const std::vector<std::string> lines =
      absl::StrSplit(text, '\n', absl::SkipEmpty());
  ASSERT_EQ(lines.size(), 1002u);
  EXPECT_THAT(lines[1000], HasSubstr("outcome=OK"));
  EXPECT_THAT(lines[1001], HasSubstr("omitted_before=500"));
}

}  // namespace
}  // namespace hwnas::controller
