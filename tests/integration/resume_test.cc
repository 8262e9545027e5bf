// A training whose workers are killed and told to leave in the middle: others
// go on from the shared checkpoints, and it ends as if nothing had happened.
#include "absl/strings/str_split.h"
#include "gmock/gmock.h"
#include "tests/integration/cluster.h"

namespace hwnas {
namespace {

using ::testing::HasSubstr;

constexpr int kEpochs = 6;

class Training {
 public:
  explicit Training(const std::string& name)
      : cluster_(name, /*lease_seconds=*/2) {}

  // False if the service does not come up.
  bool Start() {
    if (!cluster_.StartController()) return false;
    studies_ = cluster_.Studies();
    v1::CreateStudyRequest request;
    request.set_study_id("resume");
    v1::StudySpec& spec = *request.mutable_spec();
    spec = TinyStudy(/*trials=*/1, /*seed=*/3);
    spec.mutable_objectives()->RemoveLast();
    spec.clear_strategy();
    spec.mutable_train()->set_epochs(kEpochs);
    spec.mutable_train()->set_data_fraction(0.05);
    spec.mutable_train()->set_threads(1);
    grpc::ClientContext context;
    v1::Study study;
    return studies_->CreateStudy(&context, request, &study).ok();
  }
  void StartWorker(const std::string& id) {
    cluster_.Start(
        id, {Cluster::Bin("hwnas-worker"), "--controller=" + cluster_.address(),
             "--id=" + id, "--spool_dir=" + cluster_.dir() + "/spool-" + id,
             "--checkpoint_dir=" + cluster_.dir() + "/checkpoints"});
  }
  // The one trial of the study.
  v1::Trial Get() {
    v1::GetTrialRequest request;
    request.set_name("studies/resume/trials/1");
    grpc::ClientContext context;
    v1::Trial trial;
    studies_->GetTrial(&context, request, &trial);
    return trial;
  }
  bool WaitForEpoch(int epoch) {
    return WaitUntil(absl::Seconds(120),
                     [&] { return Get().last_epoch().epoch() >= epoch; });
  }
  bool WaitForEnd() {
    return WaitUntil(absl::Seconds(120),
                     [&] { return Get().state() == v1::Trial::COMPLETED; });
  }
  // What a worker says about where it went on; -1 if it began anew.
  int ResumedAt(const std::string& id) {
    const std::vector<std::string> parts =
        absl::StrSplit(cluster_.LogOf(id), "event=resumed");
    if (parts.size() != 2) return -1;
    return std::stoi(parts[1].substr(parts[1].find("epochs=") + 7));
  }
  Cluster& cluster() { return cluster_; }

 private:
  Cluster cluster_;
  std::unique_ptr<v1::StudyService::Stub> studies_;
};

TEST(Resume, LosesAtMostAnEpochAndEndsWithTheSameWeights) {
  HWNAS_REQUIRE_FASHION_MNIST();
  std::string undisturbed;
  {
    Training training("resume_whole");
    ASSERT_TRUE(training.Start());
    training.StartWorker("worker-a");
    ASSERT_TRUE(training.WaitForEnd()) << training.cluster().LogOf("worker-a");
    undisturbed = training.Get().weights_digest();
    ASSERT_NE(undisturbed, "");
    EXPECT_EQ(training.ResumedAt("worker-a"), -1);
  }

  Training training("resume");
  ASSERT_TRUE(training.Start());
  training.StartWorker("worker-a");
  ASSERT_TRUE(training.WaitForEpoch(2)) << training.cluster().LogOf("worker-a");
  int seen = training.Get().last_epoch().epoch();
  training.cluster().Kill("worker-a", SIGKILL);

  training.StartWorker("worker-b");
  ASSERT_TRUE(training.WaitForEpoch(seen + 1))
      << training.cluster().LogOf("worker-b");
  EXPECT_GE(training.ResumedAt("worker-b"), seen);
  seen = training.Get().last_epoch().epoch();
  training.cluster().process("worker-b")->Signal(SIGTERM);
  EXPECT_EQ(training.cluster().process("worker-b")->Wait(absl::Seconds(20)), 0);
  EXPECT_THAT(training.cluster().LogOf("worker-b"),
              HasSubstr("handed_back=true"));

  training.StartWorker("worker-c");
  ASSERT_TRUE(training.WaitForEnd()) << training.cluster().LogOf("worker-c");
  EXPECT_GE(training.ResumedAt("worker-c"), seen);
  EXPECT_EQ(training.Get().weights_digest(), undisturbed);
  EXPECT_EQ(training.Get().stages(1).attempt_count(), 3);
  EXPECT_TRUE(
      std::filesystem::is_empty(training.cluster().dir() + "/checkpoints"));
}

}  // namespace
}  // namespace hwnas
