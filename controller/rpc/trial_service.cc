#include "controller/rpc/trial_service.h"

#include "controller/rpc/reply.h"
#include "proto/convert/resource_names.h"

namespace hwnas::controller {

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
  return Reply(metrics_, engine_->TellTrials(*request), response);
}

}  // namespace hwnas::controller
