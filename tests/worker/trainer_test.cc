#include "worker/train/trainer.h"

#include <cmath>
#include <numeric>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/synthetic_dataset.h"
#include "worker/train/split.h"

namespace hwnas::worker {
namespace {

using ::testing::HasSubstr;

class TrainerTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = TestFolder();
    WriteBars(folder_, 400, 100);
    const auto dataset = LoadDataset("mnist", {.data_dir = folder_}, {1, 8, 8});
    ASSERT_TRUE(dataset.ok()) << dataset.status();
    dataset_ = *dataset;
    Split split = SplitTraining(dataset_->train.labels, 0.2, 1);
    data_.dataset = dataset_.get();
    data_.train = split.train;
    data_.evaluation = split.validation;
    options_.epochs = 4;
    options_.batch = 32;
    options_.crop_padding = 0;  // The row is the class.
    options_.learning_rate = 0.05;
    options_.threads = 2;
    options_.seed = 5;
  }

  std::string folder_;
  std::shared_ptr<const Dataset> dataset_;
  TrainData data_;
  TrainOptions options_;
};

TEST_F(TrainerTest, LearnsWhatCanBeLearned) {
  std::vector<v1::EpochReport> heard;
  int64_t images = 0;
  TrainHooks hooks;
  hooks.on_epoch = [&](const v1::EpochReport& e) { heard.push_back(e); };
  hooks.on_images = [&](int64_t n) { images += n; };
  const auto outcome = Train(SmallNetwork(), data_, options_, hooks);
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  ASSERT_EQ(heard.size(), 4u);
  EXPECT_LT(heard.back().train_loss(), heard.front().train_loss());
  EXPECT_GT(outcome->accuracy, 95);
  EXPECT_EQ(outcome->accuracy, heard.back().validation_accuracy());
  EXPECT_EQ(images, 4 * 320);
  EXPECT_GT(heard[0].images_per_second(), 0);
  EXPECT_EQ(heard[3].epoch(), 4);
  EXPECT_EQ(heard[3].epoch_count(), 4);
}

TEST_F(TrainerTest, ItsWeightsGiveTheReportedValuesAgain) {
  const auto outcome = Train(SmallNetwork(), data_, options_);
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  const auto again = Evaluate(SmallNetwork(), outcome->weights, *dataset_,
                              dataset_->train, data_.evaluation);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_DOUBLE_EQ(again->accuracy, outcome->accuracy);
  EXPECT_DOUBLE_EQ(again->loss, outcome->loss);
}

TEST_F(TrainerTest, IsTheSameBitForBitForOneSeed) {
  const auto a = Train(SmallNetwork(), data_, options_);
  const auto b = Train(SmallNetwork(), data_, options_);
  options_.seed = 6;
  const auto c = Train(SmallNetwork(), data_, options_);
  ASSERT_TRUE(a.ok() && b.ok() && c.ok());
  EXPECT_EQ(a->weights.SerializeAsString(), b->weights.SerializeAsString());
  EXPECT_EQ(a->loss, b->loss);
  EXPECT_NE(a->weights.SerializeAsString(), c->weights.SerializeAsString());
}

// With all weights and the rate at (nearly) zero effect, the first loss has a
// closed form: a network with zero input gives equal logits.
TEST_F(TrainerTest, ReportsTheSmoothedLossOfItsClosedForm) {
  GraphBuilder b;
  // Zero features, so that the logits are the biases: zero.
  int x = b.Zero(b.Input({1, 8, 8}));
  x = b.Linear(b.Flatten(x), 10);
  const auto graph = std::move(b).Build();
  ASSERT_TRUE(graph.ok());
  options_.learning_rate = 1e-9;
  options_.epochs = 1;
  options_.warmup_epochs = 0;
  for (const double smoothing : {0.0, 0.3}) {
    options_.label_smoothing = smoothing;
    const auto outcome = Train(*graph, data_, options_);
    ASSERT_TRUE(outcome.ok()) << outcome.status();
    EXPECT_NEAR(outcome->epochs[0].train_loss(), std::log(10), 1e-5);
    EXPECT_NEAR(outcome->loss, std::log(10), 1e-5);
  }
}

