#include "worker/train/checkpoint.h"

#include <cstring>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "common/digest.h"
#include "common/files.h"
#include "common/limits.h"
#include "common/status_macros.h"
#include "hwnas/v1/fleet_service.pb.h"

namespace hwnas::worker {
namespace {

constexpr char kMagic[] = "hwnasckp";
constexpr uint32_t kVersion = 1;
constexpr size_t kDigestSize = 64;

template <typename T>
void Append(T value, std::string* out) {
  static_assert(std::is_trivially_copyable_v<T>);
  out->append(reinterpret_cast<const char*>(&value), sizeof(value));
}
void AppendFloats(const std::vector<float>& values, std::string* out) {
  Append<uint64_t>(values.size(), out);
  out->append(reinterpret_cast<const char*>(values.data()),
              values.size() * sizeof(float));
}

template <typename T>
bool Take(absl::string_view* data, T* value) {
  if (data->size() < sizeof(T)) return false;
  std::memcpy(value, data->data(), sizeof(T));
  data->remove_prefix(sizeof(T));
  return true;
}
bool TakeFloats(absl::string_view* data, std::vector<float>* values) {
  uint64_t count = 0;
  if (!Take(data, &count) || count > data->size() / sizeof(float)) {
    return false;
  }
  values->resize(count);
  std::memcpy(values->data(), data->data(), count * sizeof(float));
  data->remove_prefix(count * sizeof(float));
  return true;
}

std::string DigestOf(absl::string_view fingerprint, absl::string_view body) {
  return Sha256Hex(absl::StrCat(fingerprint, Sha256Hex(body)));
}

}  // namespace

std::string SerializeCheckpoint(absl::string_view fingerprint,
                                const Checkpoint& checkpoint) {
  v1::TaskResult progress;
  for (const v1::EpochReport& epoch : checkpoint.epochs) {
    *progress.add_epochs() = epoch;
  }
  const std::string epochs = progress.SerializeAsString();
  std::string body = kMagic;
  Append<uint32_t>(kVersion, &body);
  Append<uint32_t>(static_cast<uint32_t>(epochs.size()), &body);
  body += epochs;
  AppendFloats(checkpoint.parameters, &body);
  AppendFloats(checkpoint.momentum, &body);
  AppendFloats(checkpoint.statistics, &body);
  body += DigestOf(fingerprint, body);
  return body;
}

absl::StatusOr<Checkpoint> ParseCheckpoint(absl::string_view bytes,
                                           absl::string_view fingerprint) {
  const auto damaged = [] {
    return absl::DataLossError("not a whole checkpoint of this training");
  };
  if (bytes.size() < kDigestSize) return damaged();
  absl::string_view data = bytes.substr(0, bytes.size() - kDigestSize);
  if (DigestOf(fingerprint, data) != bytes.substr(data.size())) {
    return damaged();
  }
  constexpr size_t kMagicSize = sizeof(kMagic) - 1;
  if (data.substr(0, kMagicSize) != kMagic) return damaged();
  data.remove_prefix(kMagicSize);
  uint32_t version = 0;
  uint32_t length = 0;
  if (!Take(&data, &version) || version != kVersion || !Take(&data, &length) ||
      length > data.size()) {
    return damaged();
  }
  v1::TaskResult progress;
  if (!progress.ParseFromArray(data.data(), static_cast<int>(length))) {
    return damaged();
  }
  data.remove_prefix(length);
  Checkpoint checkpoint;
  checkpoint.epochs.assign(progress.epochs().begin(), progress.epochs().end());
  if (!TakeFloats(&data, &checkpoint.parameters) ||
      !TakeFloats(&data, &checkpoint.momentum) ||
      !TakeFloats(&data, &checkpoint.statistics) || !data.empty()) {
    return damaged();
  }
  return checkpoint;
}

absl::StatusOr<Checkpoint> ReadCheckpoint(const std::string& path,
                                          absl::string_view fingerprint) {
  HWNAS_ASSIGN_OR_RETURN(const std::string file,
                         ReadFile(path, kMaxArtifactBytes));
  absl::StatusOr<Checkpoint> checkpoint = ParseCheckpoint(file, fingerprint);
  if (checkpoint.ok()) return checkpoint;
  return absl::DataLossError(
      absl::StrCat(path, ": ", checkpoint.status().message()));
}

}  // namespace hwnas::worker
