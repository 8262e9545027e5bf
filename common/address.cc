#include "common/address.h"

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace hwnas {

absl::Status CheckAddress(const std::string& what, const std::string& address,
                          int min_port, bool* loopback) {
  const size_t colon = address.rfind(':');
  int port = 0;
  if (colon == std::string::npos || colon == 0 ||
      !absl::SimpleAtoi(address.substr(colon + 1), &port) || port < min_port ||
      port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, " \"", address,
                     "\" is not understood: expected host:port, for example "
                     "127.0.0.1:7420"));
  }
  absl::string_view host = absl::string_view(address).substr(0, colon);
  const bool bracketed =
      absl::ConsumePrefix(&host, "[") && absl::ConsumeSuffix(&host, "]");
  if (!bracketed && absl::StrContains(host, ':')) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, " \"", address,
                     "\" is not understood: write an IPv6 address in brackets, "
                     "for example [::1]:7420"));
  }
  *loopback =
      host == "localhost" || host == "::1" ||
      (absl::StartsWith(host, "127.") &&
       host.find_first_not_of("0123456789.") == absl::string_view::npos);
  return absl::OkStatus();
}

}  // namespace hwnas