// A bias-only network reaches the optimum of the smoothed loss, whose value is
// the entropy of the smoothed class frequencies: that pins down the smoothing.
TEST_F(TrainerTest, SmoothsLabelsOverAllClasses) {
  GraphBuilder b;
  int x = b.Zero(b.Input({1, 8, 8}));
  x = b.Linear(b.Flatten(x), 10);
  const auto graph = std::move(b).Build();
  ASSERT_TRUE(graph.ok());
  options_.learning_rate = 1;
  options_.weight_decay = 0;
  options_.epochs = 60;
  options_.label_smoothing = 0.4;
  const auto outcome = Train(*graph, data_, options_);
  ASSERT_TRUE(outcome.ok()) << outcome.status();
  const double seen = 0.6 / 4 + 0.4 / 10;  // Four of ten classes occur.
  const double unseen = 0.4 / 10;
  const double entropy =
      -4 * seen * std::log(seen) - 6 * unseen * std::log(unseen);
  EXPECT_NEAR(outcome->epochs.back().train_loss(), entropy, 0.01);
  // Without smoothing it is judged by what occurs.
  EXPECT_NEAR(outcome->loss, -std::log(seen), 0.03);
}

TEST_F(TrainerTest, StopsAtTheNextBatchWhenCancelled) {
  int64_t batches = 0;
  TrainHooks hooks;
  hooks.on_images = [&](int64_t) { ++batches; };
  hooks.cancelled = [&] { return batches >= 3; };
  EXPECT_TRUE(absl::IsCancelled(
      Train(SmallNetwork(), data_, options_, hooks).status()));
  EXPECT_EQ(batches, 3);
}

TEST_F(TrainerTest, BlamesTheNetworkForALossThatIsNotFinite) {
  options_.learning_rate = 1e30;
  options_.warmup_epochs = 0;
  const auto outcome = Train(SmallNetwork(), data_, options_);
  EXPECT_TRUE(absl::IsOutOfRange(outcome.status())) << outcome.status();
}

TEST_F(TrainerTest, RefusesANetworkThatDoesNotFitTheData) {
  const auto outcome = Train(SmallNetwork(7), data_, options_);
  EXPECT_TRUE(absl::IsInvalidArgument(outcome.status()));
  EXPECT_THAT(std::string(outcome.status().message()),
              HasSubstr("7 outputs, but data set mnist has 10 classes"));
}

TEST_F(TrainerTest, GoesOnFromACheckpointAsIfNothingHadHappened) {
  const auto whole = Train(SmallNetwork(), data_, options_);
  // Another worker, which shares the folder, goes on.
  CheckpointFolder first({.path = folder_ + "/shared", .owner = "w-1"},
                         NullLogger());
  CheckpointFolder second({.path = folder_ + "/shared", .owner = "w-2"},
                          NullLogger());
  CheckpointOptions checkpoint = {.folder = &first, .fingerprint = "task"};
  int epochs = 0;
  int resumed_epochs = 0;
  TrainHooks hooks;
  hooks.on_resume = [&](absl::Span<const v1::EpochReport> done) {
    resumed_epochs = static_cast<int>(done.size());
  };
  hooks.on_epoch = [&](const v1::EpochReport&) { ++epochs; };
  hooks.cancelled = [&] { return epochs == 2; };
  ASSERT_TRUE(absl::IsCancelled(
      Train(SmallNetwork(), data_, options_, hooks, checkpoint).status()));
  EXPECT_EQ(resumed_epochs, 0);
  hooks.cancelled = nullptr;
  checkpoint.folder = &second;
  const auto resumed =
      Train(SmallNetwork(), data_, options_, hooks, checkpoint);
  ASSERT_TRUE(whole.ok() && resumed.ok()) << resumed.status();
  EXPECT_EQ(epochs, 4);  // Two before and two after.
  EXPECT_EQ(resumed_epochs, 2);
  EXPECT_EQ(resumed->epochs.size(), 4u);
  EXPECT_EQ(whole->weights.SerializeAsString(),
            resumed->weights.SerializeAsString());
  EXPECT_EQ(whole->loss, resumed->loss);
}

