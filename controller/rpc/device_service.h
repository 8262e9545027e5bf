// DeviceService over the engine: translates and delegates.
#pragma once

#include "controller/controller_metrics.h"
#include "controller/rpc/access.h"
#include "controller/rpc/serial_queue.h"
#include "controller/study/study_engine.h"
#include "hwnas/v1/device_service.grpc.pb.h"

namespace hwnas::controller {

// Thread-safe. Everything passed in must outlive it. ProfileModel is a reactor
// that never blocks.
class DeviceServiceImpl final
    : public v1::DeviceService::WithCallbackMethod_ProfileModel<
          v1::DeviceService::Service> {
 public:
  DeviceServiceImpl(StudyEngine* engine, Access* access,
                    ControllerMetrics* metrics)
      : engine_(engine), access_(access), metrics_(metrics) {}

  grpc::Status ListDevices(grpc::ServerContext* context,
                           const v1::ListDevicesRequest* request,
                           v1::ListDevicesResponse* response) override;
  grpc::Status GetDevice(grpc::ServerContext* context,
                         const v1::GetDeviceRequest* request,
                         v1::Device* response) override;
  grpc::Status ReserveDevice(grpc::ServerContext* context,
                             const v1::ReserveDeviceRequest* request,
                             v1::Device* response) override;
  grpc::Status ReleaseDevice(grpc::ServerContext* context,
                             const v1::ReleaseDeviceRequest* request,
                             v1::Device* response) override;
  grpc::Status DrainDevice(grpc::ServerContext* context,
                           const v1::DrainDeviceRequest* request,
                           v1::Device* response) override;
  grpc::Status QuarantineDevice(grpc::ServerContext* context,
                                const v1::QuarantineDeviceRequest* request,
                                v1::Device* response) override;
  grpc::Status ResumeDevice(grpc::ServerContext* context,
                            const v1::ResumeDeviceRequest* request,
                            v1::Device* response) override;
  grpc::ServerWriteReactor<v1::ProfileModelUpdate>* ProfileModel(
      grpc::CallbackServerContext* context,
      const v1::ProfileModelRequest* request) override;

 private:
  StudyEngine* const engine_;
  Access* const access_;
  ControllerMetrics* const metrics_;
  SerialQueue queue_;
};

}  // namespace hwnas::controller
