#include "store/journal_store.h"

#include <utility>

namespace hwnas {
namespace {

// One that is over.
class FinishedAppend final : public PendingAppend {
 public:
  explicit FinishedAppend(absl::Status status) : status_(std::move(status)) {}
  absl::Status Wait() override { return status_; }

 private:
  const absl::Status status_;
};

}  // namespace

std::shared_ptr<PendingAppend> JournalStore::Start(
    absl::string_view study_id, int64_t expected_size,
    absl::Span<v1::JournalEvent> events) {
  return std::make_shared<FinishedAppend>(
      Append(study_id, expected_size, events));
}

}  // namespace hwnas
