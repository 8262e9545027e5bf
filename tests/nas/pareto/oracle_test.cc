// Against fronts and hypervolumes of public benchmark tables, computed by
// others.
#include <cmath>
#include <map>
#include <optional>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nas/pareto/archive.h"
#include "nas/pareto/pareto.h"
#include "tests/fakes/benchmark_data.h"

namespace hwnas {
namespace {

// Where a column of a named group of tables is: in the one of these files that
// has it. All files of a group have the same rows.
const std::map<std::string, std::vector<std::string>>& Files() {
  static const auto* files =
      new std::map<std::string, std::vector<std::string>>{
          {"nasbench201",
           {"nasbench201/cells", "nasbench201/accuracy",
            "nasbench201/latency_energy_pi5", "nasbench201/latency_devices"}},
          {"nasbench_macro", {"nasbench_macro/macro_cifar10"}},
          {"accel_nasbench", {"accel_nasbench/accel_imagenet"}},
          {"transnasbench101_macro", {"transnasbench101/macro"}},
          {"transnasbench101_micro", {"transnasbench101/micro"}},
          {"nasbench_graph_small", {"nasbench_graph/graph_small"}},
          {"nasbench_graph_proteins", {"nasbench_graph/graph_proteins"}}};
  return *files;
}

// The group of a problem: oracles.csv names only the folder of its tables.
std::string GroupOf(const std::string& id, const std::string& table) {
  if (table == "transnasbench101") {
    return absl::StrCat(
        table, id.find("_micro_") != std::string::npos ? "_micro" : "_macro");
  }
  if (table == "nasbench_graph") {
    return absl::StrCat(table, id.find("proteins") != std::string::npos
                                   ? "_proteins"
                                   : "_small");
  }
  return table;
}

class Tables {
 public:
  explicit Tables(std::string dir) : dir_(std::move(dir)) {}

  // NaN where the cell is empty.
  std::optional<std::vector<double>> Column(const std::string& group,
                                            const std::string& name) {
    for (const std::string& file : Files().at(group)) {
      auto [it, is_new] = tables_.try_emplace(file);
      if (is_new)
        it->second = ReadCsv(absl::StrCat(dir_, "/", file, ".csv.gz"));
      const CsvTable& table = it->second;
      const int column = table.Column(name);
      if (column < 0) continue;
      std::vector<double> values;
      for (const std::vector<std::string>& row : table.rows) {
        double value;
        if (!absl::SimpleAtod(row[column], &value)) value = std::nan("");
        values.push_back(value);
      }
      return values;
    }
    return std::nullopt;
  }

 private:
  std::string dir_;
  std::map<std::string, CsvTable> tables_;
};

double Number(absl::string_view text) {
  double value = std::nan("");
  EXPECT_TRUE(absl::SimpleAtod(text, &value)) << text;
  return value;
}

TEST(Oracles, FrontsAndHypervolumesOfBenchmarkTablesAreFound) {
  HWNAS_REQUIRE_DATA(dir);
  const CsvTable oracles = ReadCsv(absl::StrCat(dir, "/oracles.csv"));
  ASSERT_FALSE(oracles.rows.empty());
  Tables tables(dir);
  for (const std::vector<std::string>& row : oracles.rows) {
    auto cell = [&](const std::string& name) {
      return row[oracles.Column(name)];
    };
    const std::string id = cell("id");
    SCOPED_TRACE(id);
    const std::string group = GroupOf(id, cell("table"));

    std::vector<std::vector<double>> columns;
    std::vector<double> signs;
    for (absl::string_view objective :
         absl::StrSplit(cell("objectives"), '|')) {
      signs.push_back(objective[0] == '+' ? -1 : 1);
      auto column = tables.Column(group, std::string(objective.substr(1)));
      ASSERT_TRUE(column.has_value()) << objective;
      columns.push_back(*std::move(column));
    }
    Point reference;
    for (absl::string_view text : absl::StrSplit(cell("reference"), ' ')) {
      reference.push_back(signs[reference.size()] * Number(text));
    }
    ASSERT_EQ(reference.size(), columns.size());

    std::vector<Point> points;
    std::vector<int> rows;
    for (size_t i = 0; i < columns[0].size(); ++i) {
      Point point;
      for (size_t k = 0; k < columns.size(); ++k) {
        point.push_back(signs[k] * columns[k][i]);
      }
      if (std::any_of(point.begin(), point.end(),
                      [](double v) { return std::isnan(v); })) {
        continue;
      }
      points.push_back(point);
      rows.push_back(static_cast<int>(i));
    }
    ASSERT_EQ(absl::StrCat(points.size()), cell("n_rows"));

    std::vector<int> front_rows;
    std::set<Point> distinct;
    for (int i : NonDominated(points)) {
      front_rows.push_back(rows[i]);
      distinct.insert(points[i]);
    }
    EXPECT_EQ(absl::StrCat(front_rows.size()), cell("front_rows"));
    EXPECT_EQ(absl::StrCat(distinct.size()), cell("front_distinct"));
    EXPECT_EQ(absl::StrJoin(front_rows, " "), cell("front_row_indices"));

    const double expected = Number(cell("hv_raw"));
    const double tolerance = 1e-9 * expected;
    EXPECT_NEAR(Hypervolume(points, reference), expected, tolerance);

    ParetoArchive archive(static_cast<int>(reference.size()));
    archive.SetReference(reference);
    for (size_t i = 0; i < points.size(); ++i) {
      archive.Insert(points[i], rows[i]);
    }
    EXPECT_EQ(archive.size(), static_cast<int>(front_rows.size()));
    EXPECT_NEAR(archive.hypervolume(), expected, tolerance);
  }
}

}  // namespace
}  // namespace hwnas
