#include "cli/svg_many.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/svg_plot.h"
#include "cli/table.h"

namespace hwnas::cli {
namespace {

std::string Coordinate(double value) { return absl::StrFormat("%.1f", value); }

// Of all values on one axis.
AxisRange RangeOf(const ManyPlot& plot, size_t axis) {
  AxisRange range;
  for (const ManyItem& item : plot.items) {
    const double value = item.values[axis];
    if (std::isfinite(value)) range.Add(value);
  }
  range.Widen();
  return range;
}

std::vector<const ManyItem*> ItemsOf(const ManyPlot& plot,
                                     const std::string& css_class) {
  std::vector<const ManyItem*> items;
  for (const ManyItem& item : plot.items) {
    if (item.css_class == css_class) items.push_back(&item);
  }
  return items;
}

std::string Open(const ManyPlot& plot, double width, double height,
                 const std::string& what) {
  const std::string title = EscapeXml(plot.title);
  return absl::StrCat(
      "<svg class=\"plot\" role=\"img\" viewBox=\"0 0 ", Coordinate(width), " ",
      Coordinate(height), "\" aria-label=\"", title, ", ", what,
      "\">\n<text class=\"title\" x=\"12\" y=\"18\">", title, "</text>\n");
}

// "latency_ms@pi [ms] ↓": what is better.
std::string AxisLabel(const ManyAxis& axis) {
  return absl::StrCat(EscapeXml(axis.label), axis.maximize ? " ↑" : " ↓");
}

std::string Title(const ManyItem& item) {
  return item.tooltip.empty()
             ? ""
             : absl::StrCat("<title>", EscapeXml(item.tooltip), "</title>");
}

void Legend(const ManyPlot& plot, double right, std::string* svg) {
  double x = right;
  for (const char* name : {"chosen", "front", "trial", "infeasible"}) {
    if (ItemsOf(plot, name).empty()) continue;
    x -= 7. * DisplayWidth(name);
    absl::StrAppend(svg, "<text class=\"tick\" x=\"", Coordinate(x),
                    "\" y=\"18\">", name, "</text>");
    x -= 10;
    absl::StrAppend(svg, "<circle class=\"mark ", name, "\" cx=\"",
                    Coordinate(x), "\" cy=\"14\" r=\"4\"/>\n");
    x -= 18;
  }
}

}  // namespace

std::string RenderScatterMatrix(const ManyPlot& plot) {
  constexpr double kLeft = 74, kRight = 14, kTop = 34, kBottom = 56, kGap = 10;
  const size_t axes = plot.axes.size();
  const auto cells = static_cast<double>(axes - 1);
  const double cell = std::clamp(980 / cells, 120., 300.);
  const double width = kLeft + cells * cell + (cells - 1) * kGap + kRight;
  const double height = kTop + cells * cell + (cells - 1) * kGap + kBottom;
  std::vector<AxisRange> ranges;
  for (size_t k = 0; k < axes; ++k) ranges.push_back(RangeOf(plot, k));
  // Of the cell of axis `x` across and axis `y` upwards.
  const auto left = [&](size_t x) {
    return kLeft + static_cast<double>(x) * (cell + kGap);
  };
  const auto top = [&](size_t y) {
    return kTop + static_cast<double>(y - 1) * (cell + kGap);
  };
  const auto across = [&](size_t x, double value) {
    const AxisRange& range = ranges[x];
    return left(x) + (value - range.low) / (range.high - range.low) * cell;
  };
  const auto upwards = [&](size_t y, double value) {
    const AxisRange& range = ranges[y];
    return top(y) + cell -
           (value - range.low) / (range.high - range.low) * cell;
  };
  const int ticks = cell >= 200 ? 4 : 2;

  std::string svg = Open(plot, width, height, "every pair of objectives");
  for (size_t y = 1; y < axes; ++y) {
    for (size_t x = 0; x < y; ++x) {
      for (const double tick :
           NiceTicks(ranges[x].low, ranges[x].high, ticks)) {
        const std::string at = Coordinate(across(x, tick));
        absl::StrAppend(&svg, "<line class=\"grid\" x1=\"", at, "\" x2=\"", at,
                        "\" y1=\"", Coordinate(top(y)), "\" y2=\"",
                        Coordinate(top(y) + cell), "\"/>");
        if (y + 1 < axes) continue;
        absl::StrAppend(&svg,
                        "<text class=\"tick\" text-anchor=\"middle\" x=\"", at,
                        "\" y=\"", Coordinate(top(y) + cell + 16), "\">",
                        FormatNumber(tick), "</text>");
      }
      for (const double tick :
           NiceTicks(ranges[y].low, ranges[y].high, ticks)) {
        const double at = upwards(y, tick);
        absl::StrAppend(&svg, "<line class=\"grid\" x1=\"", Coordinate(left(x)),
                        "\" x2=\"", Coordinate(left(x) + cell), "\" y1=\"",
                        Coordinate(at), "\" y2=\"", Coordinate(at), "\"/>");
        if (x > 0) continue;
        absl::StrAppend(&svg, "<text class=\"tick\" text-anchor=\"end\" x=\"",
                        Coordinate(kLeft - 6), "\" y=\"", Coordinate(at + 4),
                        "\">", FormatNumber(tick), "</text>");
      }
      absl::StrAppend(&svg, "<rect class=\"frame\" x=\"", Coordinate(left(x)),
                      "\" y=\"", Coordinate(top(y)), "\" width=\"",
                      Coordinate(cell), "\" height=\"", Coordinate(cell),
                      "\"/>\n");
      for (const char* css : {"infeasible", "trial"}) {
        std::string path;
        for (const ManyItem* item : ItemsOf(plot, css)) {
          if (!std::isfinite(item->values[x]) ||
              !std::isfinite(item->values[y])) {
            continue;
          }
          absl::StrAppend(&path, "M", Coordinate(across(x, item->values[x])),
                          " ", Coordinate(upwards(y, item->values[y])), "h0");
        }
        if (!path.empty()) {
          absl::StrAppend(&svg, "<path class=\"dots ", css, "\" d=\"", path,
                          "\"/>\n");
        }
      }
      for (const char* css : {"front", "chosen"}) {
        for (const ManyItem* item : ItemsOf(plot, css)) {
          if (!std::isfinite(item->values[x]) ||
              !std::isfinite(item->values[y])) {
            continue;
          }
          absl::StrAppend(&svg, "<circle class=\"mark ", css,
                          "\" data-trial=\"", item->trial, "\" cx=\"",
                          Coordinate(across(x, item->values[x])), "\" cy=\"",
                          Coordinate(upwards(y, item->values[y])),
                          "\" r=\"4\">", Title(*item), "</circle>\n");
        }
      }
    }
  }
  for (size_t k = 0; k < axes; ++k) {
    if (k + 1 < axes) {
      absl::StrAppend(&svg, "<text class=\"label\" text-anchor=\"middle\" x=\"",
                      Coordinate(left(k) + cell / 2), "\" y=\"",
                      Coordinate(height - 14), "\">", AxisLabel(plot.axes[k]),
                      "</text>\n");
    }
    if (k > 0) {
      absl::StrAppend(&svg,
                      "<text class=\"label\" text-anchor=\"middle\" "
                      "transform=\"translate(16 ",
                      Coordinate(top(k) + cell / 2), ") rotate(-90)\">",
                      AxisLabel(plot.axes[k]), "</text>\n");
    }
  }
  Legend(plot, width - kRight, &svg);
  svg += "</svg>\n";
  return svg;
}

std::string RenderParallelCoordinates(const ManyPlot& plot) {
  constexpr double kLeft = 70, kRight = 70, kTop = 64, kHeight = 360,
                   kBottom = 30;
  constexpr size_t kMostLines = 400;
  const size_t axes = plot.axes.size();
  const double width =
      std::clamp(180. * static_cast<double>(axes), 640., 1080.);
  const double step = (width - kLeft - kRight) / static_cast<double>(axes - 1);
  std::vector<AxisRange> ranges;
  for (size_t k = 0; k < axes; ++k) ranges.push_back(RangeOf(plot, k));
  const auto x = [&](size_t k) {
    return kLeft + static_cast<double>(k) * step;
  };
  // Better is higher.
  const auto y = [&](size_t k, double value) {
    const AxisRange& range = ranges[k];
    const double share = (value - range.low) / (range.high - range.low);
    return kTop + kHeight * (plot.axes[k].maximize ? 1 - share : share);
  };

  std::string svg =
      Open(plot, width, kTop + kHeight + kBottom, "parallel coordinates");
  for (const char* css : {"trial", "front", "chosen"}) {
    const std::vector<const ManyItem*> items = ItemsOf(plot, css);
    const bool off_front = std::string(css) == "trial";
    const size_t lines =
        off_front ? std::min(kMostLines, items.size()) : items.size();
    for (size_t i = 0; i < lines; ++i) {
      const ManyItem& item = *items[i * items.size() / lines];
      std::string path;
      for (size_t k = 0; k < axes; ++k) {
        if (!std::isfinite(item.values[k])) continue;
        absl::StrAppend(&path, path.empty() ? "M" : "L", Coordinate(x(k)), " ",
                        Coordinate(y(k, item.values[k])));
      }
      absl::StrAppend(&svg, "<path class=\"mark across ", css,
                      "\" data-trial=\"", item.trial, "\" d=\"", path, "\">",
                      off_front ? "" : Title(item), "</path>\n");
    }
  }
  for (size_t k = 0; k < axes; ++k) {
    const std::string at = Coordinate(x(k));
    absl::StrAppend(&svg, "<line class=\"axis\" x1=\"", at, "\" x2=\"", at,
                    "\" y1=\"", kTop, "\" y2=\"", kTop + kHeight, "\"/>\n");
    for (const double tick : NiceTicks(ranges[k].low, ranges[k].high, 5)) {
      absl::StrAppend(&svg, "<text class=\"tick halo\" x=\"",
                      Coordinate(x(k) + 5), "\" y=\"",
                      Coordinate(y(k, tick) + 4), "\">", FormatNumber(tick),
                      "</text>");
    }
    // Labels of neighbours on two lines.
    absl::StrAppend(&svg, "<text class=\"label\" text-anchor=\"middle\" x=\"",
                    at, "\" y=\"", k % 2 == 0 ? 38 : 54, "\">",
                    AxisLabel(plot.axes[k]), "</text>\n");
  }
  absl::StrAppend(&svg, "<text class=\"tick\" text-anchor=\"middle\" x=\"",
                  Coordinate(width / 2), "\" y=\"",
                  Coordinate(kTop + kHeight + 20),
                  "\">better is higher on every axis</text>\n");
  Legend(plot, width - 12, &svg);
  svg += "</svg>\n";
  return svg;
}

}  // namespace hwnas::cli