// Rungs after 1 and 3 of 4 epochs, each in a process of its own for all it
// knows, are bit for bit the training at once.
TEST_F(TrainerTest, PausedAtRungsIsTheSameBitForBitAsAtOnce) {
  options_.augment = true;
  options_.crop_padding = 1;
  options_.cutout = 2;
  const auto whole = Train(SmallNetwork(), data_, options_);
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_EQ(whole->checkpoint, "");
  CheckpointOptions checkpoint;
  checkpoint.fingerprint = "training";
  std::vector<int> heard;
  TrainHooks hooks;
  hooks.on_epoch = [&](const v1::EpochReport& e) {
    heard.push_back(e.epoch());
  };
  for (const int until : {1, 3}) {
    checkpoint.pause_after = until;
    const auto rung = Train(SmallNetwork(), data_, options_, hooks, checkpoint);
    ASSERT_TRUE(rung.ok()) << rung.status();
    ASSERT_EQ(rung->epochs.size(), static_cast<size_t>(until));
    EXPECT_EQ(rung->loss, whole->epochs[until - 1].validation_loss());
    EXPECT_EQ(rung->accuracy, whole->epochs[until - 1].validation_accuracy());
    EXPECT_NE(rung->checkpoint, "");
    checkpoint.begin = rung->checkpoint;
  }
  checkpoint.pause_after = 0;
  const auto last = Train(SmallNetwork(), data_, options_, hooks, checkpoint);
  ASSERT_TRUE(last.ok()) << last.status();
  EXPECT_EQ(heard, (std::vector<int>{1, 2, 3, 4}));
  EXPECT_EQ(last->weights.SerializeAsString(),
            whole->weights.SerializeAsString());
  EXPECT_EQ(last->loss, whole->loss);
  EXPECT_EQ(last->checkpoint, "");
}

TEST_F(TrainerTest, BeginsAnewWithoutTheCheckpointAndComesToTheSame) {
  CheckpointOptions checkpoint;
  checkpoint.fingerprint = "training";
  checkpoint.pause_after = 2;
  const auto good = Train(SmallNetwork(), data_, options_, {}, checkpoint);
  checkpoint.begin = "no checkpoint at all";
  const auto anew = Train(SmallNetwork(), data_, options_, {}, checkpoint);
  ASSERT_TRUE(good.ok() && anew.ok());
  EXPECT_EQ(good->weights.SerializeAsString(),
            anew->weights.SerializeAsString());
  EXPECT_EQ(good->loss, anew->loss);
  // One that has gone too far is of no use either.
  checkpoint.begin = good->checkpoint;
  checkpoint.pause_after = 1;
  const auto earlier = Train(SmallNetwork(), data_, options_, {}, checkpoint);
  ASSERT_TRUE(earlier.ok());
  EXPECT_EQ(earlier->epochs.size(), 1u);
}

TEST_F(TrainerTest, ReportsARungAgainWithoutTraining) {
  CheckpointOptions checkpoint;
  checkpoint.fingerprint = "training";
  checkpoint.pause_after = 2;
  const auto first = Train(SmallNetwork(), data_, options_, {}, checkpoint);
  ASSERT_TRUE(first.ok());
  checkpoint.begin = first->checkpoint;
  const auto again = Train(SmallNetwork(), data_, options_, {}, checkpoint);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->images, 0);
  EXPECT_EQ(again->accuracy, first->accuracy);
  EXPECT_EQ(again->checkpoint, first->checkpoint);
}

TEST(ResolveTrainSpec, FillsInTheDocumentedDefaults) {
  const auto options = ResolveTrainSpec(v1::TrainSpec(), {1, 28, 28}, 3);
  ASSERT_TRUE(options.ok());
  EXPECT_EQ(options->epochs, 12);
  EXPECT_EQ(options->crop_padding, 3);
  EXPECT_NEAR(options->warmup_epochs, 0.6, 1e-12);
}

TEST(ResolveTrainSpec, NamesTheFieldTheValueAndTheRange) {
  v1::TrainSpec spec;
  spec.set_learning_rate(std::nan(""));
  EXPECT_THAT(
      std::string(ResolveTrainSpec(spec, {1, 28, 28}, 3).status().message()),
      HasSubstr("train.learning_rate is nan"));
  spec.clear_learning_rate();
  spec.set_epochs(-1);
  EXPECT_THAT(
      std::string(ResolveTrainSpec(spec, {1, 28, 28}, 3).status().message()),
      HasSubstr("train.epochs is -1: expected 1 to 10000"));
}

}  // namespace
}  // namespace hwnas::worker
