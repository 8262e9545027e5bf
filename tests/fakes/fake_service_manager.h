// A service manager that listens.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace hwnas {

// The end of systemd: hears what services tell. Owned by one thread.
class FakeServiceManager {
 public:
  explicit FakeServiceManager(std::string name) : name_(std::move(name)) {
    fd_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    memcpy(address.sun_path, name_.data(), name_.size());
    const bool abstract = name_[0] == '@';
    if (abstract) address.sun_path[0] = '\0';
    unlink(name_.c_str());
    bound_ =
        bind(fd_, reinterpret_cast<sockaddr*>(&address),
             static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) +
                                    name_.size() + (abstract ? 0 : 1))) == 0;
  }
  ~FakeServiceManager() {
    close(fd_);
    unlink(name_.c_str());
  }

  const std::string& name() const { return name_; }
  bool bound() const { return bound_; }

  // Everything that has come since the last call, a datagram each.
  std::vector<std::string> Heard() {
    std::vector<std::string> heard;
    char buffer[4096];
    for (;;) {
      const ssize_t got = recv(fd_, buffer, sizeof(buffer), 0);
      if (got < 0) return heard;
      heard.emplace_back(buffer, got);
    }
  }

 private:
  const std::string name_;
  int fd_ = -1;
  bool bound_ = false;
};

}  // namespace hwnas
