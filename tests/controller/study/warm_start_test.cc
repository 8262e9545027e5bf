// Studies that start from the trials of others.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/controller/study/engine_harness.h"

namespace hwnas::controller {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

class WarmStartTest : public ::testing::Test {
 protected:
  // A search over few cells.
  static v1::StudySpec SourceSpec(int trials, uint64_t seed = 1) {
    v1::StudySpec spec = ToySpec(trials, seed);
    auto* space = spec.mutable_space()->mutable_nasbench201();
    for (const char* op : {"skip_connect", "nor_conv_1x1", "nor_conv_3x3"}) {
      space->add_operations(op);
    }
    return spec;
  }
  // One that starts from study "source".
  static v1::StudySpec WarmSpec(int trials) {
    v1::StudySpec spec = SourceSpec(trials, /*seed=*/2);
    spec.mutable_strategy()->mutable_auto_();
    spec.mutable_train()->set_epochs(3);  // Nothing is taken over.
    spec.set_max_parallel_trials(2);
    spec.add_warm_start()->set_study("source");
    return spec;
  }
  void ConnectAll() {
    worker_ = h_.Connect(WorkerHello("w", "host1"));
    agent_ = h_.Connect(AgentHello("a", "host2"));
  }
  int Work(int max_steps = 1 << 20) {
    return h_.Work({&worker_, &agent_}, max_steps);
  }
  // INVALID_ARGUMENT, and no study.
  std::string Refused(const v1::StudySpec& spec,
                      const std::vector<v1::SourceTrials>& sources = {}) {
    v1::CreateStudyRequest request;
    request.set_study_id("warm");
    *request.mutable_spec() = spec;
    request.mutable_source_trials()->Assign(sources.begin(), sources.end());
    const absl::Status status = h_.engine->CreateStudy(request).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_FALSE(h_.engine->GetStudy("warm").ok());
    return std::string(status.message());
  }

  EngineHarness h_;
  EngineHarness::Session worker_, agent_;
};

TEST_F(WarmStartTest, BeginsWithTheBestTrialsOfTheSource) {
  ConnectAll();
  h_.Create("source", SourceSpec(40));
  Work();
  ASSERT_EQ(h_.Study("source").state(), v1::Study::COMPLETED);
  const v1::Front best = *h_.engine->GetFront("source");
  std::set<std::string> front;
  for (const v1::Trial& trial : best.trials()) {
    front.insert(trial.architecture().digest());
  }
  h_.Create("warm", WarmSpec(14));
  Work();
  ASSERT_EQ(h_.Study("warm").state(), v1::Study::COMPLETED);
  int taken = 0;
  for (int i = 1; i <= 14; ++i) {
    taken += front.count(h_.Trial("warm", i).architecture().digest());
  }
  EXPECT_GE(taken, std::min<int>(6, static_cast<int>(front.size())));
  const v1::StudyCreated created = h_.Events("warm")[0].study_created();
  ASSERT_THAT(created.source_trials(), SizeIs(1));
  EXPECT_THAT(created.source_trials(0).trials(), SizeIs(40));
}

TEST_F(WarmStartTest, StaysTheSameSearchWhateverBecomesOfTheSource) {
  ConnectAll();
  h_.Create("source", SourceSpec(60));
  Work(50);  // Some trials are done.
  ASSERT_TRUE(h_.engine->PauseStudy("source").ok());
  Work();
  v1::StudySpec spec = WarmSpec(30);
  spec.set_max_parallel_trials(1);
  h_.Create("warm", spec);
  std::vector<v1::JournalEvent> begun = {h_.Events("warm")[0]};
  Work(31);
  // The source goes on, and the controller dies.
  ASSERT_TRUE(h_.engine->ResumeStudy("source").ok());
  Work(60);
  h_.Create("warm", spec);  // Submitting again is harmless.
  h_.Restart();
  ConnectAll();
  h_.clock.Advance(absl::Minutes(5));
  h_.engine->Tick();
  Work();
  ASSERT_EQ(h_.Study("source").state(), v1::Study::COMPLETED);
  ASSERT_EQ(h_.Study("warm").state(), v1::Study::COMPLETED);

  // Another controller, which has never heard of the source.
  auto journals = std::make_shared<FaultyJournalStore>();
  ASSERT_TRUE(journals->Append("warm", 0, absl::MakeSpan(begun)).ok());
  EngineHarness other(journals);
  auto worker = other.Connect(WorkerHello("w", "host1"));
  auto agent = other.Connect(AgentHello("a", "host2"));
  other.Work({&worker, &agent});
  EXPECT_EQ(other.Search("warm"), h_.Search("warm"));
}

TEST_F(WarmStartTest, NamesASourceThatCannotServe) {
  EXPECT_THAT(Refused(WarmSpec(10)),
              HasSubstr("spec.warm_start[0].study: there is no study "
                        "'source'"));
  v1::StudySpec other = ToySpec(10);
  other.mutable_space()->Clear();
  auto* mobile = other.mutable_space()->mutable_mobile();
  for (const int size : {1, 28, 28}) mobile->add_input(size);
  mobile->set_classes(10);
  h_.Create("source", other);
  EXPECT_THAT(Refused(WarmSpec(10)),
              HasSubstr("spec.warm_start[0]: source is a search of another "
                        "space: its decision 1 is "));
}

TEST_F(WarmStartTest, TrialsOfFoldersComeWithTheRequest) {
  ConnectAll();
  h_.Create("source", SourceSpec(20));
  Work();
  h_.Create("first", WarmSpec(10));
  const v1::SourceTrials trials =
      h_.Events("first")[0].study_created().source_trials(0);
  v1::StudySpec spec = WarmSpec(10);
  spec.mutable_warm_start(0)->set_folder("../elsewhere");
  spec.mutable_warm_start(0)->clear_study();
  EXPECT_THAT(Refused(spec),
              HasSubstr("spec.warm_start[0].folder: its trials did not come"));
  EXPECT_THAT(Refused(spec, {trials, trials}),
              HasSubstr("source_trials: 2 sources, expected one for each of "
                        "the 1 folders"));
  EXPECT_THAT(Refused(spec, {v1::SourceTrials()}),
              HasSubstr("spec.warm_start[0]: ../elsewhere "));
  v1::CreateStudyRequest request;
  request.set_study_id("warm");
  *request.mutable_spec() = spec;
  *request.add_source_trials() = trials;
  ASSERT_TRUE(h_.engine->CreateStudy(request).ok());
  // Known by now: the trials need not come again.
  request.clear_source_trials();
  EXPECT_TRUE(h_.engine->CreateStudy(request).ok());
  Work();
  EXPECT_EQ(h_.Study("warm").state(), v1::Study::COMPLETED);
  EXPECT_EQ(h_.Search("warm"), h_.Search("first"));
}

}  // namespace
}  // namespace hwnas::controller
