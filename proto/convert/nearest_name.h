// "Did you mean ...?"
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace hwnas {

// The candidate that `name` is most likely a misspelling of: the smallest edit
// distance (insertions, deletions, substitutions and swaps of neighbours count
// one each; letter case and '-' for '_' count nothing), at most a third of the
// length. Empty if none is near. The first wins a tie.
std::string NearestName(absl::string_view name,
                        absl::Span<const absl::string_view> candidates);

}  // namespace hwnas
