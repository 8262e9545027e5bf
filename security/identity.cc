#include "security/identity.h"

#include <array>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/status_macros.h"
#include "common/text.h"

namespace hwnas::security {
namespace {

constexpr absl::string_view kScheme = "hwnas://";

constexpr std::array<std::pair<Role, absl::string_view>, 6> kRoles = {{
    {Role::kAdmin, "admin"},
    {Role::kResearcher, "researcher"},
    {Role::kViewer, "viewer"},
    {Role::kWorker, "worker"},
    {Role::kAgent, "agent"},
    {Role::kController, "controller"},
}};

bool IsUser(Role role) {
  return role == Role::kAdmin || role == Role::kResearcher ||
         role == Role::kViewer;
}

bool IsExecutor(Role role) {
  return role == Role::kWorker || role == Role::kAgent;
}

}  // namespace

absl::string_view RoleName(Role role) {
  for (const auto& [known, name] : kRoles) {
    if (known == role) return name;
  }
  return "";
}

absl::StatusOr<Role> ParseRole(absl::string_view name) {
  for (const auto& [role, known] : kRoles) {
    if (known == name) return role;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "role \"", absl::CHexEscape(name.substr(0, 63)),
      "\" is unknown: expected admin, researcher, viewer, worker or agent"));
}

absl::Status CheckIdentity(const Identity& identity) {
  absl::string_view name = identity.name;
  if (IsUser(identity.role)) {
    if (IsShortName(name, "_.@-")) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("user \"", absl::CHexEscape(name.substr(0, 63)),
                     "\": expected 1 to 63 of [a-z0-9_.@-]"));
  }
  const bool group =
      IsExecutor(identity.role) && absl::ConsumeSuffix(&name, "-*");
  if (IsShortName(name, "-") && (!group || name.size() < 60)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat(
      RoleName(identity.role), " \"",
      absl::CHexEscape(absl::string_view(identity.name).substr(0, 63)),
      "\": expected 1 to 63 of [a-z0-9-], or for a group of them a beginning "
      "and -*"));
}

bool Covers(const Identity& identity, absl::string_view executor_id) {
  if (!IsExecutor(identity.role)) return false;
  absl::string_view name = identity.name;
  if (!absl::ConsumeSuffix(&name, "*")) return name == executor_id;
  return executor_id.size() > name.size() &&
         absl::StartsWith(executor_id, name);
}

std::string ToText(const Identity& identity) {
  return absl::StrCat(RoleName(identity.role), " ", identity.name);
}

std::string ToUri(const Identity& identity) {
  if (IsUser(identity.role)) {
    return absl::StrCat(kScheme, "user/", identity.name,
                        "?role=", RoleName(identity.role));
  }
  return absl::StrCat(kScheme, RoleName(identity.role), "/", identity.name);
}

absl::StatusOr<Identity> IdentityFromUri(absl::string_view uri) {
  const auto malformed = [uri] {
    return absl::InvalidArgumentError(absl::StrCat(
        "\"", absl::CHexEscape(uri.substr(0, 128)), "\" is no identity"));
  };
  absl::string_view rest = uri;
  if (!absl::ConsumePrefix(&rest, kScheme)) return malformed();
  const size_t slash = rest.find('/');
  if (slash == absl::string_view::npos) return malformed();
  absl::string_view kind = rest.substr(0, slash);
  rest.remove_prefix(slash + 1);
  const bool user = kind == "user";
  if (user) {
    const size_t query = rest.find("?role=");
    if (query == absl::string_view::npos) return malformed();
    kind = rest.substr(query + 6);
    rest = rest.substr(0, query);
  }
  Identity identity;
  HWNAS_ASSIGN_OR_RETURN(identity.role, ParseRole(kind));
  if (IsUser(identity.role) != user) return malformed();
  identity.name = std::string(rest);
  HWNAS_RETURN_IF_ERROR(CheckIdentity(identity));
  return identity;
}

}  // namespace hwnas::security
