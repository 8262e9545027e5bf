#include "controller/rpc/trial_service.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "controller/rpc/reply.h"
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
  return Reply(metrics_, engine_->AskTrials(*id, *request), response);
}

grpc::Status TrialServiceImpl::ReportProgress(
    grpc::ServerContext* context, const v1::ReportProgressRequest* request,
    v1::ReportProgressResponse* response) {
  return Reply(metrics_, engine_->ReportProgress(*request), response);
}

grpc::Status TrialServiceImpl::TellTrials(grpc::ServerContext* context,
                                          const v1::TellTrialsRequest* request,
                                          v1::TellTrialsResponse* response) {
  if (request->reports_size() < 1 || request->reports_size() > kMaxReports) {
    return Reply(metrics_, absl::InvalidArgumentError(absl::StrCat(
                               "reports holds ", request->reports_size(),
                               ": expected 1 to ", kMaxReports)));
  }
  for (const v1::TrialReport& report : request->reports()) {
    const absl::Status status = engine_->TellTrial(report);
    v1::ReportStatus* result = response->add_statuses();
    result->set_code(static_cast<int>(status.code()));
    result->set_message(std::string(status.message()));
  }
  return grpc::Status::OK;
}

}  // namespace hwnas::controller
