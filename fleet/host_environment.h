// What the machine says about itself: kept beside every number measured on it.
//
// Everything is read below a root folder ("/" outside of tests) from /proc and
// /sys. What cannot be read stays unset: never zero, never a guess. In
// particular the "cpu MHz" of /proc/cpuinfo is not taken for the current
// frequency, since virtual machines show a constant there.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "hwnas/v1/fleet_service.pb.h"
#include "hwnas/v1/measurement.pb.h"

namespace hwnas::fleet {

// Reads files each time it is asked. Thread-safe.
class HostEnvironment {
 public:
  explicit HostEnvironment(absl::string_view root = "/");

  // Everything but threads, runtime and pinned_cores. Governor and frequency
  // are those of `core`.
  v1::Environment Read(int core = 0) const;

  // Of that only what changes by itself: load, temperature, governor and
  // frequency. Cheaper.
  v1::Environment ReadState(int core = 0) const;

  // Equal for processes that share cores, different otherwise: the kernel's
  // boot id (containers of one machine share it, virtual machines have their
  // own), else the machine id, else the host name. [a-z0-9-].
  std::string HostId() const;

  // The host name as 1 to 40 of [a-z0-9-], "host" if nothing is left of it.
  std::string HostLabel() const;

 private:
  // Contents without white space at the ends; empty if not readable.
  std::string ReadText(absl::string_view path) const;
  std::string CpuModel() const;

  const std::string root_;
};

// Whether `id` is 1 to 63 of [a-z0-9-].
bool IsExecutorId(absl::string_view id);

}  // namespace hwnas::fleet
