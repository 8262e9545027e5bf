// Between the wire and the domain. FromProto checks everything, since the wire
// is hostile; messages name the field by its path in the message
// ("spec.objectives[1].device"), which the study-file loader turns into line
// and column.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"
#include "hwnas/v1/measurement.pb.h"
#include "hwnas/v1/model_graph.pb.h"
#include "hwnas/v1/study.pb.h"
#include "hwnas/v1/trial.pb.h"
#include "nas/fidelity/fidelity_policy.h"
#include "nas/graph/model_graph.h"
#include "nas/problem.h"
#include "nas/replay.h"
#include "nas/space/space_factory.h"
#include "nas/strategy/strategy.h"
#include "nas/warm_start.h"

namespace hwnas {

v1::ModelGraph ToProto(const ModelGraph& graph);
absl::StatusOr<ModelGraph> FromProto(const v1::ModelGraph& proto);

// `space` gives the notation and the digest.
v1::Architecture ToProto(const SearchSpace& space,
                         const Architecture& architecture);
// Checks against the space.
absl::StatusOr<Architecture> FromProto(const SearchSpace& space,
                                       const v1::Architecture& proto);

absl::StatusOr<SpaceConfig> FromProto(const v1::SpaceSpec& proto);
// The space that a study searches. One that is answered from tables has the
// benchmark's classes of cells, which have values of their own there.
absl::StatusOr<SpaceConfig> SearchedSpace(const v1::StudySpec& spec);
absl::StatusOr<StrategyConfig> FromProto(const v1::StrategySpec& proto);
// The objectives that one of the file stands for: at least one, several if it
// is over each of several devices.
std::vector<ObjectiveSpec> ObjectivesFromProto(const v1::Objective& proto);
// The limits of an epsilon constraint become constraints.
Problem ProblemFromProto(const v1::StudySpec& spec);
// Does not check: ValidateStudySpec does.
ReplayConfig FromProto(const v1::ReplaySpec& proto);
// The ideal of the Chebyshev form where none is written.
double DefaultIdeal(const v1::Objective& objective);
// Index of the objective of the file that an epsilon constraint keeps; -1 if
// its name fits none or several.
int OptimizedObjective(const v1::StudySpec& spec);

// Names of FrontOrder in a study.
inline constexpr char kHypervolumeOrder[] = "hypervolume";
inline constexpr char kEpsilonNetOrder[] = "epsilon_net";
// What `spec.fidelity`, which must be set, asks for.
absl::StatusOr<FidelityConfig> FidelityFromProto(const v1::StudySpec& spec);
// Epochs of a whole training.
int FullEpochs(const v1::StudySpec& spec);
// Epochs of the rungs at which trials pause, the last being the whole training;
// empty in a study without rungs.
std::vector<int> RungsOf(const v1::StudySpec& spec);

// Most trials that a search takes over from another.
inline constexpr int kMaxSourceTrials = 5000;
// What a study with these trials has found out: values of the metrics of its
// problem, but none after a part of a training. Trials that are not done are
// left out, and of too many all but the front and the latest.
v1::SourceTrials ToSourceTrials(const v1::StudySpec& spec,
                                absl::Span<const v1::Trial> trials);
// Checks everything. INVALID_ARGUMENT also says so if they are of a search over
// other decisions than those of `space`. `name` becomes that of the source.
absl::StatusOr<SourceTrials> FromProto(const SearchSpace& space,
                                       const v1::SourceTrials& proto,
                                       std::string name);

google::protobuf::Timestamp ToProto(absl::Time time);
absl::Time FromProto(const google::protobuf::Timestamp& proto);
google::protobuf::Duration ToProto(absl::Duration duration);
absl::Duration FromProto(const google::protobuf::Duration& proto);

// One thing wrong with a specification.
struct FieldError {
  std::string path;     // "spec.train.epochs"; "spec" for the whole.
  std::string message;  // "0 is out of range: expected 1 to 10000".
};

// Everything that is wrong with a study, not only the first: ranges, unknown
// metrics (with the nearest known name), missing device classes, contradictory
// constraints, a space with no point, train settings missing for a trained
// metric. Empty means valid.
std::vector<FieldError> ValidateStudySpec(const v1::StudySpec& spec);
// The same as a Status: INVALID_ARGUMENT with one line for each error.
absl::Status CheckStudySpec(const v1::StudySpec& spec);
// 1 to 63 of [a-z0-9-], starting with a letter.
absl::Status CheckStudyId(absl::string_view study_id);

// The specification with every unset field that has a default filled in: what a
// study records and what workers and agents receive.
v1::StudySpec WithDefaults(const v1::StudySpec& spec);

// The stages of a trial that the study's metrics need, in order.
struct StageKey {
  v1::StageKind kind;
  std::string device_class;
  // Of a stage that is a rung: epochs that are finished when it is. Else 0.
  int rung_epochs = 0;
  friend bool operator==(const StageKey&, const StageKey&) = default;
};
std::vector<StageKey> StagesOf(const v1::StudySpec& spec);

}  // namespace hwnas
