// The rules of study.proto, one function for each message, each in the file of
// its subject. What is wrong goes to `out`. Internal to proto/convert.
#pragma once

#include "hwnas/v1/study.pb.h"
#include "proto/convert/validate/checker.h"

namespace hwnas {

// In objectives.cc.
void CheckObjectives(const v1::StudySpec& spec, Checker* out);
void CheckConstraints(const v1::StudySpec& spec, Checker* out);
void CheckScalarization(const v1::StudySpec& spec, Checker* out);
void CheckPreference(const v1::StudySpec& spec, Checker* out);

// In space.cc.
void CheckSpace(const v1::StudySpec& spec, Checker* out);

// In strategy.cc.
void CheckStrategy(const v1::StrategySpec& strategy, Checker* out);

// In training.cc.
void CheckTrain(const v1::StudySpec& spec, Checker* out);
void CheckFidelity(const v1::StudySpec& spec, Checker* out);

// In measure.cc.
void CheckMeasure(const v1::StudySpec& spec, Checker* out);

// In replay.cc.
void CheckReplay(const v1::StudySpec& spec, Checker* out);

}  // namespace hwnas
