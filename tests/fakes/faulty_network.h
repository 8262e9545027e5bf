// A bad network between two ends on loopback: a TCP proxy that delays, freezes,
// cuts, delivers late and repeats what passes through it.
//
// TCP itself never loses, repeats or reorders bytes within a connection, so
// neither does this. What a bad network can do to those who use TCP is here:
//
// | fault       | what the ends see |
// |-------------|-------------------|
// | drop        | Freeze: silence both ways; what was sent meanwhile arrives
// after Thaw, or never, if the connection is cut first | | delay       |
// SetDelay | | cut         | CutAll: resets; CutWithin: a reset after a random
// byte, so in the middle of a message | | reorder     | DeliverLate: the
// client's end is reset at once, and what it had sent arrives later, behind
// what it sends on its next connection | | duplicate   | Replay: all that the
// clients of present connections have sent, sent once more on connections of
// its own |
//
// What is random comes from the seed; when it happens is up to the caller.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <list>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "common/mutex.h"
#include "common/rng.h"

namespace hwnas {

// Thread-safe.
class FaultyNetwork {
 public:
  struct Counts {
    int64_t connections = 0;
    int64_t cut = 0;
    int64_t late = 0;      // Connections whose last bytes came late.
    int64_t replayed = 0;  // Connections.
  };

  // To 127.0.0.1:`target_port`.
  FaultyNetwork(int target_port, uint64_t seed)
      : rng_(seed), target_port_(target_port) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_in address = Loopback(0);
    socklen_t size = sizeof(address);
    if (bind(listener_, Address(&address), size) != 0 ||
        listen(listener_, 128) != 0 ||
        getsockname(listener_, Address(&address), &size) != 0) {
      std::abort();
    }
    port_ = ntohs(address.sin_port);
    wake_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    thread_ = std::thread([this] { Loop(); });
  }
  ~FaultyNetwork() {
    {
      const Waker waker(wake_);
      MutexLock lock(&mutex_);
      closing_ = true;
    }
    thread_.join();
    MutexLock lock(&mutex_);
    for (Connection& connection : connections_)
      Close(connection, /*reset=*/true);
    close(listener_);
    close(wake_);
  }
  FaultyNetwork(const FaultyNetwork&) = delete;
  FaultyNetwork& operator=(const FaultyNetwork&) = delete;

  // Where to dial instead of the target.
  int port() const { return port_; }
  std::string address() const { return absl::StrCat("127.0.0.1:", port_); }

  // Of connections to come.
  void SetTarget(int port) {
    const Waker waker(wake_);
    MutexLock lock(&mutex_);
    target_port_ = port;
  }
  // What is read from now on takes so long, evenly from `least` to `most`.
  void SetDelay(absl::Duration least, absl::Duration most) {
    const Waker waker(wake_);
    MutexLock lock(&mutex_);
    least_delay_ = least;
    most_delay_ = most;
  }
  void Freeze() {
    const Waker waker(wake_);
    MutexLock lock(&mutex_);
    frozen_ = true;
  }
  void Thaw() {
    const Waker waker(wake_);
    MutexLock lock(&mutex_);
    frozen_ = false;
  }
  void CutAll() {
    const Waker waker(wake_);
    MutexLock lock(&mutex_);
    for (Connection& c : connections_) Cut(c);
  }
  // Each present connection is reset after 1 to `bytes` more, either way.
  void CutWithin(int bytes) {
    const Waker waker(wake_);
    MutexLock lock(&mutex_);
    for (Connection& c : connections_) {
      c.bytes_left = 1 + static_cast<int64_t>(rng_.Below(bytes));
    }
  }
  // The clients' ends of present connections are reset; the target gets what
  // they had sent after `delay`, and then the end.
  void DeliverLate(absl::Duration delay) {
    const Waker waker(wake_);
    MutexLock lock(&mutex_);
    const absl::Time when = absl::Now() + delay;
    for (Connection& c : connections_) {
      if (c.client < 0 || c.target < 0) continue;
      ReadInto(c, kUp);
      Reset(&c.client);
      c.held_until = when;
      c.ended[kUp] = true;
      ++counts_.late;
    }
  }
  void Replay() {
    const Waker waker(wake_);
    MutexLock lock(&mutex_);
    std::vector<std::string> sent;
    for (const Connection& c : connections_) {
      if (c.client >= 0 && c.sent.size() < kMaxSent) sent.push_back(c.sent);
    }
    for (std::string& bytes : sent) {
      Connection& c = connections_.emplace_back();
      c.target = Dial();
      c.replay = true;
      c.flow[kUp].push_back({absl::Now(), std::move(bytes)});
      ++counts_.replayed;
    }
  }

