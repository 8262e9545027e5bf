// Replays studies with several seeds and strategies, through the controller's
// own engine, and prints when (in simulated seconds) the front found comes how
// near to the true one:
//
//   study,strategy,seed,regret,seconds,completed,proposed
//
//   replay_bench --studies=examples/replay_nasbench201.yaml --tables=DIR
//       --oracle=nb201_cifar100_pi5_litert_2obj --strategies=auto --seeds=20
//
// seconds is -1 if a search never came so near; completed counts the trials
// that had their whole training by then, proposed all of the study.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "cli/study_file.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/status_macros.h"
#include "controller/study/study_engine.h"
#include "estimator/data_table.h"
#include "nas/pareto/archive.h"
#include "prometheus/registry.h"
#include "store/journal_store.h"
#include "tests/fakes/memory_artifact_store.h"

ABSL_FLAG(std::vector<std::string>, studies, {}, "Study files with `replay`.");
ABSL_FLAG(std::vector<std::string>, strategies, {},
          "Instead of the files' own: auto, random, nsga2, ageing_evolution.");
ABSL_FLAG(std::string, tables, "", "Folder of the tables, with oracles.csv.");
ABSL_FLAG(std::string, oracle, "nb201_cifar100_pi5_litert_2obj",
          "Row of oracles.csv with the hypervolume of the true front.");
ABSL_FLAG(std::vector<std::string>, regrets,
          std::vector<std::string>({"0.02", "0.01", "0.005"}),
          "Shares of that hypervolume missed, descending.");
ABSL_FLAG(int, seeds, 20, "Searches of each kind.");
ABSL_FLAG(int, first_seed, 1, "Seed of the first.");
ABSL_FLAG(int, trials, 0, "Instead of the files' own budget.");
ABSL_FLAG(bool, whole_trainings, false, "Without the files' fidelity.");
ABSL_FLAG(double, eta, 0, "Instead of the files' own, with asha.");

