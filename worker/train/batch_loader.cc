#include "worker/train/batch_loader.h"

#include <algorithm>
#include <utility>

namespace hwnas::worker {
namespace {

// Streams of random numbers: orders of epochs, and augmentation of images.
constexpr uint64_t kOrderStream = uint64_t{1} << 63;

std::vector<float> Scales(const Dataset& dataset) {
  std::vector<float> scale;
  for (const float deviation : dataset.deviation) {
    scale.push_back(1.0f / (255.0f * deviation));
  }
  return scale;
}
std::vector<float> Offsets(const Dataset& dataset) {
  std::vector<float> offset;
  for (size_t c = 0; c < dataset.mean.size(); ++c) {
    offset.push_back(-dataset.mean[c] / dataset.deviation[c]);
  }
  return offset;
}

}  // namespace

ImagePreparer::ImagePreparer(const Dataset& dataset,
                             const AugmentOptions& augment)
    : shape_(dataset.image),
      augment_(augment),
      scale_(Scales(dataset)),
      offset_(Offsets(dataset)) {}

void ImagePreparer::Prepare(const uint8_t* pixels, Rng* rng, float* out) const {
  const int height = shape_.height;
  const int width = shape_.width;
  const int channels = shape_.channels;
  int down = 0;   // The crop starts this far below the image's top,
  int right = 0;  // and this far right of its left edge; may be negative.
  bool flip = false;
  if (rng != nullptr) {
    if (augment_.crop_padding > 0) {
      const int choices = 2 * augment_.crop_padding + 1;
      down = static_cast<int>(rng->Below(choices)) - augment_.crop_padding;
      right = static_cast<int>(rng->Below(choices)) - augment_.crop_padding;
    }
    flip = augment_.flip && (rng->Next() >> 63) != 0;
  }
  // Columns of the crop that lie inside the image.
  const int first = std::clamp(-right, 0, width);
  const int last = std::clamp(width - right, first, width);
  const float* const scale = scale_.data();
  const float* const offset = offset_.data();
  const auto black = [&](float* at, int count) {
    for (int i = 0; i < count; ++i) {
      for (int c = 0; c < channels; ++c) *at++ = offset[c];
    }
  };
  for (int y = 0; y < height; ++y) {
    float* const row = out + size_t{1} * y * width * channels;
    const int source = y + down;
    if (source < 0 || source >= height) {
      black(row, width);
      continue;
    }
    black(row, first);
    const uint8_t* in =
        pixels + (size_t{1} * source * width + first + right) * channels;
    float* at = row + first * channels;
    const int count = (last - first) * channels;
    if (channels == 1) {
      for (int i = 0; i < count; ++i) {
        at[i] = static_cast<float>(in[i]) * scale[0] + offset[0];
      }
    } else {
      for (int i = 0; i < count; i += channels) {
        for (int c = 0; c < channels; ++c) {
          at[i + c] = static_cast<float>(in[i + c]) * scale[c] + offset[c];
        }
      }
    }
    black(row + last * channels, width - last);
    if (flip) {
      for (int a = 0, b = width - 1; a < b; ++a, --b) {
        for (int c = 0; c < channels; ++c) {
          std::swap(row[a * channels + c], row[b * channels + c]);
        }
      }
    }
  }
  if (rng != nullptr && augment_.cutout > 0) {
    const int top = static_cast<int>(rng->Below(height)) - augment_.cutout / 2;
    const int left = static_cast<int>(rng->Below(width)) - augment_.cutout / 2;
    for (int y = std::max(top, 0); y < std::min(top + augment_.cutout, height);
         ++y) {
      const int begin = std::clamp(left, 0, width);
      const int end = std::clamp(left + augment_.cutout, begin, width);
      std::fill(out + (size_t{1} * y * width + begin) * channels,
                out + (size_t{1} * y * width + end) * channels, 0.0f);
    }
  }
}

BatchLoader::BatchLoader(const Dataset& dataset, std::vector<int32_t> images,
                         const BatchLoaderOptions& options)
    : dataset_(dataset),
      images_(std::move(images)),
      options_(options),
      preparer_(dataset, options.augment),
      batches_per_epoch_(
          images_.empty() ? 0
                          : std::max<int>(1, static_cast<int>(images_.size()) /
                                                 options.batch)),
      producer_([this] { Produce(); }) {}

BatchLoader::~BatchLoader() {
  {
    MutexLock lock(&mutex_);
    stop_ = true;
    changed_.SignalAll();
  }
  producer_.join();
}

void BatchLoader::Fill(const std::vector<int32_t>& order, int epoch, int number,
                       Batch* batch) const {
  const int64_t begin = int64_t{number} * options_.batch;
  const int64_t end = std::min<int64_t>(begin + options_.batch,
                                        static_cast<int64_t>(order.size()));
  const int64_t pixels = dataset_.image.elements();
  batch->epoch = epoch;
  batch->number = number;
  batch->size = end - begin;
  batch->images.resize(batch->size * pixels);
  batch->labels.resize(batch->size);
  for (int64_t i = begin; i < end; ++i) {
    const int32_t image = order[i];
    Rng rng(options_.seed, (uint64_t{static_cast<uint32_t>(epoch)} << 32) +
                               static_cast<uint32_t>(image));
    preparer_.Prepare(dataset_.train.pixels.data() + image * pixels, &rng,
                      batch->images.data() + (i - begin) * pixels);
    batch->labels[i - begin] = dataset_.train.labels[image];
  }
}

void BatchLoader::Produce() {
  for (int epoch = options_.first_epoch; epoch < options_.epochs; ++epoch) {
    std::vector<int32_t> order = images_;
    Rng rng(options_.seed, kOrderStream + epoch);
    rng.Shuffle(order);
    for (int number = 0; number < batches_per_epoch_; ++number) {
      std::unique_ptr<Batch> batch;
      {
        MutexLock lock(&mutex_);
        while (!stop_ && ready_.size() >= static_cast<size_t>(options_.queue)) {
          changed_.Wait(&mutex_);
        }
        if (stop_) return;
        if (!spare_.empty()) {
          batch = std::move(spare_.back());
          spare_.pop_back();
        }
      }
      if (batch == nullptr) batch = std::make_unique<Batch>();
      Fill(order, epoch, number, batch.get());
      MutexLock lock(&mutex_);
      ready_.push_back(std::move(batch));
      changed_.SignalAll();
    }
  }
  MutexLock lock(&mutex_);
  finished_ = true;
  changed_.SignalAll();
}

std::unique_ptr<Batch> BatchLoader::Next() {
  MutexLock lock(&mutex_);
  while (ready_.empty() && !finished_) changed_.Wait(&mutex_);
  if (ready_.empty()) return nullptr;
  std::unique_ptr<Batch> batch = std::move(ready_.front());
  ready_.pop_front();
  changed_.SignalAll();
  return batch;
}

void BatchLoader::Recycle(std::unique_ptr<Batch> batch) {
  MutexLock lock(&mutex_);
  spare_.push_back(std::move(batch));
}

}  // namespace hwnas::worker
