#include "cli/report.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "cli/progress_view.h"
#include "cli/svg_many.h"
#include "cli/svg_plot.h"
#include "cli/table.h"
#include "cli/trial_table.h"
#include "common/version.h"
#include "nas/pareto/archive.h"
#include "proto/convert/convert.h"
#include "proto/convert/resource_names.h"

namespace hwnas::cli {
namespace {

constexpr char kStyle[] = R"(
:root { --page: #fbfbfa; --card: #ffffff; --ink: #1c2126; --muted: #66707a;
  --grid: #e8e9e7; --line: #d3d6d4; --accent: #0b63c4; --front: #d1490c;
  --soft: #8aa3bd; --bad: #a2a8ad; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --page: #14171a; --card: #1c2024;
  --ink: #e6e8ea; --muted: #98a2ab; --grid: #2a2f34; --line: #3a4046;
  --accent: #6cb0ff; --front: #ff8a4c; --soft: #6f8aa6; --bad: #6b7278; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 26px; margin: 0 0 2px; letter-spacing: -0.01em; }
h2 { font-size: 17px; margin: 34px 0 10px; }
p { margin: 4px 0 10px; } .muted { color: var(--muted); }
.cards { display: flex; flex-wrap: wrap; gap: 10px; margin: 18px 0 6px; }
.card { background: var(--card); border: 1px solid var(--line);
  border-radius: 8px; padding: 9px 15px; min-width: 118px; }
.card b { display: block; font-size: 20px; font-weight: 600;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
.card span { color: var(--muted); font-size: 12.5px; }
.plots { display: grid; gap: 14px;
  grid-template-columns: repeat(auto-fit, minmax(min(480px, 100%), 1fr)); }
.panel { background: var(--card); border: 1px solid var(--line);
  border-radius: 8px; padding: 12px; }
.scroll { overflow-x: auto; background: var(--card);
  border: 1px solid var(--line); border-radius: 8px; }
svg.plot { width: 100%; height: auto; display: block; }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink); }
svg text.title { font-size: 14px; font-weight: 600; }
svg text.tick { fill: var(--muted); font-size: 11.5px; }
svg .grid { stroke: var(--grid); } svg .frame { fill: none; stroke: var(--line); }
svg .mark { stroke-width: 1.5; }
svg .trial { fill: var(--soft); fill-opacity: 0.65; stroke: none; }
svg .front { fill: var(--front); stroke: var(--card); }
svg .chosen { fill: none; stroke: var(--ink); stroke-width: 2; }
svg .infeasible { fill: none; stroke: var(--bad); }
svg .step { fill: none; stroke-width: 2; stroke: var(--accent); }
svg .step.front-line { stroke: var(--front); stroke-opacity: 0.75; fill: none; }
svg .dots { stroke-width: 4; stroke-linecap: round; fill: none; }
svg .dots.trial { stroke: var(--soft); stroke-opacity: 0.5; }
svg .dots.infeasible { stroke: var(--bad); stroke-opacity: 0.35; }
svg .across { fill: none; stroke-width: 1.2; }
svg .across.trial { fill: none; stroke: var(--soft); stroke-opacity: 0.25; }
svg .across.front { fill: none; stroke: var(--front); stroke-opacity: 0.7; }
svg .across.chosen { stroke: var(--ink); stroke-width: 2.4; }
svg .axis { stroke: var(--muted); }
svg .halo { paint-order: stroke; stroke: var(--card); stroke-width: 3; }
svg circle.hot { stroke: var(--ink); stroke-width: 3; }
svg .across.hot { stroke: var(--ink); stroke-opacity: 1; stroke-width: 3; }
.wide { grid-column: 1 / -1; }
svg circle.mark:hover { stroke: var(--ink); stroke-width: 2.5; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; }
th, td { text-align: left; padding: 6px 12px; border-top: 1px solid var(--grid);
  vertical-align: top; }
thead th { border-top: 0; color: var(--muted); font-weight: 600; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
td.n { white-space: nowrap; }
td small { color: var(--muted); }
tr.chosen td { background: color-mix(in srgb, var(--front) 9%, transparent); }
code, pre { font: 12.5px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
td code { overflow-wrap: anywhere; } td.arch { min-width: 240px; }
details { margin: 8px 2px; color: var(--muted); font-size: 13px; }
details ul { margin: 4px 0; padding-left: 20px; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 12px 14px; overflow-x: auto; margin: 0; }
#tip { position: fixed; pointer-events: none; background: var(--ink);
  color: var(--page); padding: 6px 10px; border-radius: 6px; font-size: 12.5px;
  white-space: pre-line; display: none; max-width: 460px; z-index: 9; }
footer { margin-top: 36px; color: var(--muted); font-size: 13px; }
)";

// Turns the marks' titles, which browsers show late and small, into a prompt
// tooltip. Free of characters that XML would want escaped.
constexpr char kScript[] = R"(
const tip = document.getElementById('tip');
document.querySelectorAll('svg .mark').forEach(function (mark) {
  const title = mark.querySelector('title');
  if (!title) { return; }
  const text = title.textContent;
  mark.setAttribute('aria-label', text);
  title.remove();
  const trial = mark.getAttribute('data-trial');
  const light = function (on) {
    if (!trial) { return; }
    const same = 'svg .mark[data-trial="' + trial + '"]';
    document.querySelectorAll(same).forEach(function (other) {
      other.classList.toggle('hot', on); });
  };
  mark.addEventListener('pointerenter', function () {
    tip.textContent = text; tip.style.display = 'block'; light(true); });
  mark.addEventListener('pointerleave', function () {
    tip.style.display = 'none'; light(false); });
  mark.addEventListener('pointermove', function (event) {
    const room = window.innerWidth - tip.offsetWidth - 12;
    tip.style.left = Math.max(4, Math.min(event.clientX + 14, room)) + 'px';
    tip.style.top = (event.clientY + 16) + 'px'; });
});
)";

double Value(const v1::Trial& trial, const MetricColumn& column) {
  const v1::Measurement* m = FindMeasurement(trial, column);
  return m == nullptr ? std::numeric_limits<double>::quiet_NaN() : m->value();
}

std::string Tooltip(const v1::Trial& trial,
                    const std::vector<MetricColumn>& metrics) {
  std::string text = absl::StrCat("trial ", trial.number());
  for (const MetricColumn& metric : metrics) {
    const v1::Measurement* m = FindMeasurement(trial, metric);
    if (m == nullptr) continue;
    absl::StrAppend(&text, "\n", metric.key(), " ", FormatNumber(m->value()),
                    metric.unit.empty() ? "" : " ", metric.unit);
  }
  if (!trial.infeasible_reason().empty()) {
    absl::StrAppend(&text,
                    "\ninfeasible: ", trial.infeasible_reason().substr(0, 300));
  }
  absl::StrAppend(&text, "\n", trial.architecture().text().substr(0, 400));
  return text;
}

// All trials by two objectives, and a front's joined by a line.
Plot ObjectivePlot(const ReportInput& input, const v1::Front& of,
                   const MetricColumn& x, const MetricColumn& y,
                   const std::vector<MetricColumn>& metrics) {
  Plot plot;
  plot.title = "All trials";
  auto label = [](const MetricColumn& column) {
    return absl::StrCat(column.title(), column.maximize ? ", more is better"
                                                        : ", less is better");
  };
  plot.x_label = label(x);
  plot.y_label = label(y);
  PlotSeries infeasible{"infeasible", "infeasible", PlotSeries::kCrosses, {}};
  PlotSeries others{"trials", "trial", PlotSeries::kDots, {}};
  PlotSeries front{"front", "front", PlotSeries::kRings, {}};
  PlotSeries chosen{"chosen", "chosen", PlotSeries::kRings, {}};
  PlotSeries line{"",
                  "front-line",
                  x.maximize ? PlotSeries::kStepVerticalFirst
                             : PlotSeries::kStepHorizontalFirst,
                  {}};
  std::set<int64_t> members;
  for (const v1::Trial& trial : of.trials()) {
    members.insert(trial.number());
    PlotPoint point{Value(trial, x), Value(trial, y), Tooltip(trial, metrics)};
    if (trial.number() == input.chosen_trial) chosen.points.push_back(point);
    line.points.push_back({point.x, point.y, ""});
    front.points.push_back(std::move(point));
  }
  std::sort(line.points.begin(), line.points.end(),
            [](const PlotPoint& a, const PlotPoint& b) {
              return std::pair(a.x, a.y) < std::pair(b.x, b.y);
            });
  for (const v1::Trial& trial : input.trials) {
    if (members.count(trial.number()) > 0) continue;
    if (trial.state() != v1::Trial::COMPLETED &&
        trial.state() != v1::Trial::INFEASIBLE) {
      continue;
    }
    (trial.state() == v1::Trial::COMPLETED ? others : infeasible)
        .points.push_back(
            {Value(trial, x), Value(trial, y), Tooltip(trial, metrics)});
  }
  auto visible = [](const PlotSeries& series) {
    return std::any_of(
        series.points.begin(), series.points.end(), [](const PlotPoint& point) {
          return std::isfinite(point.x) && std::isfinite(point.y);
        });
  };
  if (visible(infeasible)) plot.series.push_back(std::move(infeasible));
  if (visible(others)) plot.series.push_back(std::move(others));
  plot.series.push_back(std::move(line));
  plot.series.push_back(std::move(front));
  if (visible(chosen)) plot.series.push_back(std::move(chosen));
  return plot;
}

// A second look at the front alone where other trials squeeze it.
bool Zoom(Plot* plot) {
  double low[2], high[2], all_low[2], all_high[2];
  std::fill_n(low, 2, std::numeric_limits<double>::infinity());
  std::fill_n(high, 2, -std::numeric_limits<double>::infinity());
  std::copy_n(low, 2, all_low);
  std::copy_n(high, 2, all_high);
  int members = 0;
  for (const PlotSeries& series : plot->series) {
    for (const PlotPoint& point : series.points) {
      if (!std::isfinite(point.x) || !std::isfinite(point.y)) continue;
      const double at[2] = {point.x, point.y};
      const bool front = series.css_class == "front";
      members += front;
      for (int k = 0; k < 2; ++k) {
        all_low[k] = std::min(all_low[k], at[k]);
        all_high[k] = std::max(all_high[k], at[k]);
        if (!front) continue;
        low[k] = std::min(low[k], at[k]);
        high[k] = std::max(high[k], at[k]);
      }
    }
  }
  if (members < 3) return false;
  const double share_x = (high[0] - low[0]) / (all_high[0] - all_low[0]);
  const double share_y = (high[1] - low[1]) / (all_high[1] - all_low[1]);
  if (!(share_x < 0.5 || share_y < 0.5) || !(high[0] > low[0]) ||
      !(high[1] > low[1])) {
    return false;
  }
  plot->title = "The front, closer";
  plot->x_min = low[0];
  plot->x_max = high[0];
  plot->y_min = low[1];
  plot->y_max = high[1];
  return true;
}

// All trials by three or more objectives.
ManyPlot ManyObjectivesPlot(const ReportInput& input, const v1::Front& of,
                            const std::vector<MetricColumn>& objectives,
                            const std::vector<MetricColumn>& metrics) {
  ManyPlot plot;
  for (const MetricColumn& objective : objectives) {
    plot.axes.push_back({objective.title(), objective.maximize});
  }
  std::set<int64_t> members;
  for (const v1::Trial& trial : of.trials()) members.insert(trial.number());
  // Of a large front, tooltips would make the file unwieldy.
  const bool brief = members.size() > 200;
  const auto add = [&](const v1::Trial& trial, const std::string& css_class) {
    ManyItem item;
    item.css_class = css_class;
    item.trial = trial.number();
    for (const MetricColumn& objective : objectives) {
      item.values.push_back(Value(trial, objective));
    }
    if (css_class == "front" || css_class == "chosen") {
      item.tooltip = brief ? absl::StrCat("trial ", trial.number())
                           : Tooltip(trial, metrics);
    }
    plot.items.push_back(std::move(item));
  };
  for (const v1::Trial& trial : input.trials) {
    if (trial.number() == input.chosen_trial && members.count(trial.number())) {
      add(trial, "chosen");
    }
    if (members.count(trial.number()) > 0) {
      add(trial, "front");
    } else if (trial.state() == v1::Trial::COMPLETED) {
      add(trial, "trial");
    } else if (trial.state() == v1::Trial::INFEASIBLE) {
      add(trial, "infeasible");
    }
  }
  return plot;
}

void Panel(std::string* html, const std::string& svg, bool wide = false) {
  absl::StrAppend(html, "<div class=\"panel", wide ? " wide" : "", "\">", svg,
                  "</div>\n");
}

// The trials and one front, seen by the objectives of that front.
void FrontPlots(const ReportInput& input, const v1::Front& of,
                const std::vector<MetricColumn>& metrics, std::string* html) {
  const std::vector<MetricColumn> objectives =
      ObjectiveColumns(input.study.spec(), of.device_class());
  *html += "<div class=\"plots\">\n";
  if (objectives.size() == 1) {
    // One objective: its value by trial.
    Plot plot;
    plot.title = absl::StrCat(objectives[0].key(), " by trial");
    plot.x_label = "trial";
    plot.y_label = objectives[0].title();
    PlotSeries all{"trials", "trial", PlotSeries::kDots, {}};
    PlotSeries best{"front", "front", PlotSeries::kRings, {}};
    std::set<int64_t> members;
    for (const v1::Trial& trial : of.trials()) members.insert(trial.number());
    for (const v1::Trial& trial : input.trials) {
      (members.count(trial.number()) > 0 ? best : all)
          .points.push_back({static_cast<double>(trial.number()),
                             Value(trial, objectives[0]),
                             Tooltip(trial, metrics)});
    }
    plot.series = {std::move(all), std::move(best)};
    Panel(html, RenderSvg(plot));
  } else if (objectives.size() == 2) {
    Plot plot = ObjectivePlot(input, of, objectives[1], objectives[0], metrics);
    Panel(html, RenderSvg(plot));
    if (Zoom(&plot)) Panel(html, RenderSvg(plot));
  } else {
    const bool wide = objectives.size() > 4;
    ManyPlot plot = ManyObjectivesPlot(input, of, objectives, metrics);
    plot.title = "All trials by two objectives each";
    Panel(html, RenderScatterMatrix(plot), wide);
    plot.title = "All objectives at once";
    Panel(html, RenderParallelCoordinates(plot), wide);
  }
  *html += "</div>\n";
}

// The scores of the trials, and the best so far.
Plot ScorePlot(const ReportInput& input,
               const std::vector<MetricColumn>& metrics) {
  Plot plot;
  plot.title = "Score by trial";
  plot.x_label = "trial";
  plot.y_label = "score, more is better";
  PlotSeries all{"trials", "trial", PlotSeries::kDots, {}};
  PlotSeries infeasible{"infeasible", "infeasible", PlotSeries::kCrosses, {}};
  PlotSeries best{"best", "front-line", PlotSeries::kStepHorizontalFirst, {}};
  for (const v1::Trial& trial : input.trials) {
    if (!trial.has_score()) continue;
    const auto number = static_cast<double>(trial.number());
    const bool feasible = trial.state() == v1::Trial::COMPLETED;
    (feasible ? all : infeasible)
        .points.push_back({number, trial.score(), Tooltip(trial, metrics)});
    if (!feasible) continue;
    if (best.points.empty() || trial.score() > best.points.back().y) {
      best.points.push_back({number, trial.score(), ""});
    }
  }
  if (!best.points.empty()) {
    best.points.push_back({static_cast<double>(input.trials.back().number()),
                           best.points.back().y, ""});
  }
  plot.series = {std::move(infeasible), std::move(all), std::move(best)};
  return plot;
}

void Card(std::string* html, const std::string& value,
          const std::string& label) {
  absl::StrAppend(html, "<div class=\"card\"><b>", EscapeXml(value),
                  "</b><span>", EscapeXml(label), "</span></div>\n");
}

// "NOISY" of "NOISY: load 3.1".
std::string FlagName(const std::string& flag) {
  return flag.substr(0, flag.find(':'));
}

std::string MetricHtml(const v1::Trial& trial, const MetricColumn& column) {
  const v1::Measurement* m = FindMeasurement(trial, column);
  if (m == nullptr) return "<td class=\"n\">-</td>";
  std::string html = absl::StrCat("<td class=\"n\">", FormatNumber(m->value()));
  if (m->has_ci_low() && m->has_ci_high()) {
    absl::StrAppend(&html, "<br/><small>", FormatNumber(m->ci_low()), " to ",
                    FormatNumber(m->ci_high()), "</small>");
  }
  std::vector<std::string> flags;
  for (const std::string& flag : m->flags()) {
    flags.push_back(FlagName(flag));
  }
  if (!flags.empty()) {
    absl::StrAppend(&html, "<br/><small>",
                    EscapeXml(absl::StrJoin(flags, ", ")), "</small>");
  }
  return absl::StrCat(html, "</td>");
}

// What limits trust in the front's values, in full: too long for the table.
std::string RemarksHtml(const v1::Front& front,
                        const std::vector<MetricColumn>& metrics) {
  std::string items;
  int count = 0;
  for (const v1::Trial& trial : front.trials()) {
    for (const MetricColumn& metric : metrics) {
      const v1::Measurement* m = FindMeasurement(trial, metric);
      if (m == nullptr || m->flags().empty()) continue;
      ++count;
      absl::StrAppend(&items, "<li>trial ", trial.number(), ", ",
                      EscapeXml(metric.key()), ": ",
                      EscapeXml(absl::StrJoin(m->flags(), "; ")), "</li>\n");
    }
  }
  if (count == 0) return "";
  return absl::StrCat("<details><summary>Remarks on ", count,
                      count == 1 ? " value" : " values", "</summary>\n<ul>\n",
                      items, "</ul></details>\n");
}

std::string FrontHtml(const ReportInput& input, const v1::Front& front,
                      const std::vector<MetricColumn>& metrics) {
  const bool scored = ProblemFromProto(input.study.spec()).scored();
  std::string html =
      "<div class=\"scroll\"><table><thead><tr><th class=\"n\">trial</th>";
  if (scored) html += "<th class=\"n\">score</th>";
  for (const MetricColumn& metric : metrics) {
    // The unit below, and a break where the device's name begins.
    absl::StrAppend(&html, "<th class=\"n\">", EscapeXml(metric.metric));
    if (!metric.device_class.empty()) {
      absl::StrAppend(&html, "<wbr/>@", EscapeXml(metric.device_class));
    }
    if (!metric.unit.empty()) {
      absl::StrAppend(&html, "<br/>[", EscapeXml(metric.unit), "]");
    }
    html += "</th>";
  }
  html += "<th>architecture</th></tr></thead>\n<tbody>\n";
  for (const v1::Trial& trial : front.trials()) {
    absl::StrAppend(
        &html,
        trial.number() == input.chosen_trial ? "<tr class=\"chosen\">" : "<tr>",
        "<td class=\"n\">", trial.number(), "</td>");
    if (scored) {
      absl::StrAppend(&html, "<td class=\"n\">",
                      trial.has_score() ? FormatNumber(trial.score()) : "-",
                      "</td>");
    }
    for (const MetricColumn& metric : metrics) {
      html += MetricHtml(trial, metric);
    }
    absl::StrAppend(&html, "<td class=\"arch\"><code>",
                    EscapeXml(trial.architecture().text()),
                    "</code></td></tr>\n");
  }
  return absl::StrCat(html, "</tbody></table></div>\n",
                      RemarksHtml(front, metrics));
}

// Where the numbers come from and what limits trust in them.
std::string TrustHtml(const ReportInput& input,
                      const std::vector<MetricColumn>& metrics) {
  std::string html =
      "<div class=\"scroll\"><table><thead><tr><th>metric</th>"
      "<th>provenance</th><th class=\"n\">values</th>"
      "<th class=\"n\">samples a value</th>"
      "<th class=\"n\">typical "
      "spread</th><th>remarks</th></tr></thead><tbody>\n";
  for (const MetricColumn& metric : metrics) {
    std::set<std::string> provenance;
    std::map<std::string, int> flags;
    std::vector<double> spreads;
    std::vector<double> samples;
    int count = 0;
    for (const v1::Trial& trial : input.trials) {
      const v1::Measurement* m = FindMeasurement(trial, metric);
      if (m == nullptr) continue;
      ++count;
      provenance.insert(ProvenanceName(m->provenance()));
      samples.push_back(static_cast<double>(m->sample_count()));
      if (m->has_spread()) spreads.push_back(m->spread());
      for (const std::string& flag : m->flags()) {
        ++flags[FlagName(flag)];
      }
    }
    auto median = [](std::vector<double>& values) {
      if (values.empty()) return std::string("-");
      std::nth_element(values.begin(), values.begin() + values.size() / 2,
                       values.end());
      return FormatNumber(values[values.size() / 2], 3);
    };
    std::vector<std::string> remarks;
    for (const auto& [flag, times] : flags) {
      remarks.push_back(absl::StrCat(flag, " (", times, ")"));
    }
    absl::StrAppend(
        &html, "<tr><td>", EscapeXml(metric.title()), "</td><td>",
        EscapeXml(absl::StrJoin(provenance, ", ")), "</td><td class=\"n\">",
        count, "</td><td class=\"n\">", median(samples),
        "</td><td class=\"n\">", median(spreads), "</td><td>",
        EscapeXml(remarks.empty() ? "none" : absl::StrJoin(remarks, ", ")),
        "</td></tr>\n");
  }
  html += "</tbody></table></div>\n";
  return html;
}

std::string EnvironmentHtml(const ReportInput& input) {
  std::string html =
      "<div class=\"scroll\"><table><thead><tr><th>executor</th>"
      "<th>device class</th><th>processor</th><th class=\"n\">cores</th>"
      "<th>governor</th><th class=\"n\">threads</th><th>runtime</th>"
      "<th>system</th><th>hwnas</th></tr></thead><tbody>\n";
  for (const v1::Executor& executor : input.executors) {
    const v1::Environment& environment = executor.environment();
    auto text = [](const std::string& value) {
      return value.empty() ? std::string("-") : EscapeXml(value);
    };
    absl::StrAppend(
        &html, "<tr><td>", text(executor.name()), "</td><td>",
        text(absl::StrJoin(executor.device_classes(), ", ")), "</td><td>",
        text(environment.cpu_model()), "</td><td class=\"n\">",
        environment.logical_cores(), "</td><td>",
        environment.cpu_governor().empty() ? "not exposed"
                                           : text(environment.cpu_governor()),
        "</td><td class=\"n\">",
        environment.threads() > 0 ? absl::StrCat(environment.threads()) : "-",
        "</td><td>", text(environment.runtime()), "</td><td>",
        text(environment.os()), "</td><td>", text(environment.hwnas_version()),
        "</td></tr>\n");
  }
  html += "</tbody></table></div>\n";
  return html;
}

// Seconds from the start of the study to the end of a trial; simulated ones in
// a study with `replay`.
double EndOf(const v1::Study& study, const v1::Trial& trial) {
  if (trial.has_simulated_end_seconds()) return trial.simulated_end_seconds();
  return absl::ToDoubleSeconds(FromProto(trial.end_time()) -
                               FromProto(study.create_time()));
}

}  // namespace

