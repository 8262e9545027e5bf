// Network addresses as people write them.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace hwnas {

// Checks "host:port" with a port of `min_port` to 65535; an IPv6 host stands in
// brackets. `what` names the setting in messages ("controller address").
// INVALID_ARGUMENT says what was given and what was expected. `*loopback` tells
// whether the host is this machine.
absl::Status CheckAddress(const std::string& what, const std::string& address,
                          int min_port, bool* loopback);

// The same for one or several of them, separated by commas, up to 16:
// "ctl-a:7420,ctl-b:7420". `*loopback`: all of them are this machine.
absl::Status CheckAddresses(const std::string& what,
                            const std::string& addresses, int min_port,
                            bool* loopback);

// "10.0.0.5:7420" of "ctl-a:7420", all that the name stands for, by asking the
// system now; IPv6 in brackets. Empty if the name is unknown. `address` has
// been checked. May block for seconds.
std::vector<std::string> LookUp(const std::string& address);

}  // namespace hwnas
