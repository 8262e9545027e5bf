// Shows a running study: a block redrawn in place on a terminal, one line for
// each event elsewhere.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "cli/progress_view.h"

namespace hwnas::cli {

// Owned by one thread. `out` must outlive it.
class LiveDisplay {
 public:
  LiveDisplay(std::ostream* out, bool is_terminal);
  // Leaves the last block standing.
  ~LiveDisplay() = default;

  void Update(const v1::StudyUpdate& update, absl::Time now);
  // Empty clears it.
  void SetNotice(std::string notice, absl::Time now);
  // Redraws what moves by itself: the clock, the ETA, a new window size.
  void Tick(absl::Time now);
  // A line for good, above the block.
  void Print(absl::string_view line, absl::Time now);
  // Draws the block a last time; Print goes below it from now on.
  void Finish(absl::Time now);

  const ProgressState& state() const { return state_; }

 private:
  void Draw(absl::Time now, bool force);
  void Erase(int width);

  std::ostream& out_;
  const bool is_terminal_;
  const bool color_;
  ProgressState state_;
  absl::Time last_update_;
  absl::Time last_draw_ = absl::InfinitePast();
  std::string notice_;
  std::string last_line_;
  // Widths of the lines on the screen, to find the block again after the
  // window was resized (terminals wrap lines that no longer fit).
  std::vector<int> drawn_;
  bool finished_ = false;
};

// Colours are wanted: a terminal that is not dumb, and no $NO_COLOR.
bool WantColor(bool is_terminal);
// Columns of the terminal, 80 if unknown.
int TerminalWidth();
int TerminalHeight();

}  // namespace hwnas::cli