std::vector<HypervolumeStep> HypervolumeHistory(
    const v1::Study& study, const std::vector<v1::Trial>& trials,
    const v1::Front& front) {
  const std::vector<MetricColumn> objectives = ObjectiveColumns(study.spec());
  std::vector<HypervolumeStep> steps;
  if (objectives.empty() ||
      front.reference_size() != static_cast<int>(objectives.size())) {
    return steps;
  }
  // As in nas/: everything is minimised.
  Point reference;
  for (size_t k = 0; k < objectives.size(); ++k) {
    const double r = front.reference(static_cast<int>(k));
    reference.push_back(objectives[k].maximize ? -r : r);
  }
  std::vector<const v1::Trial*> ended;
  for (const v1::Trial& trial : trials) {
    if (trial.state() == v1::Trial::COMPLETED ||
        trial.state() == v1::Trial::INFEASIBLE) {
      ended.push_back(&trial);
    }
  }
  std::stable_sort(ended.begin(), ended.end(),
                   [&study](const v1::Trial* a, const v1::Trial* b) {
                     return EndOf(study, *a) < EndOf(study, *b);
                   });
  ParetoArchive archive(static_cast<int>(objectives.size()));
  archive.SetReference(std::move(reference));
  for (const v1::Trial* trial : ended) {
    if (trial->state() == v1::Trial::COMPLETED) {
      Point point;
      for (const MetricColumn& objective : objectives) {
        const double value = Value(*trial, objective);
        point.push_back(objective.maximize ? -value : value);
      }
      archive.Insert(point, trial->number());
    }
    steps.push_back({static_cast<int64_t>(steps.size()) + 1,
                     std::max(0., EndOf(study, *trial)),
                     archive.hypervolume()});
  }
  return steps;
}

