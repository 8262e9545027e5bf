#include "agent/device/power/line_meter.h"

#include <fcntl.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "agent/device/power/sensor_files.h"
#include "common/command_runner.h"
#include "common/status_macros.h"

namespace hwnas::agent {
namespace {

constexpr size_t kMaxLineBytes = 256;
constexpr absl::Duration kProbeTimeout = absl::Seconds(5);
constexpr absl::Duration kMinTimeout = absl::Seconds(1);
constexpr absl::Duration kMinInterval = absl::Milliseconds(10);
constexpr absl::Duration kMinTimeBetweenStarts = absl::Milliseconds(100);
constexpr int kProbeLines = 4;

int Milliseconds(absl::Duration duration) {
  return static_cast<int>(
      std::clamp<int64_t>(absl::ToInt64Milliseconds(duration), 0, 60'000));
}

// Bytes that come now and then, and may end and be begun again.
class LineInput {
 public:
  virtual ~LineInput() = default;
  // A non-blocking file, opened if it is not.
  virtual absl::StatusOr<int> Open() = 0;
  // It came to its end. An error if that is final.
  virtual absl::Status HandleEnd() = 0;
  virtual std::string name() const = 0;
};

class CommandInput final : public LineInput {
 public:
  CommandInput(std::string command, SteadyClock* clock)
      : command_(std::move(command)), clock_(clock) {}

  absl::StatusOr<int> Open() override {
    if (!child_) {
      const absl::Duration wait =
          started_ ? *started_ + kMinTimeBetweenStarts - clock_->Now()
                   : absl::ZeroDuration();
      if (wait > absl::ZeroDuration()) clock_->SleepFor(wait);
      started_ = clock_->Now();
      HWNAS_ASSIGN_OR_RETURN(ChildProcess child,
                             ChildProcess::Start({"/bin/sh", "-c", command_}));
      child_ = std::make_unique<ChildProcess>(std::move(child));
    }
    return child_->output();
  }

  absl::Status HandleEnd() override {
    const int code = child_->Wait(absl::Seconds(1));
    child_ = nullptr;
    if (code == 0) return absl::OkStatus();
    return absl::UnavailableError(
        absl::StrCat(name(), " ended with exit code ", code));
  }

  std::string name() const override {
    return absl::StrCat("command \"", Excerpt(command_), "\"");
  }

 private:
  const std::string command_;
  SteadyClock* const clock_;
  std::unique_ptr<ChildProcess> child_;
  std::optional<absl::Duration> started_;
};

class SerialInput final : public LineInput {
 public:
  SerialInput(std::string path, speed_t speed)
      : path_(std::move(path)), speed_(speed) {}
  ~SerialInput() override { Close(); }

  absl::StatusOr<int> Open() override {
    if (file_ >= 0) return file_;
    file_ = open(path_.c_str(), O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (file_ < 0) return absl::ErrnoToStatus(errno, "open " + path_);
    termios settings;
    if (tcgetattr(file_, &settings) != 0) {
      Close();
      return absl::FailedPreconditionError(
          absl::StrCat(path_, " is no serial port"));
    }
    cfmakeraw(&settings);
    settings.c_cflag |= CLOCAL | CREAD;
    settings.c_cflag &= ~static_cast<tcflag_t>(CSTOPB | CRTSCTS);
    cfsetspeed(&settings, speed_);
    if (tcsetattr(file_, TCSANOW, &settings) != 0) {
      const absl::Status status =
          absl::ErrnoToStatus(errno, absl::StrCat("set up ", path_));
      Close();
      return status;
    }
    return file_;
  }

  // Pulled out; it may be plugged in again.
  absl::Status HandleEnd() override {
    Close();
    return absl::UnavailableError(absl::StrCat(name(), " is gone"));
  }

  std::string name() const override { return absl::StrCat("port ", path_); }

 private:
  void Close() {
    if (file_ >= 0) close(file_);
    file_ = -1;
  }

  const std::string path_;
  const speed_t speed_;
  int file_ = -1;
};

class LineMeter final : public PowerSource {
 public:
  LineMeter(std::unique_ptr<LineInput> input, std::string source,
            SteadyClock* clock)
      : input_(std::move(input)), clock_(clock) {
    info_ = {.name = std::move(source),
             .includes = absl::StrCat("what the meter behind ", input_->name(),
                                      " is wired to"),
             .interval = kProbeTimeout / 2,
             .paces_itself = true};
  }

  // Learns the pace.
  absl::Status Probe() {
    std::optional<absl::Duration> last;
    absl::Duration interval = kMinInterval;
    for (int i = 0; i < kProbeLines; ++i) {
      HWNAS_ASSIGN_OR_RETURN(const PowerReading reading, Read());
      if (last) interval = std::max(interval, reading.time - *last);
      last = reading.time;
    }
    info_.interval = interval;
    return absl::OkStatus();
  }

  const PowerSourceInfo& info() const override { return info_; }

  absl::StatusOr<PowerReading> Read() override {
    const absl::Duration deadline =
        clock_->Now() + std::max(kMinTimeout, info_.interval * 2);
    // What waits already may be old.
    HWNAS_RETURN_IF_ERROR(Fill());
    line_.reset();
    for (;;) {
      if (line_) {
        const std::string line = *std::move(line_);
        line_.reset();
        HWNAS_ASSIGN_OR_RETURN(const double watts, ParseWatts(line));
        return PowerReading{.time = line_time_, .power_w = watts};
      }
      const absl::Duration left = deadline - clock_->Now();
      if (left <= absl::ZeroDuration()) {
        return absl::UnavailableError(
            absl::StrCat(input_->name(), " tells no power"));
      }
      HWNAS_ASSIGN_OR_RETURN(const int file, input_->Open());
      pollfd wait = {.fd = file, .events = POLLIN};
      if (poll(&wait, 1, std::max(1, Milliseconds(left))) > 0) {
        HWNAS_RETURN_IF_ERROR(Fill());
      }
    }
  }

 private:
  // Takes what is there without waiting; `line_` is the last complete line.
  absl::Status Fill() {
    HWNAS_ASSIGN_OR_RETURN(const int file, input_->Open());
    // Bounded, however fast somebody writes.
    for (int i = 0; i < 64; ++i) {
      char buffer[4096];
      const ssize_t n = read(file, buffer, sizeof(buffer));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) break;
      if (n <= 0) {
        partial_.clear();
        return input_->HandleEnd();
      }
      const absl::Duration now = clock_->Now();
      for (const char c : absl::string_view(buffer, n)) {
        if (c != '\n' && c != '\r') {
          // Too long a line is no number, also without its end.
          if (partial_.size() < kMaxLineBytes) partial_ += c;
          continue;
        }
        const absl::string_view line = absl::StripAsciiWhitespace(partial_);
        if (!line.empty() && line[0] != '#') {
          line_ = std::string(line);
          line_time_ = now;
        }
        partial_.clear();
      }
    }
    return absl::OkStatus();
  }

  const std::unique_ptr<LineInput> input_;
  SteadyClock* const clock_;
  PowerSourceInfo info_;
  std::string partial_;
  std::optional<std::string> line_;
  absl::Duration line_time_;
};

absl::StatusOr<std::unique_ptr<PowerSource>> OpenMeter(
    std::unique_ptr<LineInput> input, std::string source, SteadyClock* clock) {
  auto meter =
      std::make_unique<LineMeter>(std::move(input), std::move(source), clock);
  HWNAS_RETURN_IF_ERROR(meter->Probe());
  return meter;
}

}  // namespace

absl::StatusOr<double> ParseWatts(absl::string_view line) {
  absl::string_view text = absl::StripAsciiWhitespace(line);
  double unit = 1;
  if (absl::ConsumeSuffix(&text, "mW")) {
    unit = 1e-3;
  } else if (absl::ConsumeSuffix(&text, "uW")) {
    unit = 1e-6;
  } else {
    absl::ConsumeSuffix(&text, "W");
  }
  text = absl::StripTrailingAsciiWhitespace(text);
  double value;
  if (text.size() >= kMaxLineBytes || !absl::SimpleAtod(text, &value) ||
      !std::isfinite(value) || std::abs(value * unit) > kMaxPlausibleWatts) {
    return absl::InvalidArgumentError(
        absl::StrCat("the meter says \"", Excerpt(line),
                     "\": expected watts, for example 4.27 or 4270 mW"));
  }
  return value * unit;
}

absl::StatusOr<std::unique_ptr<PowerSource>> OpenCommandMeter(
    const std::string& command, SteadyClock* clock) {
  return OpenMeter(std::make_unique<CommandInput>(command, clock), "command",
                   clock);
}

absl::StatusOr<std::unique_ptr<PowerSource>> OpenSerialMeter(
    const std::string& port, SteadyClock* clock) {
  struct Speed {
    absl::string_view name;
    speed_t value;
  };
  static constexpr Speed kSpeeds[] = {{"9600", B9600},     {"19200", B19200},
                                      {"38400", B38400},   {"57600", B57600},
                                      {"115200", B115200}, {"230400", B230400},
                                      {"460800", B460800}, {"921600", B921600}};
  const std::pair<std::string, std::string> parts =
      absl::StrSplit(port, absl::MaxSplits('@', 1));
  const std::string wanted = parts.second.empty() ? "115200" : parts.second;
  const auto speed =
      std::find_if(std::begin(kSpeeds), std::end(kSpeeds),
                   [&](const Speed& s) { return s.name == wanted; });
  if (speed == std::end(kSpeeds)) {
    return absl::InvalidArgumentError(
        absl::StrCat("serial speed \"", Excerpt(wanted),
                     "\" is not known: expected for example 9600 or 115200"));
  }
  return OpenMeter(std::make_unique<SerialInput>(parts.first, speed->value),
                   "serial", clock);
}

}  // namespace hwnas::agent
