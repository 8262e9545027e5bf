// A training interrupted between two epochs, as bytes: on disk, or stored with
// the controller so that any worker can go on.
//
// Bytes: "hwnasckp", then little-endian uint32 version (1), uint32 length and
// bytes of a serialized v1.TaskResult holding the epochs so far, uint64 count
// and that many floats for each of parameters, momentum and statistics, and
// last the SHA-256 (64 hex digits) of the fingerprint and everything before.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "hwnas/v1/trial.pb.h"

namespace hwnas::worker {

// Enough to go on as if nothing had happened: everything random derives from
// the seed and the epoch.
struct Checkpoint {
  std::vector<v1::EpochReport> epochs;  // Finished ones.
  std::vector<float> parameters;        // GraphModule::flat_parameters().
  std::vector<float> momentum;
  std::vector<float> statistics;  // Batch normalisation, in order.
};

// `fingerprint` names what is trained and how.
std::string SerializeCheckpoint(absl::string_view fingerprint,
                                const Checkpoint& checkpoint);

// DATA_LOSS if the bytes are damaged or of something else. Fit for bytes from
// outside.
absl::StatusOr<Checkpoint> ParseCheckpoint(absl::string_view bytes,
                                           absl::string_view fingerprint);

// NOT_FOUND if there is none; DATA_LOSS if it is damaged or of something else.
absl::StatusOr<Checkpoint> ReadCheckpoint(const std::string& path,
                                          absl::string_view fingerprint);

}  // namespace hwnas::worker
