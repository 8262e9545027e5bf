#include "estimator/replay_table.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"
#include "estimator/data_table.h"

namespace hwnas {
namespace {

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

// The status with the place before its message.
absl::Status At(const std::string& place, const absl::Status& status) {
  return absl::Status(status.code(),
                      absl::StrCat(place, ": ", status.message()));
}

// Files side by side: row r of the first, and what belongs to it.
class JoinedTables {
 public:
  absl::Status Add(const ReplayFile& file, const std::string& dir, size_t i) {
    const std::string place = absl::StrCat("tables[", i, "].");
    absl::StatusOr<DataTable> table =
        DataTable::Load(absl::StrCat(dir, "/", file.path));
    if (!table.ok()) return At(place + "path", table.status());
    Part part{.table = *std::move(table)};
    if (i > 0 && file.join.empty() && part.table.rows() != rows()) {
      return absl::InvalidArgumentError(absl::StrCat(
          place, "path: ", part.table.name(), " has ", part.table.rows(),
          " rows and ", parts_[0].table.name(), " has ", rows(),
          ": expected as many, or `join` with the column to join by"));
    }
    if (i > 0 && !file.join.empty()) {
      HWNAS_RETURN_IF_ERROR(Match(file.join, place + "join", &part));
    }
    parts_.push_back(std::move(part));
    return absl::OkStatus();
  }

  int64_t rows() const { return parts_[0].table.rows(); }
  std::vector<std::string> Digests() const {
    std::vector<std::string> digests;
    for (const Part& part : parts_) digests.push_back(part.table.sha256());
    return digests;
  }

  // A column of the first file that has it.
  struct Column {
    int part = 0;
    int column = 0;
  };
  absl::StatusOr<Column> Find(const std::string& name,
                              const std::string& place) const {
    std::vector<std::string> misses;
    for (size_t p = 0; p < parts_.size(); ++p) {
      const absl::StatusOr<int> column = parts_[p].table.FindColumn(name);
      if (column.ok()) return Column{static_cast<int>(p), *column};
      misses.push_back(std::string(column.status().message()));
    }
    return absl::NotFoundError(
        absl::StrCat(place, ": ", absl::StrJoin(misses, "; ")));
  }
  // Whether the row has a counterpart in the file of that column.
  bool Has(int64_t row, const Column& at) const {
    return parts_[at.part].Row(row) >= 0;
  }
  // Empty without a counterpart.
  absl::string_view Text(int64_t row, const Column& at) const {
    const Part& part = parts_[at.part];
    const int64_t there = part.Row(row);
    return there < 0 ? "" : part.table.Text(there, at.column);
  }
  absl::StatusOr<double> Number(int64_t row, const Column& at) const {
    const Part& part = parts_[at.part];
    const int64_t there = part.Row(row);
    if (there < 0) return kUnknown;
    return part.table.Number(there, at.column);
  }
  std::string Where(int64_t row, const Column& at) const {
    const Part& part = parts_[at.part];
    return part.table.Where(std::max<int64_t>(0, part.Row(row)), at.column);
  }

 private:
  struct Part {
    DataTable table;
    std::vector<int64_t> rows;  // Of each row of the first; empty: the same.

    int64_t Row(int64_t row) const { return rows.empty() ? row : rows[row]; }
  };

  absl::Status Match(const std::string& column, const std::string& place,
                     Part* part) const {
    const DataTable& first = parts_[0].table;
    absl::StatusOr<int> here = first.FindColumn(column);
    if (!here.ok()) return At(place, here.status());
    absl::StatusOr<int> there = part->table.FindColumn(column);
    if (!there.ok()) return At(place, there.status());
    absl::flat_hash_map<absl::string_view, int64_t> by_key;
    for (int64_t row = 0; row < part->table.rows(); ++row) {
      const auto [other, added] =
          by_key.emplace(part->table.Text(row, *there), row);
      if (!added) {
        return absl::InvalidArgumentError(absl::StrCat(
            place, ": ", part->table.Where(row, *there), ": \"", other->first,
            "\" is there twice, first in line ", other->second + 2));
      }
    }
    part->rows.reserve(first.rows());
    for (int64_t row = 0; row < first.rows(); ++row) {
      const auto match = by_key.find(first.Text(row, *here));
      part->rows.push_back(match == by_key.end() ? -1 : match->second);
    }
    return absl::OkStatus();
  }

