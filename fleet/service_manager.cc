#include "fleet/service_manager.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace hwnas::fleet {
namespace {

std::string Take(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
  std::string taken = value == nullptr ? "" : value;
  unsetenv(name);  // NOLINT(concurrency-mt-unsafe)
  return taken;
}

}  // namespace

ServiceManager ServiceManager::FromEnvironment() {
  std::string socket = Take("NOTIFY_SOCKET");
  const std::string interval = Take("WATCHDOG_USEC");
  const std::string pid = Take("WATCHDOG_PID");
  std::optional<absl::Duration> watchdog;
  int64_t microseconds;
  if (absl::SimpleAtoi(interval, &microseconds) && microseconds > 0 &&
      (pid.empty() || pid == absl::StrCat(getpid()))) {
    watchdog = absl::Microseconds(microseconds);
  }
  return ServiceManager(std::move(socket), watchdog);
}

ServiceManager::ServiceManager(std::string socket,
                               std::optional<absl::Duration> watchdog)
    : socket_(std::move(socket)), watchdog_(watchdog) {}

absl::Status ServiceManager::Ready() {
  if (ready_) return absl::OkStatus();
  const absl::Status status = Send("READY=1");
  ready_ = status.ok();
  return status;
}

absl::Status ServiceManager::Stopping() { return Send("STOPPING=1"); }

absl::Status ServiceManager::Describe(absl::string_view line) {
  if (line == last_line_) return absl::OkStatus();
  const absl::Status status =
      Send(absl::StrCat("STATUS=", absl::StrReplaceAll(line, {{"\n", " "}})));
  if (status.ok()) last_line_ = std::string(line);
  return status;
}

absl::Status ServiceManager::Alive(Time now) {
  if (!watchdog_) return absl::OkStatus();
  if (last_alive_ && absl::FromChrono(now - *last_alive_) < *watchdog_ / 3) {
    return absl::OkStatus();
  }
  const absl::Status status = Send("WATCHDOG=1");
  if (status.ok()) last_alive_ = now;
  return status;
}

absl::Status ServiceManager::Send(absl::string_view message) const {
  if (socket_.empty()) return absl::OkStatus();
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if ((socket_[0] != '/' && socket_[0] != '@') ||
      socket_.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(
        absl::StrCat("NOTIFY_SOCKET is \"", socket_,
                     "\": expected an absolute path or @ and a name"));
  }
  memcpy(address.sun_path, socket_.data(), socket_.size());
  if (socket_[0] == '@') address.sun_path[0] = '\0';
  const auto length =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket_.size() +
                             (socket_[0] == '/' ? 1 : 0));
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return absl::ErrnoToStatus(errno, "a socket");
  const absl::Cleanup close_it = [fd] { close(fd); };
  if (sendto(fd, message.data(), message.size(), MSG_NOSIGNAL,
             reinterpret_cast<const sockaddr*>(&address), length) < 0) {
    return absl::ErrnoToStatus(
        errno, absl::StrCat("telling the service manager at ", socket_));
  }
  return absl::OkStatus();
}

}  // namespace hwnas::fleet
