// AccessService over the engine: translates and delegates.
#pragma once

#include "controller/controller_metrics.h"
#include "controller/rpc/access.h"
#include "controller/study/study_engine.h"
#include "hwnas/v1/access_service.grpc.pb.h"

namespace hwnas::controller {

// Thread-safe. Everything passed in must outlive it.
class AccessServiceImpl final : public v1::AccessService::Service {
 public:
  AccessServiceImpl(StudyEngine* engine, Access* access,
                    ControllerMetrics* metrics)
      : engine_(engine), access_(access), metrics_(metrics) {}

  grpc::Status ShareStudy(grpc::ServerContext* context,
                          const v1::ShareStudyRequest* request,
                          v1::StudyAccess* response) override;
  grpc::Status GetStudyAccess(grpc::ServerContext* context,
                              const v1::GetStudyAccessRequest* request,
                              v1::StudyAccess* response) override;

 private:
  StudyEngine* const engine_;
  Access* const access_;
  ControllerMetrics* const metrics_;
};

}  // namespace hwnas::controller
