#include "agent/sandbox/message_socket.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "agent/measure/steady_clock.h"

namespace hwnas::agent {
namespace {

constexpr size_t kLengthBytes = 4;
constexpr size_t kChunkBytes = size_t{1} << 16;

}  // namespace

absl::StatusOr<std::pair<MessageSocket, MessageSocket>>
MessageSocket::MakePair() {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
    return absl::ErrnoToStatus(errno, "no socket for a measuring process");
  }
  return std::pair(MessageSocket(fds[0]), MessageSocket(fds[1]));
}

MessageSocket::~MessageSocket() {
  if (fd_ >= 0) close(fd_);
}

MessageSocket::MessageSocket(MessageSocket&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      max_bytes_(other.max_bytes_),
      buffer_(std::move(other.buffer_)) {}

absl::Status MessageSocket::Send(const google::protobuf::MessageLite& message) {
  const size_t size = message.ByteSizeLong();
  if (size > max_bytes_) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "a message of ", size, " bytes: expected at most ", max_bytes_));
  }
  std::string bytes;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    bytes.push_back(static_cast<char>(size >> (8 * i) & 0xff));
  }
  if (!message.AppendToString(&bytes)) {
    return absl::InternalError("a message cannot be written");
  }
  absl::string_view left = bytes;
  while (!left.empty()) {
    const ssize_t sent = send(fd_, left.data(), left.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return absl::UnavailableError("the other process is gone");
    left.remove_prefix(sent);
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> MessageSocket::Receive(
    google::protobuf::MessageLite* message, absl::Duration timeout) {
  RealSteadyClock clock;
  const absl::Duration end = clock.Now() + timeout;
  for (;;) {
    if (buffer_.size() >= kLengthBytes) {
      size_t size = 0;
      for (size_t i = 0; i < kLengthBytes; ++i) {
        size |= size_t{static_cast<uint8_t>(buffer_[i])} << (8 * i);
      }
      if (size > max_bytes_) {
        return absl::DataLossError(absl::StrCat(
            "a message of ", size, " bytes: expected at most ", max_bytes_));
      }
      if (buffer_.size() >= kLengthBytes + size) {
        const bool parsed = message->ParseFromArray(
            buffer_.data() + kLengthBytes, static_cast<int>(size));
        buffer_.erase(0, kLengthBytes + size);
        if (!parsed) return absl::DataLossError("a message is malformed");
        return true;
      }
    }
    const int64_t left_ms = std::clamp<int64_t>(
        absl::ToInt64Milliseconds(end - clock.Now()), 0, 1 << 30);
    pollfd waiting = {.fd = fd_, .events = POLLIN, .revents = 0};
    const int ready = poll(&waiting, 1, static_cast<int>(left_ms));
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0) return false;
    char chunk[kChunkBytes];
    const ssize_t got = recv(fd_, chunk, sizeof(chunk), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return absl::OutOfRangeError("the other process is gone");
    buffer_.append(chunk, got);
  }
}

}  // namespace hwnas::agent
