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

// Adds the values of a finished stage of a trial.
inline void AddMeasurements(
    const TrialRecord& trial, const StageRecord& stage,
    google::protobuf::RepeatedPtrField<v1::Measurement>* measurements) {
  for (int i = 0; i < stage.measurement_count; ++i) {
    *measurements->Add() =
        trial.measurements[stage.first_measurement + i].ToProto();
  }
}

}  // namespace hwnas::controller
