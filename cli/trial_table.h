// Trials, fronts and studies as tables, and the choice of one front member.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "cli/table.h"
#include "hwnas/v1/study.pb.h"
#include "hwnas/v1/study_service.pb.h"
#include "hwnas/v1/trial.pb.h"

namespace hwnas::cli {

// A metric of a study as it is shown.
struct MetricColumn {
  std::string metric;
  std::string device_class;  // Empty if it depends on none.
  std::string unit;          // As people write it: "%", "ms". May be empty.
  bool objective = false;
  bool maximize = false;  // Of an objective.
  // By an objective or a constraint; other metrics do not crowd the tables that
  // people read (JSON, CSV and the report have them all).
  bool named = true;
  // Of an objective that is the worst over several device classes: these.
  std::vector<std::string> worst_of;

  // "latency_ms@x86_64", "latency_ms@worst".
  std::string key() const;
  // "latency_ms@x86_64 [ms]".
  std::string title() const;
};

// The objectives of the front over all of them, or of that of a device class.
std::vector<MetricColumn> ObjectiveColumns(
    const v1::StudySpec& spec, const std::string& device_class = "");
// Objectives, then constrained metrics, then whatever else was measured.
std::vector<MetricColumn> MetricColumns(const v1::StudySpec& spec,
                                        absl::Span<const v1::Trial> trials);

// nullptr if the trial has no such value. Of several the last counts; of an
// objective over several devices that of the worst one.
const v1::Measurement* FindMeasurement(const v1::Trial& trial,
                                       const MetricColumn& column);

// "completed"; "active", ...
std::string TrialStateName(v1::Trial::State state);
std::string StudyStateName(v1::Study::State state);
// Trials that have ended, or have had the share of their training that they get
// for now.
int64_t DoneCount(const v1::StudyProgress& progress);
std::string ProvenanceName(v1::Provenance provenance);

// What happens to an active trial: "training 2/3 on workers/w1", "measuring on
// x86_64", "waiting to train"; the reason of an infeasible one; the trial that
// a completed one took values from.
std::string TrialActivity(const v1::Trial& trial);

Table TrialTable(const v1::StudySpec& spec, absl::Span<const v1::Trial> trials);
// Without states and activities; front members only.
Table FrontTable(const v1::StudySpec& spec, absl::Span<const v1::Trial> front);
// The front of one device class under a heading.
std::string DeviceFrontText(const v1::StudySpec& spec, const v1::Front& front);
Table StudyTable(absl::Span<const v1::Study> studies);

// Index into `front` of the member that `how` names:
//   "knee"        nearest to the ideal point, each objective scaled to [0, 1]
//                 over the front (compromise programming, Zeleny 1973, with the
//                 Euclidean distance)
//   an objective  its best member: "accuracy", "latency_ms@x86_64", or just
//                 "latency_ms"
//   "best"        the member with the best score; in a study without scores the
//                 best member of the first objective
//   a number      that trial
//   ""            "best" in a study with scores, else "knee"
// `device_class` says whose front it is. INVALID_ARGUMENT names the choices;
// NOT_FOUND if the front is empty.
absl::StatusOr<int> PickTrial(const v1::StudySpec& spec,
                              absl::Span<const v1::Trial> front,
                              const std::string& how,
                              const std::string& device_class = "");

// "2026-01-31 12:00:00" in local time; empty if unset.
std::string FormatTime(const google::protobuf::Timestamp& time);

}  // namespace hwnas::cli
