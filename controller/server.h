// The controller as a server: store, engine, services, timer and metrics.
//
//   HWNAS_ASSIGN_OR_RETURN(auto server, Server::Start(options, logger));
//   ... wait for a signal ...
//   server->Stop();
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/log.h"
#include "controller/farm/device_checks.h"
#include "controller/scheduler/scheduler.h"

namespace hwnas::controller {

struct ServerOptions {
  // host:port; port 0 takes a free one.
  std::string listen = "127.0.0.1:7420";
  // Folder of the journal and the artifacts; created if missing.
  std::string store;
  // Of all artifacts together; 0: as much as the disk has.
  int64_t max_artifacts_bytes = 0;
  // Connection string of a PostgreSQL that keeps the journals instead; several
  // controllers may share it, one of them leads. Empty: none. A secret.
  std::string store_url;
  // See PostgresLeaseOptions::duration.
  absl::Duration leader_lease = absl::Seconds(4);
  // Called at most once, by any thread: another controller leads now, or taking
  // over failed. The process must end, since what it holds may be out of date.
  std::function<void(const absl::Status& why)> on_failure;
  // host:port of /metrics; empty: none.
  std::string metrics = "127.0.0.1:9420";
  // host:port of the health service for probes (health_server.h); empty: none.
  std::string health;
  // Written once the server listens: {"grpc": "host:port", "metrics": ...,
  // "enroll": ..., "health": ...}.
  std::string port_file;
  // Listen beyond this machine although connections are not encrypted.
  bool insecure = false;
  // Serve /metrics beyond this machine, in the clear; `insecure` does as well.
  bool metrics_insecure = false;
  // Folder of our identity and of the certificate authority (docs/security.md):
  // whoever calls needs a certificate. Empty: no TLS.
  std::string tls_dir;
  // host:port where newcomers get their certificates; port 0 takes a free one.
  // Needs the authority's key in `tls_dir`. Empty: nowhere.
  std::string enroll;
  // Of the certificates that are signed here.
  absl::Duration certificate_lifetime = absl::Hours(24 * 7);
  // File for the record of who did what; empty: in the log.
  std::string audit_log;
  // Peers that have not finished their handshakes by then are cut off.
  absl::Duration handshake_timeout = absl::Seconds(10);
  // Connections that one address may open in that time; more are closed at
  // once. Only with TLS or beyond this machine.
  int max_new_per_address = 1000;
  absl::Duration lease_duration = absl::Seconds(30);
  // Folder of the tables of studies with `replay`; empty: none.
  std::string tables_dir;
  DeviceCheckOptions checks;
  Quotas quotas;
  int max_user_studies = 0;  // 0: no limit.
  // See EngineOptions.
  bool speculate = true;
};

// Owned by one thread.
class Server {
 public:
  // Returns once the server serves, or stands by while another controller
  // leads. FAILED_PRECONDITION for `listen` beyond this machine without TLS or
  // `insecure`, or for a `tls_dir` that is not a controller's; UNAVAILABLE for
  // a port or a store in use; each in a sentence a person can act on.
  static absl::StatusOr<std::unique_ptr<Server>> Start(
      const ServerOptions& options, std::shared_ptr<Logger> logger);
  virtual ~Server() = default;

  // "host:port" with the real port.
  virtual std::string address() const = 0;
  // The same of `enroll`; empty if there is none.
  virtual std::string enroll_address() const = 0;
  // Closes sessions and watches, then stops. Nothing is lost: executors keep
  // their work and come back.
  virtual void Stop() = 0;
};

}  // namespace hwnas::controller
