#include "cli/report.h"

#include <cstdlib>

#include "cli/svg_plot.h"
#include "common/files.h"
#include "gmock/gmock.h"
#include "tests/cli/sample_study.h"

namespace hwnas::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// Empty if `text` is well-formed enough for an XML parser: tags balance,
// attributes are quoted, and no bare & or < stands in text.
std::string XmlError(const std::string& text) {
  std::vector<std::string> open;
  for (size_t i = 0; i < text.size();) {
    if (text[i] == '&') {
      const size_t end = text.find(';', i);
      if (end == std::string::npos || end - i > 8) {
        return "bare & at: " + text.substr(i, 40);
      }
      i = end + 1;
      continue;
    }
    if (text[i] != '<') {
      ++i;
      continue;
    }
    if (text.compare(i, 2, "<!") == 0) {
      i = text.find('>', i) + 1;
      continue;
    }
    size_t end = i + 1;
    char quote = 0;
    while (end < text.size() && (quote != 0 || text[end] != '>')) {
      if (quote != 0 && text[end] == quote) {
        quote = 0;
      } else if (quote == 0 && text[end] == '"') {
        quote = '"';
      } else if (text[end] == '<') {
        return "< within a tag at: " + text.substr(i, 60);
      }
      ++end;
    }
    if (end == text.size()) return "a tag does not end";
    const std::string tag = text.substr(i + 1, end - i - 1);
    const std::string name = tag.substr(
        tag[0] == '/', tag.find_first_of(" /\n", 1) - (tag[0] == '/' ? 1 : 0));
    if (tag[0] == '/') {
      if (open.empty() || open.back() != tag.substr(1)) {
        return "unexpected </" + tag.substr(1) + ">, open is " +
               (open.empty() ? "nothing" : open.back());
      }
      open.pop_back();
    } else if (tag.back() != '/') {
      open.push_back(name);
    }
    i = end + 1;
  }
  return open.empty() ? "" : "not closed: " + open.back();
}

TEST(Report, HoldsEveryMemberOfTheFrontAndIsWellFormed) {
  const ReportInput input = SampleResults();
  const std::string html = RenderReport(input);
  EXPECT_EQ(XmlError(html), "");
  for (const v1::Trial& trial : input.front.trials()) {
    EXPECT_THAT(html, HasSubstr("<td class=\"n\">" +
                                std::to_string(trial.number()) + "</td>"));
    EXPECT_THAT(html, HasSubstr("<title>trial " +
                                std::to_string(trial.number()) + "\n"));
  }
  // For a person, or a browser, to look at.
  if (const char* folder = std::getenv("HWNAS_KEEP_REPORT")) {
    ASSERT_TRUE(
        WriteFileAtomically(std::string(folder) + "/report.html", html).ok());
  }
}

TEST(Report, EscapesWhateverComesFromOutside) {
  const std::string html = RenderReport(SampleResults());
  EXPECT_THAT(html, Not(HasSubstr("<b>escaping")));
  EXPECT_THAT(html, HasSubstr("&lt;b&gt;escaping&lt;/b&gt; &amp; more."));
  EXPECT_THAT(html, HasSubstr("A &lt;fast&gt; processor"));
}

TEST(Report, SaysRemarksInFullBelowTheFront) {
  const std::string html = RenderReport(SampleResults());
  EXPECT_THAT(html, HasSubstr("<br/><small>NOISY</small>"));
  EXPECT_THAT(html, HasSubstr("latency_ms@x86_64: NOISY: load 3.1</li>"));
}

TEST(Report, NeedsNothingFromElsewhere) {
  const std::string html = RenderReport(SampleResults());
  for (const char* outside :
       {"src=", "<link", "@import", "url(http", "fetch("}) {
    EXPECT_THAT(html, Not(HasSubstr(outside)));
  }
}

TEST(Report, WorksWithoutATrialAndWithThreeObjectives) {
  ReportInput empty = SampleResults();
  empty.trials.clear();
  empty.front.clear_trials();
  empty.chosen_trial = 0;
  EXPECT_EQ(XmlError(RenderReport(empty)), "");
  ReportInput three = SampleResults();
  three.study.mutable_spec()->add_objectives()->set_minimize("params_m");
  three.front.add_reference(1);
  EXPECT_EQ(XmlError(RenderReport(three)), "");
  EXPECT_THAT(RenderReport(three), HasSubstr("params_m"));
}

// Objectives for which the sample trials have values, `count` of them.
ReportInput ManyObjectives(int count) {
  ReportInput input = SampleResults();
  const char* metrics[] = {"params_m",  "flops_m",    "model_size_mb",
                           "energy_mj", "battery_mj", "heat_mj"};
  for (int k = 2; k < count; ++k) {
    const std::string metric = metrics[k - 2];
    input.study.mutable_spec()->add_objectives()->set_minimize(metric);
    input.front.add_reference(10);
    const auto add = [&](v1::Trial& trial) {
      if (metric == "params_m") return;  // It has that.
      v1::Measurement* m = trial.add_measurements();
      m->set_metric(metric);
      m->set_value(static_cast<double>(trial.number() * (k + 3) % 11));
    };
    for (v1::Trial& trial : input.trials) add(trial);
    for (v1::Trial& trial : *input.front.mutable_trials()) add(trial);
  }
  return input;
}

