#include "worker/train/checkpoint.h"

#include <fstream>
#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/worker/synthetic_dataset.h"

namespace hwnas::worker {
namespace {

Checkpoint Example() {
  Checkpoint checkpoint;
  checkpoint.epochs.resize(2);
  checkpoint.epochs[1].set_epoch(2);
  checkpoint.epochs[1].set_train_loss(0.5);
  checkpoint.parameters = {1, 2, 3};
  checkpoint.momentum = {4, 5, 6};
  checkpoint.statistics = {7};
  return checkpoint;
}

TEST(Checkpoint, ComesBackAsWritten) {
  const std::string path = TestFolder() + "/a.ckpt";
  WriteBytes(path, SerializeCheckpoint("task", Example()));
  const auto back = ReadCheckpoint(path, "task");
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->parameters, Example().parameters);
  EXPECT_EQ(back->momentum, Example().momentum);
  EXPECT_EQ(back->statistics, Example().statistics);
  ASSERT_EQ(back->epochs.size(), 2u);
  EXPECT_EQ(back->epochs[1].train_loss(), 0.5);
}

TEST(Checkpoint, OfAnotherTaskIsRefused) {
  const std::string path = TestFolder() + "/a.ckpt";
  WriteBytes(path, SerializeCheckpoint("task", Example()));
  EXPECT_TRUE(absl::IsDataLoss(ReadCheckpoint(path, "other").status()));
  EXPECT_TRUE(
      absl::IsNotFound(ReadCheckpoint(path + ".none", "task").status()));
}

TEST(Checkpoint, DamagedAnywhereIsRefused) {
  const std::string path = TestFolder() + "/a.ckpt";
  WriteBytes(path, SerializeCheckpoint("task", Example()));
  std::stringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  const std::string good = text.str();
  for (size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] ^= 1;
    WriteBytes(path, bad);
    EXPECT_TRUE(absl::IsDataLoss(ReadCheckpoint(path, "task").status())) << i;
    WriteBytes(path, good.substr(0, i));
    EXPECT_TRUE(absl::IsDataLoss(ReadCheckpoint(path, "task").status())) << i;
  }
}

}  // namespace
}  // namespace hwnas::worker