std::string RenderReport(const ReportInput& input) {
  const v1::Study& study = input.study;
  const v1::StudyProgress& progress = study.progress();
  const std::vector<MetricColumn> metrics =
      MetricColumns(study.spec(), input.trials);
  std::vector<MetricColumn> named = metrics;
  named.erase(std::remove_if(named.begin(), named.end(),
                             [](const auto& m) { return !m.named; }),
              named.end());
  const std::vector<MetricColumn> objectives = ObjectiveColumns(study.spec());
  const absl::StatusOr<std::string> id = ParseStudyName(study.name());
  const std::string name = EscapeXml(id.ok() ? *id : study.name());

  std::string html = absl::StrCat(
      "<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" "
      "lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
      "<meta name=\"viewport\" content=\"width=device-width, "
      "initial-scale=1\"/>\n<title>",
      name, " - hwnas</title>\n<style>", kStyle,
      "</style>\n</head>\n<body>\n<main>\n<h1>", name, "</h1>\n");
  std::vector<std::string> goals;
  for (const MetricColumn& objective : objectives) {
    goals.push_back(absl::StrCat(objective.maximize ? "maximise " : "minimise ",
                                 objective.key()));
  }
  absl::StrAppend(&html, "<p class=\"muted\">",
                  EscapeXml(absl::StrJoin(goals, ", ")), ". Study ",
                  StudyStateName(study.state()), "; begun ",
                  FormatTime(study.create_time()), ".</p>\n");
  if (!study.description().empty()) {
    absl::StrAppend(&html, "<p>", EscapeXml(study.description()), "</p>\n");
  }

  html += "<div class=\"cards\">\n";
  Card(&html,
       absl::StrCat(DoneCount(progress), " / ", study.spec().budget().trials()),
       "trials ended");
  Card(&html, absl::StrCat(input.front.trials_size()), "on the front");
  Card(&html, absl::StrCat(progress.infeasible_count()), "infeasible");
  if (study.spec().has_fidelity()) {
    Card(&html, absl::StrCat(progress.stopped_count()),
         "stopped before their whole training");
  }
  if (progress.has_best_score()) {
    Card(&html, FormatNumber(progress.best_score()), "best score");
  }
  for (int i = 0; i < static_cast<int>(objectives.size()) &&
                  i < progress.best_values_size();
       ++i) {
    Card(
        &html,
        absl::StrCat(FormatNumber(progress.best_values(i)),
                     objectives[i].unit.empty() ? "" : " ", objectives[i].unit),
        absl::StrCat("best ", objectives[i].key()));
  }
  Card(&html, FormatNumber(input.front.hypervolume(), 5), "hypervolume");
  Card(&html, FormatSeconds(progress.elapsed_seconds()), "elapsed");
  if (progress.has_simulated_seconds()) {
    Card(&html, FormatSeconds(progress.simulated_seconds()),
         absl::StrCat("simulated, ", study.spec().replay().workers(),
                      " workers"));
  }
  html += "</div>\n";

  html += "<h2>Trials and front</h2>\n";
  FrontPlots(input, input.front, metrics, &html);
  if (progress.has_best_score()) {
    html += "<h2>Score</h2>\n<div class=\"plots\">\n";
    Panel(&html, RenderSvg(ScorePlot(input, metrics)));
    html += "</div>\n";
  }

  absl::StrAppend(&html, "<h2>Front</h2>\n",
                  FrontHtml(input, input.front, named));
  if (input.chosen_trial > 0) {
    absl::StrAppend(&html, "<p class=\"muted\">The shaded trial ",
                    input.chosen_trial,
                    " was written as best.onnx. Small figures are the ends of "
                    "the 95 % confidence interval.</p>\n");
  }

  for (const v1::Front& front : input.device_fronts) {
    absl::StrAppend(&html, "<h2>Front of ", EscapeXml(front.device_class()),
                    "</h2>\n<p class=\"muted\">Hypervolume ",
                    FormatNumber(front.hypervolume(), 5), ".</p>\n");
    FrontPlots(input, front, metrics, &html);
    absl::StrAppend(&html, "<p></p>\n", FrontHtml(input, front, named));
  }

  const std::vector<HypervolumeStep> history =
      HypervolumeHistory(study, input.trials, input.front);
  if (!history.empty()) {
    html += "<h2>Progress of the search</h2>\n<div class=\"plots\">\n";
    // Minutes or hours read better than thousands of seconds.
    const double last = history.back().seconds;
    const double unit = last > 7200 ? 3600 : last > 180 ? 60 : 1;
    const char* unit_name = unit == 3600 ? "h" : unit == 60 ? "min" : "s";
    for (bool by_time : {false, true}) {
      Plot plot;
      plot.height = 300;
      plot.title = by_time ? "Hypervolume by time" : "Hypervolume by trials";
      plot.x_label =
          by_time ? absl::StrCat(study.spec().has_replay() ? "simulated " : "",
                                 "time since the start [", unit_name, "]")
                  : "trials ended";
      plot.y_label = "hypervolume";
      PlotSeries line{"", "hv", PlotSeries::kStepHorizontalFirst, {}};
      line.points.push_back({0, 0, ""});
      for (const HypervolumeStep& step : history) {
        line.points.push_back({by_time ? step.seconds / unit
                                       : static_cast<double>(step.ended_count),
                               step.hypervolume, ""});
      }
      plot.series.push_back(std::move(line));
      absl::StrAppend(&html, "<div class=\"panel\">", RenderSvg(plot),
                      "</div>\n");
    }
    html += "</div>\n";
    std::vector<std::string> reference;
    for (size_t k = 0; k < objectives.size(); ++k) {
      reference.push_back(absl::StrCat(
          objectives[k].key(), " ",
          FormatNumber(input.front.reference(static_cast<int>(k)))));
    }
    absl::StrAppend(&html, "<p class=\"muted\">With respect to the reference ",
                    EscapeXml(absl::StrJoin(reference, ", ")), ".</p>\n");
  }

  absl::StrAppend(&html, "<h2>Where the numbers come from</h2>\n",
                  TrustHtml(input, metrics));
  if (!input.executors.empty()) {
    absl::StrAppend(&html, "<h2>Workers and devices</h2>\n",
                    EnvironmentHtml(input));
  }
  if (!input.study_text.empty()) {
    absl::StrAppend(&html, "<h2>Study</h2>\n<pre>", EscapeXml(input.study_text),
                    "</pre>\n");
  }
  absl::StrAppend(
      &html, "<footer>Written by hwnas ", kVersion, ", ",
      absl::FormatTime("%Y-%m-%d %H:%M:%S", absl::Now(), absl::LocalTimeZone()),
      ".</footer>\n</main>\n<div id=\"tip\"></div>\n<script>", kScript,
      "</script>\n</body>\n</html>\n");
  return html;
}

}  // namespace hwnas::cli
