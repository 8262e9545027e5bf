// Charts as inline SVG. Colours come from CSS variables of the page around
// (--ink, --muted, --grid, --accent, ...), so that they follow its theme.
#pragma once

#include <limits>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace hwnas::cli {

// & < > " ' as entities; control characters, which XML forbids, as '?'.
std::string EscapeXml(absl::string_view text);

// The values that an axis shows.
struct AxisRange {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void Add(double value);
  // A little air around the values; something sensible for none or one.
  void Widen();
};

struct PlotPoint {
  double x = 0;
  double y = 0;
  std::string tooltip;  // Plain text; lines by '\n'.
};

struct PlotSeries {
  enum Mark {
    kDots,
    kRings,
    kCrosses,
    kStepHorizontalFirst,
    kStepVerticalFirst
  };
  std::string name;       // In the legend.
  std::string css_class;  // "front", "trial", "infeasible", "line".
  Mark mark = kDots;
  std::vector<PlotPoint> points;  // Steps: in order along x.
};

struct Plot {
  std::string title;
  std::string x_label;
  std::string y_label;
  std::vector<PlotSeries> series;
  int width = 640;
  int height = 420;
  // Draw only what lies in this window; unset (min > max) means all points.
  double x_min = 1, x_max = 0, y_min = 1, y_max = 0;
};

// Well-formed XML. Points that are not finite are left out.
std::string RenderSvg(const Plot& plot);

// Round numbers that cover [low, high], about `count` of them, at steps of 1, 2
// or 5 times a power of ten ("nice numbers", Heckbert, Graphics Gems, 1990).
std::vector<double> NiceTicks(double low, double high, int count);

}  // namespace hwnas::cli