namespace hwnas::bench {
namespace {

using controller::ControllerMetrics;
using controller::StudyEngine;

absl::StatusOr<double> TrueHypervolume(const std::string& tables,
                                       const std::string& oracle) {
  HWNAS_ASSIGN_OR_RETURN(const DataTable table,
                         DataTable::Load(tables + "/oracles.csv"));
  HWNAS_ASSIGN_OR_RETURN(const int id, table.FindColumn("id"));
  HWNAS_ASSIGN_OR_RETURN(const int hypervolume, table.FindColumn("hv_raw"));
  for (int64_t row = 0; row < table.rows(); ++row) {
    if (table.Text(row, id) == oracle) return table.Number(row, hypervolume);
  }
  return absl::NotFoundError(absl::StrCat("oracles.csv has no row ", oracle));
}

absl::Status SetStrategy(const std::string& name, v1::StrategySpec* strategy) {
  if (name == "auto") {
    strategy->mutable_auto_();
  } else if (name == "random") {
    strategy->mutable_random();
  } else if (name == "nsga2") {
    strategy->mutable_nsga2();
  } else if (name == "ageing_evolution") {
    strategy->mutable_ageing_evolution();
  } else {
    return absl::InvalidArgumentError(absl::StrCat("strategy ", name));
  }
  return absl::OkStatus();
}

// All trials of a whole search.
absl::StatusOr<std::vector<v1::Trial>> Search(const v1::StudySpec& spec,
                                              const std::string& tables) {
  const std::unique_ptr<JournalStore> journals = CreateMemoryJournalStore();
  MemoryArtifactStore artifacts(Clock::Real());
  ControllerMetrics metrics(std::make_shared<prometheus::Registry>());
  HWNAS_ASSIGN_OR_RETURN(
      const std::unique_ptr<StudyEngine> engine,
      StudyEngine::Create({.tables_dir = tables}, {.journals = journals.get(),
                                                   .artifacts = &artifacts,
                                                   .clock = Clock::Real(),
                                                   .metrics = &metrics,
                                                   .logger = NullLogger()}));
  v1::CreateStudyRequest create;
  create.set_study_id("s");
  *create.mutable_spec() = spec;
  HWNAS_RETURN_IF_ERROR(engine->CreateStudy(create).status());
  while (engine->Tick()) {
  }
  std::vector<v1::Trial> trials;
  v1::ListTrialsRequest list;
  list.set_page_size(1000);
  do {
    HWNAS_ASSIGN_OR_RETURN(const v1::ListTrialsResponse page,
                           engine->ListTrials("s", list));
    trials.insert(trials.end(), page.trials().begin(), page.trials().end());
    list.set_page_token(page.next_page_token());
  } while (!list.page_token().empty());
  return trials;
}

// Prints a line for each regret.
absl::Status Report(const std::string& study, const std::string& strategy,
                    const v1::StudySpec& spec, double true_hypervolume,
                    const std::vector<double>& regrets,
                    std::vector<v1::Trial> trials) {
  Point reference;
  for (const v1::Objective& objective : spec.objectives()) {
    const bool maximize = objective.goal_case() == v1::Objective::kMaximize;
    reference.push_back(maximize ? -objective.reference()
                                 : objective.reference());
  }
  ParetoArchive archive(spec.objectives_size());
  archive.SetReference(reference);
  const int64_t proposed = static_cast<int64_t>(trials.size());
  std::erase_if(trials, [](const v1::Trial& trial) {
    return trial.state() != v1::Trial::COMPLETED;
  });
  std::sort(trials.begin(), trials.end(),
            [](const v1::Trial& a, const v1::Trial& b) {
              return a.simulated_end_seconds() < b.simulated_end_seconds();
            });
  size_t next = 0;
  int completed = 0;
  const auto print = [&](double seconds) {
    std::printf("%s,%s,%lld,%g,%.0f,%d,%lld\n", study.c_str(), strategy.c_str(),
                static_cast<long long>(spec.seed()), regrets[next], seconds,
                completed, static_cast<long long>(proposed));
  };
  for (const v1::Trial& trial : trials) {
    ++completed;
    Point point;
    for (const v1::Objective& objective : spec.objectives()) {
      const bool maximize = objective.goal_case() == v1::Objective::kMaximize;
      for (const v1::Measurement& m : trial.measurements()) {
        if (m.metric() ==
                (maximize ? objective.maximize() : objective.minimize()) &&
            m.device_class() == objective.device()) {
          point.push_back(maximize ? -m.value() : m.value());
        }
      }
    }
    archive.Insert(point, trial.number());
    while (next < regrets.size() &&
           1 - archive.hypervolume() / true_hypervolume <= regrets[next]) {
      print(trial.simulated_end_seconds());
      ++next;
    }
  }
  for (; next < regrets.size(); ++next) print(-1);
  std::fflush(stdout);
  return absl::OkStatus();
}

absl::Status Main() {
  const std::string tables = absl::GetFlag(FLAGS_tables);
  HWNAS_ASSIGN_OR_RETURN(const double true_hypervolume,
                         TrueHypervolume(tables, absl::GetFlag(FLAGS_oracle)));
  std::vector<double> regrets;
  for (const std::string& text : absl::GetFlag(FLAGS_regrets)) {
    double regret = 0;
    if (!absl::SimpleAtod(text, &regret)) {
      return absl::InvalidArgumentError(absl::StrCat("regret ", text));
    }
    regrets.push_back(regret);
  }
  std::printf("study,strategy,seed,regret,seconds,completed,proposed\n");
  for (const std::string& path : absl::GetFlag(FLAGS_studies)) {
    const cli::LoadedStudy study = cli::LoadedStudy::Load(path);
    if (!study.ok()) return absl::InvalidArgumentError(study.Render());
    std::vector<std::string> strategies = absl::GetFlag(FLAGS_strategies);
    if (strategies.empty()) strategies.push_back("own");
    for (const std::string& strategy : strategies) {
      for (int i = 0; i < absl::GetFlag(FLAGS_seeds); ++i) {
        v1::StudySpec spec = WithDefaults(study.spec());
        if (strategy != "own") {
          HWNAS_RETURN_IF_ERROR(SetStrategy(strategy, spec.mutable_strategy()));
        }
        spec.set_seed(absl::GetFlag(FLAGS_first_seed) + i);
        if (absl::GetFlag(FLAGS_trials) > 0) {
          spec.mutable_budget()->set_trials(absl::GetFlag(FLAGS_trials));
        }
        if (absl::GetFlag(FLAGS_whole_trainings)) spec.clear_fidelity();
        if (absl::GetFlag(FLAGS_eta) > 0 && spec.fidelity().has_asha()) {
          spec.mutable_fidelity()->mutable_asha()->set_eta(
              absl::GetFlag(FLAGS_eta));
        }
        HWNAS_ASSIGN_OR_RETURN(std::vector<v1::Trial> trials,
                               Search(spec, tables));
        HWNAS_RETURN_IF_ERROR(Report(study.id(), strategy, spec,
                                     true_hypervolume, regrets,
                                     std::move(trials)));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace hwnas::bench

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "Replays studies and prints when their fronts are how good.");
  absl::ParseCommandLine(argc, argv);
  const absl::Status status = hwnas::bench::Main();
  if (status.ok()) return 0;
  std::fprintf(stderr, "replay_bench: %s\n",
               std::string(status.message()).c_str());
  return 1;
}
