#include "worker/train/batch_loader.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hwnas::worker {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::FloatNear;

// Every pixel has a value of its own; mean and deviation keep bytes as they
// are.
Dataset Ramp(int images, TensorShape shape) {
  Dataset dataset;
  dataset.image = shape;
  dataset.classes = 10;
  dataset.mean.assign(shape.channels, 0);
  dataset.deviation.assign(shape.channels, 1.0f / 255);
  for (int i = 0; i < images; ++i) {
    dataset.train.labels.push_back(i % 10);
    for (int64_t p = 0; p < shape.elements(); ++p) {
      dataset.train.pixels.push_back(static_cast<uint8_t>(1 + p));
    }
  }
  return dataset;
}

std::vector<float> Prepare(const Dataset& dataset, const AugmentOptions& how,
                           uint64_t seed) {
  std::vector<float> out(dataset.image.elements(), -1);
  Rng rng(seed);
  ImagePreparer(dataset, how)
      .Prepare(dataset.train.pixels.data(), &rng, out.data());
  return out;
}

TEST(ImagePreparer, NormalisesByChannel) {
  Dataset dataset = Ramp(1, {3, 1, 2});
  dataset.mean = {0.1f, 0.2f, 0.3f};
  dataset.deviation = {0.5f, 1.0f, 2.0f};
  std::vector<float> out(6);
  ImagePreparer(dataset, {})
      .Prepare(dataset.train.pixels.data(), nullptr, out.data());
  for (int i = 0; i < 6; ++i) {
    const double byte = 1 + i;
    EXPECT_NEAR(out[i],
                (byte / 255 - dataset.mean[i % 3]) / dataset.deviation[i % 3],
                1e-6);
  }
}

TEST(ImagePreparer, MirrorsAboutHalfOfTheTime) {
  const Dataset dataset = Ramp(1, {1, 1, 3});
  int mirrored = 0;
  for (int seed = 0; seed < 400; ++seed) {
    const std::vector<float> out = Prepare(dataset, {.flip = true}, seed);
    if (out[0] > 2) {
      ++mirrored;
      EXPECT_THAT(out, ElementsAre(3, 2, 1));
    } else {
      EXPECT_THAT(out, ElementsAre(1, 2, 3));
    }
  }
  EXPECT_NEAR(mirrored, 200, 60);
}

TEST(ImagePreparer, CropsShiftTheImageByUpToThePaddingOverBlack) {
  const Dataset dataset = Ramp(1, {2, 4, 5});
  std::set<std::pair<int, int>> shifts;
  for (int seed = 0; seed < 300; ++seed) {
    const std::vector<float> out = Prepare(dataset, {.crop_padding = 2}, seed);
    // The shift that explains every pixel.
    int explained = 0;
    for (int dy = -2; dy <= 2; ++dy) {
      for (int dx = -2; dx <= 2; ++dx) {
        bool fits = true;
        for (int y = 0; y < 4; ++y) {
          for (int x = 0; x < 5; ++x) {
            for (int c = 0; c < 2; ++c) {
              const int sy = y + dy, sx = x + dx;
              const bool inside = sy >= 0 && sy < 4 && sx >= 0 && sx < 5;
              const float expected =
                  inside ? static_cast<float>(1 + (sy * 5 + sx) * 2 + c) : 0.0f;
              fits =
                  fits && std::abs(out[(y * 5 + x) * 2 + c] - expected) < 1e-3f;
            }
          }
        }
        if (fits) {
          ++explained;
          shifts.insert({dy, dx});
        }
      }
    }
    EXPECT_EQ(explained, 1) << seed;
  }
  EXPECT_EQ(shifts.size(), 25u);
}

TEST(ImagePreparer, CutsOutOneSquareAtMost) {
  const Dataset dataset = Ramp(1, {1, 8, 8});
  bool whole = false;
  for (int seed = 0; seed < 100; ++seed) {
    const std::vector<float> out = Prepare(dataset, {.cutout = 4}, seed);
    const auto zeros = std::count(out.begin(), out.end(), 0.0f);
    EXPECT_GE(zeros, 4);
    EXPECT_LE(zeros, 16);
    whole = whole || zeros == 16;
  }
  EXPECT_TRUE(whole);
}

TEST(ImagePreparer, BearsPaddingAsLargeAsTheImage) {
  const Dataset dataset = Ramp(1, {1, 3, 3});
  for (int seed = 0; seed < 200; ++seed) {
    Prepare(dataset, {.flip = true, .crop_padding = 3, .cutout = 6}, seed);
  }
}

std::vector<int32_t> FirstImages(int count) {
  std::vector<int32_t> images(count);
  std::iota(images.begin(), images.end(), 0);
  return images;
}

std::vector<Batch> AllBatches(const Dataset& dataset, int images,
                              const BatchLoaderOptions& options) {
  BatchLoader loader(dataset, FirstImages(images), options);
  std::vector<Batch> batches;
  while (auto batch = loader.Next()) {
    batches.push_back(*batch);
    loader.Recycle(std::move(batch));
  }
  return batches;
}

TEST(BatchLoader, VisitsEveryImageOnceAnEpochInANewOrder) {
  Dataset dataset = Ramp(20, {1, 1, 1});
  for (int i = 0; i < 20; ++i) dataset.train.labels[i] = i;
  const auto batches =
      AllBatches(dataset, 20, {.batch = 5, .seed = 3, .epochs = 2});
  ASSERT_EQ(batches.size(), 8u);
  std::vector<std::vector<int64_t>> orders(2);
  for (const Batch& batch : batches) {
    orders[batch.epoch].insert(orders[batch.epoch].end(), batch.labels.begin(),
                               batch.labels.end());
  }
  EXPECT_NE(orders[0], orders[1]);
  for (auto& order : orders) {
    std::sort(order.begin(), order.end());
    for (int i = 0; i < 20; ++i) EXPECT_EQ(order[i], i);
  }
}

TEST(BatchLoader, LeavesAPartialBatchOutUnlessItIsTheOnlyOne) {
  const Dataset dataset = Ramp(13, {1, 2, 2});
  EXPECT_EQ(AllBatches(dataset, 13, {.batch = 5}).size(), 2u);
  const auto single = AllBatches(dataset, 13, {.batch = 64});
  ASSERT_EQ(single.size(), 1u);
  EXPECT_EQ(single[0].size, 13);
}

TEST(BatchLoader, GivesTheSameBatchesWhateverTheQueueAndTheStart) {
  const Dataset dataset = Ramp(40, {1, 6, 6});
  BatchLoaderOptions options = {
      .batch = 8,
      .augment = {.flip = true, .crop_padding = 1, .cutout = 2},
      .seed = 9,
      .epochs = 3};
  const auto all = AllBatches(dataset, 40, options);
  options.queue = 1;
  options.first_epoch = 2;
  const auto last = AllBatches(dataset, 40, options);
  ASSERT_EQ(all.size(), 15u);
  ASSERT_EQ(last.size(), 5u);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(all[10 + i].images, last[i].images);
    EXPECT_EQ(all[10 + i].labels, last[i].labels);
  }
  EXPECT_NE(all[0].images, all[5].images);
}

TEST(BatchLoader, MayBeLeftEarly) {
  const Dataset dataset = Ramp(100, {1, 6, 6});
  BatchLoader loader(dataset, FirstImages(100), {.batch = 2, .epochs = 1000});
  EXPECT_NE(loader.Next(), nullptr);
}

}  // namespace
}  // namespace hwnas::worker
