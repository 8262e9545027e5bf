// One row for each rule of study.proto.
#include <cmath>
#include <functional>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/rng.h"
#include "gmock/gmock.h"
#include "google/protobuf/stubs/logging.h"
#include "gtest/gtest.h"
#include "proto/convert/convert.h"

namespace hwnas {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

v1::StudySpec Valid() {
  v1::StudySpec spec;
  v1::Nasbench201Space& space = *spec.mutable_space()->mutable_nasbench201();
  for (const int v : {1, 28, 28}) space.add_input(v);
  space.set_channels(16);
  space.set_cells(1);
  space.set_classes(10);
  spec.add_objectives()->set_maximize("accuracy");
  v1::Objective& latency = *spec.add_objectives();
  latency.set_minimize("latency_ms");
  latency.set_device("raspberrypi5");
  v1::Constraint& params = *spec.add_constraints();
  params.set_metric("params_m");
  params.set_at_most(0.5);
  spec.mutable_train()->set_dataset("fashion-mnist");
  spec.mutable_budget()->set_trials(24);
  spec.set_seed(7);
  return spec;
}

v1::StudySpec ValidMobile() {
  v1::StudySpec spec = Valid();
  v1::MobileSpace& space = *spec.mutable_space()->mutable_mobile();
  for (const int v : {1, 28, 28}) space.add_input(v);
  space.set_classes(10);
  return spec;
}

std::string Text(const std::vector<FieldError>& errors) {
  return absl::StrJoin(errors, "\n",
                       [](std::string* out, const FieldError& error) {
                         absl::StrAppend(out, error.path, ": ", error.message);
                       });
}

TEST(ValidateStudySpec, AcceptsValidStudies) {
  EXPECT_THAT(Text(ValidateStudySpec(Valid())), IsEmpty());
  EXPECT_THAT(Text(ValidateStudySpec(ValidMobile())), IsEmpty());
  EXPECT_THAT(Text(ValidateStudySpec(WithDefaults(Valid()))), IsEmpty());
  EXPECT_THAT(Text(ValidateStudySpec(WithDefaults(ValidMobile()))), IsEmpty());
  EXPECT_TRUE(CheckStudySpec(Valid()).ok());
}

TEST(ValidateStudySpec, AcceptsUnusualButSoundChoices) {
  using Change = std::function<void(v1::StudySpec&)>;
  const Change changes[] = {
      // Analytic metrics alone need no training.
      [](v1::StudySpec& s) {
        s.mutable_objectives(0)->set_minimize("flops_m");
        s.clear_train();
      },
      // One metric on two devices.
      [](v1::StudySpec& s) {
        v1::Objective& o = *s.add_objectives();
        o.set_minimize("latency_ms");
        o.set_device("x86_64");
      },
      // Both limits, even equal.
      [](v1::StudySpec& s) { s.mutable_constraints(0)->set_at_least(0.5); },
      [](v1::StudySpec& s) {
        s.mutable_train()->set_dataset("folder");
        auto& space = *s.mutable_space()->mutable_nasbench201();
        space.set_input(0, 3);
        space.set_input(1, 64);
        space.set_input(2, 48);
        space.set_classes(37);
      },
      [](v1::StudySpec& s) {
        s.mutable_strategy()->mutable_ageing_evolution()->set_population(5);
      },
      [](v1::StudySpec& s) {
        *s.mutable_measure()->mutable_min_time() = ToProto(absl::Seconds(2));
        *s.mutable_measure()->mutable_max_time() = ToProto(absl::Seconds(2));
      },
      // The user's own metrics and data.
      [](v1::StudySpec& s) {
        s.mutable_external();
        s.clear_train();
        s.mutable_objectives(0)->set_maximize("bleu");
        s.mutable_constraints(0)->set_metric("gpu_watts");
        s.mutable_constraints(0)->set_at_most(-3);
      },
  };
  const Change problems[] = {
      [](v1::StudySpec& s) {
        v1::Objective& latency = *s.mutable_objectives(1);
        latency.clear_device();
        latency.add_devices("x86_64");
        latency.add_devices("raspberrypi5");
      },
      // One metric as the worst over devices, and on one of them.
      [](v1::StudySpec& s) {
        v1::Objective& worst = *s.add_objectives();
        worst.set_minimize("latency_ms");
        worst.add_devices("x86_64");
        worst.add_devices("raspberrypi5");
        worst.set_over_devices(v1::Objective::WORST);
      },
      [](v1::StudySpec& s) {
        auto& sum = *s.mutable_scalarization()->mutable_weighted_sum();
        sum.add_weights(1);
        sum.add_weights(0);
      },
      [](v1::StudySpec& s) {
        auto& product = *s.mutable_scalarization()->mutable_weighted_product();
        product.add_terms();
        product.add_terms()->set_target(75);
      },
      [](v1::StudySpec& s) {
        auto& chebyshev = *s.mutable_scalarization()->mutable_chebyshev();
        chebyshev.add_weights(1);
        chebyshev.add_weights(2);
        chebyshev.set_rho(0);
      },
      [](v1::StudySpec& s) {
        s.mutable_scalarization()->mutable_epsilon_constraint()->add_limits(10);
      },
      [](v1::StudySpec& s) {
        s.mutable_objectives(1)->set_reference(10);
        s.mutable_preference();
      },
      [](v1::StudySpec& s) {
        s.mutable_objectives(0)->set_reference(80);
        s.mutable_objectives(1)->set_reference(10);
        s.mutable_preference()->add_aspiration(92);
        s.mutable_preference()->add_aspiration(4);
      },
  };
  for (const Change& change : problems) {
    v1::StudySpec spec = Valid();
    change(spec);
    EXPECT_THAT(Text(ValidateStudySpec(spec)), IsEmpty());
    EXPECT_THAT(Text(ValidateStudySpec(WithDefaults(spec))), IsEmpty());
  }
  for (const Change& change : changes) {
    v1::StudySpec spec = Valid();
    change(spec);
    EXPECT_THAT(Text(ValidateStudySpec(spec)), IsEmpty());
  }
  v1::StudySpec spec = ValidMobile();
  spec.mutable_space()->mutable_mobile()->add_resolution_choices(24);
  spec.mutable_space()->mutable_mobile()->add_resolution_choices(32);
  EXPECT_THAT(Text(ValidateStudySpec(spec)), IsEmpty());
}

struct Row {
  void (*change)(v1::StudySpec&);
  const char* path;
  const char* message;
};

void ExpectEachAlone(v1::StudySpec (*valid)(), absl::Span<const Row> rows) {
  for (const Row& row : rows) {
    v1::StudySpec spec = valid();
    row.change(spec);
    const std::vector<FieldError> errors = ValidateStudySpec(spec);
    ASSERT_EQ(errors.size(), 1) << row.path << ", " << row.message << "\n"
                                << Text(errors);
    EXPECT_EQ(errors[0].path, row.path) << row.message;
    EXPECT_THAT(errors[0].message, HasSubstr(row.message)) << row.path;
  }
}

google::protobuf::Duration Duration(int64_t seconds, int32_t nanos) {
  google::protobuf::Duration proto;
  proto.set_seconds(seconds);
  proto.set_nanos(nanos);
  return proto;
}

v1::StudySpec ValidFidelity() {
  v1::StudySpec spec = Valid();
  spec.mutable_fidelity()->mutable_asha();
  return spec;
}

TEST(ValidateStudySpec, AcceptsEveryKindOfFidelity) {
  using Change = std::function<void(v1::FidelitySpec&)>;
  const Change changes[] = {
      [](v1::FidelitySpec& f) { f.mutable_asha(); },
      [](v1::FidelitySpec& f) {
        v1::AshaFidelity& asha = *f.mutable_asha();
        for (const int epochs : {1, 4, 12}) asha.add_rungs(epochs);
        asha.set_brackets(3);
        asha.set_eta(1.5);
        asha.set_front_order("epsilon_net");
      },
      [](v1::FidelitySpec& f) { f.mutable_asha()->set_min_epochs(6); },
      [](v1::FidelitySpec& f) {
        f.mutable_successive_halving()->set_cohort(40);
      },
      [](v1::FidelitySpec& f) { f.mutable_hyperband(); },
      [](v1::FidelitySpec& f) { f.mutable_median_stop()->set_min_epochs(12); },
      [](v1::FidelitySpec& f) {
        f.mutable_learning_curve_stop()->set_chance(0.5);
      },
  };
  for (const Change& change : changes) {
    v1::StudySpec spec = Valid();
    change(*spec.mutable_fidelity());
    EXPECT_THAT(Text(ValidateStudySpec(spec)), IsEmpty());
    EXPECT_THAT(Text(ValidateStudySpec(WithDefaults(spec))), IsEmpty());
  }
}

TEST(ValidateStudySpec, NamesWhatIsWrongWithTheFidelity) {
  const Row rows[] = {
      {[](v1::StudySpec& s) { s.mutable_fidelity()->clear_kind(); },
       "spec.fidelity", "has no kind: expected asha"},
      {[](v1::StudySpec& s) {
         s.mutable_objectives(0)->set_minimize("flops_m");
       },
       "spec.fidelity", "has nothing to cut short"},
      {[](v1::StudySpec& s) { s.mutable_external(); }, "spec.fidelity",
       "is not expected with external"},
      {[](v1::StudySpec& s) { s.mutable_train()->set_epochs(1); },
       "spec.fidelity.asha", "expected at least 2"},
      {[](v1::StudySpec& s) {
         s.mutable_fidelity()->mutable_asha()->set_min_epochs(12);
       },
       "spec.fidelity.asha.min_epochs", "12 is out of range: expected 1 to 11"},
      {[](v1::StudySpec& s) {
         s.mutable_fidelity()->mutable_asha()->set_min_epochs(11);
       },
       "spec.fidelity.asha", "has no rung below all 12 epochs"},
      {[](v1::StudySpec& s) {
         s.mutable_fidelity()->mutable_asha()->set_eta(1);
       },
       "spec.fidelity.asha.eta", "more than 1"},
      {[](v1::StudySpec& s) {
         s.mutable_fidelity()->mutable_asha()->set_eta(kNaN);
       },
       "spec.fidelity.asha.eta", "more than 1"},
      {[](v1::StudySpec& s) {
         s.mutable_fidelity()->mutable_asha()->add_rungs(12);
       },
       "spec.fidelity.asha.rungs", "1 rungs: expected 2 to 32"},
      {[](v1::StudySpec& s) {
         for (const int e : {3, 2, 12}) {
           s.mutable_fidelity()->mutable_asha()->add_rungs(e);
         }
       },
       "spec.fidelity.asha.rungs[1]", "2: expected at least 4"},
      {[](v1::StudySpec& s) {
         for (const int e : {3, 10}) {
           s.mutable_fidelity()->mutable_hyperband()->add_rungs(e);
         }
       },
       "spec.fidelity.hyperband.rungs[1]",
       "10 is not the whole training: expected 12"},
      {[](v1::StudySpec& s) {
         v1::AshaFidelity& asha = *s.mutable_fidelity()->mutable_asha();
         asha.set_min_epochs(2);
         for (const int e : {3, 12}) asha.add_rungs(e);
       },
       "spec.fidelity.asha.min_epochs", "is not expected with rungs"},
      {[](v1::StudySpec& s) {
         s.mutable_fidelity()->mutable_asha()->set_front_order("hypervolum");
       },
       "spec.fidelity.asha.front_order", "did you mean hypervolume?"},
      {[](v1::StudySpec& s) {
         s.mutable_fidelity()->mutable_asha()->set_brackets(4);
       },
       "spec.fidelity.asha.brackets", "4 is out of range: expected 1 to 3"},
      {[](v1::StudySpec& s) {
         s.mutable_fidelity()->mutable_successive_halving()->set_cohort(-1);
       },
       "spec.fidelity.successive_halving.cohort", "expected 1 to 100000"},
      {[](v1::StudySpec& s) {
         s.mutable_fidelity()->mutable_median_stop()->set_min_epochs(13);
       },
       "spec.fidelity.median_stop.min_epochs", "expected 1 to 12"},
      {[](v1::StudySpec& s) {
         s.mutable_fidelity()->mutable_learning_curve_stop()->set_chance(0.6);
       },
       "spec.fidelity.learning_curve_stop.chance", "at most 0.5"},
  };
  ExpectEachAlone(ValidFidelity, rows);
}

TEST(ValidateStudySpec, NamesWhatIsWrongWithMetrics) {
  const Row rows[] = {
      {[](v1::StudySpec& s) { s.clear_objectives(); }, "spec.objectives",
       "is required: expected 1 to 8"},
      {[](v1::StudySpec& s) {
         const char* metrics[] = {"params_m",        "flops_m",
                                  "model_size_mb",   "peak_activation_mb",
                                  "validation_loss", "accuracy"};
         s.clear_objectives();
         for (const char* metric : metrics)
           s.add_objectives()->set_minimize(metric);
         for (const char* device : {"a", "b", "c"}) {
           s.add_objectives()->set_minimize("latency_ms");
           s.mutable_objectives(s.objectives_size() - 1)->set_device(device);
         }
       },
       "spec.objectives", "9 objectives are too many"},
      {[](v1::StudySpec& s) { s.mutable_objectives(1)->clear_minimize(); },
       "spec.objectives[1]", "expected maximize or minimize"},
      {[](v1::StudySpec& s) {
         s.mutable_objectives(1)->set_minimize("latncy_ms");
       },
       "spec.objectives[1].minimize",
       "unknown metric \"latncy_ms\"; did you mean latency_ms?"},
      {[](v1::StudySpec& s) {
         s.mutable_objectives(1)->set_minimize("throughput");
       },
       "spec.objectives[1].minimize",
       "unknown metric \"throughput\": expected one of params_m, flops_m"},
      {[](v1::StudySpec& s) { s.mutable_objectives(1)->set_minimize(""); },
       "spec.objectives[1].minimize", "is required"},
      {[](v1::StudySpec& s) { s.mutable_objectives(1)->clear_device(); },
       "spec.objectives[1].device", "is required: latency_ms depends on"},
      {[](v1::StudySpec& s) { s.mutable_objectives(0)->set_device("x86_64"); },
       "spec.objectives[0].device", "\"x86_64\" is not expected: accuracy"},
      {[](v1::StudySpec& s) { s.mutable_objectives(1)->set_device("Pi 5"); },
       "spec.objectives[1].device", "\"Pi 5\" is malformed"},
      {[](v1::StudySpec& s) {
         s.mutable_objectives(1)->set_device(std::string(64, 'a'));
       },
       "spec.objectives[1].device", "is malformed: expected 1 to 63"},
      {[](v1::StudySpec& s) { s.mutable_objectives(0)->set_reference(kNaN); },
       "spec.objectives[0].reference", "nan is not a finite number"},
      {[](v1::StudySpec& s) { s.add_objectives()->set_maximize("accuracy"); },
       "spec.objectives[2].maximize",
       "twice: it is already spec.objectives[0]"},
      {[](v1::StudySpec& s) { s.add_objectives()->set_minimize("accuracy"); },
       "spec.objectives[2].minimize", "twice"},
      {[](v1::StudySpec& s) {
         s.mutable_constraints(0)->set_metric("param_m");
       },
       "spec.constraints[0].metric", "did you mean params_m?"},
      {[](v1::StudySpec& s) { s.mutable_constraints(0)->clear_metric(); },
       "spec.constraints[0].metric", "is required"},
      {[](v1::StudySpec& s) { s.mutable_constraints(0)->set_device("pi"); },
       "spec.constraints[0].device", "does not depend on a device"},
      {[](v1::StudySpec& s) {
         s.mutable_constraints(0)->set_metric("energy_mj");
       },
       "spec.constraints[0].device", "is required: energy_mj"},
      {[](v1::StudySpec& s) { s.mutable_constraints(0)->clear_at_most(); },
       "spec.constraints[0]", "has no limit: expected at_most, at_least"},
      {[](v1::StudySpec& s) { s.mutable_constraints(0)->set_at_least(0.6); },
       "spec.constraints[0].at_least", "0.6 contradicts at_most 0.5"},
      {[](v1::StudySpec& s) { s.mutable_constraints(0)->set_at_most(kInf); },
       "spec.constraints[0].at_most", "inf is not a finite number"},
      {[](v1::StudySpec& s) { s.mutable_constraints(0)->set_at_least(kNaN); },
       "spec.constraints[0].at_least", "nan is not a finite number"},
      {[](v1::StudySpec& s) { s.mutable_constraints(0)->set_at_most(-1); },
       "spec.constraints[0].at_most", "-1 can never hold"},
      {[](v1::StudySpec& s) {
         v1::Constraint& c = *s.add_constraints();
         c.set_metric("accuracy");
         c.set_at_least(101);
       },
       "spec.constraints[1].at_least", "101 can never hold"},
      {[](v1::StudySpec& s) { *s.add_constraints() = s.constraints(0); },
       "spec.constraints[1].metric",
       "constrained twice: put both limits in spec.constraints[0]"},
      {[](v1::StudySpec& s) {
         s.clear_constraints();
         for (int i = 0; i < 33; ++i) {
           v1::Constraint& c = *s.add_constraints();
           c.set_metric("latency_ms");
           c.set_device(absl::StrCat("pi-", i));
           c.set_at_most(1);
         }
       },
       "spec.constraints", "33 constraints are too many"},
      {[](v1::StudySpec& s) {
         s.mutable_external();
         s.mutable_objectives(0)->set_maximize("BLEU score");
       },
       "spec.objectives[0].maximize", "\"BLEU score\" is malformed"},
  };
  ExpectEachAlone(Valid, rows);
}

TEST(ValidateStudySpec, NamesWhatIsWrongWithSeveralDevices) {
  const auto valid = +[] {
    v1::StudySpec spec = Valid();
    v1::Objective& latency = *spec.mutable_objectives(1);
    latency.clear_device();
    latency.add_devices("x86_64");
    latency.add_devices("raspberrypi5");
    return spec;
  };
  const Row rows[] = {
      {[](v1::StudySpec& s) { s.mutable_objectives(1)->set_device("x86_64"); },
       "spec.objectives[1].devices", "cannot stand beside device"},
      {[](v1::StudySpec& s) {
         s.mutable_objectives(1)->mutable_devices()->RemoveLast();
       },
       "spec.objectives[1].devices", "has 1 entry: expected 2 to 8"},
      {[](v1::StudySpec& s) {
         for (int i = 0; i < 7; ++i) {
           s.mutable_objectives(1)->add_devices(absl::StrCat("pi", i));
         }
       },
       "spec.objectives[1].devices", "has 9 entries: expected 2 to 8"},
      {[](v1::StudySpec& s) {
         for (int i = 0; i < 6; ++i) {
           s.mutable_objectives(1)->add_devices(absl::StrCat("pi", i));
         }
       },
       "spec.objectives", "are 9, counting each device of `devices`"},
      {[](v1::StudySpec& s) {
         s.mutable_objectives(1)->set_devices(1, "x86_64");
       },
       "spec.objectives[1].devices[1]", "\"x86_64\" is listed twice"},
      {[](v1::StudySpec& s) { s.mutable_objectives(1)->set_devices(0, "Pi"); },
       "spec.objectives[1].devices[0]", "\"Pi\" is malformed"},
      {[](v1::StudySpec& s) { s.mutable_objectives(1)->set_devices(0, ""); },
       "spec.objectives[1].devices[0]", "\"\" is malformed"},
      {[](v1::StudySpec& s) {
         s.mutable_objectives(0)->add_devices("x86_64");
         s.mutable_objectives(0)->add_devices("raspberrypi5");
       },
       "spec.objectives[0].devices", "accuracy does not depend on a device"},
      {[](v1::StudySpec& s) {
         s.mutable_objectives(0)->set_over_devices(v1::Objective::WORST);
       },
       "spec.objectives[0].over_devices", "is not expected without devices"},
      {[](v1::StudySpec& s) {
         s.mutable_objectives(1)->set_over_devices(
             static_cast<v1::Objective::OverDevices>(7));
       },
       "spec.objectives[1].over_devices", "7 is unknown: expected each or"},
      {[](v1::StudySpec& s) {
         v1::Objective& again = *s.add_objectives();
         again.set_minimize("latency_ms");
         again.set_device("x86_64");
       },
       "spec.objectives[2].minimize",
       "\"latency_ms@x86_64\" is an objective twice"},
  };
  ExpectEachAlone(valid, rows);
}

TEST(ValidateStudySpec, NamesWhatIsWrongWithScalarizations) {
  const Row rows[] = {
      {[](v1::StudySpec& s) { s.mutable_scalarization(); },
       "spec.scalarization", "is empty: expected weighted_sum"},
      {[](v1::StudySpec& s) {
         s.mutable_scalarization()->mutable_weighted_sum();
       },
       "spec.scalarization.weighted_sum.weights",
       "is required: expected 2 numbers, one for each objective"},
      {[](v1::StudySpec& s) {
         s.mutable_scalarization()->mutable_weighted_sum()->add_weights(1);
       },
       "spec.scalarization.weighted_sum.weights", "has 1 entry: expected 2"},
      {[](v1::StudySpec& s) {
         auto& sum = *s.mutable_scalarization()->mutable_weighted_sum();
         sum.add_weights(1);
         sum.add_weights(-0.5);
       },
       "spec.scalarization.weighted_sum.weights[1]",
       "-0.5 is out of range: expected 0 to 1e9: an objective says itself"},
      {[](v1::StudySpec& s) {
         auto& sum = *s.mutable_scalarization()->mutable_weighted_sum();
         sum.add_weights(0);
         sum.add_weights(0);
       },
       "spec.scalarization.weighted_sum.weights", "are all 0"},
      {[](v1::StudySpec& s) {
         s.mutable_scalarization()->mutable_weighted_product()->add_terms();
       },
       "spec.scalarization.weighted_product.terms", "has 1 entry: expected 2"},
      {[](v1::StudySpec& s) {
         auto& p = *s.mutable_scalarization()->mutable_weighted_product();
         p.add_terms();
         p.add_terms()->set_target(0);
       },
       "spec.scalarization.weighted_product.terms[1].target",
       "0 is out of range: expected greater than 0"},
      {[](v1::StudySpec& s) {
         auto& p = *s.mutable_scalarization()->mutable_weighted_product();
         p.add_terms();
         p.add_terms()->set_alpha(0.07);
       },
       "spec.scalarization.weighted_product.terms[1].alpha",
       "0.07 is out of range: expected -10 to 0, as the objective is "
       "minimized"},
      {[](v1::StudySpec& s) {
         auto& p = *s.mutable_scalarization()->mutable_weighted_product();
         p.add_terms()->set_beta(-1);
         p.add_terms();
       },
       "spec.scalarization.weighted_product.terms[0].beta",
       "-1 is out of range: expected 0 to 10"},
      {[](v1::StudySpec& s) {
         auto& p = *s.mutable_scalarization()->mutable_weighted_product();
         p.add_terms()->set_alpha(0);
         p.add_terms()->set_alpha(0);
       },
       "spec.scalarization.weighted_product.terms", "no exponent but 0"},
      {[](v1::StudySpec& s) {
         auto& c = *s.mutable_scalarization()->mutable_chebyshev();
         c.add_weights(1);
         c.add_weights(1);
         c.add_ideal(100);
       },
       "spec.scalarization.chebyshev.ideal", "has 1 entry: expected 2"},
      {[](v1::StudySpec& s) {
         auto& c = *s.mutable_scalarization()->mutable_chebyshev();
         c.add_weights(1);
         c.add_weights(1);
         c.add_ideal(100);
         c.add_ideal(kInf);
       },
       "spec.scalarization.chebyshev.ideal[1]", "inf is not a finite number"},
      {[](v1::StudySpec& s) {
         s.mutable_objectives(0)->set_maximize("flops_m");
         auto& c = *s.mutable_scalarization()->mutable_chebyshev();
         c.add_weights(1);
         c.add_weights(1);
       },
       "spec.scalarization.chebyshev.ideal",
       "it is not known how large \"flops_m\" can be"},
      {[](v1::StudySpec& s) {
         auto& c = *s.mutable_scalarization()->mutable_chebyshev();
         c.add_weights(1);
         c.add_weights(1);
         c.set_rho(1.5);
       },
       "spec.scalarization.chebyshev.rho", "1.5 is out of range"},
      {[](v1::StudySpec& s) {
         auto& e = *s.mutable_scalarization()->mutable_epsilon_constraint();
         e.set_optimize("latency");
       },
       "spec.scalarization.epsilon_constraint.optimize",
       "names no objective, or several: expected one of accuracy, "
       "latency_ms@raspberrypi5"},
      {[](v1::StudySpec& s) {
         s.mutable_scalarization()->mutable_epsilon_constraint();
       },
       "spec.scalarization.epsilon_constraint.limits",
       "is required: expected 1 number, one for each other objective"},
      {[](v1::StudySpec& s) {
         auto& e = *s.mutable_scalarization()->mutable_epsilon_constraint();
         e.add_limits(kNaN);
       },
       "spec.scalarization.epsilon_constraint.limits[0]",
       "nan is not a finite number"},
      {[](v1::StudySpec& s) {
         v1::Objective& latency = *s.mutable_objectives(1);
         latency.clear_device();
         latency.add_devices("x86_64");
         latency.add_devices("raspberrypi5");
         auto& e = *s.mutable_scalarization()->mutable_epsilon_constraint();
         e.set_optimize("latency_ms");
         e.add_limits(80);
       },
       "spec.scalarization.epsilon_constraint.optimize",
       "is an objective on each of several devices"},
  };
  ExpectEachAlone(Valid, rows);
}

TEST(ValidateStudySpec, NamesWhatIsWrongWithPreferences) {
  const auto valid = +[] {
    v1::StudySpec spec = Valid();
    spec.mutable_objectives(0)->set_reference(80);
    spec.mutable_objectives(1)->set_reference(10);
    spec.mutable_preference()->add_aspiration(92);
    spec.mutable_preference()->add_aspiration(4);
    return spec;
  };
  const Row rows[] = {
      {[](v1::StudySpec& s) {
         s.mutable_scalarization()->mutable_epsilon_constraint()->add_limits(1);
       },
       "spec.preference", "cannot stand beside scalarization"},
      {[](v1::StudySpec& s) { s.mutable_preference()->set_focus(-1); },
       "spec.preference.focus", "-1 is out of range: expected 0 to 100"},
      {[](v1::StudySpec& s) { s.mutable_preference()->add_aspiration(1); },
       "spec.preference.aspiration", "has 3 entries: expected 2"},
      {[](v1::StudySpec& s) {
         s.mutable_preference()->set_aspiration(0, kNaN);
       },
       "spec.preference.aspiration[0]", "nan is not a finite number"},
      {[](v1::StudySpec& s) { s.mutable_preference()->set_aspiration(1, 10); },
       "spec.preference.aspiration[1]",
       "10 is not better than the reference of spec.objectives[1], 10"},
      {[](v1::StudySpec& s) { s.mutable_objectives(1)->clear_reference(); },
       "spec.objectives[1]", "has no reference"},
      {[](v1::StudySpec& s) {
         s.mutable_preference()->clear_aspiration();
         s.mutable_preference()->set_focus(2);
       },
       "spec.preference.focus", "is not expected without aspiration"},
      {[](v1::StudySpec& s) {
         s.mutable_preference()->clear_aspiration();
         for (auto& objective : *s.mutable_objectives()) {
           objective.clear_reference();
         }
       },
       "spec.preference", "says nothing"},
  };
  ExpectEachAlone(valid, rows);
}

TEST(ValidateStudySpec, NamesWhatIsWrongWithTheSpace) {
  const Row rows[] = {
      {[](v1::StudySpec& s) { s.clear_space(); }, "spec.space",
       "is required: expected nasbench201, mobile, macro"},
      {[](v1::StudySpec& s) {
         s.mutable_space()->mutable_nasbench201()->clear_input();
       },
       "spec.space.nasbench201.input", "is required"},
      {[](v1::StudySpec& s) {
         s.mutable_space()->mutable_nasbench201()->add_input(3);
       },
       "spec.space.nasbench201.input", "4 numbers: expected channels"},
      {[](v1::StudySpec& s) {
         s.mutable_space()->mutable_nasbench201()->set_input(2, -28);
       },
       "spec.space.nasbench201.input[2]", "-28 is out of range"},
      {[](v1::StudySpec& s) {
         s.mutable_space()->mutable_nasbench201()->set_channels(257);
       },
       "spec.space.nasbench201.channels", "257 is out of range: expected 1 to"},
      {[](v1::StudySpec& s) {
         s.mutable_space()->mutable_nasbench201()->set_cells(-1);
       },
       "spec.space.nasbench201.cells", "-1 is out of range: expected 1 to 20"},
      {[](v1::StudySpec& s) {
         s.mutable_space()->mutable_nasbench201()->clear_classes();
       },
       "spec.space.nasbench201.classes", "is required"},
      {[](v1::StudySpec& s) {
         s.mutable_space()->mutable_nasbench201()->set_classes(1);
       },
       "spec.space.nasbench201.classes", "1 is out of range: expected 2 to"},
      {[](v1::StudySpec& s) {
         s.mutable_space()->mutable_nasbench201()->set_classes(100);
       },
       "spec.space.nasbench201.classes",
       "100 does not fit data set fashion-mnist: expected 10"},
      {[](v1::StudySpec& s) {
         s.mutable_space()->mutable_nasbench201()->set_input(0, 3);
       },
       "spec.space.nasbench201.input",
       "[3, 28, 28] does not fit data set fashion-mnist: expected [1, 28, 28]"},
      {[](v1::StudySpec& s) {
         auto& space = *s.mutable_space()->mutable_nasbench201();
         space.set_input(0, 3);
         space.set_input(1, 32);
         space.set_input(2, 32);
         s.mutable_train()->set_dataset("cifar100");
       },
       "spec.space.nasbench201.classes", "expected 100"},
  };
  ExpectEachAlone(Valid, rows);
}

TEST(ValidateStudySpec, NamesWhatIsWrongWithTheMobileSpace) {
  const Row rows[] = {
      {[](v1::StudySpec& s) {
         s.mutable_space()->mutable_mobile()->add_kernel_choices(4);
       },
       "spec.space.mobile.kernel_choices[0]", "4 is out of range: expected an"},
      {[](v1::StudySpec& s) {
         s.mutable_space()->mutable_mobile()->add_kernel_choices(3);
         s.mutable_space()->mutable_mobile()->add_kernel_choices(3);
       },
       "spec.space.mobile.kernel_choices[1]", "3 is listed twice"},
      {[](v1::StudySpec& s) {
         s.mutable_space()->mutable_mobile()->add_expansion_choices(11);
       },
       "spec.space.mobile.expansion_choices[0]", "expected 1 to 10"},
      {[](v1::StudySpec& s) {
         s.mutable_space()->mutable_mobile()->add_depth_choices(0);
       },
       "spec.space.mobile.depth_choices[0]", "expected 1 to 8"},
      {[](v1::StudySpec& s) {
         s.mutable_space()->mutable_mobile()->add_width_choices(kNaN);
       },
       "spec.space.mobile.width_choices[0]", "greater than 0, at most 4"},
      {[](v1::StudySpec& s) {
         s.mutable_space()->mutable_mobile()->add_resolution_choices(-1);
       },
       "spec.space.mobile.resolution_choices[0]", "-1 is out of range"},
      {[](v1::StudySpec& s) {
         for (int i = 1; i <= 65; ++i) {
           s.mutable_space()->mutable_mobile()->add_resolution_choices(i);
         }
       },
       "spec.space.mobile.resolution_choices", "65 choices are too many"},
      {[](v1::StudySpec& s) {
         s.mutable_space()->mutable_mobile()->set_stem_stride(3);
       },
       "spec.space.mobile.stem_stride", "3 is out of range: expected 1 to 2"},
      {[](v1::StudySpec& s) {
         s.mutable_space()->mutable_mobile()->set_stem_channels(-1);
       },
       "spec.space.mobile.stem_channels", "-1 is out of range"},
      {[](v1::StudySpec& s) {
         s.mutable_space()->mutable_mobile()->add_stages()->set_stride(2);
       },
       "spec.space.mobile.stages[0].channels", "0 is out of range"},
      {[](v1::StudySpec& s) {
         auto& stage = *s.mutable_space()->mutable_mobile()->add_stages();
         stage.set_channels(8);
         stage.set_stride(3);
       },
       "spec.space.mobile.stages[0].stride", "3 is out of range"},
      {[](v1::StudySpec& s) {
         for (int i = 0; i < 17; ++i) {
           s.mutable_space()->mutable_mobile()->add_stages()->set_channels(8);
         }
       },
       "spec.space.mobile.stages", "17 stages are too many"},
      {[](v1::StudySpec& s) {
         s.mutable_space()->mutable_mobile()->set_head_channels(-5);
       },
       "spec.space.mobile.head_channels", "-5 is out of range"},
      {[](v1::StudySpec& s) {
         s.mutable_space()->mutable_mobile()->set_final_expand_channels(9000);
       },
       "spec.space.mobile.final_expand_channels",
       "9000 is out of range: expected 1 to 8192"},
      // Only the space itself finds these.
      {[](v1::StudySpec& s) {
         s.mutable_space()->mutable_mobile()->add_resolution_choices(7);
       },
       "spec.space.mobile.resolution_choices",
       "an image of 7 pixels is too small for strides of 8 in all"},
      {[](v1::StudySpec& s) {
         s.mutable_space()->mutable_mobile()->add_resolution_choices(16000);
       },
       "spec.space.mobile", "the largest network is not possible"},
      {[](v1::StudySpec& s) {
         s.mutable_space()->mutable_mobile()->set_input(1, 32);
         s.mutable_space()->mutable_mobile()->set_input(2, 32);
       },
       "spec.space.mobile.input", "[1, 32, 32] does not fit data set"},
  };
  ExpectEachAlone(ValidMobile, rows);
}

v1::StudySpec ValidMacro() {
  v1::StudySpec spec = Valid();
  v1::MacroSpace& space = *spec.mutable_space()->mutable_macro();
  for (const int v : {1, 28, 28}) space.add_input(v);
  space.set_classes(10);
  return spec;
}

v1::StudySpec ValidDeclared() {
  v1::StudySpec spec = Valid();
  spec.mutable_external();
  v1::DeclaredChoice& choice =
      *spec.mutable_space()->mutable_declared()->add_choices();
  choice.set_name("depth");
  choice.mutable_integers()->set_from(1);
  choice.mutable_integers()->set_to(4);
  return spec;
}

TEST(ValidateStudySpec, PlacesWhatASpaceFindsItself) {
  EXPECT_THAT(Text(ValidateStudySpec(ValidMacro())), IsEmpty());
  const Row macro[] = {
      {[](v1::StudySpec& s) {
         s.mutable_space()->mutable_macro()->set_preset("nasbench");
       },
       "spec.space.macro.preset", "'nasbench' is unknown"},
      {[](v1::StudySpec& s) {
         s.mutable_space()->mutable_macro()->add_operators("conv3");
       },
       "spec.space.macro.operators[0]", "unknown operator 'conv3'"},
      {[](v1::StudySpec& s) {
         s.mutable_space()->mutable_macro()->clear_classes();
       },
       "spec.space.macro.classes", "is required"},
      {[](v1::StudySpec& s) {
         v1::FbnetSpace& space = *s.mutable_space()->mutable_fbnet();
         for (const int v : {1, 4, 4}) space.add_input(v);
         space.set_classes(10);
         s.mutable_train()->set_dataset("folder");
       },
       "spec.space.fbnet.input", "an image of 4 pixels is too small"},
      {[](v1::StudySpec& s) {
         v1::OfaSpace& space = *s.mutable_space()->mutable_ofa();
         for (const int v : {1, 28, 28}) space.add_input(v);
         space.set_classes(10);
         space.add_width_choices(5);
       },
       "spec.space.ofa.width_choices", "5 is out of range"},
      {[](v1::StudySpec& s) {
         v1::HierarchicalSpace& space =
             *s.mutable_space()->mutable_hierarchical();
         for (const int v : {1, 28, 28}) space.add_input(v);
         space.set_classes(10);
         space.mutable_cell()->mutable_nasbench201()->add_operations("conv");
       },
       "spec.space.hierarchical.cell.nasbench201.operations",
       "unknown operator 'conv'"},
      {[](v1::StudySpec& s) {
         v1::Nasbench201Space& space =
             *s.mutable_space()->mutable_nasbench201();
         for (const int v : {1, 28, 28}) space.add_input(v);
         space.set_classes(10);
         space.add_operations("none");
       },
       "spec.space.nasbench201.operations", "1 operator: expected at least 2"},
  };
  ExpectEachAlone(ValidMacro, macro);
  EXPECT_THAT(Text(ValidateStudySpec(ValidDeclared())), IsEmpty());
  const Row declared[] = {
      {[](v1::StudySpec& s) {
         s.mutable_space()->mutable_declared()->mutable_choices(0)->set_name(
             "Depth");
       },
       "spec.space.declared.choices[0].name", "'Depth' is malformed"},
      {[](v1::StudySpec& s) { s.clear_external(); }, "spec.space.declared",
       "has no network to train, measure or count"},
  };
  ExpectEachAlone(ValidDeclared, declared);
}

TEST(ValidateStudySpec, NamesWhatIsWrongWithTheStrategy) {
  const Row rows[] = {
      {[](v1::StudySpec& s) {
         s.mutable_strategy()->mutable_nsga2()->set_population(3);
       },
       "spec.strategy.nsga2.population", "3 is out of range: expected 4 to"},
      {[](v1::StudySpec& s) {
         s.mutable_strategy()->mutable_nsga2()->set_crossover(1.5);
       },
       "spec.strategy.nsga2.crossover", "1.5 is out of range"},
      {[](v1::StudySpec& s) {
         s.mutable_strategy()->mutable_nsga2()->set_mutation(0);
       },
       "spec.strategy.nsga2.mutation", "0 is out of range"},
      {[](v1::StudySpec& s) {
         s.mutable_strategy()->mutable_ageing_evolution()->set_population(1);
       },
       "spec.strategy.ageing_evolution.population", "1 is out of range"},
      {[](v1::StudySpec& s) {
         s.mutable_strategy()->mutable_ageing_evolution()->set_sample_size(21);
       },
       "spec.strategy.ageing_evolution.sample_size",
       "21 is out of range: expected 1 to 20, the population"},
      {[](v1::StudySpec& s) {
         s.mutable_strategy()->mutable_nsga3()->set_population(10001);
       },
       "spec.strategy.nsga3.population", "10001 is out of range"},
      {[](v1::StudySpec& s) {
         s.mutable_strategy()->mutable_moead()->set_crossover(-0.1);
       },
       "spec.strategy.moead.crossover", "-0.1 is out of range"},
      {[](v1::StudySpec& s) {
         s.mutable_strategy()->mutable_moead()->set_population(10);
         s.mutable_strategy()->mutable_moead()->set_neighbours(11);
       },
       "spec.strategy.moead.neighbours",
       "11 is out of range: expected 2 to 10"},
      {[](v1::StudySpec& s) {
         s.mutable_strategy()->mutable_local_search()->set_starts(-1);
       },
       "spec.strategy.local_search.starts", "-1 is out of range"},
      {[](v1::StudySpec& s) {
         s.mutable_strategy()->mutable_reinforce()->set_initial_design(-1);
       },
       "spec.strategy.reinforce.initial_design", "-1 is out of range"},
      {[](v1::StudySpec& s) {
         s.mutable_strategy()->mutable_reinforce()->set_directions(1001);
       },
       "spec.strategy.reinforce.directions",
       "1001 is out of range: expected 1 to 1000"},
      {[](v1::StudySpec& s) {
         s.mutable_strategy()->mutable_reinforce()->set_learning_rate(0);
       },
       "spec.strategy.reinforce.learning_rate", "0 is out of range"},
      {[](v1::StudySpec& s) {
         s.mutable_strategy()->mutable_motpe()->set_initial(1);
       },
       "spec.strategy.motpe.initial", "1 is out of range: expected 2 to 1000"},
      {[](v1::StudySpec& s) {
         s.mutable_strategy()->mutable_motpe()->set_candidates(-1);
       },
       "spec.strategy.motpe.candidates", "-1 is out of range"},
      {[](v1::StudySpec& s) {
         s.mutable_strategy()->mutable_bayesian()->set_initial(1);
       },
       "spec.strategy.bayesian.initial", "1 is out of range"},
      {[](v1::StudySpec& s) {
         s.mutable_strategy()->mutable_mo_bananas()->set_initial(1001);
       },
       "spec.strategy.mo_bananas.initial", "1001 is out of range"},
      {[](v1::StudySpec& s) {
         s.mutable_strategy()->mutable_mo_bananas()->set_networks(1);
       },
       "spec.strategy.mo_bananas.networks", "1 is out of range"},
      {[](v1::StudySpec& s) {
         s.mutable_strategy()->mutable_mo_bananas()->set_candidates(10001);
       },
       "spec.strategy.mo_bananas.candidates", "10001 is out of range"},
  };
  ExpectEachAlone(Valid, rows);
}

TEST(ValidateStudySpec, NamesWhatIsWrongWithTraining) {
  const Row rows[] = {
      {[](v1::StudySpec& s) { s.clear_train(); }, "spec.train",
       "is required: accuracy comes from training"},
      {[](v1::StudySpec& s) { s.mutable_train()->clear_dataset(); },
       "spec.train.dataset", "is required: expected one of fashion-mnist"},
      {[](v1::StudySpec& s) {
         s.mutable_train()->set_dataset("fashion_mnist");
       },
       "spec.train.dataset", "did you mean fashion-mnist?"},
      {[](v1::StudySpec& s) { s.mutable_train()->set_dataset("imagenet"); },
       "spec.train.dataset", "unknown data set \"imagenet\": expected one of"},
      {[](v1::StudySpec& s) {
         s.mutable_train()->set_data_dir(std::string("a\0b", 3));
       },
       "spec.train.data_dir", "is not a path"},
      {[](v1::StudySpec& s) { s.mutable_train()->set_epochs(-1); },
       "spec.train.epochs", "-1 is out of range: expected 1 to 10000"},
      {[](v1::StudySpec& s) { s.mutable_train()->set_epochs(10001); },
       "spec.train.epochs", "10001 is out of range"},
      {[](v1::StudySpec& s) { s.mutable_train()->set_batch(65537); },
       "spec.train.batch", "65537 is out of range: expected 1 to 65536"},
      {[](v1::StudySpec& s) { s.mutable_train()->set_data_fraction(0); },
       "spec.train.data_fraction", "0 is out of range"},
      {[](v1::StudySpec& s) {
         s.mutable_train()->set_validation_fraction(0.95);
       },
       "spec.train.validation_fraction", "0.95 is out of range"},
      {[](v1::StudySpec& s) { s.mutable_train()->set_learning_rate(0); },
       "spec.train.learning_rate", "0 is out of range"},
      {[](v1::StudySpec& s) { s.mutable_train()->set_learning_rate(kInf); },
       "spec.train.learning_rate", "inf is out of range"},
      {[](v1::StudySpec& s) { s.mutable_train()->set_momentum(1); },
       "spec.train.momentum", "1 is out of range"},
      {[](v1::StudySpec& s) { s.mutable_train()->set_weight_decay(-1e-4); },
       "spec.train.weight_decay", "-0.0001 is out of range"},
      {[](v1::StudySpec& s) { s.mutable_train()->set_label_smoothing(kNaN); },
       "spec.train.label_smoothing", "nan is out of range"},
      {[](v1::StudySpec& s) { s.mutable_train()->set_warmup_epochs(13); },
       "spec.train.warmup_epochs", "expected 0 to 12, the number of epochs"},
      {[](v1::StudySpec& s) { s.mutable_train()->set_crop_padding(-1); },
       "spec.train.crop_padding", "-1 is out of range"},
      {[](v1::StudySpec& s) { s.mutable_train()->set_cutout(-1); },
       "spec.train.cutout", "-1 is out of range"},
      {[](v1::StudySpec& s) { s.mutable_train()->set_crop_padding(29); },
       "spec.train.crop_padding", "29 is out of range: expected 0 to 28"},
      {[](v1::StudySpec& s) { s.mutable_train()->set_cutout(57); },
       "spec.train.cutout", "57 is out of range: expected 1 to 56"},
      {[](v1::StudySpec& s) { s.mutable_train()->set_threads(2000); },
       "spec.train.threads", "2000 is out of range"},
  };
  ExpectEachAlone(Valid, rows);
}

TEST(ValidateStudySpec, NamesWhatIsWrongWithTheRest) {
  const Row rows[] = {
      {[](v1::StudySpec& s) { s.mutable_measure()->set_runtime("onnx"); },
       "spec.measure.runtime", "unknown runtime \"onnx\""},
      {[](v1::StudySpec& s) { s.mutable_measure()->set_threads(-1); },
       "spec.measure.threads", "-1 is out of range: expected 1 to 1024"},
      {[](v1::StudySpec& s) { s.mutable_measure()->set_batch(5000); },
       "spec.measure.batch", "5000 is out of range: expected 1 to 4096"},
      {[](v1::StudySpec& s) { s.mutable_measure()->set_precision("int4"); },
       "spec.measure.precision", "unknown precision \"int4\""},
      {[](v1::StudySpec& s) { s.mutable_measure()->set_profile("fast"); },
       "spec.measure.profile", "expected one of as_shipped, pinned"},
      {[](v1::StudySpec& s) { s.mutable_measure()->add_cores(-1); },
       "spec.measure.cores[0]", "-1 is out of range: expected 0 to 1023"},
      {[](v1::StudySpec& s) {
         s.mutable_measure()->add_cores(1);
         s.mutable_measure()->add_cores(1);
       },
       "spec.measure.cores", "names a core twice"},
      {[](v1::StudySpec& s) {
         s.mutable_measure()->add_cores(1);
         s.mutable_measure()->set_threads(2);
       },
       "spec.measure.cores", "names 1 cores: expected at least one for each"},
      {[](v1::StudySpec& s) { s.mutable_measure()->add_labels("Rack A"); },
       "spec.measure.labels[0]", "\"Rack A\": expected 1 to 63"},
      {[](v1::StudySpec& s) { s.set_priority(101); }, "spec.priority",
       "101 is out of range: expected -100 to 100"},
      {[](v1::StudySpec& s) { s.mutable_measure()->set_target_half_width(0); },
       "spec.measure.target_half_width", "0 is out of range"},
      {[](v1::StudySpec& s) {
         *s.mutable_measure()->mutable_min_time() = Duration(-1, 0);
       },
       "spec.measure.min_time", "-1s is out of range"},
      {[](v1::StudySpec& s) {
         *s.mutable_measure()->mutable_max_time() = Duration(1, -5);
       },
       "spec.measure.max_time", "is out of range"},
      {[](v1::StudySpec& s) {
         *s.mutable_measure()->mutable_min_time() = Duration(6, 0);
       },
       "spec.measure.min_time", "6s is more than max_time, 5s"},
      {[](v1::StudySpec& s) {
         *s.mutable_measure()->mutable_max_time() = Duration(0, 100'000'000);
       },
       "spec.measure.max_time", "100ms is less than min_time, 300ms"},
      {[](v1::StudySpec& s) { s.clear_budget(); }, "spec.budget.trials",
       "is required"},
      {[](v1::StudySpec& s) { s.mutable_budget()->set_trials(-5); },
       "spec.budget.trials", "-5 is out of range: expected 1 to 10000000"},
      {[](v1::StudySpec& s) { s.mutable_budget()->set_trials(10'000'001); },
       "spec.budget.trials", "10000001 is out of range"},
      {[](v1::StudySpec& s) { s.mutable_budget()->mutable_wall_clock(); },
       "spec.budget.wall_clock", "0 is out of range"},
      {[](v1::StudySpec& s) {
         *s.mutable_external()->mutable_lease() = Duration(-60, 0);
       },
       "spec.external.lease", "is out of range"},
      {[](v1::StudySpec& s) { s.set_max_attempts(21); }, "spec.max_attempts",
       "21 is out of range: expected 1 to 20"},
      {[](v1::StudySpec& s) { s.set_max_parallel_trials(-1); },
       "spec.max_parallel_trials", "-1 is out of range: expected 1 to 10000"},
  };
  ExpectEachAlone(Valid, rows);
}

TEST(ValidateStudySpec, ReportsEverythingThatIsWrongAtOnce) {
  v1::StudySpec spec = Valid();
  spec.mutable_objectives(1)->set_minimize("latncy_ms");
  spec.mutable_train()->set_epochs(-1);
  spec.clear_budget();
  EXPECT_EQ(ValidateStudySpec(spec).size(), 3);
  const absl::Status status = CheckStudySpec(spec);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(std::string(status.message()),
            "spec.objectives[1].minimize: unknown metric \"latncy_ms\"; did "
            "you mean latency_ms?\n"
            "spec.train.epochs: -1 is out of range: expected 1 to 10000\n"
            "spec.budget.trials: is required: expected 1 to 10000000");
}

TEST(ValidateStudySpec, AnswersToAHostileStudyAreShort) {
  v1::StudySpec spec = Valid();
  for (int i = 0; i < 100'000; ++i) {
    spec.add_objectives()->set_minimize(std::string(10, '\x01'));
    spec.add_constraints()->set_metric(std::string(10, '\x02'));
  }
  spec.mutable_objectives(0)->set_maximize(std::string(1 << 20, '\x1b'));
  EXPECT_LE(ValidateStudySpec(spec).size(), 100);
  EXPECT_LT(CheckStudySpec(spec).message().size(), 50'000);
}

TEST(ValidateStudySpec, SurvivesDamagedBytes) {
  const google::protobuf::LogSilencer quiet;  // Of invalid UTF-8.
  Rng rng(5);
  v1::StudySpec problem = Valid();
  problem.mutable_objectives(1)->add_devices("a");
  problem.mutable_objectives(1)->add_devices("b");
  auto& product = *problem.mutable_scalarization()->mutable_weighted_product();
  product.add_terms()->set_target(1);
  product.add_terms()->set_alpha(-1);
  problem.mutable_preference()->add_aspiration(3);
  const std::string good[] = {WithDefaults(Valid()).SerializeAsString(),
                              WithDefaults(ValidMobile()).SerializeAsString(),
                              WithDefaults(problem).SerializeAsString()};
  for (int i = 0; i < 3000; ++i) {
    std::string bytes = good[i % 3];
    for (uint64_t d = 0; d <= rng.Below(4); ++d) {
      bytes[rng.Below(bytes.size())] = static_cast<char>(rng.Below(256));
    }
    v1::StudySpec spec;
    if (!spec.ParseFromString(bytes)) continue;
    const v1::StudySpec filled = WithDefaults(spec);
    // Defaults never make a valid study invalid.
    if (ValidateStudySpec(spec).empty()) {
      EXPECT_THAT(Text(ValidateStudySpec(filled)), IsEmpty());
    }
    StagesOf(filled);
  }
}

TEST(CheckStudyId, TakesWhatFitsAResourceName) {
  for (const char* id : {"a", "fashion-on-pi", "a1", "x--y"}) {
    EXPECT_TRUE(CheckStudyId(id).ok()) << id;
  }
  EXPECT_TRUE(CheckStudyId(std::string(63, 'a')).ok());
  EXPECT_FALSE(CheckStudyId(std::string(64, 'a')).ok());
  for (const char* id : {"", "1a", "-a", "A", "a_b", "a/b", "a b", "..", "ä"}) {
    const absl::Status status = CheckStudyId(id);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << id;
    EXPECT_THAT(std::string(status.message()), HasSubstr("1 to 63"));
  }
}

}  // namespace
}  // namespace hwnas
