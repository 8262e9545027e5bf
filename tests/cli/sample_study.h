// A small ended study for tests of what the command line prints.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/report.h"

namespace hwnas::cli {

inline v1::Trial SampleTrial(int64_t number, double accuracy, double latency,
                             bool on_front) {
  v1::Trial trial;
  trial.set_name(absl::StrCat("studies/tiny/trials/", number));
  trial.set_number(number);
  trial.set_state(v1::Trial::COMPLETED);
  trial.set_on_front(on_front);
  trial.mutable_architecture()->set_text(
      absl::StrCat("|nor_conv_3x3~0|+<", number, "&\"x\">"));
  trial.mutable_architecture()->set_digest(std::string(64, 'a'));
  for (int i = 0; i < 6; ++i) trial.mutable_architecture()->add_choices(i % 5);
  v1::Measurement* a = trial.add_measurements();
  a->set_metric("accuracy");
  a->set_value(accuracy);
  a->set_unit("percent");
  a->set_sample_count(6000);
  a->set_provenance(v1::TRAINED);
  v1::Measurement* l = trial.add_measurements();
  l->set_metric("latency_ms");
  l->set_value(latency);
  l->set_unit("ms");
  l->set_device_class("x86_64");
  l->set_sample_count(300);
  l->set_spread(latency * 0.01);
  l->set_ci_low(latency * 0.99);
  l->set_ci_high(latency * 1.01);
  l->set_provenance(v1::MEASURED);
  v1::Measurement* p = trial.add_measurements();
  p->set_metric("params_m");
  p->set_value(0.01 + 0.02 * latency);
  p->set_unit("1e6");
  p->set_sample_count(1);
  p->set_provenance(v1::ANALYTIC);
  trial.mutable_create_time()->set_seconds(1'700'000'000 + 10 * number);
  trial.mutable_end_time()->set_seconds(1'700'000'009 + 10 * number);
  return trial;
}

inline ReportInput SampleResults() {
  ReportInput input;
  v1::Study& study = input.study;
  study.set_name("studies/tiny");
  study.set_state(v1::Study::COMPLETED);
  study.set_description("Tests <b>escaping</b> & more.");
  study.mutable_create_time()->set_seconds(1'700'000'000);
  v1::StudySpec* spec = study.mutable_spec();
  v1::Objective* accuracy = spec->add_objectives();
  accuracy->set_maximize("accuracy");
  v1::Objective* latency = spec->add_objectives();
  latency->set_minimize("latency_ms");
  latency->set_device("x86_64");
  v1::Constraint* constraint = spec->add_constraints();
  constraint->set_metric("params_m");
  constraint->set_at_most(0.05);
  spec->mutable_budget()->set_trials(24);
  spec->set_seed(7);

  input.trials = {
      SampleTrial(1, 70.2, 0.31, false), SampleTrial(2, 84.1, 0.44, true),
      SampleTrial(3, 62.0, 0.21, true),  SampleTrial(4, 81.7, 0.62, false),
      SampleTrial(5, 88.3, 0.71, true),  SampleTrial(6, 86.0, 0.52, true),
      SampleTrial(7, 89.9, 1.22, true),  SampleTrial(8, 79.0, 0.58, false),
      SampleTrial(9, 78.4, 0.35, true),  SampleTrial(10, 10.0, 0.41, false),
      SampleTrial(11, 87.0, 0.93, false)};
  v1::Trial infeasible = SampleTrial(12, 0, 1.9, false);
  infeasible.set_state(v1::Trial::INFEASIBLE);
  infeasible.set_infeasible_reason("params_m 0.0481 is above 0.04");
  input.trials.push_back(infeasible);
  input.trials[4].mutable_measurements(1)->add_flags("NOISY: load 3.1");
  for (int i : {6, 4, 5, 1, 8, 2}) {
    *input.front.add_trials() = input.trials[static_cast<size_t>(i)];
  }
  input.front.set_hypervolume(83.25);
  input.front.add_reference(0);
  input.front.add_reference(1.22);

  v1::StudyProgress* progress = study.mutable_progress();
  progress->set_proposed_count(12);
  progress->set_completed_count(11);
  progress->set_infeasible_count(1);
  progress->set_front_size(6);
  progress->set_hypervolume(83.25);
  progress->add_best_values(89.9);
  progress->add_best_values(0.21);
  progress->set_elapsed_seconds(130);

  v1::Executor agent;
  agent.set_name("agents/local-agent");
  agent.set_kind(v1::AGENT);
  agent.set_state(v1::Executor::CONNECTED);
  agent.add_device_classes("x86_64");
  agent.mutable_environment()->set_cpu_model("A <fast> processor");
  agent.mutable_environment()->set_logical_cores(2);
  agent.mutable_environment()->set_runtime("onnxruntime 1.30.0");
  input.executors.push_back(agent);
  input.study_text = "apiVersion: hwnas/v1\nkind: Study  # <&>\n";
  input.chosen_trial = 6;
  return input;
}

}  // namespace hwnas::cli
