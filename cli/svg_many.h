// Charts of three and more objectives as inline SVG, with the colours of
// svg_plot.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace hwnas::cli {

struct ManyAxis {
  std::string label;
  bool maximize = false;
};

// One trial. Drawn only where its values are finite.
struct ManyItem {
  // "infeasible", "trial", "front" or "chosen", drawn in this order.
  std::string css_class;
  std::vector<double> values;  // One for each axis.
  int64_t trial = 0;           // Marks of one trial light up together.
  std::string tooltip;         // Plain text; lines by '\n'.
};

struct ManyPlot {
  std::string title;
  std::vector<ManyAxis> axes;  // At least two.
  std::vector<ManyItem> items;
};

// Every pair of axes: row by row the second, third, ... axis against those
// before it. Well-formed XML. Members of the front have tooltips; of the other
// trials only dots are written, so that the file stays small.
std::string RenderScatterMatrix(const ManyPlot& plot);

// Parallel coordinates (Inselberg, 1985): one line for each trial across one
// upright axis for each objective, better values higher. Of trials off the
// front at most 400, evenly chosen. Well-formed XML.
std::string RenderParallelCoordinates(const ManyPlot& plot);

}  // namespace hwnas::cli
