// Attacks by those who are somebody: on the studies, the trials, the machines,
// the names and the leases of others.
#include "hwnas/v1/access_service.grpc.pb.h"
#include "hwnas/v1/device_service.grpc.pb.h"
#include "hwnas/v1/study_service.grpc.pb.h"
#include "hwnas/v1/trial_service.grpc.pb.h"
#include "tests/controller/security/attack_harness.h"

namespace hwnas::controller {
namespace {

using grpc::StatusCode;
using security::Role;

grpc::Status CancelOver(const std::shared_ptr<grpc::Channel>& channel) {
  grpc::ClientContext context;
  SetDeadline(&context);
  v1::CancelStudyRequest request;
  request.set_name("studies/carols");
  v1::Study study;
  return v1::StudyService::NewStub(channel)->CancelStudy(&context, request,
                                                         &study);
}

grpc::Status ViewerCancels(Fortress& fortress) {
  return CancelOver(fortress.DialAs(Role::kViewer, "grafana"));
}

grpc::Status CancelsAnothersStudy(Fortress& fortress) {
  return CancelOver(fortress.DialAs(Role::kResearcher, "mallory"));
}

grpc::Status StartsFromAnothersStudy(Fortress& fortress) {
  v1::StudySpec spec = ExternalSpec();
  spec.add_warm_start()->set_study("carols");
  return fortress.CreateStudy("mallory", "copy", spec);
}

grpc::Status TakesAnothersStudyOverByItsName(Fortress& fortress) {
  return fortress.CreateStudy("mallory", "carols", ExternalSpec(), nullptr,
                              "carol");
}

grpc::Status SharesAnothersStudyWithItself(Fortress& fortress) {
  grpc::ClientContext context;
  SetDeadline(&context);
  v1::ShareStudyRequest request;
  request.set_name("studies/carols");
  request.add_users("mallory");
  v1::StudyAccess access;
  return v1::AccessService::NewStub(
             fortress.DialAs(Role::kResearcher, "mallory"))
      ->ShareStudy(&context, request, &access);
}

grpc::Status AsksOver(const std::shared_ptr<grpc::Channel>& channel) {
  grpc::ClientContext context;
  SetDeadline(&context);
  v1::AskTrialsRequest request;
  request.set_parent("studies/carols");
  v1::AskTrialsResponse response;
  return v1::TrialService::NewStub(channel)->AskTrials(&context, request,
                                                       &response);
}

grpc::Status WorkerAsksTrials(Fortress& fortress) {
  return AsksOver(fortress.DialAs(Role::kWorker, "gpu-1"));
}

grpc::Status AsksAnothersTrials(Fortress& fortress) {
  return AsksOver(fortress.DialAs(Role::kResearcher, "mallory"));
}

grpc::Status TellsAnothersTrial(Fortress& fortress) {
  grpc::ClientContext context;
  SetDeadline(&context);
  v1::TellTrialsRequest request;
  v1::TrialReport* report = request.add_reports();
  report->set_trial("studies/carols/trials/1");
  report->set_attempt(1);
  *report->add_measurements() = Value("my_score", 1e9);
  v1::TellTrialsResponse response;
  const grpc::Status status =
      v1::TrialService::NewStub(fortress.DialAs(Role::kResearcher, "mallory"))
          ->TellTrials(&context, request, &response);
  if (!status.ok() || response.statuses_size() != 1) return status;
  return {static_cast<StatusCode>(response.statuses(0).code()),
          response.statuses(0).message()};
}

// With a report on a trial of their own.
grpc::Status AsksAnothersTrialsWithAReport(Fortress& fortress) {
  const auto trials =
      v1::TrialService::NewStub(fortress.DialAs(Role::kResearcher, "mallory"));
  grpc::ClientContext context;
  SetDeadline(&context);
  v1::TellTrialsRequest request;
  request.add_reports()->set_trial("studies/mallorys/trials/1");
  request.mutable_next()->set_parent("studies/carols");
  v1::TellTrialsResponse response;
  const grpc::Status status = trials->TellTrials(&context, request, &response);
  if (!status.ok() || response.has_next()) return status;
  return {static_cast<StatusCode>(response.next_status().code()),
          response.next_status().message()};
}

grpc::Status ResearcherDrainsADevice(Fortress& fortress) {
  grpc::ClientContext context;
  SetDeadline(&context);
  v1::DrainDeviceRequest request;
  request.set_name("devices/pi-7");
  v1::Device device;
  return v1::DeviceService::NewStub(
             fortress.DialAs(Role::kResearcher, "mallory"))
      ->DrainDevice(&context, request, &device);
}

grpc::Status WorkerUnderAnothersName(Fortress& fortress) {
  return Connects(fortress, {Role::kWorker, "gpu-1"},
                  WorkerHello("calm-1", "calm"));
}

grpc::Status AgentAsWorker(Fortress& fortress) {
  return Connects(fortress, {Role::kAgent, "gpu-1"}, WorkerHello("gpu-1", "h"));
}

grpc::Status OutsideItsGroup(Fortress& fortress) {
  return Connects(fortress, {Role::kWorker, "slurm-*"},
                  WorkerHello("slurmy", "h"));
}

grpc::Status ReportsAnothersLease(Fortress& fortress) {
  EXPECT_TRUE(fortress.CreateStudy("alice", "alices", TrainingSpec()).ok());
  Session owner(fortress.DialAs(Role::kWorker, "gpu-1"),
                WorkerHello("gpu-1", "h1"));
  v1::SessionResponse assigned;
  EXPECT_TRUE(
      owner.Await([](const auto& r) { return r.has_assignment(); }, &assigned));
  Session thief(fortress.DialAs(Role::kWorker, "gpu-2"),
                WorkerHello("gpu-2", "h2"));
  // It even knows the token.
  v1::SessionRequest request;
  *request.mutable_result()->mutable_lease() = assigned.assignment().lease();
  *request.mutable_result()->add_measurements() = Value("accuracy", 100);
  EXPECT_TRUE(thief.Send(request));
  v1::SessionResponse acknowledged;
  EXPECT_TRUE(thief.Await([](const auto& r) { return r.has_result_ack(); },
                          &acknowledged));
  EXPECT_TRUE(acknowledged.result_ack().ignored());
  EXPECT_EQ(fortress.GetStudy("alices").progress().completed_count(), 0);
  EXPECT_TRUE(owner.Works());
  // Acknowledged, as a late result of one's own is, and without effect.
  return {StatusCode::OK, ""};
}

INSTANTIATE_TEST_SUITE_P(
    Roles, AttackTest,
    ::testing::Values(
        Attack{"ViewerCancels",
               ViewerCancels,
               {StatusCode::PERMISSION_DENIED},
               "who=\"viewer grafana\" peer=- method=StudyService/CancelStudy"},
        Attack{"CancelsAnothersStudy",
               CancelsAnothersStudy,
               {StatusCode::PERMISSION_DENIED},
               "resource=\"studies/carols\" outcome=PERMISSION_DENIED"},
        Attack{"StartsFromAnothersStudy",
               StartsFromAnothersStudy,
               {StatusCode::PERMISSION_DENIED},
               "outcome=PERMISSION_DENIED"},
        Attack{"TakesAnothersStudyOverByItsName",
               TakesAnothersStudyOverByItsName,
               {StatusCode::ALREADY_EXISTS},
               "outcome=ALREADY_EXISTS"},
        Attack{"SharesAnothersStudyWithItself",
               SharesAnothersStudyWithItself,
               {StatusCode::PERMISSION_DENIED},
               "outcome=PERMISSION_DENIED"},
        Attack{"WorkerAsksTrials",
               WorkerAsksTrials,
               {StatusCode::PERMISSION_DENIED},
               "who=\"worker gpu-1\""},
        Attack{"AsksAnothersTrials",
               AsksAnothersTrials,
               {StatusCode::PERMISSION_DENIED},
               "outcome=PERMISSION_DENIED"},
        Attack{"TellsAnothersTrial",
               TellsAnothersTrial,
               {StatusCode::PERMISSION_DENIED},
               "resource=\"studies/carols/trials/1\" "
               "outcome=PERMISSION_DENIED"},
        Attack{"AsksAnothersTrialsWithAReport",
               AsksAnothersTrialsWithAReport,
               {StatusCode::PERMISSION_DENIED},
               "resource=\"studies/carols\" outcome=PERMISSION_DENIED"},
        Attack{"ResearcherDrainsADevice",
               ResearcherDrainsADevice,
               {StatusCode::PERMISSION_DENIED},
               "outcome=PERMISSION_DENIED"},
        Attack{"WorkerUnderAnothersName",
               WorkerUnderAnothersName,
               {StatusCode::PERMISSION_DENIED},
               "event=session_refused"},
        Attack{"AgentAsWorker",
               AgentAsWorker,
               {StatusCode::PERMISSION_DENIED},
               "event=session_refused"},
        Attack{"OutsideItsGroup",
               OutsideItsGroup,
               {StatusCode::PERMISSION_DENIED},
               "event=session_refused"},
        Attack{"ReportsAnothersLease",
               ReportsAnothersLease,
               {StatusCode::OK},
               "event=result_without_lease executor=workers/gpu-2"}),
    AttackName);

}  // namespace
}  // namespace hwnas::controller
