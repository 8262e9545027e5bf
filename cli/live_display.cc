#include "cli/live_display.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/table.h"

namespace hwnas::cli {
namespace {

winsize WindowSize() {
  winsize size = {};
  for (int fd : {STDOUT_FILENO, STDERR_FILENO}) {
    if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size;
  }
  size.ws_col = 80;
  size.ws_row = 24;
  return size;
}

int VisibleWidth(const std::string& line) {
  std::string plain;
  for (size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\x1b') {
      while (i < line.size() && line[i] != 'm') ++i;
      continue;
    }
    plain.push_back(line[i]);
  }
  return DisplayWidth(plain);
}

}  // namespace

bool WantColor(bool is_terminal) {
  if (!is_terminal) return false;
  // Before any thread. NOLINTBEGIN(concurrency-mt-unsafe)
  const char* no_color = std::getenv("NO_COLOR");
  if (no_color != nullptr && *no_color != '\0') return false;
  const char* term = std::getenv("TERM");
  // NOLINTEND(concurrency-mt-unsafe)
  return term != nullptr && std::string(term) != "dumb";
}

int TerminalWidth() { return WindowSize().ws_col; }
int TerminalHeight() { return std::max<int>(8, WindowSize().ws_row); }

LiveDisplay::LiveDisplay(std::ostream* out, bool is_terminal)
    : out_(*out), is_terminal_(is_terminal), color_(WantColor(is_terminal)) {}

void LiveDisplay::Update(const v1::StudyUpdate& update, absl::Time now) {
  const v1::Study::State before = state_.study().state();
  state_.Apply(update);
  last_update_ = now;
  if (is_terminal_) {
    Draw(now, /*force=*/false);
    return;
  }
  // Counters alone are no event.
  if (update.message().empty() && state_.study().state() == before) return;
  std::string line = RenderEvent(update);
  if (line == last_line_) return;
  last_line_ = line;
  out_ << absl::FormatTime("%H:%M:%S", now, absl::LocalTimeZone()) << " "
       << line << "\n";
  out_.flush();
}

void LiveDisplay::SetNotice(std::string notice, absl::Time now) {
  if (notice == notice_) return;
  notice_ = std::move(notice);
  if (is_terminal_) {
    Draw(now, /*force=*/true);
  } else if (!notice_.empty()) {
    out_ << absl::FormatTime("%H:%M:%S", now, absl::LocalTimeZone()) << " "
         << notice_ << "\n";
    out_.flush();
  }
}

void LiveDisplay::Tick(absl::Time now) {
  if (is_terminal_) Draw(now, /*force=*/false);
}

void LiveDisplay::Print(absl::string_view line, absl::Time now) {
  if (is_terminal_ && !finished_) {
    Erase(TerminalWidth());
    out_ << std::string(line) << "\n";
    Draw(now, /*force=*/true);
  } else {
    out_ << std::string(line) << "\n";
    out_.flush();
  }
}

void LiveDisplay::Finish(absl::Time now) {
  if (finished_) return;
  notice_.clear();
  if (is_terminal_) Draw(now, /*force=*/true);
  finished_ = true;
}

void LiveDisplay::Draw(absl::Time now, bool force) {
  if (finished_ || !state_.study().has_progress()) return;
  // Ten frames a second are plenty; bursts of updates cost nothing.
  if (!force && now - last_draw_ < absl::Milliseconds(100)) return;
  last_draw_ = now;
  const int width = TerminalWidth();
  ViewOptions options;
  options.width = width;
  options.max_lines = std::min(16, TerminalHeight() - 2);
  options.color = color_;
  options.since_update_seconds =
      std::max(0., absl::ToDoubleSeconds(now - last_update_));
  options.notice = notice_;
  const std::vector<std::string> lines = RenderProgress(state_, options);
  Erase(width);
  std::string text;
  for (const std::string& line : lines) {
    absl::StrAppend(&text, line, "\n");
    drawn_.push_back(VisibleWidth(line));
  }
  out_ << text;
  out_.flush();
}

void LiveDisplay::Erase(int width) {
  int rows = 0;
  for (int columns : drawn_) {
    rows += std::max(1, (columns + width - 1) / std::max(1, width));
  }
  drawn_.clear();
  // Up to the first row, then clear to the end of the screen.
  if (rows > 0) out_ << "\x1b[" << rows << "A\r\x1b[J";
}

}  // namespace hwnas::cli
