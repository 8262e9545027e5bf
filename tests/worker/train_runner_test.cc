#include "worker/train_runner.h"

#include <filesystem>
#include <map>
#include <sstream>

#include "common/digest.h"
#include "common/files.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "model/weights.h"
#include "proto/convert/convert.h"
#include "tests/worker/synthetic_dataset.h"
#include "worker/train_task_file.h"

namespace hwnas::worker {
namespace {

using ::testing::HasSubstr;

class FakeContext final : public fleet::TaskContext {
 public:
  bool cancelled() const override { return cancel; }
  void ReportEpoch(const v1::EpochReport& epoch) override {
    epochs.push_back(epoch);
    if (cancel_after > 0 && static_cast<int>(epochs.size()) >= cancel_after) {
      cancel = true;
    }
  }
  void ReportNote(std::string note) override {}
  absl::StatusOr<std::string> UploadArtifact(absl::string_view data) override {
    uploaded = std::string(data);
    artifacts[Sha256Hex(data)] = uploaded;
    return Sha256Hex(data);
  }
  absl::StatusOr<std::string> DownloadArtifact(
      const std::string& digest) override {
    const auto it = artifacts.find(digest);
    if (it == artifacts.end()) return absl::NotFoundError(digest);
    return it->second;
  }

  bool cancel = false;
  int cancel_after = 0;
  std::vector<v1::EpochReport> epochs;
  std::string uploaded;
  std::map<std::string, std::string> artifacts;
};

class TrainRunnerTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = TestFolder();
    std::filesystem::create_directories(folder_ + "/mnist");
    WriteBars(folder_ + "/mnist", 200, 100);
    options_.data_dir = folder_;
    options_.checkpoints = {.path = folder_ + "/checkpoints", .owner = "w-1"};
    options_.cores_lock_path = folder_ + "/cores.lock";
    options_.threads = 1;
    task_.mutable_lease()->set_task_id("s/1/train");
    task_.mutable_lease()->set_attempt(1);
    v1::TrainTask& train = *task_.mutable_train();
    *train.mutable_graph() = ToProto(SmallNetwork());
    train.mutable_train()->set_dataset("mnist");
    train.mutable_train()->set_epochs(3);
    train.mutable_train()->set_batch(16);
    train.mutable_train()->set_crop_padding(0);
    train.set_seed(4);
    train.set_architecture_digest(std::string(64, 'a'));
  }

  v1::TaskResult Run(FakeContext& context) {
    TrainRunner runner(options_, NullLogger(),
                       std::make_shared<prometheus::Registry>());
    const v1::TaskResult result = runner.Run(task_, context);
    if (spool_) runner.OnSpooled(task_, result);
    return result;
  }

  std::string folder_;
  bool spool_ = true;
  TrainRunnerOptions options_;
  v1::Task task_;
};

TEST_F(TrainRunnerTest, ReportsMeasurementsEpochsAndWeights) {
  task_.mutable_train()->set_keep_weights(true);
  FakeContext context;
  const v1::TaskResult result = Run(context);
  ASSERT_EQ(result.error(), "");
  ASSERT_EQ(result.measurements_size(), 2);
  EXPECT_EQ(result.measurements(0).metric(), "accuracy");
  EXPECT_EQ(result.measurements(0).unit(), "percent");
  EXPECT_EQ(result.measurements(0).provenance(), v1::TRAINED);
  EXPECT_GT(result.measurements(0).value(), 60);
  EXPECT_EQ(result.measurements(1).metric(), "validation_loss");
  EXPECT_EQ(result.epochs_size(), 3);
  EXPECT_EQ(context.epochs.size(), 3u);
  EXPECT_THAT(result.environment().runtime(), HasSubstr("libtorch"));
  EXPECT_EQ(result.weights_digest(), Sha256Hex(context.uploaded));
  v1::Weights weights;
  ASSERT_TRUE(weights.ParseFromString(context.uploaded));
  EXPECT_TRUE(CheckWeights(SmallNetwork(), weights).ok());
  EXPECT_EQ(weights.architecture_digest(), std::string(64, 'a'));
  EXPECT_TRUE(std::filesystem::is_empty(folder_ + "/checkpoints"));
}

TEST_F(TrainRunnerTest, UploadsNothingUnlessAsked) {
  FakeContext context;
  EXPECT_EQ(Run(context).weights_digest(), "");
  EXPECT_EQ(context.uploaded, "");
}

TEST_F(TrainRunnerTest, PausesAtARungAndGoesOnWithAnotherTask) {
  FakeContext context;
  task_.mutable_train()->set_keep_weights(true);
  const v1::TaskResult whole = Run(context);

  v1::TrainTask& train = *task_.mutable_train();
  train.set_keep_weights(false);
  train.set_until_epoch(1);
  train.set_keep_checkpoint(true);
  task_.mutable_lease()->set_task_id("s/1/train:1");
  context.epochs.clear();
  const v1::TaskResult rung = Run(context);
  ASSERT_EQ(rung.error(), "");
  EXPECT_EQ(rung.epochs_size(), 1);
  EXPECT_EQ(rung.epochs(0).epoch_count(), 3);
  EXPECT_EQ(rung.measurements(0).value(),
            whole.epochs(0).validation_accuracy());
  EXPECT_EQ(rung.weights_digest(), "");
  ASSERT_TRUE(context.artifacts.count(rung.checkpoint_digest()));

  train.set_keep_weights(true);
  train.set_until_epoch(0);
  train.set_checkpoint_digest(rung.checkpoint_digest());
  task_.mutable_lease()->set_task_id("s/1/train");
  const v1::TaskResult rest = Run(context);
  EXPECT_EQ(context.epochs.size(), 3u);  // One and two, none of them twice.
  EXPECT_EQ(rest.weights_digest(), whole.weights_digest());
  EXPECT_EQ(rest.checkpoint_digest(), "");
  EXPECT_EQ(rest.epochs_size(), 3);

  // Nor does it need the checkpoint.
  train.set_checkpoint_digest(std::string(64, '0'));
  EXPECT_EQ(Run(context).weights_digest(), whole.weights_digest());
}

