// Peak memory of this process between two moments.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"

namespace hwnas::agent {

// Returns free memory to the system, forgets the highest resident size so far
// and returns the present one in bytes: the base line of PeakResidentBytes().
// UNAVAILABLE where the kernel does not let us.
absl::StatusOr<int64_t> ResetPeakResidentBytes();

// The file that ResetPeakResidentBytes() writes to; open from the first call
// on, which must come before this process may open no more. -1 if there is
// none.
int ClearRefsDescriptor();

// The highest resident size since then, in bytes.
absl::StatusOr<int64_t> PeakResidentBytes();

}  // namespace hwnas::agent
