#pragma once

#include "absl/types/span.h"

namespace hwnas {

// The middle value, or the mean of the two middle ones; 0 of nothing. Values
// must be finite.
double Median(absl::Span<const double> values);

}  // namespace hwnas
