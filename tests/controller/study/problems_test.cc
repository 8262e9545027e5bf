// Searches for every kind of problem, end to end.
#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nas/pareto/pareto.h"
#include "tests/controller/study/engine_harness.h"

namespace hwnas::controller {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAreArray;
using Session = EngineHarness::Session;

constexpr double kMissing = -1;

double Find(const v1::Trial& trial, const std::string& metric,
            const std::string& device_class = "") {
  for (const v1::Measurement& m : trial.measurements()) {
    if (m.metric() == metric && m.device_class() == device_class) {
      return m.value();
    }
  }
  return kMissing;
}

void OverDevices(v1::Objective::OverDevices over, v1::StudySpec* spec) {
  v1::Objective& latency = *spec->mutable_objectives(1);
  latency.clear_device();
  latency.add_devices("x86_64");
  latency.add_devices("pi");
  latency.set_over_devices(over);
}

// A fleet of one worker and an agent on each of two devices.
class Problems : public ::testing::Test {
 protected:
  void Run(const v1::StudySpec& spec) { Run(h_, spec); }
  static void Run(EngineHarness& h, const v1::StudySpec& spec) {
    if (spec.has_space()) h.Create("s", spec);
    Session worker = h.Connect(WorkerHello("w1", "h1"));
    Session x86 = h.Connect(AgentHello("a1", "h2"));
    Session pi = h.Connect(AgentHello("a2", "h3", "pi"));
    h.Work({&worker, &x86, &pi});
    ASSERT_EQ(h.Study("s").state(), v1::Study::COMPLETED);
  }
  std::vector<v1::Trial> Trials() {
    std::vector<v1::Trial> trials;
    const int64_t count = h_.Study("s").progress().proposed_count();
    for (int64_t i = 1; i <= count; ++i) trials.push_back(h_.Trial("s", i));
    return trials;
  }
  // The non-dominated completed trials, by definition.
  std::vector<int64_t> BruteForce(
      const std::function<Point(const v1::Trial&)>& minimised) {
    std::vector<int64_t> numbers;
    std::vector<Point> points;
    for (const v1::Trial& trial : Trials()) {
      if (trial.state() != v1::Trial::COMPLETED) continue;
      numbers.push_back(trial.number());
      points.push_back(minimised(trial));
    }
    std::vector<int64_t> front;
    for (size_t i = 0; i < points.size(); ++i) {
      if (std::none_of(points.begin(), points.end(), [&](const Point& other) {
            return Dominates(other, points[i]);
          })) {
        front.push_back(numbers[i]);
      }
    }
    return front;
  }
  static std::vector<int64_t> Numbers(const v1::Front& front) {
    std::vector<int64_t> numbers;
    for (const v1::Trial& trial : front.trials()) {
      numbers.push_back(trial.number());
    }
    return numbers;
  }
  v1::Front FrontOf(const std::string& device_class) {
    const auto front = h_.engine->GetFront("s", device_class);
    EXPECT_TRUE(front.ok()) << front.status();
    return front.value_or(v1::Front());
  }

