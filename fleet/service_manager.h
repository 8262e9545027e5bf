// Tells the manager that started this service, such as systemd, how it is: the
// protocol of sd_notify(3), datagrams of "KEY=value" lines.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace hwnas::fleet {

// Owned by one thread. Nothing blocks. Errors mean that the manager was not
// told, and that the next call tries again; without a manager all is well and
// nothing happens.
class ServiceManager {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // Takes $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID out of the
  // environment, so that children do not speak for us. Call it before a second
  // thread exists.
  static ServiceManager FromEnvironment();

  // `socket`: an absolute path, or "@" and an abstract name; empty: there is no
  // manager. `watchdog`: the manager restarts a service that is silent for so
  // long; nullopt: it does not.
  explicit ServiceManager(std::string socket,
                          std::optional<absl::Duration> watchdog = {});

  // The service does its work from now on. Sent once.
  absl::Status Ready();
  // It is about to end.
  absl::Status Stopping();
  // One line for people, "connected to ctl:7420". Only a new one is sent.
  absl::Status Describe(absl::string_view line);
  // It lives. Sent when a third of the watchdog's time is over, however often
  // it is called.
  absl::Status Alive(Time now = std::chrono::steady_clock::now());

 private:
  absl::Status Send(absl::string_view message) const;

  std::string socket_;
  std::optional<absl::Duration> watchdog_;
  std::optional<Time> last_alive_;
  std::string last_line_;
  bool ready_ = false;
};

}  // namespace hwnas::fleet
