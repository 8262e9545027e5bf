#include "worker/train/dataset.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"
#include "worker/train/image_files.h"

namespace hwnas::worker {
namespace {

namespace fs = std::filesystem;

enum class Format { kIdx, kCifar10, kCifar100, kFolder };

struct Known {
  const char* name;
  Format format;
  int classes;  // 0: as many as folders.
  bool flip_keeps_class;
  // Where a Debian package puts it, and its name; nullptr if there is none.
  const char* package_dir;
  const char* package;
};
constexpr Known kKnown[] = {
    {"fashion-mnist", Format::kIdx, 10, true,
     "/usr/share/datasets/fashion-mnist", "dataset-fashion-mnist"},
    {"mnist", Format::kIdx, 10, false, nullptr, nullptr},
    {"cifar10", Format::kCifar10, 10, true, nullptr, nullptr},
    {"cifar100", Format::kCifar100, 100, true, nullptr, nullptr},
    {"folder", Format::kFolder, 0, true, nullptr, nullptr},
};

const Known* Find(const std::string& name) {
  for (const Known& known : kKnown) {
    if (name == known.name) return &known;
  }
  return nullptr;
}

bool IsFile(const std::string& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

std::vector<std::string> Folders(const Known& known,
                                 const DatasetLocation& location) {
  std::vector<std::string> folders;
  const auto add = [&](const std::string& dir) {
    folders.push_back(absl::StrCat(dir, "/", known.name));
    folders.push_back(dir);
    if (known.format == Format::kCifar10) {
      folders.push_back(dir + "/cifar-10-batches-bin");
    }
    if (known.format == Format::kCifar100) {
      folders.push_back(dir + "/cifar-100-binary");
    }
  };
  if (!location.data_dir.empty()) {
    add(location.data_dir);
    return folders;
  }
  if (!location.worker_dir.empty()) add(location.worker_dir);
  if (known.package_dir != nullptr) folders.push_back(known.package_dir);
  return folders;
}

// The first of the spellings that people give IDX files, or empty.
std::string FindIdx(const std::string& folder, const std::string& part,
                    const std::string& kind) {
  for (const char* separator : {"-", "."}) {
    for (const char* suffix : {"", ".gz"}) {
      const std::string path =
          absl::StrCat(folder, "/", part, separator, kind, "-ubyte", suffix);
      if (IsFile(path)) return path;
    }
  }
  return "";
}

std::vector<std::string> CifarTrainFiles(const std::string& folder,
                                         Format format) {
  if (format == Format::kCifar100) return {folder + "/train.bin"};
  std::vector<std::string> files;
  for (int i = 1; i <= 5; ++i) {
    files.push_back(absl::StrCat(folder, "/data_batch_", i, ".bin"));
  }
  return files;
}
std::string CifarTestFile(const std::string& folder, Format format) {
  return folder +
         (format == Format::kCifar100 ? "/test.bin" : "/test_batch.bin");
}

std::vector<std::string> SubFolders(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.is_directory(error)) {
      names.push_back(entry.path().filename().string());
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

// The folder that holds the data set's files, or NOT_FOUND with a remedy.
absl::StatusOr<std::string> FindFolder(const Known& known,
                                       const DatasetLocation& location) {
  const std::vector<std::string> folders = Folders(known, location);
  std::string expected;
  for (const std::string& folder : folders) {
    switch (known.format) {
      case Format::kIdx:
        expected =
            "train-images-idx3-ubyte, train-labels-idx1-ubyte, "
            "t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte (or .gz)";
        if (!FindIdx(folder, "train-images", "idx3").empty()) return folder;
        break;
      case Format::kCifar10:
      case Format::kCifar100:
        expected = known.format == Format::kCifar10
                       ? "data_batch_1.bin to data_batch_5.bin and "
                         "test_batch.bin"
                       : "train.bin and test.bin";
        if (IsFile(CifarTestFile(folder, known.format))) return folder;
        break;
      case Format::kFolder:
        expected = "train/<class>/*.png or .jpg and test/<class>/...";
        if (!SubFolders(folder + "/train").empty()) return folder;
        break;
    }
  }
  std::string remedy =
      "set data_dir in the study's train section or start "
      "the worker with --data_dir";
  if (known.package != nullptr) {
    remedy =
        absl::StrCat("install the package ", known.package, " or ", remedy);
  }
  return absl::NotFoundError(absl::StrCat(
      "data set ", known.name, ": expected ", expected, " in ",
      folders.empty() ? "a folder" : absl::StrJoin(folders, " or "), "; ",
      remedy));
}

absl::StatusOr<ImageSet> ReadIdxPart(const std::string& folder,
                                     const std::string& part, int classes,
                                     TensorShape* image) {
  const std::string images = FindIdx(folder, part + "-images", "idx3");
  const std::string labels = FindIdx(folder, part + "-labels", "idx1");
  if (images.empty() || labels.empty()) {
    return absl::NotFoundError(absl::StrCat(
        folder, " lacks ", part,
        images.empty() ? "-images-idx3-ubyte" : "-labels-idx1-ubyte",
        " (or .gz)"));
  }
  return ReadIdx(images, labels, classes, image);
}

void Resize(const TensorShape& from, const TensorShape& to, ImageSet* set) {
  const size_t old_size = from.elements();
  std::vector<uint8_t> pixels;
  pixels.reserve(set->size() * to.elements());
  for (int64_t i = 0; i < set->size(); ++i) {
    const std::vector<uint8_t> image = ResizeImage(
        absl::MakeSpan(set->pixels).subspan(i * old_size, old_size),
        from.height, from.width, from.channels, to.height, to.width);
    pixels.insert(pixels.end(), image.begin(), image.end());
  }
  set->pixels = std::move(pixels);
}

void ComputeStatistics(Dataset* dataset) {
  const int channels = dataset->image.channels;
  // Whole numbers: exact, whatever the order.
  std::vector<uint64_t> sum(channels, 0);
  std::vector<uint64_t> squares(channels, 0);
  const std::vector<uint8_t>& pixels = dataset->train.pixels;
  for (size_t i = 0; i < pixels.size(); i += channels) {
    for (int c = 0; c < channels; ++c) {
      const uint64_t v = pixels[i + c];
      sum[c] += v;
      squares[c] += v * v;
    }
  }
  const double n = static_cast<double>(pixels.size()) / channels;
  for (int c = 0; c < channels; ++c) {
    const double mean = static_cast<double>(sum[c]) / n;
    const double variance = static_cast<double>(squares[c]) / n - mean * mean;
    dataset->mean.push_back(static_cast<float>(mean / 255));
    // A constant channel is left at its own scale.
    dataset->deviation.push_back(
        variance > 1e-6 ? static_cast<float>(std::sqrt(variance) / 255) : 1.0f);
  }
}

// Reads the files of a data set with `dataset->classes` classes, if they do not
// tell. `native`: the shape of images that a folder's become; and that the
// others have.
absl::Status ReadFiles(Format format, const std::string& folder,
                       TensorShape* native, Dataset* dataset) {
  switch (format) {
    case Format::kIdx: {
      HWNAS_ASSIGN_OR_RETURN(
          dataset->train,
          ReadIdxPart(folder, "train", dataset->classes, native));
      TensorShape test_shape;
      HWNAS_ASSIGN_OR_RETURN(
          dataset->test,
          ReadIdxPart(folder, "t10k", dataset->classes, &test_shape));
      if (test_shape != *native) {
        return absl::InvalidArgumentError(
            absl::StrCat(folder, ": test images have ", test_shape.height, "x",
                         test_shape.width, " pixels, but training images ",
                         native->height, "x", native->width));
      }
      break;
    }
    case Format::kCifar10:
    case Format::kCifar100: {
      *native = {3, 32, 32};
      const int label_bytes = format == Format::kCifar100 ? 2 : 1;
      HWNAS_ASSIGN_OR_RETURN(dataset->train,
                             ReadCifar(CifarTrainFiles(folder, format),
                                       label_bytes, dataset->classes));
      HWNAS_ASSIGN_OR_RETURN(
          dataset->test, ReadCifar({CifarTestFile(folder, format)}, label_bytes,
                                   dataset->classes));
      break;
    }
    case Format::kFolder: {
      const std::vector<std::string> classes = SubFolders(folder + "/train");
      if (classes.size() < 2) {
        return absl::InvalidArgumentError(
            absl::StrCat(folder, "/train has ", classes.size(),
                         " class folders: expected at least 2"));
      }
      dataset->classes = static_cast<int>(classes.size());
      HWNAS_ASSIGN_OR_RETURN(
          dataset->train, ReadImageFolder(folder + "/train", classes, *native));
      HWNAS_ASSIGN_OR_RETURN(
          dataset->test, ReadImageFolder(folder + "/test", classes, *native));
      break;
    }
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<std::string> KnownDatasets() {
  std::vector<std::string> names;
  for (const Known& known : kKnown) names.push_back(known.name);
  return names;
}

std::vector<std::string> AvailableDatasets(const DatasetLocation& location) {
  std::vector<std::string> names;
  for (const Known& known : kKnown) {
    if (FindFolder(known, location).ok()) names.push_back(known.name);
  }
  return names;
}

absl::StatusOr<std::shared_ptr<const Dataset>> LoadDataset(
    const std::string& name, const DatasetLocation& location,
    const TensorShape& image) {
  const Known* const known = Find(name);
  if (known == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("data set \"", name, "\" is unknown: expected one of ",
                     absl::StrJoin(KnownDatasets(), ", ")));
  }
  if (known->format == Format::kFolder && image.channels != 1 &&
      image.channels != 3) {
    return absl::InvalidArgumentError(
        absl::StrCat("data set folder: the network reads ", image.channels,
                     " channels: expected 1 (grey) or 3 (RGB)"));
  }
  HWNAS_ASSIGN_OR_RETURN(const std::string folder,
                         FindFolder(*known, location));
  auto dataset = std::make_shared<Dataset>();
  dataset->name = name;
  dataset->classes = known->classes;
  dataset->flip_keeps_class = known->flip_keeps_class;
  TensorShape native = image;
  if (const absl::Status read =
          ReadFiles(known->format, folder, &native, dataset.get());
      !read.ok()) {
    // Whatever is wrong is wrong with this machine's files: neither the network
    // nor the study is to blame.
    return absl::IsInvalidArgument(read) ? absl::DataLossError(read.message())
                                         : read;
  }
  if (native.channels != image.channels) {
    return absl::InvalidArgumentError(
        absl::StrCat("data set ", name, " has ", native.channels,
                     "-channel images, but the network reads ", image.channels,
                     " channels: set the space's input to [", native.channels,
                     ", ", native.height, ", ", native.width, "]"));
  }
  dataset->image = image;
  if (native != image) {
    Resize(native, image, &dataset->train);
    Resize(native, image, &dataset->test);
  }
  ComputeStatistics(dataset.get());
  return std::shared_ptr<const Dataset>(std::move(dataset));
}

}  // namespace hwnas::worker
