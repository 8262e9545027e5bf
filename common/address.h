// Network addresses as people write them.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace hwnas {

// Checks "host:port" with a port of `min_port` to 65535; an IPv6 host stands in
// brackets. `what` names the setting in messages ("controller address").
// INVALID_ARGUMENT says what was given and what was expected. `*loopback` tells
// whether the host is this machine.
absl::Status CheckAddress(const std::string& what, const std::string& address,
                          int min_port, bool* loopback);

}  // namespace hwnas
