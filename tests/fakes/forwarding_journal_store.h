// A journal store that hands every call on to another: for those that change
// one of them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "store/journal_store.h"

namespace hwnas {

// Thread-safe.
class ForwardingJournalStore : public JournalStore {
 public:
  explicit ForwardingJournalStore(
      std::unique_ptr<JournalStore> store = CreateMemoryJournalStore())
      : store_(std::move(store)) {}

  absl::Status Append(absl::string_view study_id, int64_t expected_size,
                      absl::Span<v1::JournalEvent> events) override {
    return store_->Append(study_id, expected_size, events);
  }
  std::shared_ptr<PendingAppend> Start(
      absl::string_view study_id, int64_t expected_size,
      absl::Span<v1::JournalEvent> events) override {
    return store_->Start(study_id, expected_size, events);
  }
  absl::Status Read(
      absl::string_view study_id, int64_t after,
      const std::function<absl::Status(v1::JournalEvent&&)>& visit) override {
    return store_->Read(study_id, after, visit);
  }
  absl::StatusOr<std::vector<std::string>> ListStudies() override {
    return store_->ListStudies();
  }

 private:
  const std::unique_ptr<JournalStore> store_;
};

}  // namespace hwnas
