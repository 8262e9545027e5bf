// What a finished (or stopped) study leaves in a folder for its user.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/client.h"
#include "cli/report.h"

namespace hwnas::cli {

// Everything that results are made of, asked from a controller.
absl::StatusOr<ReportInput> FetchResults(Client* client,
                                         const std::string& study_name);

struct WrittenResults {
  std::vector<std::string> files;  // Names within the folder.
  int64_t chosen_trial = 0;        // In best.onnx; 0 if the front is empty.
  bool trained = false;            // Whether best.onnx has trained weights.
  std::string why_no_model;        // Empty if best.onnx was written.
  // The same of each front of a device class, in best-<class>.onnx.
  struct OfDevice {
    std::string file;
    int64_t chosen_trial = 0;
    bool trained = false;
  };
  std::vector<OfDevice> of_devices;
};

// Writes front.csv, front.json, trials.csv, trials.json, report.html and, if
// the front is not empty and its space has networks, best.onnx of the member
// that `pick` names (see PickTrial); and for each device class with a front of
// its own front-<class> and best-<class> files; and study.json, unless the
// folder is that of a run, which has it. Each file is replaced as a whole.
absl::StatusOr<WrittenResults> WriteResults(Client* client, ReportInput results,
                                            const std::string& folder,
                                            const std::string& pick);

// What is left there, by a run or an export. Trials have what train and
// ToSourceTrials need: number, state, architecture, score, measured values.
absl::StatusOr<v1::StudySpec> ReadStudySpec(const std::string& folder);
// Of trials.json or front.json.
absl::StatusOr<std::vector<v1::Trial>> ReadTrials(const std::string& file);

}  // namespace hwnas::cli
