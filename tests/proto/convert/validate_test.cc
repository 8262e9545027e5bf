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

TEST(ValidateStudySpec, NamesWhatIsWrongWithTheSpace) {
  const Row rows[] = {
      {[](v1::StudySpec& s) { s.clear_space(); }, "spec.space",
       "is required: expected nasbench201 or mobile"},
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
         s.mutable_strategy()->mutable_ageing_evolution()->set_sample_size(51);
       },
       "spec.strategy.ageing_evolution.sample_size",
       "51 is out of range: expected 1 to 50, the population"},
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
      {[](v1::StudySpec& s) { s.mutable_measure()->set_precision("fp16"); },
       "spec.measure.precision",
       "unknown precision \"fp16\": expected one of fp32"},
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
  const std::string good[] = {WithDefaults(Valid()).SerializeAsString(),
                              WithDefaults(ValidMobile()).SerializeAsString()};
  for (int i = 0; i < 2000; ++i) {
    std::string bytes = good[i % 2];
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
