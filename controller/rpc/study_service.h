// StudyService over the engine: translates and delegates.
#pragma once

#include <map>
#include <string>

#include "controller/controller_metrics.h"
#include "controller/rpc/access.h"
#include "controller/rpc/serial_queue.h"
#include "controller/rpc/transfers.h"
#include "controller/study/study_engine.h"
#include "hwnas/v1/study_service.grpc.pb.h"
#include "proto/convert/resource_names.h"
#include "store/artifact_store.h"

namespace hwnas::controller {

// Thread-safe. Everything passed in must outlive it. WatchStudy is a reactor
// that never blocks; the other calls take a thread of the server for as long as
// an append to the journal.
class StudyServiceImpl final
    : public v1::StudyService::WithCallbackMethod_WatchStudy<
          v1::StudyService::Service> {
 public:
  StudyServiceImpl(StudyEngine* engine, ArtifactStore* artifacts,
                   Access* access, Transfers* transfers,
                   ControllerMetrics* metrics)
      : engine_(engine),
        artifacts_(artifacts),
        access_(access),
        transfers_(transfers),
        metrics_(metrics) {}

  grpc::Status CreateStudy(grpc::ServerContext* context,
                           const v1::CreateStudyRequest* request,
                           v1::Study* response) override;
  grpc::Status GetStudy(grpc::ServerContext* context,
                        const v1::GetStudyRequest* request,
                        v1::Study* response) override;
  grpc::Status ListStudies(grpc::ServerContext* context,
                           const v1::ListStudiesRequest* request,
                           v1::ListStudiesResponse* response) override;
  grpc::Status PauseStudy(grpc::ServerContext* context,
                          const v1::PauseStudyRequest* request,
                          v1::Study* response) override;
  grpc::Status ResumeStudy(grpc::ServerContext* context,
                           const v1::ResumeStudyRequest* request,
                           v1::Study* response) override;
  grpc::Status CancelStudy(grpc::ServerContext* context,
                           const v1::CancelStudyRequest* request,
                           v1::Study* response) override;
  grpc::Status ListTrials(grpc::ServerContext* context,
                          const v1::ListTrialsRequest* request,
                          v1::ListTrialsResponse* response) override;
  grpc::Status GetTrial(grpc::ServerContext* context,
                        const v1::GetTrialRequest* request,
                        v1::Trial* response) override;
  grpc::Status GetTrialSamples(grpc::ServerContext* context,
                               const v1::GetTrialSamplesRequest* request,
                               v1::TrialSamples* response) override;
  grpc::Status GetFront(grpc::ServerContext* context,
                        const v1::GetFrontRequest* request,
                        v1::Front* response) override;
  grpc::Status ExportModel(
      grpc::ServerContext* context, const v1::ExportModelRequest* request,
      grpc::ServerWriter<v1::ExportModelChunk>* writer) override;
  grpc::ServerWriteReactor<v1::StudyUpdate>* WatchStudy(
      grpc::CallbackServerContext* context,
      const v1::WatchStudyRequest* request) override;

 private:
  // What a name stands for, if the caller may use it.
  absl::StatusOr<std::string> StudyOf(const grpc::ServerContextBase& context,
                                      const std::string& name);
  absl::StatusOr<TrialId> TrialOf(const grpc::ServerContextBase& context,
                                  const std::string& name);

  StudyEngine* const engine_;
  ArtifactStore* const artifacts_;
  Access* const access_;
  Transfers* const transfers_;
  ControllerMetrics* const metrics_;
  // Open ones of each identity; of the queue. Without TLS there are none.
  std::map<std::string, int> watches_;
  // Makes the updates that watchers wait for.
  SerialQueue queue_;
};

}  // namespace hwnas::controller
