// Which stages of which trials have values that a later trial may take over.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "hwnas/v1/study.pb.h"
#include "proto/convert/convert.h"

namespace hwnas::controller {

// Names all that decides about the values of a stage but the architecture: the
// stage with its device class, and the settings of the training or measurement.
// Equal names and equal digests mean equal work. Empty if values of the stage
// are never taken over.
std::string ReuseScope(const StageKey& stage, const v1::StudySpec& spec);

// Over all studies of a controller. Not thread-safe.
class ResultIndex {
 public:
  struct Place {
    std::string study_id;
    int64_t trial = 0;
    int stage = 0;  // Index in the trial's stages.
    absl::Time recorded;
  };

  // Of several places the earliest stays, whatever the order of adding: a
  // restart finds the same one.
  void Add(const std::string& scope, const std::string& digest, Place place);
  void Remove(const std::string& study_id, int64_t trial, int stage);
  // nullptr if there is none.
  const Place* Find(const std::string& scope, const std::string& digest) const;

 private:
  std::map<std::pair<std::string, std::string>, Place> places_;
};

}  // namespace hwnas::controller
