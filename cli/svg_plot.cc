#include "cli/svg_plot.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/table.h"
#include "common/digest.h"

namespace hwnas::cli {
namespace {

std::string Coordinate(double value) { return absl::StrFormat("%.1f", value); }

}  // namespace

void AxisRange::Add(double value) {
  low = std::min(low, value);
  high = std::max(high, value);
}

void AxisRange::Widen() {
  if (!(low <= high)) {
    low = 0;
    high = 1;
  }
  const double span = high - low;
  const double pad =
      span > 0 ? 0.05 * span : std::max(0.05 * std::fabs(low), 1e-9);
  // Quantities that are never negative do not get a negative axis.
  const bool non_negative = low >= 0;
  low -= pad;
  high += pad;
  if (non_negative) low = std::max(low, 0.);
}

std::string EscapeXml(absl::string_view text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        if (static_cast<uint8_t>(c) < 0x20 && c != '\n' && c != '\t') {
          out.push_back('?');
        } else {
          out.push_back(c);
        }
    }
  }
  return out;
}

std::vector<double> NiceTicks(double low, double high, int count) {
  std::vector<double> ticks;
  if (!std::isfinite(low) || !std::isfinite(high) || !(low < high) ||
      count < 1) {
    return ticks;
  }
  const double rough = (high - low) / count;
  const double power = std::pow(10., std::floor(std::log10(rough)));
  double step = power;
  for (double factor : {1., 2., 5., 10.}) {
    step = factor * power;
    if (step >= rough * (1 - 1e-9)) break;
  }
  const double first = std::ceil(low / step - 1e-9);
  const double last = std::floor(high / step + 1e-9);
  for (double i = first; i <= last && ticks.size() < 100; i += 1) {
    ticks.push_back(i == 0 ? 0 : i * step);
  }
  return ticks;
}

