#include "common/address.h"

#include <netdb.h>
#include <sys/socket.h>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "common/status_macros.h"

namespace hwnas {
namespace {

constexpr size_t kMaxAddresses = 16;

}  // namespace

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

absl::Status CheckAddresses(const std::string& what,
                            const std::string& addresses, int min_port,
                            bool* loopback) {
  const std::vector<std::string> each = absl::StrSplit(addresses, ',');
  if (each.size() > kMaxAddresses) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, " has ", each.size(),
                     " addresses: expected at most ", kMaxAddresses));
  }
  *loopback = true;
  for (const std::string& address : each) {
    bool here = false;
    HWNAS_RETURN_IF_ERROR(CheckAddress(what, address, min_port, &here));
    *loopback = *loopback && here;
  }
  return absl::OkStatus();
}

std::vector<std::string> LookUp(const std::string& address) {
  const size_t colon = address.rfind(':');
  absl::string_view host = absl::string_view(address).substr(0, colon);
  if (absl::ConsumePrefix(&host, "[")) absl::ConsumeSuffix(&host, "]");
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(std::string(host).c_str(), nullptr, &hints, &found) != 0) {
    return {};
  }
  const absl::Cleanup free_found = [found] { freeaddrinfo(found); };
  std::vector<std::string> numeric;
  for (const addrinfo* it = found; it != nullptr; it = it->ai_next) {
    char name[NI_MAXHOST] = {};
    if (getnameinfo(it->ai_addr, it->ai_addrlen, name, sizeof(name), nullptr, 0,
                    NI_NUMERICHOST) != 0) {
      continue;
    }
    const std::string port = address.substr(colon);
    numeric.push_back(it->ai_family == AF_INET6
                          ? absl::StrCat("[", name, "]", port)
                          : absl::StrCat(name, port));
  }
  return numeric;
}

}  // namespace hwnas
