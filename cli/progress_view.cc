#include "cli/progress_view.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/diagnostic.h"
#include "cli/table.h"
#include "cli/trial_table.h"

namespace hwnas::cli {
namespace {

constexpr char kBold[] = "\x1b[1m";
constexpr char kDim[] = "\x1b[2m";
constexpr char kGreen[] = "\x1b[32m";
constexpr char kYellow[] = "\x1b[33m";
constexpr char kReset[] = "\x1b[0m";

std::string Paint(const std::string& text, const char* style, bool color) {
  return color ? absl::StrCat(style, text, kReset) : text;
}

std::string StateName(v1::Study::State state) {
  switch (state) {
    case v1::Study::RUNNING:
      return "running";
    case v1::Study::PAUSED:
      return "paused";
    case v1::Study::COMPLETED:
      return "finished";
    case v1::Study::CANCELLED:
      return "cancelled";
    default:
      return "";
  }
}

}  // namespace

void ProgressState::Apply(const v1::StudyUpdate& update) {
  if (update.has_study()) study_ = update.study();
  if (!update.message().empty()) last_message_ = update.message();
  if (!update.has_trial()) return;
  const v1::Trial& trial = update.trial();
  const bool in_work =
      trial.state() == v1::Trial::ACTIVE &&
      std::any_of(trial.stages().begin(), trial.stages().end(),
                  [](const v1::TrialStage& stage) {
                    return stage.state() == v1::TrialStage::LEASED;
                  });
  if (in_work) {
    active_[trial.number()] = trial;
  } else {
    active_.erase(trial.number());
  }
}

std::vector<std::string> RenderProgress(const ProgressState& state,
                                        const ViewOptions& options) {
  const v1::Study& study = state.study();
  const v1::StudyProgress& progress = study.progress();
  const int width = std::max(20, options.width);
  const bool color = options.color;
  std::vector<std::string> lines;

  const std::string name =
      Printable(study.name(), 80)
          .substr(study.name().rfind("studies/", 0) == 0 ? 8 : 0);
  const int64_t total = study.spec().budget().trials();
  const int64_t done = DoneCount(progress);
  const double fraction =
      total > 0 ? static_cast<double>(done) / static_cast<double>(total) : 0;
  const std::string head = absl::StrCat(name, "  ", StateName(study.state()));
  const std::string count = absl::StrFormat(
      "%d/%d trials %3.0f %%", done, total, 100 * std::min(1., fraction));
  const int room = width - DisplayWidth(head) - DisplayWidth(count) - 4;
  std::string first = Paint(head, kBold, color);
  if (room >= 8) {
    absl::StrAppend(&first, "  ",
                    Paint(Bar(fraction, std::min(room, 60)), kGreen, color));
  }
  absl::StrAppend(&first, "  ", count);
  lines.push_back(first);

  const double elapsed = progress.elapsed_seconds() +
                         (state.ended() ? 0 : options.since_update_seconds);
  std::vector<std::string> facts = {
      absl::StrCat("running ", progress.running_count()),
      absl::StrCat("waiting ", progress.waiting_count()),
      absl::StrCat("infeasible ", progress.infeasible_count()),
      absl::StrCat("elapsed ", FormatSeconds(elapsed))};
  if (study.spec().has_fidelity()) {
    facts.insert(facts.end() - 1,
                 {absl::StrCat("paused ", progress.paused_count()),
                  absl::StrCat("stopped ", progress.stopped_count())});
  }
  if (progress.has_simulated_seconds()) {
    facts.push_back(absl::StrCat("simulated ",
                                 FormatSeconds(progress.simulated_seconds())));
  }
  if (progress.has_eta_seconds() && !state.ended()) {
    facts.push_back(absl::StrCat(
        "ETA ", FormatSeconds(std::max(0., progress.eta_seconds() -
                                               options.since_update_seconds))));
  }
  lines.push_back(absl::StrCat("  ", absl::StrJoin(facts, "   ")));

  if (progress.front_size() > 0) {
    std::vector<std::string> best = BestValues(study);
    std::string line = absl::StrCat("  front ", progress.front_size());
    for (int i = 0; i < progress.device_fronts_size(); ++i) {
      const v1::DeviceFrontProgress& device = progress.device_fronts(i);
      absl::StrAppend(&line, i == 0 ? " (" : ", ", device.device_class(), " ",
                      device.front_size(),
                      i + 1 == progress.device_fronts_size() ? ")" : "");
    }
    absl::StrAppend(&line, "   hypervolume ",
                    FormatNumber(progress.hypervolume(), 5));
    if (!best.empty()) {
      absl::StrAppend(&line, "   best ", absl::StrJoin(best, ", "));
    }
    lines.push_back(line);
  } else {
    lines.push_back("  no trial on the front yet");
  }

  size_t shown = 0;
  for (const auto& [number, trial] : state.active()) {
    if (static_cast<int>(lines.size()) >= options.max_lines - 2) break;
    ++shown;
    std::string line = absl::StrCat("  trial ", number, "  ");
    if (trial.has_last_epoch() && trial.last_epoch().epoch_count() > 0 &&
        TrialActivity(trial).rfind("train", 0) == 0) {
      const v1::EpochReport& epoch = trial.last_epoch();
      absl::StrAppend(
          &line, "training ",
          Bar(static_cast<double>(epoch.epoch()) / epoch.epoch_count(), 12),
          " epoch ", epoch.epoch(), "/", epoch.epoch_count(),
          absl::StrFormat("  loss %.3f  validation %.2f %%", epoch.train_loss(),
                          epoch.validation_accuracy()));
      if (epoch.images_per_second() > 0) {
        absl::StrAppend(&line, "  ",
                        FormatNumber(std::round(epoch.images_per_second())),
                        " images/s");
      }
    } else {
      absl::StrAppend(&line, TrialActivity(trial));
    }
    lines.push_back(line);
  }
  if (shown < state.active().size()) {
    lines.push_back(
        absl::StrCat("  and ", state.active().size() - shown, " more"));
  }
  if (!state.last_message().empty()) {
    lines.push_back(Paint(
        absl::StrCat("  ", Printable(state.last_message(), 300)), kDim, color));
  }
  if (!options.notice.empty()) {
    lines.push_back(Paint(absl::StrCat("  ", Printable(options.notice, 300)),
                          kYellow, color));
  }
  for (std::string& line : lines) line = Fit(line, width);
  return lines;
}

std::string RenderEvent(const v1::StudyUpdate& update) {
  const v1::Study& study = update.study();
  const v1::StudyProgress& progress = study.progress();
  std::string line = Printable(update.message(), 400);
  if (line.empty()) line = absl::StrCat("study ", StateName(study.state()));
  std::vector<std::string> facts = {absl::StrCat(
      DoneCount(progress), "/", study.spec().budget().trials(), " done")};
  if (progress.front_size() > 0) {
    facts.push_back(absl::StrCat("front ", progress.front_size()));
    facts.push_back(
        absl::StrCat("hypervolume ", FormatNumber(progress.hypervolume(), 5)));
  }
  if (progress.has_simulated_seconds()) {
    facts.push_back(absl::StrCat("simulated ",
                                 FormatSeconds(progress.simulated_seconds())));
  }
  if (progress.has_eta_seconds() && study.state() == v1::Study::RUNNING) {
    facts.push_back(
        absl::StrCat("ETA ", FormatSeconds(progress.eta_seconds())));
  }
  return absl::StrCat(line, "  [", absl::StrJoin(facts, ", "), "]");
}

std::vector<std::string> BestValues(const v1::Study& study) {
  std::vector<std::string> best;
  if (study.progress().has_best_score()) {
    best.push_back(
        absl::StrCat("score ", FormatNumber(study.progress().best_score())));
  }
  const auto& values = study.progress().best_values();
  const std::vector<MetricColumn> objectives = ObjectiveColumns(study.spec());
  for (size_t i = 0; i < objectives.size(); ++i) {
    if (static_cast<int>(i) >= values.size()) break;
    best.push_back(absl::StrCat(
        objectives[i].key(), " ", FormatNumber(values[static_cast<int>(i)]),
        objectives[i].unit.empty() ? "" : " ", objectives[i].unit));
  }
  return best;
}

std::string SimulatedText(const v1::Study& study) {
  if (!study.progress().has_simulated_seconds()) return "";
  const int workers = study.spec().replay().workers();
  return absl::StrCat(FormatSeconds(study.progress().simulated_seconds()),
                      " simulated on ", workers,
                      workers == 1 ? " worker, " : " workers, ");
}

std::string Bar(double fraction, int width) {
  if (!(fraction > 0)) fraction = 0;
  const int filled =
      static_cast<int>(std::floor(std::min(1., fraction) * width + 1e-9));
  std::string bar;
  for (int i = 0; i < width; ++i) absl::StrAppend(&bar, i < filled ? "━" : "─");
  return bar;
}

std::string Fit(absl::string_view text, int width) {
  std::string out;
  int columns = 0;
  bool styled = false;
  for (size_t i = 0; i < text.size();) {
    if (text[i] == '\x1b') {
      const size_t end = text.find('m', i);
      if (end == absl::string_view::npos) break;
      absl::StrAppend(&out, text.substr(i, end + 1 - i));
      styled = true;
      i = end + 1;
      continue;
    }
    size_t end = i + 1;
    while (end < text.size() && (text[end] & 0xc0) == 0x80) ++end;
    if (columns + 1 == width && DisplayWidth(text.substr(end)) > 0) {
      // What follows may be only a style's end.
      absl::string_view rest = text.substr(end);
      if (rest != kReset) {
        absl::StrAppend(&out, "…");
        if (styled) absl::StrAppend(&out, kReset);
        return out;
      }
    }
    absl::StrAppend(&out, text.substr(i, end - i));
    ++columns;
    i = end;
  }
  return out;
}

double EstimateEta(double done, double total, double elapsed_seconds) {
  if (!(done > 0) || !(elapsed_seconds >= 0) || total < done) return -1;
  return elapsed_seconds * (total - done) / done;
}

}  // namespace hwnas::cli