std::string RenderSvg(const Plot& plot) {
  constexpr double kLeft = 66, kRight = 16, kTop = 34, kBottom = 52;
  const bool windowed = plot.x_min <= plot.x_max && plot.y_min <= plot.y_max;
  AxisRange xs, ys;
  if (windowed) {
    xs = {plot.x_min, plot.x_max};
    ys = {plot.y_min, plot.y_max};
  } else {
    for (const PlotSeries& series : plot.series) {
      for (const PlotPoint& point : series.points) {
        if (!std::isfinite(point.x) || !std::isfinite(point.y)) continue;
        xs.Add(point.x);
        ys.Add(point.y);
      }
    }
  }
  xs.Widen();
  ys.Widen();
  const double w = plot.width - kLeft - kRight;
  const double h = plot.height - kTop - kBottom;
  auto px = [&](double x) {
    return kLeft + (x - xs.low) / (xs.high - xs.low) * w;
  };
  auto py = [&](double y) {
    return kTop + h - (y - ys.low) / (ys.high - ys.low) * h;
  };

  const std::string id =
      Sha256Hex(absl::StrCat(plot.title, plot.x_label, plot.y_label, windowed))
          .substr(0, 8);
  std::string svg = absl::StrCat(
      "<svg class=\"plot\" role=\"img\" viewBox=\"0 0 ", plot.width, " ",
      plot.height, "\" aria-label=\"", EscapeXml(plot.title), "\">\n");
  absl::StrAppend(&svg, "<clipPath id=\"clip", id, "\"><rect x=\"", kLeft - 6,
                  "\" y=\"", kTop - 6, "\" width=\"", w + 12, "\" height=\"",
                  h + 12, "\"/></clipPath>\n");
  absl::StrAppend(&svg, "<text class=\"title\" x=\"", kLeft, "\" y=\"18\">",
                  EscapeXml(plot.title), "</text>\n");
  for (double tick : NiceTicks(xs.low, xs.high, 7)) {
    const std::string x = Coordinate(px(tick));
    absl::StrAppend(&svg, "<line class=\"grid\" x1=\"", x, "\" x2=\"", x,
                    "\" y1=\"", kTop, "\" y2=\"", kTop + h, "\"/>",
                    "<text class=\"tick\" text-anchor=\"middle\" x=\"", x,
                    "\" y=\"", kTop + h + 17, "\">", FormatNumber(tick, 6),
                    "</text>\n");
  }
  for (double tick : NiceTicks(ys.low, ys.high, 6)) {
    const double y = py(tick);
    absl::StrAppend(
        &svg, "<line class=\"grid\" x1=\"", kLeft, "\" x2=\"", kLeft + w,
        "\" y1=\"", Coordinate(y), "\" y2=\"", Coordinate(y), "\"/>",
        "<text class=\"tick\" text-anchor=\"end\" x=\"", kLeft - 7, "\" y=\"",
        Coordinate(y + 4), "\">", FormatNumber(tick, 6), "</text>\n");
  }
  absl::StrAppend(&svg, "<rect class=\"frame\" x=\"", kLeft, "\" y=\"", kTop,
                  "\" width=\"", w, "\" height=\"", h, "\"/>\n");
  absl::StrAppend(&svg, "<text class=\"label\" text-anchor=\"middle\" x=\"",
                  Coordinate(kLeft + w / 2), "\" y=\"", plot.height - 12, "\">",
                  EscapeXml(plot.x_label), "</text>\n");
  absl::StrAppend(&svg,
                  "<text class=\"label\" text-anchor=\"middle\" "
                  "transform=\"translate(16 ",
                  Coordinate(kTop + h / 2), ") rotate(-90)\">",
                  EscapeXml(plot.y_label), "</text>\n");

  absl::StrAppend(&svg, "<g clip-path=\"url(#clip", id, ")\">\n");
  for (const PlotSeries& series : plot.series) {
    const std::string css = EscapeXml(series.css_class);
    if (series.mark == PlotSeries::kStepHorizontalFirst ||
        series.mark == PlotSeries::kStepVerticalFirst) {
      std::string path;
      for (const PlotPoint& point : series.points) {
        if (!std::isfinite(point.x) || !std::isfinite(point.y)) continue;
        const std::string x = Coordinate(px(point.x));
        const std::string y = Coordinate(py(point.y));
        if (path.empty()) {
          path = absl::StrCat("M", x, " ", y);
        } else if (series.mark == PlotSeries::kStepHorizontalFirst) {
          absl::StrAppend(&path, "H", x, "V", y);
        } else {
          absl::StrAppend(&path, "V", y, "H", x);
        }
      }
      if (!path.empty()) {
        absl::StrAppend(&svg, "<path class=\"step ", css, "\" d=\"", path,
                        "\"/>\n");
      }
      continue;
    }
    for (const PlotPoint& point : series.points) {
      if (!std::isfinite(point.x) || !std::isfinite(point.y)) continue;
      const double x = px(point.x);
      const double y = py(point.y);
      std::string shape;
      if (series.mark == PlotSeries::kCrosses) {
        shape = absl::StrCat("<path class=\"mark ", css, "\" d=\"M",
                             Coordinate(x - 3.5), " ", Coordinate(y - 3.5),
                             "l7 7m0 -7l-7 7\">");
      } else {
        shape = absl::StrCat(
            "<circle class=\"mark ", css, "\" cx=\"", Coordinate(x), "\" cy=\"",
            Coordinate(y), "\" r=\"",
            series.mark == PlotSeries::kRings ? "5.5" : "4", "\">");
      }
      absl::StrAppend(
          &svg, shape, "<title>", EscapeXml(point.tooltip), "</title>",
          series.mark == PlotSeries::kCrosses ? "</path>\n" : "</circle>\n");
    }
  }
  svg += "</g>\n";

  // The legend, on the line of the title.
  double x = plot.width - kRight;
  for (auto series = plot.series.rbegin(); series != plot.series.rend();
       ++series) {
    if (series->name.empty()) continue;
    x -= 7. * DisplayWidth(series->name);
    absl::StrAppend(&svg, "<text class=\"tick\" x=\"", Coordinate(x),
                    "\" y=\"18\">", EscapeXml(series->name), "</text>");
    x -= 12;
    const std::string css = EscapeXml(series->css_class);
    if (series->mark == PlotSeries::kCrosses) {
      absl::StrAppend(&svg, "<path class=\"mark ", css, "\" d=\"M",
                      Coordinate(x - 0.5), " 10.5l7 7m0 -7l-7 7\"/>\n");
    } else if (series->mark == PlotSeries::kDots ||
               series->mark == PlotSeries::kRings) {
      absl::StrAppend(&svg, "<circle class=\"mark ", css, "\" cx=\"",
                      Coordinate(x + 3), "\" cy=\"14\" r=\"4\"/>\n");
    } else {
      absl::StrAppend(&svg, "<path class=\"step ", css, "\" d=\"M",
                      Coordinate(x - 5), " 14h12\"/>\n");
    }
    x -= 16;
  }
  svg += "</svg>\n";
  return svg;
}

}  // namespace hwnas::cli
