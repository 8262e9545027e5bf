// TrialService over the engine: translates and delegates.
#pragma once

#include "controller/controller_metrics.h"
#include "controller/rpc/access.h"
#include "controller/study/study_engine.h"
#include "hwnas/v1/trial_service.grpc.pb.h"

namespace hwnas::controller {

// Thread-safe. Everything passed in must outlive it.
class TrialServiceImpl final : public v1::TrialService::Service {
 public:
  TrialServiceImpl(StudyEngine* engine, Access* access,
                   ControllerMetrics* metrics)
      : engine_(engine), access_(access), metrics_(metrics) {}

  grpc::Status AskTrials(grpc::ServerContext* context,
                         const v1::AskTrialsRequest* request,
                         v1::AskTrialsResponse* response) override;
  grpc::Status ReportProgress(grpc::ServerContext* context,
                              const v1::ReportProgressRequest* request,
                              v1::ReportProgressResponse* response) override;
  grpc::Status TellTrials(grpc::ServerContext* context,
                          const v1::TellTrialsRequest* request,
                          v1::TellTrialsResponse* response) override;

 private:
  StudyEngine* const engine_;
  Access* const access_;
  ControllerMetrics* const metrics_;
};

}  // namespace hwnas::controller
