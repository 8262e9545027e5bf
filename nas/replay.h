// How the rows of benchmark tables answer trials: what a study says about its
// tables, as plain values. estimator/replay_table.h reads them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "nas/problem.h"
#include "nas/space/search_space.h"

namespace hwnas {

// When the search learns a value of a row.
enum class ReplayStage { kScreen, kMeasure, kTrain };

// A CSV file. `join` empty: its rows are those of the first file, in order;
// else the column whose cells name the rows of the first file.
struct ReplayFile {
  std::string path;  // Below the folder of tables.
  std::string join;
  std::string sha256;  // Empty: any.
};

// Columns for decisions: names, in which "op{0..5}" stands for six.
struct ReplayKey {
  std::vector<std::string> columns;
  std::vector<std::string> decisions;  // Empty: the next ones of the space.
  std::vector<std::string> codes;      // Of the options; empty: their names.
  // The cell of a row in which the decision does not matter.
  std::optional<std::string> absent;
};

// value = column * scale.
struct ReplayMetric {
  MetricKey key;
  std::string column;
  double scale = 1;
  std::string unit;
  ReplayStage stage = ReplayStage::kTrain;
};

// Simulated seconds = column * scale + seconds.
struct ReplayCost {
  std::string column;  // Empty: none.
  double scale = 1;
  double seconds = 0;
};

// A shorter training: the metrics it gives and what it costs from its start.
struct ReplayFidelity {
  int epochs = 0;
  std::vector<ReplayMetric> metrics;
  ReplayCost cost;
};

struct ReplayConfig {
  std::vector<ReplayFile> files;
  std::string architecture;  // Column with the space's notation, or empty.
  std::vector<ReplayKey> keys;
  // The full training: what it gives and costs. `epochs` 0: not known.
  std::vector<ReplayMetric> metrics;
  ReplayCost cost;
  int epochs = 0;
  std::vector<ReplayFidelity> fidelities;
  int workers = 1;
  bool restrict_space = false;
};

// The stage of a metric that does not say it: of a known metric its own; else
// measured if it is about a device, and trained if not.
ReplayStage DefaultReplayStage(const MetricKey& key);

// "op{0..2}" is op0, op1, op2; of several braces the first counts slowest, as
// in a shell. INVALID_ARGUMENT if a brace is not {FIRST..LAST} with whole
// numbers in ascending order, or if there are more than 4096 names.
absl::StatusOr<std::vector<std::string>> ExpandBraces(absl::string_view name);

// How a column tells the option of one decision.
struct ReplayColumn {
  std::string column;
  std::vector<std::string> codes;  // One for each option.
  std::optional<std::string> absent;
};

// One for each decision, in order. INVALID_ARGUMENT, beginning with the place
// ("keys[1].codes: "), if a decision is unknown, named twice or left out, or if
// the numbers of names do not agree.
absl::StatusOr<std::vector<ReplayColumn>> ResolveKeys(
    absl::Span<const ReplayKey> keys, absl::Span<const Decision> decisions);

}  // namespace hwnas
