#include "store/packed_events.h"

#include <optional>
#include <utility>

#include "common/status_macros.h"

namespace hwnas {
namespace {

// Takes the bytes of the next of several events from the front of `row`;
// nullopt if they are not there.
std::optional<absl::string_view> Next(absl::string_view* row) {
  size_t size = 0;
  for (int shift = 0; !row->empty() && shift < 35; shift += 7) {
    const auto byte = static_cast<unsigned char>(row->front());
    row->remove_prefix(1);
    size |= static_cast<size_t>(byte & 0x7f) << shift;
    if (byte > 0x7f) continue;
    if (size > row->size()) break;
    const absl::string_view event = row->substr(0, size);
    row->remove_prefix(size);
    return event;
  }
  return std::nullopt;
}

}  // namespace

std::string PackEvents(const std::vector<std::string>& events) {
  if (events.size() == 1) return events[0];
  std::string row;
  for (const std::string& event : events) {
    size_t size = event.size();
    for (; size > 0x7f; size >>= 7) {
      row.push_back(static_cast<char>((size & 0x7f) | 0x80));
    }
    row.push_back(static_cast<char>(size));
    row.append(event);
  }
  return row;
}

absl::Status UnpackEvents(
    absl::string_view row, int64_t first, int64_t count, int64_t after,
    const std::function<absl::Status(v1::JournalEvent&&)>& visit,
    const std::function<absl::Status(int64_t sequence)>& damaged) {
  for (int64_t sequence = first; sequence < first + count; ++sequence) {
    const std::optional<absl::string_view> bytes =
        count == 1 ? row : Next(&row);
    if (bytes && sequence <= after) continue;
    v1::JournalEvent event;
    if (!bytes ||
        !event.ParseFromArray(bytes->data(), static_cast<int>(bytes->size())) ||
        event.sequence() != sequence) {
      return damaged(sequence);
    }
    HWNAS_RETURN_IF_ERROR(visit(std::move(event)));
  }
  return absl::OkStatus();
}

}  // namespace hwnas