  std::vector<Part> parts_;
};

}  // namespace

// Fills a table. Lives for one call.
class ReplayTable::Loader {
 public:
  Loader(const ReplayConfig& config, const Problem& problem,
         const SearchSpace& space)
      : config_(config), space_(space) {
    for (MetricKey& key : problem.Keys()) needed_.insert(std::move(key));
  }

  absl::StatusOr<std::unique_ptr<ReplayTable>> Load(const std::string& dir) {
    if (config_.files.empty()) {
      return absl::InvalidArgumentError("tables: expected at least one file");
    }
    for (size_t i = 0; i < config_.files.size(); ++i) {
      HWNAS_RETURN_IF_ERROR(tables_.Add(config_.files[i], dir, i));
    }
    out_->sha256_ = tables_.Digests();
    out_->file_rows_ = tables_.rows();
    HWNAS_RETURN_IF_ERROR(ReadArchitectures());
    HWNAS_RETURN_IF_ERROR(
        ReadFidelity("", config_.epochs, config_.metrics, config_.cost));
    for (size_t i = 0; i < config_.fidelities.size(); ++i) {
      const ReplayFidelity& fidelity = config_.fidelities[i];
      HWNAS_RETURN_IF_ERROR(ReadFidelity(absl::StrCat("fidelities[", i, "]."),
                                         fidelity.epochs, fidelity.metrics,
                                         fidelity.cost));
    }
    ChooseRows();
    std::set<std::string> devices;
    for (const ReplayMetric& metric : config_.metrics) {
      if (metric.stage == ReplayStage::kMeasure) {
        devices.insert(metric.key.device_class);
      }
    }
    out_->measured_on_.assign(devices.begin(), devices.end());
    return std::move(out_);
  }

 private:
  absl::Status ReadArchitectures() {
    architectures_.resize(tables_.rows());
    if (!config_.architecture.empty()) return ReadNotation();
    HWNAS_ASSIGN_OR_RETURN(const std::vector<ReplayColumn> keys,
                           ResolveKeys(config_.keys, space_.decisions()));
    for (size_t k = 0; k < keys.size(); ++k) {
      const ReplayColumn& key = keys[k];
      HWNAS_ASSIGN_OR_RETURN(const JoinedTables::Column column,
                             tables_.Find(key.column, "keys"));
      absl::flat_hash_map<absl::string_view, int> options;
      for (size_t i = 0; i < key.codes.size(); ++i) {
        options.emplace(key.codes[i], static_cast<int>(i));
      }
      if (key.absent) options.emplace(*key.absent, 0);
      for (int64_t row = 0; row < tables_.rows(); ++row) {
        if (!tables_.Has(row, column)) {
          return absl::InvalidArgumentError(absl::StrCat(
              "keys: ", tables_.Where(row, {}), ": the row has no ",
              "counterpart in the file with column ", key.column));
        }
        const auto option = options.find(tables_.Text(row, column));
        if (option == options.end()) {
          return absl::InvalidArgumentError(absl::StrCat(
              "keys: ", tables_.Where(row, column), ": \"",
              tables_.Text(row, column), "\" is no option of decision ",
              space_.decisions()[k].name, ": expected one of ",
              absl::StrJoin(key.codes, ", ")));
        }
        architectures_[row].choices.push_back(option->second);
      }
    }
    for (int64_t row = 0; row < tables_.rows(); ++row) {
      if (absl::Status status = space_.Validate(architectures_[row]);
          !status.ok()) {
        return absl::InvalidArgumentError(absl::StrCat(
            "keys: ", tables_.Where(row, {}), ": ", status.message()));
      }
    }
    return absl::OkStatus();
  }

