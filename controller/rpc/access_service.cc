#include "controller/rpc/access_service.h"

#include "controller/rpc/reply.h"
#include "proto/convert/resource_names.h"

namespace hwnas::controller {

grpc::Status AccessServiceImpl::ShareStudy(grpc::ServerContext* context,
                                           const v1::ShareStudyRequest* request,
                                           v1::StudyAccess* response) {
  const auto id = ParseStudyName(request->name());
  if (!id.ok()) return Reply(metrics_, id.status());
  if (!access_->IsAdmin(*context)) {
    const auto present = engine_->GetStudyAccess(*id);
    if (!present.ok()) return Reply(metrics_, present.status());
    if (present->user() != access_->UserOf(*context, "")) {
      return Reply(metrics_, absl::PermissionDeniedError(
                                 "only its user and an admin share a study"));
    }
  }
  return Reply(metrics_, engine_->ShareStudy(*request), response);
}

grpc::Status AccessServiceImpl::GetStudyAccess(
    grpc::ServerContext* context, const v1::GetStudyAccessRequest* request,
    v1::StudyAccess* response) {
  const auto id = ParseStudyName(request->name());
  if (!id.ok()) return Reply(metrics_, id.status());
  if (const auto allowed = access_->MayUse(*context, *id); !allowed.ok()) {
    return Reply(metrics_, allowed);
  }
  return Reply(metrics_, engine_->GetStudyAccess(*id), response);
}

}  // namespace hwnas::controller
