#include "cli/trial_table.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/algorithm/container.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "cli/diagnostic.h"
#include "nas/problem.h"
#include "proto/convert/convert.h"
#include "proto/convert/resource_names.h"

namespace hwnas::cli {
namespace {

using Json = nlohmann::ordered_json;

std::string ShortUnit(absl::string_view unit) {
  return unit == "percent" ? "%" : std::string(unit);
}

std::string UnitOf(const std::string& metric) {
  const MetricInfo* info = FindMetric(metric);
  return info == nullptr ? "" : ShortUnit(info->unit);
}

bool Same(const MetricColumn& column, const std::string& metric,
          const std::string& device_class) {
  return column.metric == metric && column.device_class == device_class;
}

bool IsSet(const google::protobuf::Timestamp& time) {
  return time.seconds() != 0 || time.nanos() != 0;
}

// Simulated seconds, for programs.
Cell SimulatedCell(bool given, double seconds) {
  return given ? Cell::Number(seconds) : Cell("", nullptr);
}

// RFC 3339 in UTC, for programs.
Cell TimeCell(const google::protobuf::Timestamp& time) {
  if (!IsSet(time)) return Cell("", nullptr);
  return Cell(FormatTime(time),
              absl::FormatTime(absl::RFC3339_sec, FromProto(time),
                               absl::UTCTimeZone()));
}

Json MeasurementJson(const v1::Measurement& m) {
  Json json = {
      {"metric", m.metric()}, {"value", m.value()}, {"unit", m.unit()}};
  if (m.has_spread()) json["spread"] = m.spread();
  if (m.has_ci_low()) json["ci_low"] = m.ci_low();
  if (m.has_ci_high()) json["ci_high"] = m.ci_high();
  json["sample_count"] = m.sample_count();
  json["provenance"] = ProvenanceName(m.provenance());
  if (!m.device_class().empty()) json["device_class"] = m.device_class();
  if (!m.device().empty()) json["device"] = m.device();
  json["flags"] = Json::array();
  for (const std::string& flag : m.flags()) json["flags"].push_back(flag);
  return json;
}

Json TrialDetails(const v1::Trial& trial) {
  Json details = Json::object();
  details["choices"] = Json::array();
  for (int choice : trial.architecture().choices()) {
    details["choices"].push_back(choice);
  }
  details["measurements"] = Json::array();
  for (const v1::Measurement& m : trial.measurements()) {
    details["measurements"].push_back(MeasurementJson(m));
  }
  return details;
}

Cell MetricCell(const v1::Trial& trial, const MetricColumn& column) {
  const v1::Measurement* m = FindMeasurement(trial, column);
  if (m == nullptr) return Cell("-", nullptr);
  Cell cell = Cell::Number(m->value());
  if (!m->flags().empty()) cell.text += "!";
  return cell;
}

// Says what "!" means in a table with such cells: "! UNCONVERGED, NOISY: ...".
void ExplainFlags(absl::Span<const v1::Trial> trials,
                  absl::Span<const MetricColumn> metrics, Table* table) {
  std::vector<std::string> names;
  for (const v1::Trial& trial : trials) {
    for (const MetricColumn& metric : metrics) {
      const v1::Measurement* m = FindMeasurement(trial, metric);
      if (m == nullptr || !metric.named) continue;
      for (const std::string& flag : m->flags()) {
        std::string name = flag.substr(0, flag.find(':'));
        if (absl::c_linear_search(names, name)) continue;
        names.push_back(std::move(name));
      }
    }
  }
  if (names.empty()) return;
  absl::c_sort(names);
  table->SetNote(absl::StrCat("! to be trusted less (",
                              absl::StrJoin(names, ", "),
                              "): the reasons are in the JSON output"));
}

Cell ScoreCell(const v1::Trial& trial) {
  return trial.has_score() ? Cell::Number(trial.score()) : Cell("-", nullptr);
}

}  // namespace

std::string MetricColumn::key() const {
  return device_class.empty() ? metric
                              : absl::StrCat(metric, "@", device_class);
}

std::string MetricColumn::title() const {
  return unit.empty() ? key() : absl::StrCat(key(), " [", unit, "]");
}

std::vector<MetricColumn> ObjectiveColumns(const v1::StudySpec& spec,
                                           const std::string& device_class) {
  const Problem problem = ProblemFromProto(spec);
  std::vector<MetricColumn> columns;
  for (const ObjectiveSpec& objective : problem.objectives) {
    if (!device_class.empty() && objective.own_front &&
        objective.key.device_class != device_class) {
      continue;
    }
    MetricColumn column;
    column.maximize = objective.maximize;
    column.metric = objective.key.metric;
    column.device_class = objective.key.device_class;
    column.unit = UnitOf(column.metric);
    column.objective = true;
    column.worst_of = objective.worst_of;
    columns.push_back(std::move(column));
  }
  return columns;
}

std::vector<MetricColumn> MetricColumns(const v1::StudySpec& spec,
                                        absl::Span<const v1::Trial> trials) {
  std::vector<MetricColumn> columns = ObjectiveColumns(spec);
  auto add = [&](const std::string& metric, const std::string& device_class,
                 const std::string& unit, bool named) {
    const bool known = std::any_of(
        columns.begin(), columns.end(),
        [&](const auto& column) { return Same(column, metric, device_class); });
    if (known) return;
    MetricColumn column;
    column.metric = metric;
    column.device_class = device_class;
    column.unit = unit;
    column.named = named;
    columns.push_back(std::move(column));
  };
  for (const MetricKey& key : ProblemFromProto(spec).Keys()) {
    add(key.metric, key.device_class, UnitOf(key.metric), /*named=*/true);
  }
  const size_t named = columns.size();
  for (const v1::Trial& trial : trials) {
    for (const v1::Measurement& m : trial.measurements()) {
      add(m.metric(), m.device_class(), ShortUnit(m.unit()), /*named=*/false);
    }
  }
  std::sort(columns.begin() + static_cast<std::ptrdiff_t>(named), columns.end(),
            [](const auto& a, const auto& b) { return a.key() < b.key(); });
  // The units of a study's own metrics are known only from what was told.
  for (MetricColumn& column : columns) {
    for (const v1::Trial& trial : trials) {
      if (!column.unit.empty()) break;
      const v1::Measurement* m = FindMeasurement(trial, column);
      if (m != nullptr) column.unit = ShortUnit(m->unit());
    }
  }
  return columns;
}

const v1::Measurement* FindMeasurement(const v1::Trial& trial,
                                       const MetricColumn& column) {
  const auto find = [&](const std::string& device_class) {
    const v1::Measurement* last = nullptr;
    for (const v1::Measurement& m : trial.measurements()) {
      if (m.metric() == column.metric && m.device_class() == device_class) {
        last = &m;
      }
    }
    return last;
  };
  if (column.worst_of.empty()) return find(column.device_class);
  const v1::Measurement* worst = nullptr;
  for (const std::string& device_class : column.worst_of) {
    const v1::Measurement* m = find(device_class);
    if (m == nullptr) return nullptr;
    if (worst == nullptr || (column.maximize ? m->value() < worst->value()
                                             : m->value() > worst->value())) {
      worst = m;
    }
  }
  return worst;
}

std::string TrialStateName(v1::Trial::State state) {
  switch (state) {
    case v1::Trial::ACTIVE:
      return "active";
    case v1::Trial::COMPLETED:
      return "completed";
    case v1::Trial::INFEASIBLE:
      return "infeasible";
    case v1::Trial::CANCELLED:
      return "cancelled";
    case v1::Trial::STOPPED:
      return "stopped";
    default:
      return "unknown";
  }
}

int64_t DoneCount(const v1::StudyProgress& progress) {
  return progress.completed_count() + progress.infeasible_count() +
         progress.stopped_count() + progress.paused_count();
}

std::string StudyStateName(v1::Study::State state) {
  switch (state) {
    case v1::Study::RUNNING:
      return "running";
    case v1::Study::PAUSED:
      return "paused";
    case v1::Study::COMPLETED:
      return "completed";
    case v1::Study::CANCELLED:
      return "cancelled";
    default:
      return "unknown";
  }
}

std::string ProvenanceName(v1::Provenance provenance) {
  switch (provenance) {
    case v1::ANALYTIC:
      return "analytic";
    case v1::PREDICTED:
      return "predicted";
    case v1::MEASURED:
      return "measured";
    case v1::TRAINED:
      return "trained";
    case v1::TABULAR:
      return "tabular";
    case v1::EXTERNAL:
      return "external";
    default:
      return "unknown";
  }
}

std::string TrialActivity(const v1::Trial& trial) {
  if (trial.state() == v1::Trial::INFEASIBLE) return trial.infeasible_reason();
  if (trial.state() == v1::Trial::STOPPED ||
      trial.state() == v1::Trial::CANCELLED) {
    return trial.stop_reason();
  }
  if (trial.state() != v1::Trial::ACTIVE) {
    // Where its values come from, if not from work of its own.
    std::vector<std::string> sources;
    for (const v1::TrialStage& stage : trial.stages()) {
      if (!stage.reused_from().empty() &&
          (sources.empty() || sources.back() != stage.reused_from())) {
        sources.push_back(stage.reused_from());
      }
    }
    return sources.empty()
               ? ""
               : absl::StrCat("values of ", absl::StrJoin(sources, ", "));
  }
  auto work = [](const v1::TrialStage& stage) -> std::string {
    switch (stage.kind()) {
      case v1::SCREEN:
        return "screening";
      case v1::MEASURE:
        return absl::StrCat("measuring on ", stage.device_class());
      case v1::TRAIN:
        return "training";
      case v1::ASK:
        return "asked";
      case v1::REPLAY:
        return "replaying";
      default:
        return "";
    }
  };
  for (const v1::TrialStage& stage : trial.stages()) {
    if (stage.state() != v1::TrialStage::LEASED) continue;
    std::string text = work(stage);
    if (stage.kind() == v1::TRAIN && trial.has_last_epoch()) {
      absl::StrAppend(&text, " ", trial.last_epoch().epoch(), "/",
                      trial.last_epoch().epoch_count());
    }
    if (!stage.executor().empty()) {
      absl::StrAppend(&text, " (", stage.executor(), ")");
    }
    return text;
  }
  for (const v1::TrialStage& stage : trial.stages()) {
    if (stage.state() == v1::TrialStage::QUEUED) {
      return absl::StrCat("queued for ", work(stage));
    }
    if (stage.state() == v1::TrialStage::PAUSED) {
      return absl::StrCat("paused after epoch ", trial.trained_epochs());
    }
  }
  return "waiting";
}

Table TrialTable(const v1::StudySpec& spec,
                 absl::Span<const v1::Trial> trials) {
  const std::vector<MetricColumn> metrics = MetricColumns(spec, trials);
  const bool scored = ProblemFromProto(spec).scored();
  std::vector<Column> columns = {
      {"trial", "trial", true}, {"state", "state"}, {"on_front", "front"}};
  if (scored) columns.push_back({"score", "score", true});
  for (const MetricColumn& metric : metrics) {
    columns.push_back(
        {metric.key(), metric.title(), true, false, !metric.named});
  }
  // Trained values of different trials are after different epochs.
  if (spec.has_fidelity()) {
    columns.push_back({"trained_epochs", "epochs", true});
  }
  columns.insert(columns.end(),
                 {{"architecture", "architecture"},
                  {"note", "note"},
                  {"digest", "digest", false, false, true},
                  {"weights_digest", "weights", false, false, true},
                  {"create_time", "created", false, false, true},
                  {"end_time", "ended", false, false, true}});
  if (spec.has_replay()) {
    columns.insert(columns.end(),
                   {{"simulated_create_s", "created [s]", true, false, true},
                    {"simulated_end_s", "ended [s]", true, false, true}});
  }
  Table table(std::move(columns));
  for (const v1::Trial& trial : trials) {
    std::vector<Cell> cells = {Cell::Integer(trial.number()),
                               TrialStateName(trial.state()),
                               Cell::Flag(trial.on_front())};
    if (scored) cells.push_back(ScoreCell(trial));
    for (const MetricColumn& metric : metrics) {
      cells.push_back(MetricCell(trial, metric));
    }
    if (spec.has_fidelity()) {
      cells.push_back(Cell::Integer(trial.trained_epochs()));
    }
    cells.insert(cells.end(),
                 {trial.architecture().text(), TrialActivity(trial),
                  trial.architecture().digest(), trial.weights_digest(),
                  TimeCell(trial.create_time()), TimeCell(trial.end_time())});
    if (spec.has_replay()) {
      cells.insert(cells.end(),
                   {SimulatedCell(trial.has_simulated_create_seconds(),
                                  trial.simulated_create_seconds()),
                    SimulatedCell(trial.has_simulated_end_seconds(),
                                  trial.simulated_end_seconds())});
    }
    table.Add(std::move(cells), TrialDetails(trial));
  }
  ExplainFlags(trials, metrics, &table);
  return table;
}

Table FrontTable(const v1::StudySpec& spec, absl::Span<const v1::Trial> front) {
  const std::vector<MetricColumn> metrics = MetricColumns(spec, front);
  const bool scored = ProblemFromProto(spec).scored();
  std::vector<Column> columns = {{"trial", "trial", true}};
  if (scored) columns.push_back({"score", "score", true});
  for (const MetricColumn& metric : metrics) {
    columns.push_back(
        {metric.key(), metric.title(), true, false, !metric.named});
  }
  columns.insert(columns.end(),
                 {{"architecture", "architecture"},
                  {"digest", "digest", false, false, true},
                  {"weights_digest", "weights", false, false, true}});
  Table table(std::move(columns));
  for (const v1::Trial& trial : front) {
    std::vector<Cell> cells = {Cell::Integer(trial.number())};
    if (scored) cells.push_back(ScoreCell(trial));
    for (const MetricColumn& metric : metrics) {
      cells.push_back(MetricCell(trial, metric));
    }
    cells.insert(cells.end(),
                 {trial.architecture().text(), trial.architecture().digest(),
                  trial.weights_digest()});
    table.Add(std::move(cells), TrialDetails(trial));
  }
  ExplainFlags(front, metrics, &table);
  return table;
}

std::string DeviceFrontText(const v1::StudySpec& spec, const v1::Front& front) {
  const std::vector<v1::Trial> members(front.trials().begin(),
                                       front.trials().end());
  return absl::StrCat("front of ", front.device_class(), ", hypervolume ",
                      FormatNumber(front.hypervolume(), 5), ":\n",
                      FrontTable(spec, members).ToText());
}

Table StudyTable(absl::Span<const v1::Study> studies) {
  Table table({{"study", "study"},
               {"state", "state"},
               {"trials_done", "done", true},
               {"trials_budget", "of", true},
               {"running", "running", true},
               {"infeasible", "infeasible", true},
               {"front_size", "front", true},
               {"hypervolume", "hypervolume", true},
               {"objectives", "objectives"},
               {"create_time", "created"},
               {"end_time", "ended", false, false, true},
               {"description", "description", false, false, true}});
  for (const v1::Study& study : studies) {
    const v1::StudyProgress& progress = study.progress();
    std::vector<std::string> objectives;
    for (const MetricColumn& objective : ObjectiveColumns(study.spec())) {
      objectives.push_back(
          absl::StrCat(objective.maximize ? "max " : "min ", objective.key()));
    }
    const absl::StatusOr<std::string> id = ParseStudyName(study.name());
    table.Add({id.ok() ? *id : study.name(), StudyStateName(study.state()),
               Cell::Integer(DoneCount(progress)),
               Cell::Integer(study.spec().budget().trials()),
               Cell::Integer(progress.running_count()),
               Cell::Integer(progress.infeasible_count()),
               Cell::Integer(progress.front_size()),
               Cell::Number(progress.hypervolume(), 5),
               absl::StrJoin(objectives, ", "), TimeCell(study.create_time()),
               TimeCell(study.end_time()), study.description()});
  }
  return table;
}

absl::StatusOr<int> PickTrial(const v1::StudySpec& spec,
                              absl::Span<const v1::Trial> front,
                              const std::string& how,
                              const std::string& device_class) {
  int64_t number = 0;
  const bool is_number = absl::SimpleAtoi(how, &number);
  if (is_number) {
    std::vector<std::string> members;
    for (size_t i = 0; i < front.size(); ++i) {
      if (front[i].number() == number) return static_cast<int>(i);
      members.push_back(absl::StrCat(front[i].number()));
    }
    return absl::InvalidArgumentError(
        absl::StrCat("trial ", number, " is not on the front: expected one of ",
                     members.empty() ? "none yet" : JoinChoices(members)));
  }
  const std::vector<MetricColumn> objectives =
      ObjectiveColumns(spec, device_class);
  const bool scored = ProblemFromProto(spec).scored();
  const bool by_score = scored && (how.empty() || how == "best");
  std::vector<std::string> choices = {"knee", "best"};
  int wanted = how == "best" ? 0 : -1;
  for (size_t i = 0; i < objectives.size(); ++i) {
    if (how == objectives[i].key()) wanted = static_cast<int>(i);
    choices.push_back(objectives[i].key());
  }
  for (size_t i = 0; wanted < 0 && i < objectives.size(); ++i) {
    if (how == objectives[i].metric) wanted = static_cast<int>(i);
  }
  if (wanted < 0 && how != "knee" && !how.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot pick '", Printable(how), "': expected ",
                     JoinChoices(choices), ", or the number of a trial"));
  }
  if (front.empty()) {
    return absl::NotFoundError("the front is empty: no trial to pick yet");
  }
  // Everything minimised.
  const double worst = std::numeric_limits<double>::infinity();
  auto value = [&](const v1::Trial& trial, size_t objective) {
    const v1::Measurement* m = FindMeasurement(trial, objectives[objective]);
    if (m == nullptr) return worst;
    return objectives[objective].maximize ? -m->value() : m->value();
  };
  std::vector<double> low(objectives.size(), worst);
  std::vector<double> high(objectives.size(), -worst);
  for (const v1::Trial& trial : front) {
    for (size_t k = 0; k < objectives.size(); ++k) {
      const double v = value(trial, k);
      if (!std::isfinite(v)) continue;
      low[k] = std::min(low[k], v);
      high[k] = std::max(high[k], v);
    }
  }
  int best = 0;
  double best_cost = worst;
  for (size_t i = 0; i < front.size(); ++i) {
    double cost = 0;
    if (by_score) {
      cost = front[i].has_score() ? -front[i].score() : worst;
    } else if (wanted >= 0) {
      cost = value(front[i], static_cast<size_t>(wanted));
    } else {
      for (size_t k = 0; k < objectives.size(); ++k) {
        const double v = value(front[i], k);
        if (!std::isfinite(v)) {
          cost = worst;
          break;
        }
        const double range = high[k] - low[k];
        const double scaled = range > 0 ? (v - low[k]) / range : 0;
        cost += scaled * scaled;
      }
    }
    if (cost < best_cost) {
      best_cost = cost;
      best = static_cast<int>(i);
    }
  }
  return best;
}

std::string FormatTime(const google::protobuf::Timestamp& time) {
  if (!IsSet(time)) return "";
  return absl::FormatTime("%Y-%m-%d %H:%M:%S", FromProto(time),
                          absl::LocalTimeZone());
}

}  // namespace hwnas::cli
