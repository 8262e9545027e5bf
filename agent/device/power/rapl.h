// Energy counters of Intel and AMD processors through Linux' powercap.
//
//   /sys/class/powercap/intel-rapl:0/name                 package-0
//   /sys/class/powercap/intel-rapl:0/energy_uj            12345678
//   /sys/class/powercap/intel-rapl:0/max_energy_range_uj  262143328850
//   /sys/class/powercap/intel-rapl:0:1/name               dram
//
// The packages are added, and their memory, which Intel counts apart from them
// (Software Developer's Manual, volume 3B, "RAPL domains"). "core" and "uncore"
// are parts of a package and are left out, as is "psys", which contains the
// packages; it is taken only where there are none. "intel-rapl-mmio" shows the
// same packages a second time.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "agent/device/power/power_source.h"
#include "agent/measure/steady_clock.h"

namespace hwnas::agent {

// NOT_FOUND if there is no zone; PERMISSION_DENIED if its counter may not be
// read, which is the kernel's default for all but root. `clock` must outlive
// the source.
absl::StatusOr<std::unique_ptr<PowerSource>> FindRapl(const std::string& root,
                                                      SteadyClock* clock);

}  // namespace hwnas::agent
