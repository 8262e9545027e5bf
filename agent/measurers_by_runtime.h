// One measurer for each runtime that a task may name.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "agent/measure/measurer.h"

namespace hwnas::agent {

// As thread-safe as the measurers are.
class MeasurersByRuntime final : public Measurer {
 public:
  // By the names of v1.MeasureSpec.runtime; empty means onnxruntime. They must
  // outlive it.
  explicit MeasurersByRuntime(std::map<std::string, Measurer*> measurers)
      : measurers_(std::move(measurers)) {}

  absl::Status Measure(const v1::MeasureTask& task, const LatencyHooks& hooks,
                       v1::TaskResult& result) override {
    const std::string& name = task.measure().runtime();
    const auto found = measurers_.find(name.empty() ? "onnxruntime" : name);
    if (found == measurers_.end()) {
      return absl::FailedPreconditionError(
          absl::StrCat("runtime \"", name, "\" is not available here"));
    }
    return found->second->Measure(task, hooks, result);
  }

 private:
  const std::map<std::string, Measurer*> measurers_;
};

}  // namespace hwnas::agent
