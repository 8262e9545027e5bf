#include "cli/progress_view.h"

#include "cli/live_display.h"
#include "cli/table.h"
#include "gmock/gmock.h"
#include "tests/cli/sample_study.h"

namespace hwnas::cli {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Le;
using ::testing::Not;
using ::testing::ResultOf;

v1::StudyUpdate Running() {
  v1::StudyUpdate update;
  *update.mutable_study() = SampleResults().study;
  update.mutable_study()->set_state(v1::Study::RUNNING);
  v1::StudyProgress* progress = update.mutable_study()->mutable_progress();
  progress->set_running_count(1);
  progress->set_waiting_count(2);
  progress->set_eta_seconds(90);
  v1::Trial* trial = update.mutable_trial();
  trial->set_number(13);
  trial->set_state(v1::Trial::ACTIVE);
  v1::TrialStage* stage = trial->add_stages();
  stage->set_kind(v1::TRAIN);
  stage->set_state(v1::TrialStage::LEASED);
  stage->set_executor("workers/w1");
  v1::EpochReport* epoch = trial->mutable_last_epoch();
  epoch->set_epoch(2);
  epoch->set_epoch_count(3);
  epoch->set_train_loss(0.4821);
  epoch->set_validation_accuracy(86.2);
  epoch->set_images_per_second(1034.4);
  update.set_message("trial 13 epoch 2/3");
  return update;
}

TEST(ProgressView, ShowsEverythingOnOneScreen) {
  ProgressState state;
  state.Apply(Running());
  EXPECT_THAT(
      RenderProgress(state, {.width = 100, .since_update_seconds = 2}),
      ElementsAre(
          "tiny  running  "
          "━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━"
          "──────────────────────────────"
          "  12/24 trials  50 %",
          "  running 1   waiting 2   infeasible 1   elapsed 2 min 12 s   ETA 1 "
          "min 28 s",
          "  front 6   hypervolume 83.25   best accuracy 89.9 %, "
          "latency_ms@x86_64 0.21 ms",
          "  trial 13  training ━━━━━━━━──── epoch 2/3  loss 0.482  validation "
          "86.20 %  1034 images/s",
          "  trial 13 epoch 2/3"));
}

TEST(ProgressView, SaysTheSimulatedTimeOfAReplay) {
  v1::StudyUpdate update = Running();
  EXPECT_EQ(SimulatedText(update.study()), "");
  update.mutable_study()->mutable_spec()->mutable_replay()->set_workers(8);
  update.mutable_study()->mutable_progress()->set_simulated_seconds(180000);
  ProgressState state;
  state.Apply(update);
  EXPECT_THAT(RenderProgress(state, {.width = 120})[1],
              HasSubstr("simulated 2 d 02 h"));
  EXPECT_THAT(RenderEvent(update), HasSubstr("simulated 2 d 02 h"));
  EXPECT_EQ(SimulatedText(update.study()), "2 d 02 h simulated on 8 workers, ");
}

TEST(ProgressView, NeverExceedsTheWidth) {
  ProgressState state;
  state.Apply(Running());
  for (int width = 20; width <= 200; ++width) {
    EXPECT_THAT(
        RenderProgress(state,
                       {.width = width, .notice = std::string(300, 'x')}),
        Each(ResultOf([](const std::string& s) { return DisplayWidth(s); },
                      Le(width))))
        << width;
  }
}

TEST(ProgressView, DropsATrialThatHasEnded) {
  ProgressState state;
  v1::StudyUpdate update = Running();
  state.Apply(update);
  EXPECT_EQ(state.active().size(), 1u);
  update.mutable_trial()->set_state(v1::Trial::COMPLETED);
  state.Apply(update);
  EXPECT_TRUE(state.active().empty());
}

TEST(ProgressView, SumsUpTrialsThatDoNotFit) {
  ProgressState state;
  v1::StudyUpdate update = Running();
  for (int i = 0; i < 40; ++i) {
    update.mutable_trial()->set_number(100 + i);
    state.Apply(update);
  }
  const auto lines = RenderProgress(state, {.width = 100, .max_lines = 10});
  EXPECT_LE(lines.size(), 11u);
  EXPECT_THAT(lines, ::testing::Contains(HasSubstr("and 35 more")));
}

TEST(ProgressView, HidesEscapesInMessagesFromOutside) {
  ProgressState state;
  v1::StudyUpdate update = Running();
  update.set_message("\x1b[2Jgone");
  state.Apply(update);
  EXPECT_THAT(RenderProgress(state, {}), Each(Not(HasSubstr("\x1b"))));
  EXPECT_THAT(RenderEvent(update), Not(HasSubstr("\x1b")));
}

TEST(ProgressView, SaysAnEventInOneLine) {
  EXPECT_EQ(RenderEvent(Running()),
            "trial 13 epoch 2/3  [12/24 done, front 6, hypervolume 83.25, ETA "
            "1 min 30 s]");
}

TEST(ProgressView, FitCutsByColumnsAndKeepsStyles) {
  EXPECT_EQ(Fit("abcdef", 6), "abcdef");
  EXPECT_EQ(Fit("abcdef", 4), "abc…");
  EXPECT_EQ(Fit("━━━━━", 3), "━━…");
  EXPECT_EQ(Fit("\x1b[1mabc\x1b[0m", 3), "\x1b[1mabc\x1b[0m");
  EXPECT_EQ(Fit("\x1b[1mabcdef\x1b[0m", 3), "\x1b[1mab…\x1b[0m");
}

TEST(Bar, FillsItsShare) {
  EXPECT_EQ(Bar(0, 4), "────");
  EXPECT_EQ(Bar(0.5, 4), "━━──");
  EXPECT_EQ(Bar(7, 4), "━━━━");
  EXPECT_EQ(Bar(std::nan(""), 4), "────");
}

TEST(EstimateEta, ScalesWhatIsLeft) {
  EXPECT_DOUBLE_EQ(EstimateEta(3, 12, 30), 90);
  EXPECT_DOUBLE_EQ(EstimateEta(12, 12, 30), 0);
  EXPECT_LT(EstimateEta(0, 12, 30), 0);
  EXPECT_LT(EstimateEta(13, 12, 30), 0);
}

TEST(LiveDisplay, PrintsOneLineAnEventWhenNotOnATerminal) {
  std::ostringstream out;
  LiveDisplay display(&out, /*is_terminal=*/false);
  const absl::Time now = absl::FromUnixSeconds(1'700'000'000);
  display.Update(Running(), now);
  display.Tick(now + absl::Seconds(1));
  display.Update(Running(), now);  // Nothing new.
  const std::string text = out.str();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
}

TEST(LiveDisplay, RedrawsInPlaceOnATerminal) {
  std::ostringstream out;
  LiveDisplay display(&out, /*is_terminal=*/true);
  const absl::Time now = absl::FromUnixSeconds(1'700'000'000);
  display.Update(Running(), now);
  EXPECT_THAT(out.str(), Not(HasSubstr("A\r\x1b[J")));
  display.Tick(now + absl::Seconds(1));
  EXPECT_THAT(out.str(), HasSubstr("A\r\x1b[J"));
}

}  // namespace
}  // namespace hwnas::cli
