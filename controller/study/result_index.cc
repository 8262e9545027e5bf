#include "controller/study/result_index.h"

#include <tuple>

#include "absl/strings/str_cat.h"
#include "common/digest.h"
#include "controller/study/report_check.h"

namespace hwnas::controller {

std::string ReuseScope(const StageKey& stage, const v1::StudySpec& spec) {
  switch (stage.kind) {
    case v1::TRAIN: {
      // The last rung is a whole training like any other.
      const int rung =
          stage.rung_epochs < FullEpochs(spec) ? stage.rung_epochs : 0;
      return Sha256Hex(
          absl::StrCat("train ", rung > 0 ? absl::StrCat("to ", rung, " ") : "",
                       spec.train().SerializeAsString()));
    }
    case v1::MEASURE:
      return Sha256Hex(absl::StrCat(
          "measure ", stage.device_class,
          AsksForEnergy(stage, ProblemFromProto(spec)) ? " with energy " : " ",
          spec.measure().SerializeAsString()));
    default:
      return "";
  }
}

void ResultIndex::Add(const std::string& scope, const std::string& digest,
                      Place place) {
  const auto key = [](const Place& p) {
    return std::tie(p.recorded, p.study_id, p.trial);
  };
  const auto [it, added] = places_.try_emplace({scope, digest}, place);
  if (!added && key(place) < key(it->second)) it->second = std::move(place);
}

void ResultIndex::Remove(const std::string& study_id, int64_t trial,
                         int stage) {
  std::erase_if(places_, [&](const auto& entry) {
    const Place& place = entry.second;
    return place.study_id == study_id && place.trial == trial &&
           place.stage == stage;
  });
}

const ResultIndex::Place* ResultIndex::Find(const std::string& scope,
                                            const std::string& digest) const {
  const auto it = places_.find({scope, digest});
  return it == places_.end() ? nullptr : &it->second;
}

}  // namespace hwnas::controller
