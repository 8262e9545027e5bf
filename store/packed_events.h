// The events of one append in one piece, as a row of a store holds them: a
// single event as it is; each of several with its size, a varint, before it.
// Private to store/.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "hwnas/v1/journal.pb.h"

namespace hwnas {

// Of serialized events.
std::string PackEvents(const std::vector<std::string>& events);

// Calls `visit` for each of `count` events, of which the first has number
// `first`, that come after number `after`; its errors are passed on. If the row
// does not hold them, the error is that of `damaged` for the first that fails.
absl::Status UnpackEvents(
    absl::string_view row, int64_t first, int64_t count, int64_t after,
    const std::function<absl::Status(v1::JournalEvent&&)>& visit,
    const std::function<absl::Status(int64_t sequence)>& damaged);

}  // namespace hwnas
