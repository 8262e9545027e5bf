// The report of a study: one HTML file that needs nothing else. It opens
// offline, follows the reader's light or dark theme, and is well-formed XML.
#pragma once

#include <string>
#include <vector>

#include "hwnas/v1/fleet_service.pb.h"
#include "hwnas/v1/study_service.pb.h"

namespace hwnas::cli {

struct ReportInput {
  v1::Study study;
  std::vector<v1::Trial> trials;  // All, by number.
  v1::Front front;
  // Of each device class with a front of its own.
  std::vector<v1::Front> device_fronts;
  // Workers and agents that are known, for the environment. May be empty.
  std::vector<v1::Executor> executors;
  // The study file as written; may be empty.
  std::string study_text;
  // Trial whose network was written to the folder; 0 if none.
  int64_t chosen_trial = 0;
};

std::string RenderReport(const ReportInput& input);

// The hypervolume after each ended trial, in the order in which they ended,
// with respect to the front's reference. x counts ended trials, or is the time
// since the study began in seconds.
struct HypervolumeStep {
  int64_t ended_count = 0;
  double seconds = 0;
  double hypervolume = 0;
};
std::vector<HypervolumeStep> HypervolumeHistory(
    const v1::Study& study, const std::vector<v1::Trial>& trials,
    const v1::Front& front);

}  // namespace hwnas::cli
