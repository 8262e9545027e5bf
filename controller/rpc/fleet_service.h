// FleetService over the engine: one reactor for each worker or agent.
#pragma once

#include <atomic>
#include <cstddef>
#include <list>
#include <memory>

#include "absl/time/time.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mutex.h"
#include "controller/controller_metrics.h"
#include "controller/rpc/access.h"
#include "controller/rpc/transfers.h"
#include "controller/study/study_engine.h"
#include "hwnas/v1/fleet_service.grpc.pb.h"
#include "store/artifact_store.h"

namespace hwnas::controller {

class SessionInbox;
class SessionStream;

struct FleetServiceOptions {
  // How long a stream may take to say Hello.
  absl::Duration hello_timeout = absl::Seconds(10);
  // Bytes of all uploads that are not complete yet; they are held in memory.
  size_t max_upload_memory_bytes = size_t{512} << 20;
  // Messages of one session: in the long run, and at once.
  double messages_per_second = 500;
  double messages_at_once = 5000;
};

// Thread-safe. Everything passed in must outlive it. Sessions are reactors that
// never block: what they hear goes to the engine through an inbox.
class FleetServiceImpl final
    : public v1::FleetService::WithCallbackMethod_Session<
          v1::FleetService::Service> {
 public:
  FleetServiceImpl(const FleetServiceOptions& options, StudyEngine* engine,
                   ArtifactStore* artifacts, Access* access,
                   Transfers* transfers, const Clock* clock,
                   ControllerMetrics* metrics, std::shared_ptr<Logger> logger);
  ~FleetServiceImpl() override;

  // Closes streams that have not said Hello in time, and cuts off those that
  // are closed but do not read. Call now and then.
  void Tick();
  // Closes every session, so that the server can stop.
  void CloseAll();

  grpc::ServerBidiReactor<v1::SessionRequest, v1::SessionResponse>* Session(
      grpc::CallbackServerContext* context) override;
  grpc::Status UploadArtifact(grpc::ServerContext* context,
                              grpc::ServerReader<v1::ArtifactChunk>* reader,
                              v1::Artifact* response) override;
  grpc::Status DownloadArtifact(
      grpc::ServerContext* context, const v1::DownloadArtifactRequest* request,
      grpc::ServerWriter<v1::ArtifactChunk>* writer) override;
  grpc::Status ListExecutors(grpc::ServerContext* context,
                             const v1::ListExecutorsRequest* request,
                             v1::ListExecutorsResponse* response) override;

  // Of uploads that are not finished.
  size_t upload_memory_bytes() const { return upload_memory_bytes_; }

 private:
  const FleetServiceOptions options_;
  StudyEngine* const engine_;
  ArtifactStore* const artifacts_;
  Access* const access_;
  Transfers* const transfers_;
  const Clock* const clock_;
  ControllerMetrics* const metrics_;
  const std::shared_ptr<Logger> logger_;

  // Held by uploads.
  std::atomic<size_t> upload_memory_bytes_{0};
  Mutex mutex_;
  std::list<std::weak_ptr<SessionStream>> sessions_ ABSL_GUARDED_BY(mutex_);
  // Last: ends first, while the rest still stands.
  std::unique_ptr<SessionInbox> inbox_;
};

}  // namespace hwnas::controller
