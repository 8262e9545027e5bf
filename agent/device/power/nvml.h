// Graphics cards through NVIDIA's management library, loaded at run time.
//
// Every card that this process sees is added: by its counter of energy where it
// has one (Volta and later), else by its power. Whatever goes wrong, from a
// library without a function to one card without a sensor, there is no source.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "agent/device/power/power_source.h"
#include "agent/measure/steady_clock.h"

namespace hwnas::agent {

inline constexpr char kNvmlLibrary[] = "libnvidia-ml.so.1";

// NOT_FOUND if the library cannot be loaded or there is no card, UNAVAILABLE if
// a card tells no power. `clock` must outlive the source.
absl::StatusOr<std::unique_ptr<PowerSource>> FindNvml(
    SteadyClock* clock, const std::string& library = kNvmlLibrary);

}  // namespace hwnas::agent
