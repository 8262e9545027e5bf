#include "bench/search/problems.h"

#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/status_macros.h"
#include "nas/space/space_factory.h"
#include "nas/space/tabulated.h"
#include "tests/fakes/benchmark_data.h"

namespace hwnas::bench {
namespace {

// Decisions and nothing more.
class ListedSpace final : public SearchSpace {
 public:
  ListedSpace(std::string key, std::vector<Decision> decisions)
      : key_(std::move(key)), decisions_(std::move(decisions)) {}

  std::string key() const override { return key_; }
  absl::Span<const Decision> decisions() const override { return decisions_; }
  std::string CanonicalKey(const Architecture& architecture) const override {
    return ToText(architecture);
  }
  std::string ToText(const Architecture& architecture) const override {
    return absl::StrJoin(architecture.choices, "-");
  }
  absl::StatusOr<Architecture> FromText(absl::string_view text) const override {
    Architecture architecture;
    for (absl::string_view part : absl::StrSplit(text, '-')) {
      if (!absl::SimpleAtoi(part, &architecture.choices.emplace_back())) {
        return absl::InvalidArgumentError(absl::StrCat("choice: ", part));
      }
    }
    HWNAS_RETURN_IF_ERROR(Validate(architecture));
    return architecture;
  }
  absl::StatusOr<ModelGraph> Decode(const Architecture&,
                                    const DecodeOptions&) const override {
    return absl::FailedPreconditionError("only in a table");
  }

 private:
  const std::string key_;
  const std::vector<Decision> decisions_;
};

// Key column and the codes of its options, in order.
struct KeyColumn {
  std::string column;
  std::vector<std::string> codes;
  bool ordered = false;
};

struct TableSpec {
  std::vector<std::string> files;  // Joined row by row.
  std::vector<KeyColumn> keys;
  bool nasbench201 = false;  // The keys are the operators of its edges.
};

std::vector<KeyColumn> Repeat(const std::string& prefix, int count,
                              const std::vector<std::string>& codes,
                              bool ordered = false) {
  std::vector<KeyColumn> keys;
  for (int i = 0; i < count; ++i) {
    keys.push_back({absl::StrCat(prefix, i), codes, ordered});
  }
  return keys;
}

void Append(std::vector<KeyColumn>& to, std::vector<KeyColumn> more) {
  to.insert(to.end(), more.begin(), more.end());
}

std::optional<TableSpec> SpecOf(absl::string_view table, absl::string_view id,
                                absl::string_view objectives) {
  TableSpec spec;
  if (table == "nasbench201") {
    spec.files = {"nasbench201/cells.csv.gz", "nasbench201/accuracy.csv.gz",
                  "nasbench201/latency_energy_pi5.csv.gz",
                  "nasbench201/latency_devices.csv.gz"};
    spec.keys = Repeat("op", 6, {"0", "1", "2", "3", "4"});
    spec.nasbench201 = true;
  } else if (table == "nasbench_macro") {
    spec.files = {"nasbench_macro/macro_cifar10.csv.gz"};
    spec.keys = Repeat("op", 8, {"0", "1", "2"}, /*ordered=*/true);
  } else if (table == "accel_nasbench") {
    spec.files = {"accel_nasbench/accel_imagenet.csv.gz"};
    Append(spec.keys, Repeat("e", 7, {"1", "4", "6"}, true));
    Append(spec.keys, Repeat("k", 7, {"3", "5"}, true));
    Append(spec.keys, Repeat("l", 7, {"1", "2", "3", "4"}, true));
    Append(spec.keys, Repeat("se", 7, {"0", "1"}, true));
  } else if (table == "transnasbench101" && absl::StrContains(id, "_macro_")) {
    spec.files = {"transnasbench101/macro.csv.gz"};
    spec.keys = Repeat("m", 6, {"0", "1", "2", "3", "4"});
  } else if (table == "transnasbench101") {
    spec.files = {"transnasbench101/micro.csv.gz"};
    spec.keys = Repeat("op", 6, {"0", "1", "2", "3"});
    spec.nasbench201 = true;
  } else if (table == "nasbench_graph") {
    spec.files = {absl::StrContains(objectives, "proteins")
                      ? "nasbench_graph/graph_proteins.csv.gz"
                      : "nasbench_graph/graph_small.csv.gz"};
    Append(spec.keys, Repeat("in", 4, {"0", "1", "2", "3", "4"}));
    Append(spec.keys,
           Repeat("op", 4, {"0", "1", "2", "3", "4", "5", "6", "7", "8"}));
  } else {
    return std::nullopt;
  }
  return spec;
}

// Columns of several files side by side.
class Joined {
 public:
  absl::Status Add(const std::string& path) {
    tables_.push_back(ReadCsv(path));
    if (tables_.back().rows.empty()) {
      return absl::NotFoundError(absl::StrCat(path, ": no such table"));
    }
    if (tables_.back().rows.size() != tables_.front().rows.size()) {
      return absl::DataLossError(absl::StrCat(path, ": other rows"));
    }
    return absl::OkStatus();
  }
  size_t rows() const { return tables_.front().rows.size(); }
  // All cells of a column.
  absl::StatusOr<std::vector<std::string>> Column(
      const std::string& name) const {
    for (const CsvTable& table : tables_) {
      const int column = table.Column(name);
      if (column < 0) continue;
      std::vector<std::string> cells;
      for (const auto& row : table.rows) cells.push_back(row[column]);
      return cells;
    }
    return absl::NotFoundError(absl::StrCat("no column ", name));
  }