  Counts counts() const {
    MutexLock lock(&mutex_);
    return counts_;
  }

 private:
  enum Way { kUp = 0, kDown = 1 };  // To the target; to the client.
  // What is kept of a connection for Replay, and held of one that is delayed.
  static constexpr size_t kMaxSent = 1 << 20;
  static constexpr size_t kMaxHeld = 1 << 20;
  // A repeated connection is over after this.
  static constexpr absl::Duration kReplayLife = absl::Seconds(1);

  struct Piece {
    absl::Time due;
    std::string bytes;
  };
  struct Connection {
    int client = -1;
    int target = -1;
    std::deque<Piece> flow[2];
    size_t held[2] = {0, 0};
    bool ended[2] = {false, false};   // Nothing more comes from there.
    bool passed[2] = {false, false};  // And the other end knows.
    std::string sent;
    bool replay = false;
    absl::Time begin = absl::Now();
    absl::Time held_until = absl::InfinitePast();
    std::optional<int64_t> bytes_left;
  };

  static sockaddr_in Loopback(int port) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port));
    return address;
  }
  static sockaddr* Address(sockaddr_in* address) {
    return reinterpret_cast<sockaddr*>(address);
  }

  // Everything is done under the mutex, by whoever calls or by the thread; this
  // makes the thread look again when the mutex is free.
  class Waker {
   public:
    explicit Waker(int fd) : fd_(fd) {}
    ~Waker() {
      const uint64_t one = 1;
      (void)!write(fd_, &one, sizeof(one));
    }

   private:
    const int fd_;
  };

  int Dial() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const int fd =
        socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    sockaddr_in address = Loopback(target_port_);
    if (connect(fd, Address(&address), sizeof(address)) != 0 &&
        errno != EINPROGRESS) {
      close(fd);
      return -1;
    }
    return fd;
  }
  static void Reset(int* fd) {
    if (*fd < 0) return;
    const linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(*fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(*fd);
    *fd = -1;
  }
  static void Close(Connection& c, bool reset) {
    for (int* fd : {&c.client, &c.target}) {
      if (reset) {
        Reset(fd);
      } else if (*fd >= 0) {
        close(*fd);
        *fd = -1;
      }
    }
  }
  void Cut(Connection& c) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    Close(c, /*reset=*/true);
    ++counts_.cut;
  }
  static bool Over(const Connection& c) { return c.client < 0 && c.target < 0; }

  void Accept() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    for (;;) {
      const int fd =
          accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) return;
      const int on = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
      Connection& c = connections_.emplace_back();
      c.client = fd;
      c.target = Dial();
      ++counts_.connections;
      if (c.target < 0) Close(c, /*reset=*/true);
    }
  }

  void ReadInto(Connection& c, Way way) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const int from = way == kUp ? c.client : c.target;
    char buffer[16 << 10];
    while (from >= 0 && !c.ended[way] && c.held[way] < kMaxHeld) {
      const ssize_t got = read(from, buffer, sizeof(buffer));
      if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
      if (got < 0) {
        Close(c, /*reset=*/true);
        return;
      }
      if (got == 0) {
        c.ended[way] = true;
        return;
      }
      const absl::Duration delay =
          least_delay_ + (most_delay_ - least_delay_) * rng_.Uniform();
      const absl::Time due = absl::Now() + delay;
      // What was sent first arrives first.
      const absl::Time after =
          c.flow[way].empty() ? due : std::max(due, c.flow[way].back().due);
      if (way == kUp && c.sent.size() < kMaxSent) c.sent.append(buffer, got);
      c.flow[way].push_back({after, std::string(buffer, got)});
      c.held[way] += static_cast<size_t>(got);
    }
  }

  // Returns when the next piece is due.
  absl::Time WriteOut(Connection& c, Way way, absl::Time now)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const int to = way == kUp ? c.target : c.client;
    while (!c.flow[way].empty()) {
      Piece& piece = c.flow[way].front();
      if (to < 0) return absl::InfiniteFuture();
      const absl::Time due = std::max(piece.due, c.held_until);
      if (due > now) return due;
      size_t size = piece.bytes.size();
      if (c.bytes_left) size = std::min<size_t>(size, *c.bytes_left);
      const ssize_t put = send(to, piece.bytes.data(), size, MSG_NOSIGNAL);
      if (put < 0) {
        // Not yet connected, or no room.
        if (errno != EAGAIN && errno != ENOTCONN) Close(c, /*reset=*/true);
        return absl::InfiniteFuture();
      }
      c.held[way] -= std::min(c.held[way], static_cast<size_t>(put));
      piece.bytes.erase(0, static_cast<size_t>(put));
      if (piece.bytes.empty()) c.flow[way].pop_front();
      if (c.bytes_left && (*c.bytes_left -= put) <= 0) {
        Cut(c);
        return absl::InfiniteFuture();
      }
    }
    if (c.ended[way] && !c.passed[way]) {
      if (c.held_until > now) return c.held_until;
      c.passed[way] = true;
      if (to >= 0) shutdown(to, SHUT_WR);
      // Nobody is left who could read an answer.
      if ((c.passed[kUp] && c.passed[kDown]) || c.client < 0) {
        Close(c, /*reset=*/false);
      }
    }
    return absl::InfiniteFuture();
  }

  void Loop() {
    for (;;) {
      std::vector<pollfd> waiting;
      absl::Duration wait = absl::Seconds(1);
      {
        MutexLock lock(&mutex_);
        if (closing_) return;
        const absl::Time now = absl::Now();
        if (!frozen_) wait = std::min(wait, Turn(now) - now);
        waiting = {{.fd = wake_, .events = POLLIN, .revents = 0}};
        if (!frozen_) {
          waiting.push_back({.fd = listener_, .events = POLLIN, .revents = 0});
        }
        for (const Connection& c : connections_) {
          if (frozen_) break;
          for (const Way way : {kUp, kDown}) {
            const int from = way == kUp ? c.client : c.target;
            const int to = way == kUp ? c.target : c.client;
            if (from >= 0 && !c.ended[way] && c.held[way] < kMaxHeld) {
              waiting.push_back({.fd = from, .events = POLLIN, .revents = 0});
            }
            const bool due = !c.flow[way].empty() &&
                             c.flow[way].front().due <= now &&
                             c.held_until <= now;
            if (to >= 0 && due) {
              waiting.push_back({.fd = to, .events = POLLOUT, .revents = 0});
            }
          }
        }
      }
      const auto wait_ms = static_cast<int>(
          std::max<int64_t>(1, absl::ToInt64Milliseconds(wait)));
      (void)poll(waiting.data(), waiting.size(), wait_ms);
      uint64_t woken = 0;
      (void)!read(wake_, &woken, sizeof(woken));
    }
  }

  // Moves what can be moved. Returns when there is more.
  absl::Time Turn(absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    absl::Time next = absl::InfiniteFuture();
    Accept();
    for (Connection& c : connections_) {
      for (const Way way : {kUp, kDown}) {
        ReadInto(c, way);
        if (c.replay) c.flow[kDown].clear();  // Nobody is there to hear it.
        next = std::min(next, WriteOut(c, way, now));
      }
      if (c.replay && now - c.begin > kReplayLife) Close(c, /*reset=*/true);
    }
    connections_.remove_if(Over);
    return next;
  }

  int listener_ = -1;
  int wake_ = -1;
  int port_ = 0;
  mutable Mutex mutex_;
  Rng rng_ ABSL_GUARDED_BY(mutex_);
  int target_port_ ABSL_GUARDED_BY(mutex_);
  std::list<Connection> connections_ ABSL_GUARDED_BY(mutex_);
  absl::Duration least_delay_ ABSL_GUARDED_BY(mutex_);
  absl::Duration most_delay_ ABSL_GUARDED_BY(mutex_);
  bool frozen_ ABSL_GUARDED_BY(mutex_) = false;
  bool closing_ ABSL_GUARDED_BY(mutex_) = false;
  Counts counts_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace hwnas
