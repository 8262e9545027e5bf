#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/mutex.h"
#include "common/status_macros.h"
#include "store/journal_checks.h"
#include "store/journal_store.h"

namespace hwnas {
namespace {

// Thread-safe.
class MemoryJournalStore final : public JournalStore {
 public:
  absl::Status Append(absl::string_view study_id, int64_t expected_size,
                      absl::Span<v1::JournalEvent> events) override {
    HWNAS_RETURN_IF_ERROR(CheckAppend(study_id, expected_size));
    MutexLock lock(&mutex_);
    const auto found = studies_.find(std::string(study_id));
    const int64_t size = found == studies_.end() ? 0 : found->second.size();
    if (size != expected_size) {
      return SizeConflict(study_id, expected_size, size);
    }
    if (events.empty()) return absl::OkStatus();
    std::vector<v1::JournalEvent>& journal = studies_[std::string(study_id)];
    for (v1::JournalEvent& event : events) {
      event.set_sequence(static_cast<int64_t>(journal.size()) + 1);
      journal.push_back(event);
    }
    return absl::OkStatus();
  }

  absl::Status Read(
      absl::string_view study_id, int64_t after,
      const std::function<absl::Status(v1::JournalEvent&&)>& visit) override {
    // In pages, so that `visit` runs without the lock and may append.
    constexpr int64_t kPage = 256;
    after = std::max<int64_t>(after, 0);
    for (;;) {
      std::vector<v1::JournalEvent> page;
      {
        MutexLock lock(&mutex_);
        const auto found = studies_.find(std::string(study_id));
        if (found == studies_.end()) return NoSuchStudy(study_id);
        const std::vector<v1::JournalEvent>& journal = found->second;
        const int64_t size = static_cast<int64_t>(journal.size());
        if (after < size) {
          page.assign(journal.begin() + after,
                      journal.begin() + std::min(size, after + kPage));
        }
      }
      if (page.empty()) return absl::OkStatus();
      for (v1::JournalEvent& event : page) {
        after = event.sequence();
        HWNAS_RETURN_IF_ERROR(visit(std::move(event)));
      }
    }
  }

  absl::StatusOr<std::vector<std::string>> ListStudies() override {
    MutexLock lock(&mutex_);
    std::vector<std::string> ids;
    for (const auto& [id, journal] : studies_) ids.push_back(id);
    return ids;
  }

 private:
  Mutex mutex_;
  std::map<std::string, std::vector<v1::JournalEvent>> studies_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::unique_ptr<JournalStore> CreateMemoryJournalStore() {
  return std::make_unique<MemoryJournalStore>();
}

}  // namespace hwnas
