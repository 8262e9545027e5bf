// Fills what all events about an attempt at a stage have in common.
#pragma once

#include <cstdint>

#include "controller/study/study_state.h"

namespace hwnas::controller {

template <typename Message>
void SetStage(int64_t trial, const StageRecord& stage, int attempt,
              Message* message) {
  message->set_trial(trial);
  message->set_stage(stage.key.kind);
  message->set_device_class(stage.key.device_class);
  message->set_rung_epochs(stage.key.rung_epochs);
  message->set_attempt(attempt);
}

}  // namespace hwnas::controller
