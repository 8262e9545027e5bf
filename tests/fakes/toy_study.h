// A study of networks so small that a test can wait for them.
#pragma once

#include "hwnas/v1/study.pb.h"

namespace hwnas {

// Accuracy on Fashion-MNIST and latency on x86_64 of tiny cells; the strategy
// and all else is for the test to say.
inline v1::StudySpec ToyStudy(int trials) {
  v1::StudySpec spec;
  auto* space = spec.mutable_space()->mutable_nasbench201();
  for (const int size : {1, 28, 28}) space->add_input(size);
  space->set_channels(4);
  space->set_cells(1);
  space->set_classes(10);
  spec.add_objectives()->set_maximize("accuracy");
  auto* latency = spec.add_objectives();
  latency->set_minimize("latency_ms");
  latency->set_device("x86_64");
  spec.mutable_train()->set_dataset("fashion-mnist");
  spec.mutable_budget()->set_trials(trials);
  return spec;
}

}  // namespace hwnas
