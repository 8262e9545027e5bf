// Benchmark tables as an evaluator: the values and the cost of each of their
// architectures.
//
//   HWNAS_ASSIGN_OR_RETURN(
//       auto table, ReplayTable::Load(config, tables_dir, problem, *space));
//   const int row = table->Find(architecture);  // -1: not in the table.
//   HWNAS_ASSIGN_OR_RETURN(auto values, table->Values(row, stage, ""));
//   HWNAS_ASSIGN_OR_RETURN(double seconds, table->CostSeconds(row));
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "nas/problem.h"
#include "nas/replay.h"
#include "nas/space/search_space.h"

namespace hwnas {

struct ReplayValue {
  MetricKey key;
  double value = 0;
  std::string unit;  // Empty if unknown.
};

// Immutable, hence thread-safe. Holds one row for each canonical architecture
// of the files: of several rows of one architecture that of the canonical form
// itself, else the first; rows that lack a value that the problem or the cost
// needs only if there is no other.
class ReplayTable {
 public:
  // Reads the files below `tables_dir`. Errors begin with the place in the
  // configuration ("tables[1].path: "); what is wrong in a file is said with
  // line and column; and as CheckFiles says. `problem` tells which values a row
  // must have.
  static absl::StatusOr<std::unique_ptr<ReplayTable>> Load(
      const ReplayConfig& config, const std::string& tables_dir,
      const Problem& problem, const SearchSpace& space);

  // FAILED_PRECONDITION if the configuration names another version of a file.
  absl::Status CheckFiles(const ReplayConfig& config) const;
  // Of each file of the configuration, in order.
  const std::vector<std::string>& sha256() const { return sha256_; }
  // Rows of the first file.
  int64_t file_rows() const { return file_rows_; }
  // Canonical architectures.
  int size() const { return static_cast<int>(members_.size()); }
  // Those with all needed values, in the order of the first file.
  std::vector<Architecture> CompleteMembers() const;
  const Architecture& member(int row) const { return members_[row]; }

  // The row of a canonical architecture; -1 if there is none.
  int Find(const Architecture& canonical) const;

  // The device classes that something is measured on, ascending.
  const std::vector<std::string>& measured_on() const { return measured_on_; }
  // What a row tells at a stage (kMeasure: on one device class). After a
  // training of `epochs`, if the table has one; 0: after the full training.
  // Unknown values that the problem does not need are left out; NOT_FOUND if it
  // needs one.
  absl::StatusOr<std::vector<ReplayValue>> Values(
      int row, ReplayStage stage, const std::string& device_class,
      int epochs = 0) const;
  // The values of stage kScreen, always the same metrics; NaN where unknown.
  std::vector<MetricValue> FreeValues(const Architecture& canonical) const;
  // Simulated seconds of a training from its beginning. NOT_FOUND if the table
  // does not tell.
  absl::StatusOr<double> CostSeconds(int row, int epochs = 0) const;

 private:
  struct Column {
    ReplayMetric metric;
    bool needed = false;         // By the problem.
    std::vector<double> values;  // One for each row; NaN if unknown.
  };
  // What a training of so many epochs tells and costs.
  struct Fidelity {
    int epochs = 0;
    std::vector<Column> columns;
    std::vector<double> cost_s;
  };
  class Loader;

  ReplayTable() = default;
  const Fidelity* FindFidelity(int epochs) const;
  bool Complete(int row) const;

  std::vector<std::string> sha256_;
  int64_t file_rows_ = 0;
  std::vector<Architecture> members_;
  absl::flat_hash_map<std::vector<int>, int> index_;
  std::vector<std::string> measured_on_;
  std::vector<Fidelity> fidelities_;  // The full training first.
};

}  // namespace hwnas