TEST_F(TrainRunnerTest, HandsACancelledTaskBack) {
  FakeContext context;
  context.cancel_after = 1;
  const v1::TaskResult result = Run(context);
  EXPECT_TRUE(result.handed_back());
  EXPECT_FALSE(result.candidate_fault());
}

TEST_F(TrainRunnerTest, GoesOnOnAnotherWorkerAndTellsTheWholeCurve) {
  task_.mutable_train()->set_keep_weights(true);
  FakeContext undisturbed;
  const v1::TaskResult whole = Run(undisturbed);

  FakeContext first;
  first.cancel_after = 2;
  EXPECT_TRUE(Run(first).handed_back());
  EXPECT_FALSE(std::filesystem::is_empty(folder_ + "/checkpoints"));
  options_.checkpoints.owner = "w-2";
  FakeContext second;
  const v1::TaskResult rest = Run(second);
  EXPECT_EQ(rest.weights_digest(), whole.weights_digest());
  EXPECT_EQ(rest.epochs_size(), 3);
  ASSERT_EQ(second.epochs.size(), 3u);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(second.epochs[i].epoch(), i + 1);
  EXPECT_TRUE(std::filesystem::is_empty(folder_ + "/checkpoints"));
}

TEST_F(TrainRunnerTest, KeepsTheCheckpointUntilTheResultIsInTheSpool) {
  spool_ = false;
  FakeContext context;
  EXPECT_EQ(Run(context).error(), "");
  EXPECT_FALSE(std::filesystem::is_empty(folder_ + "/checkpoints"));
}

TEST_F(TrainRunnerTest, TrainsOnWhereNoCheckpointCanBeWritten) {
  WriteBytes(folder_ + "/file", "not a folder");
  options_.checkpoints.path = folder_ + "/file/checkpoints";
  FakeContext context;
  EXPECT_EQ(Run(context).error(), "");
}

TEST_F(TrainRunnerTest, BlamesTheCandidateForDivergingButNotForMissingData) {
  FakeContext context;
  task_.mutable_train()->mutable_train()->set_learning_rate(1e30);
  EXPECT_TRUE(Run(context).candidate_fault());
  task_.mutable_train()->mutable_train()->set_dataset("cifar10");
  const v1::TaskResult result = Run(context);
  EXPECT_FALSE(result.candidate_fault());
  EXPECT_THAT(result.error(), HasSubstr("cifar10"));
}

TEST_F(TrainRunnerTest, BlamesNoCandidateForABrokenDataSet) {
  const std::string folder = folder_ + "/broken/cifar-10-batches-bin";
  ASSERT_TRUE(std::filesystem::create_directories(folder));
  for (const char* name :
       {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
        "data_batch_4.bin", "data_batch_5.bin", "test_batch.bin"}) {
    // A label that CIFAR-10 does not have.
    WriteBytes(folder + "/" + name, std::string(3073, '\xff'));
  }
  auto& train = *task_.mutable_train();
  train.mutable_train()->set_dataset("cifar10");
  train.mutable_train()->set_data_dir(folder_ + "/broken");
  FakeContext context;
  const v1::TaskResult result = Run(context);
  EXPECT_THAT(result.error(), HasSubstr("cifar-10-batches-bin"));
  EXPECT_FALSE(result.candidate_fault());
}

TEST_F(TrainRunnerTest, RefusesHostileTasksWithoutFalling) {
  FakeContext context;
  task_.mutable_train()->mutable_graph()->mutable_nodes(1)->set_kernel(1 << 30);
  EXPECT_TRUE(Run(context).candidate_fault());
  task_.mutable_train()->clear_graph();
  EXPECT_NE(Run(context).error(), "");
  task_.mutable_measure();
  EXPECT_NE(Run(context).error(), "");
}

TEST_F(TrainRunnerTest, TrainsOneTaskFileOnAllTrainingImages) {
  const std::string path = folder_ + "/task.pb";
  ASSERT_TRUE(
      WriteFileAtomically(path, task_.train().SerializeAsString()).ok());
  std::ostringstream out;
  const absl::Status status =
      RunTrainTaskFile({.task_path = path,
                        .weights_path = folder_ + "/weights.pb",
                        .data_dir = folder_,
                        .threads = 1},
                       out);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_THAT(out.str(),
              HasSubstr("{\"event\":\"epoch\",\"epoch\":1,\"epochs\":3,"));
  EXPECT_THAT(out.str(), HasSubstr("{\"event\":\"done\",\"test_accuracy\":"));
  const auto bytes = ReadFile(folder_ + "/weights.pb");
  ASSERT_TRUE(bytes.ok());
  v1::Weights weights;
  ASSERT_TRUE(weights.ParseFromString(*bytes));
  EXPECT_TRUE(CheckWeights(SmallNetwork(), weights).ok());
}

}  // namespace
}  // namespace hwnas::worker
