// EnrollService over the certificate authority.
#pragma once

#include "common/clock.h"
#include "common/mutex.h"
#include "common/rate_limit.h"
#include "controller/controller_metrics.h"
#include "controller/rpc/access.h"
#include "hwnas/v1/enroll_service.grpc.pb.h"
#include "security/authority.h"

namespace hwnas::controller {

// Thread-safe. Everything passed in must outlive it.
class EnrollServiceImpl final : public v1::EnrollService::Service {
 public:
  // `authority`: nullptr if its key is not here.
  EnrollServiceImpl(security::Authority* authority, Access* access,
                    const Clock* clock, ControllerMetrics* metrics);

  grpc::Status Enroll(grpc::ServerContext* context,
                      const v1::EnrollRequest* request,
                      v1::EnrollResponse* response) override;
  grpc::Status Renew(grpc::ServerContext* context,
                     const v1::RenewRequest* request,
                     v1::EnrollResponse* response) override;

 private:
  absl::Status CheckRequest(const std::string& certificate_request);

  security::Authority* const authority_;
  Access* const access_;
  const Clock* const clock_;
  ControllerMetrics* const metrics_;
  Mutex mutex_;
  RateLimit attempts_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace hwnas::controller
