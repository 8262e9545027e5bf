#include "cli/local_data.h"

#include <cstdlib>
#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "cli/results.h"
#include "common/status_macros.h"
#include "nas/space/space_factory.h"
#include "proto/convert/convert.h"

namespace hwnas::cli {
namespace {

namespace fs = std::filesystem;

bool Has(const std::string& dir, const std::string& file) {
  std::error_code error;
  return fs::exists(dir + "/" + file, error) ||
         fs::exists(dir + "/" + file + ".gz", error);
}

struct KnownData {
  const char* name;
  std::vector<std::string> files;  // Enough to recognise it.
  const char* package_dir;         // Empty if no package has it.
  const char* remedy;
};

const std::vector<KnownData>& AllKnownData() {
  static const auto& known = *new std::vector<KnownData>{
      {"fashion-mnist",
       {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"},
       "/usr/share/datasets/fashion-mnist",
       "install the Debian package dataset-fashion-mnist"},
      {"mnist",
       {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
        "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"},
       "",
       "name the folder of the four IDX files with --data-dir or data_dir"},
      {"cifar10",
       {"data_batch_1.bin", "test_batch.bin"},
       "",
       "name the folder of the binary batches (cifar-10-batches-bin) with "
       "--data-dir or data_dir"},
      {"cifar100",
       {"train.bin", "test.bin"},
       "",
       "name the folder of the binary version (cifar-100-binary) with "
       "--data-dir or data_dir"},
  };
  return known;
}

}  // namespace

absl::Status CheckLocalData(const v1::TrainSpec& train,
                            const std::string& worker_dir) {
  const std::string& name = train.dataset();
  if (name == "folder") {
    const std::string dir =
        train.data_dir().empty() ? worker_dir : train.data_dir();
    std::error_code error;
    if (dir.empty() || !fs::is_directory(dir + "/train", error)) {
      return absl::NotFoundError(absl::StrCat(
          "'folder' needs images in ", dir.empty() ? "<data_dir>" : dir,
          "/train/<class>/*.png or .jpg, and there is no such folder"));
    }
    return absl::OkStatus();
  }
  for (const KnownData& known : AllKnownData()) {
    if (name != known.name) continue;
    std::vector<std::string> places;
    auto add = [&](const std::string& dir) {
      if (dir.empty()) return;
      places.push_back(dir);
      places.push_back(absl::StrCat(dir, "/", name));
    };
    add(train.data_dir());
    if (train.data_dir().empty()) {
      add(worker_dir);
      if (*known.package_dir != '\0') places.push_back(known.package_dir);
    }
    for (const std::string& place : places) {
      bool all = true;
      for (const std::string& file : known.files) all = all && Has(place, file);
      if (all) return absl::OkStatus();
    }
    return absl::NotFoundError(absl::StrCat(
        "the data set '", name, "' is not on this machine",
        places.empty()
            ? ""
            : absl::StrCat(" (looked in ", absl::StrJoin(places, ", "), ")"),
        ": ", known.remedy));
  }
  return absl::OkStatus();
}

std::string TablesDir(const std::string& option, const std::string& study_file,
                      const v1::ReplaySpec& replay) {
  if (!option.empty()) return option;
  std::string beside = fs::path(study_file).parent_path().string();
  if (beside.empty()) beside = ".";
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing here changes it.
  const char* set = std::getenv("HWNAS_DATA_DIR");
  if (set == nullptr || *set == '\0') return beside;
  for (const v1::ReplayFile& file : replay.tables()) {
    std::error_code error;
    if (!fs::exists(fs::path(beside) / file.path(), error)) return set;
  }
  return beside;
}

std::unique_ptr<ReplayTable> LoadLocalTables(LoadedStudy* study,
                                             const std::string& tables_dir) {
  const v1::StudySpec& spec = study->spec();
  if (!study->ok() || !spec.has_replay()) return nullptr;
  const absl::StatusOr<SpaceConfig> config = SearchedSpace(spec);
  if (!config.ok()) return nullptr;
  const absl::StatusOr<std::unique_ptr<SearchSpace>> space =
      CreateSpace(*config);
  if (!space.ok()) return nullptr;
  absl::StatusOr<std::unique_ptr<ReplayTable>> table = ReplayTable::Load(
      FromProto(spec.replay()), tables_dir, ProblemFromProto(spec), **space);
  if (table.ok()) return *std::move(table);
  const std::pair<std::string, std::string> parts = absl::StrSplit(
      std::string(table.status().message()), absl::MaxSplits(": ", 1));
  std::string message = parts.second;
  if (absl::IsNotFound(table.status()) &&
      absl::EndsWith(parts.first, ".path")) {
    absl::StrAppend(&message, ": expected a table below ", tables_dir,
                    "; name its folder with --tables or $HWNAS_DATA_DIR");
  }
  study->AddError("spec.replay." + parts.first, std::move(message));
  return nullptr;
}

std::vector<v1::SourceTrials> LoadLocalSources(LoadedStudy* study,
                                               const std::string& study_file) {
  std::vector<v1::SourceTrials> sources;
  if (!study->ok()) return sources;
  const absl::StatusOr<SpaceConfig> config = SearchedSpace(study->spec());
  if (!config.ok()) return sources;
  const absl::StatusOr<std::unique_ptr<SearchSpace>> space =
      CreateSpace(*config);
  if (!space.ok()) return sources;
  const auto read =
      [&](const std::string& folder) -> absl::StatusOr<v1::SourceTrials> {
    HWNAS_ASSIGN_OR_RETURN(const v1::StudySpec spec, ReadStudySpec(folder));
    HWNAS_ASSIGN_OR_RETURN(const std::vector<v1::Trial> trials,
                           ReadTrials(folder + "/trials.json"));
    v1::SourceTrials source = ToSourceTrials(spec, trials);
    const absl::Status fits = FromProto(**space, source, folder).status();
    if (!fits.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(folder, " ", fits.message()));
    }
    return source;
  };
  for (int i = 0; i < study->spec().warm_start_size(); ++i) {
    const std::string& folder = study->spec().warm_start(i).folder();
    if (folder.empty()) continue;
    absl::StatusOr<v1::SourceTrials> source =
        read((fs::path(study_file).parent_path() / folder).string());
    if (source.ok()) {
      sources.push_back(*std::move(source));
      continue;
    }
    std::string message(source.status().message());
    if (absl::IsNotFound(source.status())) {
      absl::StrAppend(&message,
                      ": expected the folder of a finished 'hwnas run' or of "
                      "'hwnas export --dir', relative to this file");
    }
    study->AddError(absl::StrCat("spec.warm_start[", i, "].folder"),
                    std::move(message));
  }
  return sources;
}

}  // namespace hwnas::cli
