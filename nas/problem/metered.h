// Metrics that only a device with a power meter gives.
#pragma once

#include "absl/strings/string_view.h"

namespace hwnas {

inline bool IsMetered(absl::string_view metric) {
  return metric == "energy_mj" || metric == "energy_gross_mj" ||
         metric == "power_w";
}

}  // namespace hwnas
