// What sensors and the kernel print.
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "agent/device/interference.h"
#include "agent/device/power/line_meter.h"
#include "agent/device/power/raspberry_pi.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace hwnas::agent;  // NOLINT(build/namespaces)
  const std::string text(reinterpret_cast<const char*>(data), size);
  for (const auto& watts : {ParseWatts(text), ParsePmicWatts(text)}) {
    if (watts.ok() && !std::isfinite(*watts)) std::abort();
  }
  (void)ParseThrottled(text);
  (void)ParseCoreTimes(text);
  return 0;
}
