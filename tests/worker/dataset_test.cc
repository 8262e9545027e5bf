#include "worker/train/dataset.h"

#include <png.h>
#include <zlib.h>

#include <filesystem>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/synthetic_dataset.h"
#include "worker/train/image_files.h"

namespace hwnas::worker {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string Message(const absl::Status& status) {
  return std::string(status.message());
}

void WriteGzip(const std::string& path, const std::string& bytes) {
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
  gzclose(file);
}

TEST(LoadDataset, ReadsIdxFilesPlainAndGzip) {
  const std::string folder = TestFolder();
  WriteGzip(folder + "/train-images-idx3-ubyte.gz",
            IdxImages(2, 1, 2, std::string("\x00\xff\x33\xcc", 4)));
  WriteBytes(folder + "/train-labels-idx1-ubyte",
             IdxLabels(2, std::string("\x03\x09", 2)));
  WriteBytes(folder + "/t10k-images-idx3-ubyte",
             IdxImages(1, 1, 2, std::string("\x01\x02", 2)));
  WriteBytes(folder + "/t10k-labels-idx1-ubyte", IdxLabels(1, "\x05"));
  const auto dataset = LoadDataset("mnist", {.data_dir = folder}, {1, 1, 2});
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_THAT((*dataset)->train.pixels, ElementsAre(0, 255, 0x33, 0xcc));
  EXPECT_THAT((*dataset)->train.labels, ElementsAre(3, 9));
  EXPECT_THAT((*dataset)->test.labels, ElementsAre(5));
  EXPECT_FLOAT_EQ((*dataset)->mean[0], 0.5f);
  EXPECT_FALSE((*dataset)->flip_keeps_class);
}

TEST(LoadDataset, ReadsFashionMnistWhereItIsInstalled) {
  const auto dataset = LoadDataset("fashion-mnist", {}, {1, 28, 28});
  if (absl::IsNotFound(dataset.status())) {
    GTEST_SKIP() << dataset.status().message();
  }
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ((*dataset)->train.size(), 60000);
  EXPECT_EQ((*dataset)->test.size(), 10000);
  // The well-known figures.
  EXPECT_NEAR((*dataset)->mean[0], 0.2860, 1e-4);
  EXPECT_NEAR((*dataset)->deviation[0], 0.3530, 1e-4);
}

struct BadIdx {
  const char* what;
  std::string images;
  std::string labels;
  const char* expected;
};

TEST(LoadDataset, SaysWhatIsWrongWithIdxFiles) {
  const std::string images = IdxImages(2, 1, 1, "ab");
  const std::string labels = IdxLabels(2, std::string("\0\x01", 2));
  const BadIdx cases[] = {
      {"magic", labels, labels, "expected 0x00000803"},
      {"empty", "", labels, "too early"},
      {"short", images.substr(0, 17), labels, "ends 1 bytes too early"},
      {"long", images + "x", labels, "longer than its header says"},
      {"huge", IdxImages(0xffffffff, 0xffffffff, 0xffffffff, ""), labels,
       "claims 4294967295 images"},
      {"large but absent", IdxImages(50'000'000, 28, 28, ""), labels,
       "too early"},
      {"no pixel", IdxImages(2, 0, 1, ""), labels, "claims 2 images of 0x1"},
      {"label magic", images, images, "expected 0x00000801"},
      {"label count", images, IdxLabels(1, "\x01"), "1 labels, but"},
      {"label value", images, IdxLabels(2, "\x01\x0a"),
       "label 10 of image 1: expected less than 10"},
      {"damaged gzip", "\x1f\x8b\x08 and then nonsense", labels, "is damaged"},
  };
  for (const BadIdx& bad : cases) {
    const std::string folder = TestFolder();
    for (const char* part : {"/train", "/t10k"}) {
      WriteBytes(folder + part + "-images-idx3-ubyte", bad.images);
      WriteBytes(folder + part + "-labels-idx1-ubyte", bad.labels);
    }
    const auto dataset = LoadDataset("mnist", {.data_dir = folder}, {1, 1, 1});
    ASSERT_FALSE(dataset.ok()) << bad.what;
    EXPECT_THAT(Message(dataset.status()), HasSubstr(bad.expected)) << bad.what;
    EXPECT_THAT(Message(dataset.status()), HasSubstr("train-")) << bad.what;
  }
}

TEST(LoadDataset, NamesARemedyForAMissingDataSet) {
  const std::string folder = TestFolder();
  const auto fashion =
      LoadDataset("fashion-mnist", {.data_dir = folder}, {1, 28, 28});
  EXPECT_TRUE(absl::IsNotFound(fashion.status()));
  EXPECT_THAT(Message(fashion.status()),
              HasSubstr("install the package dataset-fashion-mnist"));
  EXPECT_THAT(Message(fashion.status()), HasSubstr(folder));
  const auto cifar = LoadDataset("cifar10", {}, {3, 32, 32});
  EXPECT_THAT(Message(cifar.status()), HasSubstr("--data_dir"));
  const auto unknown = LoadDataset("imagenet", {}, {3, 32, 32});
  EXPECT_TRUE(absl::IsInvalidArgument(unknown.status()));
  EXPECT_THAT(Message(unknown.status()), HasSubstr("fashion-mnist"));
}

TEST(LoadDataset, RefusesANetworkWithOtherChannels) {
  const std::string folder = TestFolder();
  WriteBars(folder, 8, 4);
  const auto dataset = LoadDataset("mnist", {.data_dir = folder}, {3, 8, 8});
  EXPECT_THAT(Message(dataset.status()), HasSubstr("input to [1, 8, 8]"));
}

TEST(LoadDataset, ResizesImagesToTheNetworksInput) {
  const std::string folder = TestFolder();
  WriteBars(folder, 8, 4);
  const auto dataset = LoadDataset("mnist", {.data_dir = folder}, {1, 12, 12});
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ((*dataset)->train.pixels.size(), 8u * 12 * 12);
}

TEST(LoadDataset, ReadsCifarsPlanesAsPixels) {
  const std::string folder = TestFolder();
  std::filesystem::create_directories(folder + "/cifar-10-batches-bin");
  const auto record = [](int label) {
    return std::string(1, static_cast<char>(label)) + std::string(1024, 'r') +
           std::string(1024, 'g') + std::string(1024, 'b');
  };
  for (int i = 1; i <= 5; ++i) {
    WriteBytes(folder + "/cifar-10-batches-bin/data_batch_" +
                   std::to_string(i) + ".bin",
               record(i));
  }
  WriteBytes(folder + "/cifar-10-batches-bin/test_batch.bin", record(9));
  EXPECT_THAT(AvailableDatasets({.data_dir = folder}), Contains("cifar10"));
  const auto dataset =
      LoadDataset("cifar10", {.data_dir = folder}, {3, 32, 32});
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_THAT((*dataset)->train.labels, ElementsAre(1, 2, 3, 4, 5));
  EXPECT_EQ((*dataset)->train.pixels[0], 'r');
  EXPECT_EQ((*dataset)->train.pixels[1], 'g');
  EXPECT_EQ((*dataset)->train.pixels[2], 'b');

  WriteBytes(folder + "/cifar-10-batches-bin/test_batch.bin",
             record(9) + "more");
  EXPECT_THAT(
      Message(
          LoadDataset("cifar10", {.data_dir = folder}, {3, 32, 32}).status()),
      HasSubstr("expected a multiple of 3073"));
}

TEST(LoadDataset, TakesTheFineLabelOfCifar100) {
  const std::string folder = TestFolder();
  const std::string record = "\x07\x63" + std::string(3072, 'x');
  WriteBytes(folder + "/train.bin", record);
  WriteBytes(folder + "/test.bin", record);
  const auto dataset =
      LoadDataset("cifar100", {.data_dir = folder}, {3, 32, 32});
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_THAT((*dataset)->train.labels, ElementsAre(99));
}

void WritePng(const std::string& path, int height, int width, uint8_t grey) {
  png_image image = {};
  image.version = PNG_IMAGE_VERSION;
  image.height = height;
  image.width = width;
  image.format = PNG_FORMAT_GRAY;
  const std::vector<uint8_t> pixels(height * width, grey);
  ASSERT_TRUE(png_image_write_to_file(&image, path.c_str(), 0, pixels.data(), 0,
                                      nullptr));
}

TEST(LoadDataset, ReadsAFolderOfImages) {
  const std::string folder = TestFolder();
  for (const char* part : {"/train", "/test"}) {
    for (const char* name : {"/cat", "/ant"}) {
      std::filesystem::create_directories(folder + part + name);
    }
    WritePng(folder + part + "/cat/1.png", 5, 7, 200);
    WritePng(folder + part + "/ant/1.png", 4, 4, 10);
  }
  const auto dataset = LoadDataset("folder", {.data_dir = folder}, {3, 4, 4});
  ASSERT_TRUE(dataset.ok()) << dataset.status();
  EXPECT_EQ((*dataset)->classes, 2);
  EXPECT_THAT((*dataset)->train.labels, ElementsAre(0, 1));  // ant, cat
  ASSERT_EQ((*dataset)->train.pixels.size(), 2u * 48);
  EXPECT_EQ((*dataset)->train.pixels[0], 10);
  EXPECT_EQ((*dataset)->train.pixels[48], 200);

  WriteBytes(folder + "/train/ant/2.png", "\x89PNG\r\n\x1a\n nonsense");
  EXPECT_THAT(
      Message(LoadDataset("folder", {.data_dir = folder}, {3, 4, 4}).status()),
      HasSubstr("ant/2.png is not a readable PNG"));
  WriteBytes(folder + "/train/ant/2.png", "\xff\xd8\xff\xe0 nonsense");
  EXPECT_THAT(
      Message(LoadDataset("folder", {.data_dir = folder}, {3, 4, 4}).status()),
      HasSubstr("ant/2.png is not a readable JPEG"));
  WriteBytes(folder + "/train/ant/2.png", "text");
  EXPECT_THAT(
      Message(LoadDataset("folder", {.data_dir = folder}, {3, 4, 4}).status()),
      HasSubstr("neither a PNG nor a JPEG"));
}

TEST(ResizeImage, KeepsAConstantAndInterpolatesBetweenCentres) {
  EXPECT_THAT(ResizeImage(std::vector<uint8_t>(9, 77), 3, 3, 1, 7, 5),
              Each(77));
  const std::vector<uint8_t> two = {0, 200};
  EXPECT_THAT(ResizeImage(two, 1, 2, 1, 1, 4), ElementsAre(0, 50, 150, 200));
}

TEST(ResizeImage, AveragesWhenShrinking) {
  const std::vector<uint8_t> stripes = {0, 200, 0, 200, 0, 200, 0, 200};
  for (const int v : ResizeImage(stripes, 1, 8, 1, 1, 2)) {
    EXPECT_NEAR(v, 100, 20);
  }
}

}  // namespace
}  // namespace hwnas::worker