int Count(const std::string& text, const std::string& part) {
  int count = 0;
  for (size_t at = text.find(part); at != std::string::npos;
       at = text.find(part, at + part.size())) {
    ++count;
  }
  return count;
}

class ReportOfMany : public ::testing::TestWithParam<int> {};

TEST_P(ReportOfMany, ShowsEveryPairAndEveryMemberAcross) {
  const int objectives = GetParam();
  const ReportInput input = ManyObjectives(objectives);
  const std::string html = RenderReport(input);
  EXPECT_EQ(XmlError(html), "");
  const int pairs = objectives * (objectives - 1) / 2;
  EXPECT_EQ(Count(html, "<circle class=\"mark front\" data-trial=\"7\""),
            pairs);
  EXPECT_EQ(Count(html, "<circle class=\"mark chosen\" data-trial=\"6\""),
            pairs);
  EXPECT_EQ(Count(html, "<path class=\"mark across front\""), 6);
  EXPECT_EQ(Count(html, "<path class=\"dots trial\""), pairs);
  if (const char* folder = std::getenv("HWNAS_KEEP_REPORT")) {
    ASSERT_TRUE(WriteFileAtomically(std::string(folder) + "/report" +
                                        std::to_string(objectives) + ".html",
                                    html)
                    .ok());
  }
}

INSTANTIATE_TEST_SUITE_P(Objectives, ReportOfMany, ::testing::Range(3, 9));

TEST(Report, HasAPartForEachDevice) {
  ReportInput input = SampleResults();
  v1::Objective& latency = *input.study.mutable_spec()->mutable_objectives(1);
  latency.clear_device();
  latency.add_devices("x86_64");
  latency.add_devices("pi<5>");
  latency.set_over_devices(v1::Objective::EACH);
  for (const char* device : {"x86_64", "pi<5>"}) {
    v1::Front& front = input.device_fronts.emplace_back(input.front);
    front.set_device_class(device);
  }
  const std::string html = RenderReport(input);
  EXPECT_EQ(XmlError(html), "");
  EXPECT_THAT(html, HasSubstr("Front of x86_64"));
  EXPECT_THAT(html, HasSubstr("Front of pi&lt;5&gt;"));
}

TEST(Report, ShowsScoresWhereThereAreSome) {
  ReportInput input = SampleResults();
  EXPECT_THAT(RenderReport(input), Not(HasSubstr("Score by trial")));
  auto& sum = *input.study.mutable_spec()
                   ->mutable_scalarization()
                   ->mutable_weighted_sum();
  sum.add_weights(1);
  sum.add_weights(1);
  for (v1::Trial& trial : input.trials) trial.set_score(trial.number());
  input.study.mutable_progress()->set_best_score(11);
  const std::string html = RenderReport(input);
  EXPECT_EQ(XmlError(html), "");
  EXPECT_THAT(html, HasSubstr("Score by trial"));
  EXPECT_THAT(html, HasSubstr("best score"));
}

TEST(HypervolumeHistory, GrowsAsTrialsEnd) {
  ReportInput input = SampleResults();
  // Two trials, by hand: reference accuracy 0, latency 1.
  input.trials = {SampleTrial(1, 50, 0.5, true),
                  SampleTrial(2, 80, 0.75, true)};
  input.front.set_reference(1, 1.0);
  const auto steps = HypervolumeHistory(input.study, input.trials, input.front);
  ASSERT_EQ(steps.size(), 2u);
  EXPECT_DOUBLE_EQ(steps[0].hypervolume, 50 * 0.5);
  EXPECT_DOUBLE_EQ(steps[1].hypervolume, 50 * 0.5 + 30 * 0.25);
  EXPECT_DOUBLE_EQ(steps[0].seconds, 19);

  // In a replay time is simulated, also the order.
  input.trials[0].set_simulated_end_seconds(7200);
  input.trials[1].set_simulated_end_seconds(3600);
  const auto simulated =
      HypervolumeHistory(input.study, input.trials, input.front);
  EXPECT_DOUBLE_EQ(simulated[0].seconds, 3600);
  EXPECT_DOUBLE_EQ(simulated[0].hypervolume, 80 * 0.25);
  EXPECT_DOUBLE_EQ(simulated[1].seconds, 7200);
}

TEST(NiceTicks, AreRoundAndCoverTheRange) {
  EXPECT_THAT(
      NiceTicks(0, 1, 5),
      ElementsAre(0, 0.2, 0.4, ::testing::DoubleNear(0.6, 1e-12), 0.8, 1));
  EXPECT_THAT(NiceTicks(83, 97, 3), ElementsAre(85, 90, 95));
  EXPECT_TRUE(NiceTicks(1, 1, 5).empty());
  EXPECT_TRUE(NiceTicks(0, std::nan(""), 5).empty());
}

TEST(RenderSvg, DrawsOnePointAndLeavesOutWhatIsNotFinite) {
  Plot plot;
  plot.series.push_back(
      {"s", "front", PlotSeries::kDots, {{1, 2, "a<b"}, {NAN, 1, "bad"}}});
  const std::string svg = RenderSvg(plot);
  EXPECT_EQ(XmlError(svg), "");
  EXPECT_THAT(svg, HasSubstr("a&lt;b"));
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
}

}  // namespace
}  // namespace hwnas::cli
