// Watches one study until it ends, across restarts of the controller.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/client.h"
#include "cli/live_display.h"

namespace hwnas::cli {

struct FollowOptions {
  // Keep trying when the controller does not answer the first time either.
  bool wait_for_controller = false;
  // Called about ten times a second in the caller's thread; an error ends the
  // watch with it.
  std::function<absl::Status()> on_tick = [] { return absl::OkStatus(); };
};

// Returns the study once it has ended. Blocks; streams in a thread of its own,
// all callbacks and the display in the caller's. A stream that breaks is opened
// again for as long as it takes; the display says so meanwhile. Errors:
// NOT_FOUND, UNAVAILABLE (nobody answers the first time), or on_tick's.
absl::StatusOr<v1::Study> FollowStudy(Client* client, const std::string& name,
                                      LiveDisplay* display,
                                      const FollowOptions& options);

}  // namespace hwnas::cli