 private:
  std::vector<CsvTable> tables_;
};

absl::StatusOr<std::vector<double>> Numbers(absl::string_view text,
                                            char separator) {
  std::vector<double> numbers;
  for (absl::string_view part : absl::StrSplit(text, separator)) {
    if (!absl::SimpleAtod(part, &numbers.emplace_back())) {
      return absl::InvalidArgumentError(absl::StrCat("number: ", part));
    }
  }
  return numbers;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ProblemIds(const std::string& dir) {
  const CsvTable oracles = ReadCsv(dir + "/oracles.csv");
  if (oracles.rows.empty()) {
    return absl::NotFoundError(absl::StrCat(dir, "/oracles.csv is not there"));
  }
  std::vector<std::string> ids;
  for (const auto& row : oracles.rows) ids.push_back(row[0]);
  return ids;
}

absl::StatusOr<TableProblem> LoadProblem(const std::string& dir,
                                         const std::string& id) {
  const CsvTable oracles = ReadCsv(dir + "/oracles.csv");
  const std::vector<std::string>* oracle = nullptr;
  for (const auto& row : oracles.rows) {
    if (row[0] == id) oracle = &row;
  }
  if (oracle == nullptr) {
    return absl::NotFoundError(
        absl::StrCat(id, " is not in ", dir, "/oracles.csv"));
  }
  const std::string objectives = (*oracle)[oracles.Column("objectives")];
  const std::optional<TableSpec> spec =
      SpecOf((*oracle)[oracles.Column("table")], id, objectives);
  if (!spec) return absl::NotFoundError(absl::StrCat(id, ": unknown table"));

  Joined table;
  for (const std::string& file : spec->files) {
    HWNAS_RETURN_IF_ERROR(table.Add(absl::StrCat(dir, "/", file)));
  }
  TableProblem out;
  out.id = id;
  HWNAS_ASSIGN_OR_RETURN(const std::vector<double> reference,
                         Numbers((*oracle)[oracles.Column("reference")], ' '));
  if (!absl::SimpleAtod((*oracle)[oracles.Column("hv_raw")],
                        &out.hypervolume)) {
    return absl::InvalidArgumentError("hv_raw is not a number");
  }
  std::vector<std::vector<std::string>> columns;
  for (absl::string_view objective : absl::StrSplit(objectives, '|')) {
    ObjectiveSpec& out_objective = out.problem.objectives.emplace_back();
    out_objective.maximize = objective[0] == '+';
    out_objective.key.metric = std::string(objective.substr(1));
    const double value = reference[columns.size()];
    out_objective.reference = value;
    out.reference.push_back(out_objective.maximize ? -value : value);
    HWNAS_ASSIGN_OR_RETURN(columns.emplace_back(),
                           table.Column(out_objective.key.metric));
  }

  std::unique_ptr<SearchSpace> space;
  if (spec->nasbench201) {
    HWNAS_ASSIGN_OR_RETURN(space, CreateSpace(Nasbench201Config{}));
  } else {
    std::vector<Decision> decisions;
    for (const KeyColumn& key : spec->keys) {
      decisions.push_back({key.column, key.codes, key.ordered});
    }
    space = std::make_unique<ListedSpace>(id, std::move(decisions));
  }
  std::vector<std::vector<std::string>> keys;
  for (const KeyColumn& key : spec->keys) {
    HWNAS_ASSIGN_OR_RETURN(keys.emplace_back(), table.Column(key.column));
  }
  // A network that has several rows keeps that of its canonical form, or else
  // the first.
  std::vector<Architecture> members;
  for (size_t row = 0; row < table.rows(); ++row) {
    Point point;
    for (size_t k = 0; k < columns.size(); ++k) {
      double value = std::numeric_limits<double>::quiet_NaN();
      if (!absl::SimpleAtod(columns[k][row], &value)) break;
      point.push_back(out.problem.objectives[k].maximize ? -value : value);
    }
    if (point.size() < columns.size()) continue;
    Architecture architecture;
    for (size_t k = 0; k < keys.size(); ++k) {
      const std::vector<std::string>& codes = spec->keys[k].codes;
      const auto found = std::find(codes.begin(), codes.end(), keys[k][row]);
      if (found == codes.end()) {
        return absl::InvalidArgumentError(
            absl::StrCat(spec->keys[k].column, ": ", keys[k][row]));
      }
      architecture.choices.push_back(static_cast<int>(found - codes.begin()));
    }
    const Architecture canonical = space->Canonicalize(architecture);
    if (canonical == architecture) {
      out.values.try_emplace(canonical.choices, point);
      members.push_back(architecture);
    } else if (spec->nasbench201) {
      continue;  // The canonical cell has its own row.
    }
  }
  HWNAS_ASSIGN_OR_RETURN(out.space,
                         TabulatedSpace::Create(std::move(space), members));
  return out;
}

}  // namespace hwnas::bench
