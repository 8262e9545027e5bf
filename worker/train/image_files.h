// Readers of the file formats behind LoadDataset. Each checks what it reads.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "worker/train/dataset.h"

namespace hwnas::worker {

// Images and labels in IDX format (http://yann.lecun.com/exdb/mnist), plain or
// gzip. Sets `image` to the images' shape {1, H, W}.
absl::StatusOr<ImageSet> ReadIdx(const std::string& images_path,
                                 const std::string& labels_path, int classes,
                                 TensorShape* image);

// CIFAR's binary version: records of `label_bytes` labels (the last one counts)
// and 3 * 32 * 32 bytes of planes.
absl::StatusOr<ImageSet> ReadCifar(absl::Span<const std::string> paths,
                                   int label_bytes, int classes);

// One PNG or JPEG file with 1 (grey) or 3 (RGB) channels, resized to `image`.
absl::StatusOr<std::vector<uint8_t>> ReadImageFile(const std::string& path,
                                                   const TensorShape& image);

// root/<class>/*.{png,jpg,jpeg}; classes are the given folders, in order.
absl::StatusOr<ImageSet> ReadImageFolder(const std::string& root,
                                         absl::Span<const std::string> classes,
                                         const TensorShape& image);

// Bilinear with pixel centres at halves, averaging over the source area when
// shrinking. {H, W, C} bytes.
std::vector<uint8_t> ResizeImage(absl::Span<const uint8_t> pixels, int height,
                                 int width, int channels, int new_height,
                                 int new_width);

}  // namespace hwnas::worker
