#include "bench/search/problems.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/status_macros.h"
#include "estimator/data_table.h"
#include "nas/space/space_factory.h"
#include "nas/space/tabulated.h"

namespace hwnas::bench {
namespace {

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

// Files whose rows belong together one by one.
class Joined {
 public:
  // One column of one of the files.
  struct Column {
    const DataTable* table;
    int number;

    absl::string_view Text(int64_t row) const {
      return table->Text(row, number);
    }
  };

  absl::Status Add(const std::string& path) {
    HWNAS_ASSIGN_OR_RETURN(DataTable table, DataTable::Load(path));
    if (!tables_.empty() && table.rows() != tables_.front()->rows()) {
      return absl::DataLossError(absl::StrCat(path, ": other rows"));
    }
    tables_.push_back(std::make_unique<DataTable>(std::move(table)));
    return absl::OkStatus();
  }
  int64_t rows() const { return tables_.front()->rows(); }
  absl::StatusOr<Column> Find(const std::string& name) const {
    for (const auto& table : tables_) {
      const absl::StatusOr<int> number = table->FindColumn(name);
      if (number.ok()) return Column{table.get(), *number};
    }
    return absl::NotFoundError(absl::StrCat("no column ", name));
  }

 private:
  std::vector<std::unique_ptr<DataTable>> tables_;
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
  HWNAS_ASSIGN_OR_RETURN(const DataTable oracles,
                         DataTable::Load(dir + "/oracles.csv"));
  HWNAS_ASSIGN_OR_RETURN(const int id, oracles.FindColumn("id"));
  std::vector<std::string> ids;
  for (int64_t row = 0; row < oracles.rows(); ++row) {
    ids.emplace_back(oracles.Text(row, id));
  }
  return ids;
}

absl::StatusOr<TableProblem> LoadTable(const std::string& dir,
                                       const std::string& id,
                                       const std::string& table_name,
                                       const std::string& objectives) {
  const std::optional<TableSpec> spec = SpecOf(table_name, id, objectives);
  if (!spec) return absl::NotFoundError(absl::StrCat(id, ": unknown table"));

  Joined table;
  for (const std::string& file : spec->files) {
    HWNAS_RETURN_IF_ERROR(table.Add(absl::StrCat(dir, "/", file)));
  }
  TableProblem out;
  out.id = id;
  std::vector<Joined::Column> columns;
  for (absl::string_view objective : absl::StrSplit(objectives, '|')) {
    ObjectiveSpec& out_objective = out.problem.objectives.emplace_back();
    out_objective.maximize = objective[0] == '+';
    out_objective.key.metric = std::string(objective.substr(1));
    HWNAS_ASSIGN_OR_RETURN(columns.emplace_back(),
                           table.Find(out_objective.key.metric));
  }

  std::unique_ptr<SearchSpace> space;
  if (spec->nasbench201) {
    HWNAS_ASSIGN_OR_RETURN(
        space, CreateSpace(Nasbench201Config{.benchmark_classes = true}));
  } else {
    DeclaredConfig config;
    for (const KeyColumn& key : spec->keys) {
      DeclaredChoice& choice = config.choices.emplace_back();
      choice.name = key.column;
      (key.ordered ? choice.ordered : choice.options) = key.codes;
    }
    HWNAS_ASSIGN_OR_RETURN(space, CreateSpace(config));
  }
  std::vector<Joined::Column> keys;
  for (const KeyColumn& key : spec->keys) {
    HWNAS_ASSIGN_OR_RETURN(keys.emplace_back(), table.Find(key.column));
  }
  // A network that has several rows keeps that of its canonical form, or else
  // the first.
  std::vector<Architecture> members;
  absl::flat_hash_map<std::vector<int>, int64_t> first_rows;
  for (int64_t row = 0; row < table.rows(); ++row) {
    Point point;
    for (size_t k = 0; k < columns.size(); ++k) {
      double value = std::numeric_limits<double>::quiet_NaN();
      if (!absl::SimpleAtod(columns[k].Text(row), &value) ||
          !std::isfinite(value)) {
        break;
      }
      point.push_back(out.problem.objectives[k].maximize ? -value : value);
    }
    if (point.size() < columns.size()) continue;
    Architecture architecture;
    for (size_t k = 0; k < keys.size(); ++k) {
      const std::vector<std::string>& codes = spec->keys[k].codes;
      const auto found =
          std::find(codes.begin(), codes.end(), keys[k].Text(row));
      if (found == codes.end()) {
        return absl::InvalidArgumentError(
            absl::StrCat(spec->keys[k].column, ": ", keys[k].Text(row)));
      }
      architecture.choices.push_back(static_cast<int>(found - codes.begin()));
    }
    const Architecture canonical = space->Canonicalize(architecture);
    out.rows.push_back(
        {row, first_rows.try_emplace(canonical.choices, row).first->second,
         architecture.choices, point});
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

absl::StatusOr<TableProblem> LoadProblem(const std::string& dir,
                                         const std::string& id) {
  HWNAS_ASSIGN_OR_RETURN(const DataTable oracles,
                         DataTable::Load(dir + "/oracles.csv"));
  HWNAS_ASSIGN_OR_RETURN(const std::vector<std::string> ids, ProblemIds(dir));
  const int64_t row = std::find(ids.begin(), ids.end(), id) - ids.begin();
  if (row == oracles.rows()) {
    return absl::NotFoundError(
        absl::StrCat(id, " is not in ", dir, "/oracles.csv"));
  }
  HWNAS_ASSIGN_OR_RETURN(const int table, oracles.FindColumn("table"));
  HWNAS_ASSIGN_OR_RETURN(const int objectives,
                         oracles.FindColumn("objectives"));
  HWNAS_ASSIGN_OR_RETURN(const int references, oracles.FindColumn("reference"));
  HWNAS_ASSIGN_OR_RETURN(const int hypervolume, oracles.FindColumn("hv_raw"));
  HWNAS_ASSIGN_OR_RETURN(
      TableProblem out,
      LoadTable(dir, id, std::string(oracles.Text(row, table)),
                std::string(oracles.Text(row, objectives))));
  HWNAS_ASSIGN_OR_RETURN(const std::vector<double> reference,
                         Numbers(oracles.Text(row, references), ' '));
  for (size_t k = 0; k < reference.size(); ++k) {
    ObjectiveSpec& objective = out.problem.objectives[k];
    objective.reference = reference[k];
    out.reference.push_back(objective.maximize ? -reference[k] : reference[k]);
  }
  HWNAS_ASSIGN_OR_RETURN(out.hypervolume, oracles.Number(row, hypervolume));
  return out;
}

}  // namespace hwnas::bench
