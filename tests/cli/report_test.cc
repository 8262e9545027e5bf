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
