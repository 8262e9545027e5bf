// Who somebody is, as a certificate says it: one URI in its subject alternative
// names.
//
//   hwnas://user/alice?role=researcher
//   hwnas://worker/gpu-3        hwnas://agent/pi-7
//   hwnas://worker/slurm-*      a group: every id that begins with "slurm-"
//   hwnas://controller/main
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hwnas::security {

enum class Role { kAdmin, kResearcher, kViewer, kWorker, kAgent, kController };

// "admin", "researcher", ...
absl::string_view RoleName(Role role);
// INVALID_ARGUMENT lists the roles.
absl::StatusOr<Role> ParseRole(absl::string_view name);

struct Identity {
  Role role = Role::kController;  // Which may call nothing.
  std::string name;
  friend bool operator==(const Identity&, const Identity&) = default;
};

// INVALID_ARGUMENT unless the name is 1 to 63 of [a-z0-9_.@-] for a user, or of
// [a-z0-9-] for the others; a worker or an agent may end in "-*".
absl::Status CheckIdentity(const Identity& identity);

// Whether a worker or an agent with this certificate may call itself that.
bool Covers(const Identity& identity, absl::string_view executor_id);

// For logs and messages: "researcher alice", "worker gpu-3".
std::string ToText(const Identity& identity);

std::string ToUri(const Identity& identity);
// Checks everything.
absl::StatusOr<Identity> IdentityFromUri(absl::string_view uri);

}  // namespace hwnas::security
