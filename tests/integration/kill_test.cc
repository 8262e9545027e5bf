// Real processes, killed with real signals at random moments: the search goes
// on, nothing finished is lost, nothing is repeated.

#include <cstdlib>
#include <set>

#include "common/rng.h"
#include "controller/study/history_check.h"
#include "gmock/gmock.h"
#include "nas/pareto/pareto.h"
#include "tests/integration/cluster.h"

namespace hwnas {
namespace {

using ::testing::IsEmpty;

std::vector<v1::Trial> AllTrials(v1::StudyService::Stub& studies,
                                 const std::string& name) {
  std::vector<v1::Trial> trials;
  v1::ListTrialsRequest request;
  request.set_parent(name);
  request.set_page_size(50);
  do {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() +
                         std::chrono::seconds(5));
    v1::ListTrialsResponse response;
    if (!studies.ListTrials(&context, request, &response).ok()) return {};
    for (auto& trial : *response.mutable_trials()) trials.push_back(trial);
    request.set_page_token(response.next_page_token());
  } while (!request.page_token().empty());
  return trials;
}

v1::Study Get(v1::StudyService::Stub& studies, const std::string& name) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() +
                       std::chrono::seconds(2));
  v1::GetStudyRequest request;
  request.set_name(name);
  v1::Study study;
  if (!studies.GetStudy(&context, request, &study).ok()) return {};
  return study;
}

// $HWNAS_KILLS sets the number of kills (default 12).
TEST(Kill, AnyProcessAtAnyMomentLosesAndRepeatsNothing) {
  HWNAS_REQUIRE_FASHION_MNIST();
  const char* wanted = std::getenv("HWNAS_KILLS");
  const int kills = wanted != nullptr ? std::atoi(wanted) : 12;
  Rng rng(2026);
  Cluster cluster("kill", /*lease_seconds=*/2);
  ASSERT_TRUE(cluster.StartController()) << cluster.LogOf("controller");
  cluster.StartWorker("worker-a");
  cluster.StartAgent("agent-a");
  auto studies = cluster.Studies();

  v1::CreateStudyRequest create;
  create.set_study_id("killed");
  // Enough trials that the kills fall into the search.
  *create.mutable_spec() = TinyStudy(10 + kills * 2, 5);
  {
    grpc::ClientContext context;
    v1::Study study;
    const grpc::Status status = studies->CreateStudy(&context, create, &study);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
  const std::string name = "studies/killed";

  // Every finished trial that a client ever saw, with what it saw.
  std::map<int64_t, v1::Trial> seen;
  auto look = [&] {
    for (const v1::Trial& trial : AllTrials(*studies, name)) {
      if (trial.state() != v1::Trial::ACTIVE) {
        seen.try_emplace(trial.number(), trial);
      }
    }
  };
  std::map<std::string, int> killed;
  for (int i = 0; i < kills; ++i) {
    absl::SleepFor(absl::Milliseconds(100 + rng.Below(1500)));
    look();
    const std::string victim = std::vector<std::string>{
        "controller", "worker-a", "agent-a"}[rng.Below(3)];
    cluster.Kill(victim);
    ++killed[victim];
    absl::SleepFor(absl::Milliseconds(rng.Below(300)));
    if (victim == "controller") {
      ASSERT_TRUE(cluster.StartController()) << cluster.LogOf("controller");
    } else if (victim == "worker-a") {
      cluster.StartWorker("worker-a");
    } else {
      cluster.StartAgent("agent-a");
    }
  }
  ASSERT_TRUE(WaitUntil(
      absl::Seconds(200),
      [&] { return Get(*studies, name).state() == v1::Study::COMPLETED; }))
      << Get(*studies, name).ShortDebugString() << "\n"
      << cluster.LogOf("controller").substr(0, 20000);

  // What a client saw finished is still so, with the same values.
  std::map<int64_t, v1::Trial> last;
  for (const v1::Trial& trial : AllTrials(*studies, name)) {
    last[trial.number()] = trial;
  }
  int changed = 0;
  for (const auto& [number, trial] : seen) {
    ASSERT_TRUE(last.count(number));
    const v1::Trial& now = last[number];
    bool same = now.state() == trial.state() &&
                now.architecture().digest() == trial.architecture().digest() &&
                now.measurements_size() == trial.measurements_size();
    for (int i = 0; same && i < now.measurements_size(); ++i) {
      same = now.measurements(i).value() == trial.measurements(i).value();
    }
    changed += !same;
  }
  EXPECT_EQ(changed, 0);

  // The front is the one that the trials themselves give.
  v1::Front front;
  {
    grpc::ClientContext context;
    v1::GetFrontRequest request;
    request.set_name(name);
    ASSERT_TRUE(studies->GetFront(&context, request, &front).ok());
  }
  std::vector<Point> points;
  std::vector<int64_t> numbers;
  for (const auto& [number, trial] : last) {
    if (trial.state() != v1::Trial::COMPLETED) continue;
    double accuracy = NAN, latency_ms = NAN;
    for (const auto& m : trial.measurements()) {
      if (m.metric() == "accuracy") accuracy = m.value();
      if (m.metric() == "latency_ms") latency_ms = m.value();
    }
    points.push_back({-accuracy, latency_ms});
    numbers.push_back(number);
  }
  std::set<int64_t> expected, got;
  for (int i : NonDominated(points)) expected.insert(numbers[i]);
  for (const v1::Trial& trial : front.trials()) got.insert(trial.number());
  EXPECT_EQ(got, expected);

  cluster.Kill("controller", SIGTERM);
  auto store =
      OpenSqliteJournalStore({.path = cluster.dir() + "/store/journal.db"});
  ASSERT_TRUE(store.ok()) << store.status();
  const controller::HistoryReport report =
      controller::CheckHistory(**store, "killed");
  EXPECT_THAT(report.violations, IsEmpty());
  EXPECT_EQ(report.proposed, create.spec().budget().trials());
  EXPECT_EQ(report.lost, 0);
  EXPECT_EQ(report.repeated, 0);
  std::printf(
      "kills: %d (controller %d, worker %d, agent %d); trials: %d; attempts: "
      "%d (expired %d); lost: %d; repeated: %d\n",
      kills, killed["controller"], killed["worker-a"], killed["agent-a"],
      static_cast<int>(report.proposed), static_cast<int>(report.attempts),
      static_cast<int>(report.expired_attempts), static_cast<int>(report.lost),
      static_cast<int>(report.repeated));
}

}  // namespace
}  // namespace hwnas
