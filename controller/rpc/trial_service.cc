#include "controller/rpc/trial_service.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "controller/rpc/reply.h"
#include "controller/study/report_check.h"
#include "proto/convert/resource_names.h"

namespace hwnas::controller {
namespace {

constexpr int kMaxReports = 64;

}  // namespace

grpc::Status TrialServiceImpl::AskTrials(grpc::ServerContext* context,
                                         const v1::AskTrialsRequest* request,
                                         v1::AskTrialsResponse* response) {
  const auto id = ParseStudyName(request->parent());
  if (!id.ok()) return Reply(metrics_, id.status());
  if (const auto allowed = access_->MayUse(*context, *id); !allowed.ok()) {
    return Reply(metrics_, allowed);
  }
  return Reply(metrics_, engine_->AskTrials(*id, *request), response);
}

grpc::Status TrialServiceImpl::ReportProgress(
    grpc::ServerContext* context, const v1::ReportProgressRequest* request,
    v1::ReportProgressResponse* response) {
  if (const auto allowed = access_->MayUseTrial(*context, request->trial());
      !allowed.ok()) {
    return Reply(metrics_, allowed);
  }
  return Reply(metrics_, engine_->ReportProgress(*request), response);
}

grpc::Status TrialServiceImpl::TellTrials(grpc::ServerContext* context,
                                          const v1::TellTrialsRequest* request,
                                          v1::TellTrialsResponse* response) {
  if (!access_->tls()) {
    return Reply(metrics_, engine_->TellTrials(*request), response);
  }
  // Too many reports are the engine's to refuse.
  const int count = std::min(request->reports_size(), kMaxReports + 1);
  v1::TellTrialsRequest allowed;
  std::vector<absl::Status> denied(count);
  // The call itself goes well, so that nobody else writes these down.
  const auto audit = [&](const std::string& resource, absl::StatusCode code) {
    access_->Audit(access_->Who(*context), context->peer(),
                   "TrialService/TellTrials", resource, code);
  };
  for (int i = 0; i < count; ++i) {
    const v1::TrialReport& report = request->reports(i);
    const absl::Status status = access_->MayUseTrial(*context, report.trial());
    if (!absl::IsPermissionDenied(status)) {
      *allowed.add_reports() = report;
      continue;
    }
    denied[i] = status;
    audit(report.trial(), status.code());
  }
  absl::Status next = absl::PermissionDeniedError("no report was allowed");
  if (request->has_next() && allowed.reports_size() > 0) {
    const auto study = ParseStudyName(request->next().parent());
    next = study.ok() ? access_->MayUse(*context, *study) : study.status();
    if (next.ok()) *allowed.mutable_next() = request->next();
    if (absl::IsPermissionDenied(next)) {
      audit(request->next().parent(), next.code());
    }
  }
  v1::TellTrialsResponse told;
  if (allowed.reports_size() > 0 || count == 0) {
    auto answer = engine_->TellTrials(allowed);
    if (!answer.ok()) return Reply(metrics_, answer.status());
    told = *std::move(answer);
  }
  int reported = 0;
  for (const absl::Status& status : denied) {
    *response->add_statuses() =
        status.ok() ? told.statuses(reported++) : ReportStatusOf(status);
  }
  if (allowed.has_next()) {
    *response->mutable_next_status() = told.next_status();
    if (told.has_next()) response->mutable_next()->Swap(told.mutable_next());
  } else if (request->has_next()) {
    *response->mutable_next_status() = ReportStatusOf(next);
  }
  return grpc::Status::OK;
}

}  // namespace hwnas::controller
