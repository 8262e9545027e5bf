// The bad network of the chaos test does what it says.
#include "tests/fakes/faulty_network.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hwnas {
namespace {

// Blocking, and gives up after a while.
class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {
    const timeval patience = {.tv_sec = 10, .tv_usec = 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  }
  Socket(Socket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }

  static Socket Dial(int port) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port));
    EXPECT_EQ(
        connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    return Socket(fd);
  }

  void Send(const std::string& text) {
    EXPECT_EQ(send(fd_, text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
  void Close() {
    close(fd_);
    fd_ = -1;
  }
  // Up to `size` bytes; fewer if the connection ends before. `*reset`: how.
  std::string Receive(size_t size, bool* reset = nullptr) {
    std::string text;
    char buffer[4096];
    while (text.size() < size) {
      const ssize_t got =
          recv(fd_, buffer, std::min(sizeof(buffer), size - text.size()), 0);
      if (got <= 0) {
        EXPECT_NE(errno == EAGAIN && got < 0, true) << "nothing came";
        if (reset != nullptr) *reset = got < 0;
        break;
      }
      text.append(buffer, static_cast<size_t>(got));
    }
    return text;
  }
  bool Readable(int wait_ms) {
    pollfd waiting = {.fd = fd_, .events = POLLIN, .revents = 0};
    return poll(&waiting, 1, wait_ms) > 0;
  }

 private:
  int fd_;
};

class FaultyNetworkTest : public ::testing::Test {
 protected:
  FaultyNetworkTest() {
    listener_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(bind(listener_, generic, size), 0);
    EXPECT_EQ(listen(listener_, 16), 0);
    EXPECT_EQ(getsockname(listener_, generic, &size), 0);
    port_ = ntohs(address.sin_port);
  }
  ~FaultyNetworkTest() override { close(listener_); }

  Socket Accept() {
    pollfd waiting = {.fd = listener_, .events = POLLIN, .revents = 0};
    EXPECT_EQ(poll(&waiting, 1, 10000), 1);
    return Socket(accept(listener_, nullptr, nullptr));
  }

  int listener_ = -1;
  int port_ = 0;
};

TEST_F(FaultyNetworkTest, PassesEverythingBothWaysAndTheEnd) {
  FaultyNetwork network(port_, 1);
  network.SetDelay(absl::ZeroDuration(), absl::Milliseconds(2));
  Socket client = Socket::Dial(network.port());
  Socket server = Accept();
  std::string text;
  for (int i = 0; i < 20000; ++i) absl::StrAppend(&text, i, " ");
  client.Send(text);
  EXPECT_EQ(server.Receive(text.size()), text);
  server.Send("thanks");
  EXPECT_EQ(client.Receive(6), "thanks");
  client.Close();
  bool reset = true;
  EXPECT_EQ(server.Receive(1, &reset), "");
  EXPECT_FALSE(reset);
}

TEST_F(FaultyNetworkTest, HoldsWhatIsSentWhileItIsFrozen) {
  FaultyNetwork network(port_, 1);
  Socket client = Socket::Dial(network.port());
  Socket server = Accept();
  client.Send("a");
  EXPECT_EQ(server.Receive(1), "a");
  network.Freeze();
  client.Send("b");
  EXPECT_FALSE(server.Readable(50));
  network.Thaw();
  EXPECT_EQ(server.Receive(1), "b");
}

TEST_F(FaultyNetworkTest, CutsInTheMiddleOfAMessage) {
  for (const uint64_t seed : {7, 8}) {
    FaultyNetwork network(port_, seed);
    Socket client = Socket::Dial(network.port());
    Socket server = Accept();
    client.Send("x");
    EXPECT_EQ(server.Receive(1), "x");
    network.CutWithin(1000);
    client.Send(std::string(1000, 'y'));
    // The reset may overtake what came before it.
    bool reset = false;
    (void)server.Receive(1000, &reset);
    EXPECT_TRUE(reset);
    EXPECT_EQ(network.counts().cut, 1);
    (void)client.Receive(1, &reset);
    EXPECT_TRUE(reset);
  }
}

TEST_F(FaultyNetworkTest, DeliversLateWhatAResetClientHadSent) {
  FaultyNetwork network(port_, 1);
  Socket client = Socket::Dial(network.port());
  Socket server = Accept();
  network.SetDelay(absl::Milliseconds(20), absl::Milliseconds(20));
  client.Send("late");
  network.DeliverLate(absl::Milliseconds(200));
  bool reset = false;
  EXPECT_EQ(client.Receive(1, &reset), "");
  EXPECT_TRUE(reset);
  // It is back before.
  Socket again = Socket::Dial(network.port());
  Socket other = Accept();
  again.Send("first");
  EXPECT_EQ(other.Receive(5), "first");
  EXPECT_EQ(server.Receive(4), "late");
  EXPECT_EQ(server.Receive(1, &reset), "");
  EXPECT_FALSE(reset);
}

TEST_F(FaultyNetworkTest, RepeatsWhatWasSentOnAnotherConnection) {
  FaultyNetwork network(port_, 1);
  Socket client = Socket::Dial(network.port());
  Socket server = Accept();
  client.Send("once");
  EXPECT_EQ(server.Receive(4), "once");
  network.Replay();
  Socket twice = Accept();
  EXPECT_EQ(twice.Receive(4), "once");
  twice.Send("nobody hears that");
  client.Send("!");
  EXPECT_EQ(server.Receive(1), "!");
}

}  // namespace
}  // namespace hwnas
