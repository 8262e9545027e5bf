// Short journals for the tests of stores.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "gtest/gtest.h"
#include "hwnas/v1/journal.pb.h"
#include "store/journal_store.h"

namespace hwnas {

// Appends the event after `size` others: that trial `size` + 1 was proposed.
inline absl::Status AppendOne(JournalStore& store, absl::string_view study,
                              int64_t size, size_t bytes = 0) {
  v1::JournalEvent event;
  event.mutable_trial_proposed()->set_trial(size + 1);
  event.mutable_trial_proposed()->set_origin(std::string(bytes, 'x'));
  return store.Append(study, size, {&event, 1});
}

// Checks every event and returns their number.
inline int64_t Count(JournalStore& store, absl::string_view study) {
  int64_t count = 0;
  const absl::Status status =
      store.Read(study, 0, [&](v1::JournalEvent&& event) {
        EXPECT_EQ(event.sequence(), ++count);
        EXPECT_EQ(event.trial_proposed().trial(), count);
        return absl::OkStatus();
      });
  EXPECT_TRUE(status.ok() || absl::IsNotFound(status)) << status;
  return count;
}

}  // namespace hwnas
