// Labelled images in memory, read from the files people have:
//
//   fashion-mnist, mnist   IDX files, plain or gzip
//   cifar10, cifar100      the binary version
//   folder                 root/train/<class>/*.png|jpg, root/test/<class>/...
//
// Files are checked (magic, sizes, labels) before anything is believed; errors
// name the file and what was expected.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nas/graph/model_graph.h"

namespace hwnas::worker {

// Images as bytes, row-major {count, H, W, C}, and a class for each.
struct ImageSet {
  std::vector<uint8_t> pixels;
  std::vector<int32_t> labels;

  int64_t size() const { return static_cast<int64_t>(labels.size()); }
};

// Immutable once loaded, hence thread-safe.
struct Dataset {
  std::string name;
  TensorShape image;  // Of every image.
  int classes = 0;
  ImageSet train;
  ImageSet test;
  // Of the training pixels by channel, scaled to [0, 1].
  std::vector<float> mean;
  std::vector<float> deviation;
  // A mirrored image is still of its class (false for digits).
  bool flip_keeps_class = true;
};

// Names that LoadDataset knows.
std::vector<std::string> KnownDatasets();

// Where to look, in order. `data_dir` is what the study says: only there. Else
// `worker_dir` (either may hold the files itself or in a folder named after the
// data set), then the folder of Debian's package.
struct DatasetLocation {
  std::string data_dir;
  std::string worker_dir;
};

// Known data sets whose files are there (not checked further), for Hello.
std::vector<std::string> AvailableDatasets(const DatasetLocation& location);

// Reads a data set and fits it to a network's input: images of another size are
// resized (bilinear); a folder's are read with as many channels as asked.
// NOT_FOUND with a remedy if the files are missing, DATA_LOSS if they are not
// what they should be; INVALID_ARGUMENT if there is no such data set or it has
// no such images, which every machine would say.
absl::StatusOr<std::shared_ptr<const Dataset>> LoadDataset(
    const std::string& name, const DatasetLocation& location,
    const TensorShape& image);

}  // namespace hwnas::worker
