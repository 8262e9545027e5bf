#include "controller/rpc/acceptor.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/cleanup/cleanup.h"
#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"

namespace hwnas::controller {
namespace {

constexpr int kBacklog = 4096;
constexpr int kPauseMs = 100;

// "[::1]" is "::1".
std::string HostOf(const std::string& address) {
  absl::string_view host = address;
  host = host.substr(0, host.rfind(':'));
  if (absl::ConsumePrefix(&host, "[")) absl::ConsumeSuffix(&host, "]");
  return std::string(host);
}

// The numeric address of a socket's peer or own end, and its port.
std::pair<std::string, int> NumericName(const sockaddr_storage& name,
                                        socklen_t size) {
  char host[NI_MAXHOST] = {};
  char port[NI_MAXSERV] = {};
  if (getnameinfo(reinterpret_cast<const sockaddr*>(&name), size, host,
                  sizeof(host), port, sizeof(port),
                  NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return {"", 0};
  }
  return {host, std::atoi(port)};
}

int ListenOn(const addrinfo& where) {
  const int fd = socket(where.ai_family,
                        where.ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  const int on = 1;
  // A port whose last connections are still closing; not one in use.
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(fd, where.ai_addr, where.ai_addrlen) == 0 &&
      listen(fd, kBacklog) == 0) {
    return fd;
  }
  const int error = errno;
  close(fd);
  errno = error;
  return -1;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Acceptor>> Acceptor::Listen(
    const std::string& option, const std::string& address,
    const AcceptorOptions& options, std::shared_ptr<Logger> logger) {
  addrinfo hints = {};
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const std::string port = address.substr(address.rfind(':') + 1);
  const int unknown =
      getaddrinfo(HostOf(address).c_str(), port.c_str(), &hints, &found);
  const absl::Cleanup free_found = [&] {
    if (found != nullptr) freeaddrinfo(found);
  };
  std::string why = unknown == 0 ? "" : gai_strerror(unknown);
  for (const addrinfo* where = found; where != nullptr;
       where = where->ai_next) {
    const int fd = ListenOn(*where);
    if (fd < 0) {
      why = std::strerror(errno);  // NOLINT(concurrency-mt-unsafe)
      continue;
    }
    sockaddr_storage name = {};
    socklen_t size = sizeof(name);
    getsockname(fd, reinterpret_cast<sockaddr*>(&name), &size);
    return absl::WrapUnique(new Acceptor(fd, eventfd(0, EFD_CLOEXEC),
                                         NumericName(name, size).second,
                                         options, std::move(logger)));
  }
  return absl::UnavailableError(absl::StrCat(
      "cannot listen on ", address, " (", why,
      "): is the port in use (another controller?), or the address not of this "
      "machine? Give --",
      option, " another one"));
}

Acceptor::Acceptor(int fd, int wake_fd, int port,
                   const AcceptorOptions& options,
                   std::shared_ptr<Logger> logger)
    : fd_(fd),
      wake_fd_(wake_fd),
      port_(port),
      options_(options),
      logger_(std::move(logger)),
      lines_(/*per_second=*/1, /*burst=*/10) {}

Acceptor::~Acceptor() {
  if (thread_.joinable()) {
    eventfd_write(wake_fd_, 1);
    thread_.join();
  }
  close(wake_fd_);
  close(fd_);
}

void Acceptor::Start(
    std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor>
        connections) {
  connections_ = std::move(connections);
  thread_ = std::thread([this] { Loop(); });
}

void Acceptor::Loop() {
  bool able = true;
  for (;;) {
    // Without the listener it is a pause.
    pollfd wait[] = {{.fd = wake_fd_, .events = POLLIN, .revents = 0},
                     {.fd = able ? fd_ : -1, .events = POLLIN, .revents = 0}};
    if (poll(wait, 2, able ? -1 : kPauseMs) < 0 && errno != EINTR) return;
    if (wait[0].revents != 0) return;
    able = AcceptOne();
  }
}

bool Acceptor::AcceptOne() {
  sockaddr_storage name = {};
  socklen_t size = sizeof(name);
  const int fd = accept4(fd_, reinterpret_cast<sockaddr*>(&name), &size,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
  const absl::Time now = absl::Now();
  if (fd < 0) {
    const int error = errno;
    const bool exhausted = error == EMFILE || error == ENFILE ||
                           error == ENOBUFS || error == ENOMEM;
    if (exhausted && lines_.Take(now)) {
      logger_->error("event=cannot_accept reason=\"{}\"",
                     std::strerror(error));  // NOLINT(concurrency-mt-unsafe)
    }
    return !exhausted;
  }
  const std::string address = NumericName(name, size).first;
  if (!Admit(address, now)) {
    if (lines_.Take(now)) {
      logger_->warn("event=connection_refused peer={} reason=\"too many\"",
                    address);
    }
    // Without a word, and without a trace in our tables.
    const linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close(fd);
    return true;
  }
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters
      connection;
  connection.listener_fd = fd_;
  connection.fd = fd;
  connections_->HandleNewConnection(&connection);
  return true;
}

bool Acceptor::Admit(const std::string& address, absl::Time now) {
  while (!new_.empty() && now - new_.front().first > options_.window) {
    const auto it = new_by_address_.find(new_.front().second);
    if (--it->second == 0) new_by_address_.erase(it);
    new_.pop_front();
  }
  if (new_.size() >= static_cast<size_t>(options_.max_new)) return false;
  int& of_address = new_by_address_[address];
  if (of_address >= options_.max_new_per_address) return false;
  ++of_address;
  new_.emplace_back(now, address);
  return true;
}

}  // namespace hwnas::controller