  absl::Status ReadNotation() {
    HWNAS_ASSIGN_OR_RETURN(const JoinedTables::Column column,
                           tables_.Find(config_.architecture, "architecture"));
    for (int64_t row = 0; row < tables_.rows(); ++row) {
      absl::StatusOr<Architecture> read =
          space_.FromText(tables_.Text(row, column));
      if (!read.ok()) {
        return absl::InvalidArgumentError(
            absl::StrCat("architecture: ", tables_.Where(row, column), ": ",
                         read.status().message()));
      }
      architectures_[row] = *std::move(read);
    }
    return absl::OkStatus();
  }

  // Values of all rows of the files, still to be thinned out by ChooseRows.
  absl::Status ReadFidelity(const std::string& place, int epochs,
                            const std::vector<ReplayMetric>& metrics,
                            const ReplayCost& cost) {
    const bool full = out_->fidelities_.empty();
    Fidelity fidelity{.epochs = epochs};
    for (size_t i = 0; i < metrics.size(); ++i) {
      const ReplayMetric& metric = metrics[i];
      Column column{.metric = metric,
                    .needed = full && needed_.count(metric.key) > 0};
      HWNAS_ASSIGN_OR_RETURN(
          column.values,
          Numbers(metric.column, absl::StrCat(place, "metrics[", i, "].column"),
                  metric.scale, 0));
      fidelity.columns.push_back(std::move(column));
    }
    if (cost.column.empty()) {
      fidelity.cost_s.assign(tables_.rows(), cost.seconds);
    } else {
      HWNAS_ASSIGN_OR_RETURN(fidelity.cost_s,
                             Numbers(cost.column, place + "cost.column",
                                     cost.scale, cost.seconds));
      for (int64_t row = 0; row < tables_.rows(); ++row) {
        if (fidelity.cost_s[row] >= 0 || std::isnan(fidelity.cost_s[row])) {
          continue;
        }
        HWNAS_ASSIGN_OR_RETURN(const JoinedTables::Column at,
                               tables_.Find(cost.column, "cost"));
        return absl::InvalidArgumentError(absl::StrCat(
            place, "cost.column: ", tables_.Where(row, at), ": a ", "cost of ",
            fidelity.cost_s[row], " s: expected 0 or more"));
      }
    }
    out_->fidelities_.push_back(std::move(fidelity));
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<double>> Numbers(const std::string& name,
                                              const std::string& place,
                                              double scale, double add) {
    HWNAS_ASSIGN_OR_RETURN(const JoinedTables::Column column,
                           tables_.Find(name, place));
    std::vector<double> numbers;
    numbers.reserve(tables_.rows());
    for (int64_t row = 0; row < tables_.rows(); ++row) {
      absl::StatusOr<double> number = tables_.Number(row, column);
      if (!number.ok()) return At(place, number.status());
      const double value = *number * scale + add;
      if (std::isinf(value)) {
        return absl::InvalidArgumentError(
            absl::StrCat(place, ": ", tables_.Where(row, column), ": ", *number,
                         " times ", scale, " is too large"));
      }
      numbers.push_back(value);
    }
    return numbers;
  }

  // One row for each canonical architecture.
  void ChooseRows() {
    std::vector<int64_t> chosen;  // Of each member, the row of the files.
    std::vector<int> ranks;
    for (int64_t row = 0; row < tables_.rows(); ++row) {
      Architecture canonical = space_.Canonicalize(architectures_[row]);
      const int rank = (out_->Complete(static_cast<int>(row)) ? 2 : 0) +
                       (canonical == architectures_[row] ? 1 : 0);
      const auto [entry, added] = out_->index_.emplace(
          canonical.choices, static_cast<int>(chosen.size()));
      if (added) {
        out_->members_.push_back(std::move(canonical));
        chosen.push_back(row);
        ranks.push_back(rank);
      } else if (rank > ranks[entry->second]) {
        chosen[entry->second] = row;
        ranks[entry->second] = rank;
      }
    }
    const auto thin_out = [&](std::vector<double>* values) {
      std::vector<double> kept;
      kept.reserve(chosen.size());
      for (const int64_t row : chosen) kept.push_back((*values)[row]);
      *values = std::move(kept);
    };
    for (Fidelity& fidelity : out_->fidelities_) {
      for (Column& column : fidelity.columns) thin_out(&column.values);
      thin_out(&fidelity.cost_s);
    }
  }

  const ReplayConfig& config_;
  const SearchSpace& space_;
  std::set<MetricKey> needed_;
  JoinedTables tables_;
  std::vector<Architecture> architectures_;  // Of each row of the files.
  std::unique_ptr<ReplayTable> out_{new ReplayTable()};
};

absl::StatusOr<std::unique_ptr<ReplayTable>> ReplayTable::Load(
    const ReplayConfig& config, const std::string& tables_dir,
    const Problem& problem, const SearchSpace& space) {
  HWNAS_ASSIGN_OR_RETURN(std::unique_ptr<ReplayTable> table,
                         Loader(config, problem, space).Load(tables_dir));
  HWNAS_RETURN_IF_ERROR(table->CheckFiles(config));
  return table;
}

absl::Status ReplayTable::CheckFiles(const ReplayConfig& config) const {
  for (size_t i = 0; i < config.files.size(); ++i) {
    const ReplayFile& file = config.files[i];
    if (file.sha256.empty() || file.sha256 == sha256_[i]) continue;
    return absl::FailedPreconditionError(absl::StrCat(
        "tables[", i, "].sha256: ", file.path,
        " is not the file that the study began with: its SHA-256 is ",
        sha256_[i], ", expected ", file.sha256));
  }
  return absl::OkStatus();
}

std::vector<Architecture> ReplayTable::CompleteMembers() const {
  std::vector<Architecture> complete;
  for (int row = 0; row < size(); ++row) {
    if (Complete(row)) complete.push_back(members_[row]);
  }
  return complete;
}

int ReplayTable::Find(const Architecture& canonical) const {
  const auto found = index_.find(canonical.choices);
  return found == index_.end() ? -1 : found->second;
}

const ReplayTable::Fidelity* ReplayTable::FindFidelity(int epochs) const {
  if (epochs == 0) return &fidelities_[0];
  for (const Fidelity& fidelity : fidelities_) {
    if (fidelity.epochs == epochs) return &fidelity;
  }
  return nullptr;
}

bool ReplayTable::Complete(int row) const {
  const Fidelity& full = fidelities_[0];
  return !std::isnan(full.cost_s[row]) &&
         std::none_of(full.columns.begin(), full.columns.end(),
                      [row](const Column& column) {
                        return column.needed && std::isnan(column.values[row]);
                      });
}

absl::StatusOr<std::vector<ReplayValue>> ReplayTable::Values(
    int row, ReplayStage stage, const std::string& device_class,
    int epochs) const {
  const Fidelity* fidelity = FindFidelity(epochs);
  if (fidelity == nullptr) {
    return absl::NotFoundError(
        absl::StrCat("the table has no training of ", epochs, " epochs"));
  }
  std::vector<ReplayValue> values;
  for (const Column& column : fidelity->columns) {
    const ReplayMetric& metric = column.metric;
    if (metric.stage != stage || (stage == ReplayStage::kMeasure &&
                                  metric.key.device_class != device_class)) {
      continue;
    }
    if (!std::isnan(column.values[row])) {
      values.push_back({metric.key, column.values[row], metric.unit});
    } else if (column.needed) {
      return absl::NotFoundError(absl::StrCat("the table has no ",
                                              metric.key.ToString(),
                                              " for this architecture"));
    }
  }
  return values;
}

std::vector<MetricValue> ReplayTable::FreeValues(
    const Architecture& canonical) const {
  const int row = Find(canonical);
  std::vector<MetricValue> values;
  for (const Column& column : fidelities_[0].columns) {
    if (column.metric.stage != ReplayStage::kScreen) continue;
    values.push_back(
        {column.metric.key, row < 0 ? kUnknown : column.values[row]});
  }
  return values;
}

absl::StatusOr<double> ReplayTable::CostSeconds(int row, int epochs) const {
  const Fidelity* fidelity = FindFidelity(epochs);
  if (fidelity == nullptr) {
    return absl::NotFoundError(
        absl::StrCat("the table has no training of ", epochs, " epochs"));
  }
  if (std::isnan(fidelity->cost_s[row])) {
    return absl::NotFoundError(
        "the table does not tell what this architecture costs");
  }
  return fidelity->cost_s[row];
}

}  // namespace hwnas
