// How long one suggestion and its result take: 20 decisions of 5 options, two
// objectives (ZDT1 on a grid), so many trials observed before. Processor time;
// the same as peer_suggest_time.py does with Optuna. Prints a Markdown table.
//
//   suggest_time --observed=1000
//   suggest_time --observed=1000 --study=examples/replay_ofa.yaml
//
// With --study in the space of that file instead, with all that a controller
// lets strategies know of a network before it is proposed.
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/strings/str_format.h"
#include "bench/search/strategies.h"
#include "cli/study_file.h"
#include "common/status_macros.h"
#include "estimator/estimator.h"
#include "nas/space/space_factory.h"
#include "nas/strategy/strategy.h"
#include "proto/convert/convert.h"
#include "tests/fakes/toy_space.h"

ABSL_FLAG(std::vector<std::string>, strategies,
          std::vector<std::string>({"all"}), "");
ABSL_FLAG(int, observed, 1000, "Trials before.");
ABSL_FLAG(int, suggestions, 50, "How many are timed.");
ABSL_FLAG(int, decisions, 20, "Of 5 options each; 26 make 10^18 points.");
ABSL_FLAG(std::string, study, "", "Study file whose space it is instead.");

namespace hwnas::bench {
namespace {

double ProcessorMs() {
  timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e3 +
         static_cast<double>(now.tv_nsec) * 1e-6;
}

absl::StatusOr<std::unique_ptr<SearchSpace>> TimedSpace() {
  const std::string path = absl::GetFlag(FLAGS_study);
  if (path.empty()) {
    return std::make_unique<ToySpace>(absl::GetFlag(FLAGS_decisions), 5);
  }
  const cli::LoadedStudy study = cli::LoadedStudy::Load(path);
  if (!study.ok()) return absl::InvalidArgumentError(study.Render());
  HWNAS_ASSIGN_OR_RETURN(const SpaceConfig config, SearchedSpace(study.spec()));
  return CreateSpace(config);
}

absl::Status Time(const SearchSpace& space, const NamedStrategy& named) {
  const auto analytic = CreateAnalyticEstimator();
  Evidence evidence;
  if (!absl::GetFlag(FLAGS_study).empty()) {
    evidence = AnalyticEvidence(&space, analytic.get());
  }
  auto strategy =
      CreateStrategy(named.config, &space, ToyProblem(), 1, evidence);
  if (!strategy.ok()) return strategy.status();
  // What was observed does not depend on the strategy.
  auto random = CreateStrategy(RandomConfig{}, &space, ToyProblem(), 1);
  if (!random.ok()) return random.status();
  SuggestRequest request;
  request.count = absl::GetFlag(FLAGS_observed);
  auto earlier = (*random)->Suggest(request);
  if (!earlier.ok()) return earlier.status();
  std::vector<Observation> observations;
  for (const Proposal& proposal : *earlier) {
    observations.push_back({proposal, GridZdt1(space, proposal.architecture)});
  }
  absl::Status status = (*strategy)->Observe(observations);
  if (!status.ok()) return status;

  std::vector<double> times_ms;
  request.next_number = request.count + 1;
  request.count = 1;
  for (int i = -1; i < absl::GetFlag(FLAGS_suggestions); ++i) {
    const double start_ms = ProcessorMs();
    auto proposals = (*strategy)->Suggest(request);
    if (!proposals.ok()) return proposals.status();
    const Proposal& p = proposals->front();
    status = (*strategy)->Observe({{p, GridZdt1(space, p.architecture)}});
    const double time_ms = ProcessorMs() - start_ms;
    if (!status.ok()) return status;
    // The first one learns from all observations at once, as after a restart.
    if (i >= 0) times_ms.push_back(time_ms);
    ++request.next_number;
  }
  std::sort(times_ms.begin(), times_ms.end());
  const size_t n = times_ms.size();
  absl::PrintF("| %s | %.3g | %.3g |\n", named.name,
               (times_ms[(n - 1) / 2] + times_ms[n / 2]) / 2,
               times_ms[n * 9 / 10]);
  std::fflush(stdout);
  return absl::OkStatus();
}

int Main() {
  const auto strategies = FindStrategies(absl::GetFlag(FLAGS_strategies));
  if (!strategies.ok()) {
    absl::FPrintF(stderr, "--strategies: %s\n", strategies.status().message());
    return 2;
  }
  const auto space = TimedSpace();
  if (!space.ok()) {
    absl::FPrintF(stderr, "%s\n", space.status().message());
    return 2;
  }
  absl::PrintF(
      "| after %d observations | median ms | 90th percentile |\n"
      "|---|---|---|\n",
      absl::GetFlag(FLAGS_observed));
  for (const NamedStrategy& strategy : *strategies) {
    const absl::Status status = Time(**space, strategy);
    if (!status.ok()) {
      absl::FPrintF(stderr, "%s\n", status.ToString());
      return 1;
    }
  }
  return 0;
}

}  // namespace
}  // namespace hwnas::bench

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage(
      "Times one suggestion of each strategy after many observations.");
  absl::ParseCommandLine(argc, argv);
  return hwnas::bench::Main();
}
