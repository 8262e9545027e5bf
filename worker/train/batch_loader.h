// Turns bytes into augmented, normalised float batches ahead of the training
// loop, in a thread of its own.
//
//   BatchLoader loader(dataset, images, options);
//   while (std::unique_ptr<Batch> batch = loader.Next()) { ... }
//
// What a batch holds depends only on the options and its place (epoch, number),
// never on timing or threads.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "common/mutex.h"
#include "common/rng.h"
#include "worker/train/dataset.h"

namespace hwnas::worker {

// Images as floats {size, H, W, C}: channels-last, as the module likes them.
struct Batch {
  int epoch = 0;   // From 0.
  int number = 0;  // In the epoch, from 0.
  int64_t size = 0;
  std::vector<float> images;
  std::vector<int64_t> labels;
};

struct AugmentOptions {
  bool flip = false;     // Mirror left and right with probability 1/2.
  int crop_padding = 0;  // Black pixels around, before a random crop.
  int cutout = 0;        // Side of the square set to the mean; 0: none.
};

// Normalises (and augments, if `rng` is given) one image {H, W, C}. The square
// of Cutout (arXiv 1708.04552) may reach beyond the image, as in the paper.
class ImagePreparer {
 public:
  ImagePreparer(const Dataset& dataset, const AugmentOptions& augment);
  void Prepare(const uint8_t* pixels, Rng* rng, float* out) const;

 private:
  const TensorShape shape_;
  const AugmentOptions augment_;
  // value = byte * scale + offset, by channel.
  std::vector<float> scale_;
  std::vector<float> offset_;
};

struct BatchLoaderOptions {
  int batch = 128;
  AugmentOptions augment;
  uint64_t seed = 0;
  int first_epoch = 0;
  int epochs = 1;
  // Batches prepared ahead; at least 1.
  int queue = 4;
};

// Next() belongs to one thread.
class BatchLoader {
 public:
  // `dataset` must outlive the loader. Every epoch visits `images` (indices
  // into dataset.train) in a new random order. Images that do not fill a batch
  // at the end of an epoch wait for a later one, unless there is none that is
  // full.
  BatchLoader(const Dataset& dataset, std::vector<int32_t> images,
              const BatchLoaderOptions& options);
  ~BatchLoader();  // May be called early.

  // nullptr after the last batch of the last epoch.
  std::unique_ptr<Batch> Next();
  // Gives a batch back for its memory.
  void Recycle(std::unique_ptr<Batch> batch);

  int batches_per_epoch() const { return batches_per_epoch_; }

 private:
  void Produce();
  void Fill(const std::vector<int32_t>& order, int epoch, int number,
            Batch* batch) const;

  const Dataset& dataset_;
  const std::vector<int32_t> images_;
  const BatchLoaderOptions options_;
  const ImagePreparer preparer_;
  const int batches_per_epoch_;

  Mutex mutex_;
  CondVar changed_;
  std::deque<std::unique_ptr<Batch>> ready_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<Batch>> spare_ ABSL_GUARDED_BY(mutex_);
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;

  std::thread producer_;
};

}  // namespace hwnas::worker
