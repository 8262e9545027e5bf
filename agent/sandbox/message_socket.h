// Protobuf messages over a stream socket.
#pragma once

#include <cstddef>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "google/protobuf/message_lite.h"

namespace hwnas::agent {

// Each message is preceded by its length, 4 bytes, least significant first. The
// other end is not trusted. Thread-compatible.
class MessageSocket {
 public:
  // Both ends of a new connection; neither survives exec.
  static absl::StatusOr<std::pair<MessageSocket, MessageSocket>> MakePair();

  // Owns `fd`. Longer messages than `max_bytes` are refused.
  explicit MessageSocket(int fd, size_t max_bytes = size_t{96} << 20)
      : fd_(fd), max_bytes_(max_bytes) {}
  ~MessageSocket();
  MessageSocket(MessageSocket&& other) noexcept;
  MessageSocket& operator=(MessageSocket&&) = delete;

  int fd() const { return fd_; }

  // Blocks until the system has taken all of it. UNAVAILABLE if the other end
  // is gone.
  absl::Status Send(const google::protobuf::MessageLite& message);

  // Waits at most `timeout` for a whole message. False: none came.
  // OUT_OF_RANGE: the other end is gone, and there is nothing more to read.
  // DATA_LOSS: what came is no message.
  absl::StatusOr<bool> Receive(google::protobuf::MessageLite* message,
                               absl::Duration timeout);

 private:
  int fd_;
  size_t max_bytes_;
  std::string buffer_;  // Received and not yet consumed.
};

}  // namespace hwnas::agent
