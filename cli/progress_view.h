// What a person sees while a study runs: lines of text, as a pure function of
// the last update, the trials in work, the time since, and the width.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "hwnas/v1/study_service.pb.h"

namespace hwnas::cli {

// Follows the updates of one study. Value; one thread.
class ProgressState {
 public:
  void Apply(const v1::StudyUpdate& update);

  const v1::Study& study() const { return study_; }
  bool ended() const {
    return study_.state() == v1::Study::COMPLETED ||
           study_.state() == v1::Study::CANCELLED;
  }
  // Trials being evaluated, by number.
  const std::map<int64_t, v1::Trial>& active() const { return active_; }
  const std::string& last_message() const { return last_message_; }

 private:
  v1::Study study_;
  std::map<int64_t, v1::Trial> active_;
  std::string last_message_;
};

struct ViewOptions {
  int width = 80;      // Columns; lines are never wider.
  int max_lines = 12;  // Running trials beyond are summed up.
  bool color = false;
  // Seconds since the last update: elapsed time and ETA move on between.
  double since_update_seconds = 0;
  // A line of its own, e.g. "reconnecting to 127.0.0.1:7420"; may be empty.
  std::string notice;
};

// The block that is redrawn in place.
std::vector<std::string> RenderProgress(const ProgressState& state,
                                        const ViewOptions& options);

// One line for a log: "trial 7 trained ...  [18/24 done, front 6, ...]".
std::string RenderEvent(const v1::StudyUpdate& update);

// "accuracy 88.31 %" for the best values, one string each; first the best score
// if there is one.
std::vector<std::string> BestValues(const v1::Study& study);

// "2 d 05 h simulated on 8 workers, " for a study with `replay`; else empty.
std::string SimulatedText(const v1::Study& study);

// A bar of `width` columns, `fraction` of it filled.
std::string Bar(double fraction, int width);

// The text cut to `width` columns. Escape sequences take none.
std::string Fit(absl::string_view text, int width);

// Seconds left when `done` of `total` took `elapsed`; negative if unknown.
double EstimateEta(double done, double total, double elapsed_seconds);

}  // namespace hwnas::cli