  EngineHarness h_;
};

TEST_F(Problems, EachDeviceHasAFrontOfItsOwn) {
  v1::StudySpec spec = ToySpec(32);
  OverDevices(v1::Objective::EACH, &spec);
  spec.mutable_objectives(1)->set_reference(8);
  Run(spec);
  for (const v1::Trial& trial : Trials()) {
    EXPECT_GT(Find(trial, "latency_ms", "x86_64"), 0);
    EXPECT_GT(Find(trial, "latency_ms", "pi"), 0);
  }
  const v1::StudyProgress progress = h_.Study("s").progress();
  EXPECT_THAT(progress.best_values(), SizeIs(3));
  EXPECT_THAT(progress.reference(), ElementsAre(0, 8, 8));
  ASSERT_THAT(progress.device_fronts(), SizeIs(2));
  int i = 0;
  for (const std::string device : {"x86_64", "pi"}) {
    const v1::Front front = FrontOf(device);
    EXPECT_EQ(front.device_class(), device);
    EXPECT_THAT(front.reference(), ElementsAre(0, 8));
    std::vector<Point> points;
    EXPECT_THAT(Numbers(front),
                UnorderedElementsAreArray(BruteForce([&](const auto& trial) {
                  points.push_back({-Find(trial, "accuracy"),
                                    Find(trial, "latency_ms", device)});
                  return points.back();
                })));
    EXPECT_NEAR(front.hypervolume(), Hypervolume(points, {0, 8}), 1e-9);
    EXPECT_GT(front.hypervolume(), 0);
    // By accuracy, best first.
    for (int k = 1; k < front.trials_size(); ++k) {
      EXPECT_GE(Find(front.trials(k - 1), "accuracy"),
                Find(front.trials(k), "accuracy"));
    }
    EXPECT_EQ(progress.device_fronts(i).device_class(), device);
    EXPECT_EQ(progress.device_fronts(i).front_size(), front.trials_size());
    EXPECT_EQ(progress.device_fronts(i++).hypervolume(), front.hypervolume());
    for (const v1::Trial& trial : front.trials()) {
      EXPECT_TRUE(trial.on_front());
      EXPECT_NE(trial.weights_digest(), "");  // Kept to be exported.
    }
  }
  EXPECT_THAT(Numbers(FrontOf("")),
              UnorderedElementsAreArray(BruteForce([&](const auto& trial) {
                return Point{-Find(trial, "accuracy"),
                             Find(trial, "latency_ms", "x86_64"),
                             Find(trial, "latency_ms", "pi")};
              })));
  const absl::Status unknown = h_.engine->GetFront("s", "jetson").status();
  EXPECT_TRUE(absl::IsInvalidArgument(unknown));
  EXPECT_THAT(std::string(unknown.message()),
              HasSubstr("no front of 'jetson': expected x86_64, pi"));
}

TEST_F(Problems, TheWorstDeviceCounts) {
  v1::StudySpec spec = ToySpec(32);
  OverDevices(v1::Objective::WORST, &spec);
  Run(spec);
  EXPECT_THAT(Numbers(FrontOf("")),
              UnorderedElementsAreArray(BruteForce([&](const auto& trial) {
                return Point{-Find(trial, "accuracy"),
                             std::max(Find(trial, "latency_ms", "x86_64"),
                                      Find(trial, "latency_ms", "pi"))};
              })));
  EXPECT_THAT(h_.Study("s").progress().best_values(), SizeIs(2));
  EXPECT_FALSE(h_.engine->GetFront("s", "pi").ok());
}

v1::StudySpec MnasNetSpec(int trials) {
  v1::StudySpec spec = ToySpec(trials);
  auto& product = *spec.mutable_scalarization()->mutable_weighted_product();
  product.add_terms();
  product.add_terms()->set_target(4);
  product.mutable_terms(1)->set_alpha(-0.07);
  product.mutable_terms(1)->set_beta(-0.5);
  return spec;
}

TEST_F(Problems, AScalarizedStudyKeepsItsFrontAndKnowsItsBest) {
  Run(MnasNetSpec(32));
  double best = 0;
  for (const v1::Trial& trial : Trials()) {
    const double accuracy = Find(trial, "accuracy");
    const double latency = Find(trial, "latency_ms", "x86_64");
    EXPECT_NEAR(trial.score(),
                accuracy * std::pow(latency / 4, latency > 4 ? -0.5 : -0.07),
                1e-9);
    best = std::max(best, trial.score());
  }
  EXPECT_EQ(h_.Study("s").progress().best_score(), best);
  const v1::Front front = FrontOf("");
  EXPECT_THAT(Numbers(front),
              UnorderedElementsAreArray(BruteForce([&](const auto& trial) {
                return Point{-Find(trial, "accuracy"),
                             Find(trial, "latency_ms", "x86_64")};
              })));
  EXPECT_GT(front.hypervolume(), 0);
  EXPECT_TRUE(std::any_of(
      front.trials().begin(), front.trials().end(),
      [&](const v1::Trial& trial) { return trial.score() == best; }));
}

TEST_F(Problems, AnEpsilonConstraintIsNeverTrainedWhereItIsViolated) {
  v1::StudySpec spec = ToySpec(32);
  spec.mutable_scalarization()->mutable_epsilon_constraint()->add_limits(5);
  Run(spec);
  int violated = 0;
  double best = 0;
  for (const v1::Trial& trial : Trials()) {
    const bool slow = Find(trial, "latency_ms", "x86_64") > 5;
    violated += slow;
    EXPECT_EQ(trial.state(),
              slow ? v1::Trial::INFEASIBLE : v1::Trial::COMPLETED);
    EXPECT_EQ(Find(trial, "accuracy") == kMissing, slow);
    EXPECT_EQ(trial.has_score(), !slow);
    if (!slow) best = std::max(best, Find(trial, "accuracy"));
  }
  EXPECT_GT(violated, 0);
  EXPECT_EQ(h_.Study("s").progress().best_score(), best);
}

v1::StudySpec PreferenceSpec(int trials) {
  v1::StudySpec spec = ToySpec(trials);
  spec.mutable_objectives(0)->set_reference(70);
  spec.mutable_objectives(1)->set_reference(6);
  spec.mutable_preference()->add_aspiration(90);
  spec.mutable_preference()->add_aspiration(2);
  return spec;
}

TEST_F(Problems, WhatIsBeyondAReferenceIsNotInfeasible) {
  Run(PreferenceSpec(32));
  int beyond = 0;
  for (const v1::Trial& trial : Trials()) {
    EXPECT_EQ(trial.state(), v1::Trial::COMPLETED);
    const double worst =
        std::max((90 - Find(trial, "accuracy")) / 20,
                 (Find(trial, "latency_ms", "x86_64") - 2) / 4);
    beyond += worst > 1;
    EXPECT_NEAR(trial.score(), -worst, 1e-3);
  }
  EXPECT_GT(beyond, 0);
  EXPECT_TRUE(h_.Study("s").progress().has_best_score());
}

TEST_F(Problems, EightObjectivesWorkLikeTwo) {
  v1::StudySpec spec = ToySpec(40);
  OverDevices(v1::Objective::EACH, &spec);
  for (const char* metric : {"params_m", "flops_m", "model_size_mb",
                             "peak_activation_mb", "validation_loss"}) {
    spec.add_objectives()->set_minimize(metric);
  }
  Run(spec);
  const v1::Front front = FrontOf("");
  std::vector<Point> points;
  EXPECT_THAT(
      Numbers(front),
      UnorderedElementsAreArray(BruteForce([&](const auto& trial) {
        points.push_back(
            {-Find(trial, "accuracy"), Find(trial, "latency_ms", "x86_64"),
             Find(trial, "latency_ms", "pi"), Find(trial, "params_m"),
             Find(trial, "flops_m"), Find(trial, "model_size_mb"),
             Find(trial, "peak_activation_mb"),
             Find(trial, "validation_loss")});
        return points.back();
      })));
  Point reference(front.reference().begin(), front.reference().end());
  ASSERT_THAT(reference, SizeIs(8));
  EXPECT_EQ(reference[0], 0);
  const double expected = Hypervolume(points, reference);
  EXPECT_GT(expected, 0);
  EXPECT_NEAR(front.hypervolume(), expected, 0.02 * expected);
  // The front of a device leaves the other device out.
  EXPECT_THAT(FrontOf("pi").reference(), SizeIs(7));
}

// Which constraints a study has, each on a metric that is no objective.
struct Mix {
  bool screened;
  bool measured;
  bool trained;
};

class ConstraintMix : public Problems,
                      public ::testing::WithParamInterface<Mix> {};

TEST_P(ConstraintMix, NothingIsDoneForWhatIsAlreadyInfeasible) {
  const Mix mix = GetParam();
  v1::StudySpec spec = ToySpec(40);
  spec.clear_objectives();
  spec.add_objectives()->set_minimize("flops_m");
  const auto constrain = [&](const char* metric, const char* device) {
    v1::Constraint& constraint = *spec.add_constraints();
    constraint.set_metric(metric);
    constraint.set_device(device);
    return &constraint;
  };
  // In an order that is not that of the stages.
  if (mix.trained) constrain("accuracy", "")->set_at_least(70);
  if (mix.measured) constrain("latency_ms", "pi")->set_at_most(7);
  if (mix.measured) constrain("latency_ms", "x86_64")->set_at_most(7);
  if (mix.screened) constrain("params_m", "")->set_at_most(0.008);
  if (!mix.trained) spec.clear_train();
  // So few cells that small ones run out: others are passed over.
  for (const char* operation :
       {"skip_connect", "nor_conv_1x1", "nor_conv_3x3"}) {
    spec.mutable_space()->mutable_nasbench201()->add_operations(operation);
  }
  Run(spec);
  int feasible = 0, infeasible = 0;
  for (const v1::Trial& trial : Trials()) {
    const bool small = !mix.screened || Find(trial, "params_m") <= 0.008;
    const double on_pi = Find(trial, "latency_ms", "pi");
    const double on_x86 = Find(trial, "latency_ms", "x86_64");
    const double accuracy = Find(trial, "accuracy");
    // Stages in order; each runs only if nothing before it was violated.
    const bool to_pi = mix.measured && small;
    const bool to_x86 = to_pi && on_pi <= 7;
    const bool to_train =
        mix.trained && small && (!mix.measured || (to_x86 && on_x86 <= 7));
    EXPECT_EQ(on_pi != kMissing, to_pi);
    EXPECT_EQ(on_x86 != kMissing, to_x86);
    EXPECT_EQ(accuracy != kMissing, to_train);
    const bool good = small && (!mix.measured || (to_x86 && on_x86 <= 7)) &&
                      (!mix.trained || (to_train && accuracy >= 70));
    EXPECT_EQ(trial.state(),
              good ? v1::Trial::COMPLETED : v1::Trial::INFEASIBLE);
    ++(good ? feasible : infeasible);
    if (!good) {
      EXPECT_NE(trial.infeasible_reason(), "");
    }
  }
  EXPECT_GT(feasible, 0);
  EXPECT_EQ(infeasible > 0, mix.screened || mix.measured || mix.trained);
}

INSTANTIATE_TEST_SUITE_P(
    All, ConstraintMix,
    ::testing::Values(Mix{false, false, false}, Mix{true, false, false},
                      Mix{false, true, false}, Mix{true, true, false},
                      Mix{false, false, true}, Mix{true, false, true},
                      Mix{false, true, true}, Mix{true, true, true}));

struct Kind {
  const char* name;
  v1::StudySpec (*spec)(int trials);
};

class KindOfProblem : public Problems,
                      public ::testing::WithParamInterface<Kind> {};

TEST_P(KindOfProblem, GoesOnWithTheVerySameSearchAfterACrash) {
  v1::StudySpec spec = GetParam().spec(16);
  spec.set_max_parallel_trials(1);  // One order of results.
  Run(spec);
  const std::vector<std::string> expected = h_.Search("s");
  const std::vector<v1::JournalEvent> all = h_.Events("s");
  const std::vector<int64_t> ends = h_.journals->append_ends();
  for (size_t i = 0; i < ends.size(); i += 7) {
    std::vector<v1::JournalEvent> events(all.begin(), all.begin() + ends[i]);
    auto store = std::make_shared<FaultyJournalStore>();
    ASSERT_TRUE(store->Append("s", 0, absl::MakeSpan(events)).ok());
    EngineHarness h(store);
    Run(h, {});
    EXPECT_EQ(h.Search("s"), expected) << "crash after event " << ends[i];
    EXPECT_EQ(h.Study("s").progress().best_score(),
              h_.Study("s").progress().best_score());
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, KindOfProblem,
    ::testing::Values(Kind{"each",
                           [](int trials) {
                             v1::StudySpec spec = ToySpec(trials);
                             OverDevices(v1::Objective::EACH, &spec);
                             return spec;
                           }},
                      Kind{"worst",
                           [](int trials) {
                             v1::StudySpec spec = ToySpec(trials);
                             OverDevices(v1::Objective::WORST, &spec);
                             return spec;
                           }},
                      Kind{"mnasnet", MnasNetSpec},
                      Kind{"preference", PreferenceSpec}),
    [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace hwnas::controller
