// The power monitors on NVIDIA Jetson boards: an INA3221 with three rails, one
// or two of them, and on Thor an INA238 at the input.
//
//   JetPack 4   /sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/
//                 rail_name_0          POM_5V_IN
//                 in_voltage0_input    5008      (mV)
//                 in_current0_input    624       (mA)
//   JetPack 5+  /sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/
//                 in1_label            VDD_IN
//                 in1_input            5080      (mV)
//                 curr1_input          1016      (mA)
//   INA238      /sys/bus/i2c/drivers/ina238/2-0044/hwmon/hwmon5/
//                 power1_input         23400000  (uW)
//
// A rail that carries the whole module or board (VDD_IN, POM_5V_IN, VIN, the
// INA238) is taken alone. Boards without one (AGX Orin, AGX Xavier) get the sum
// of their rails, without rails that another of them feeds.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "agent/device/power/power_source.h"
#include "agent/measure/steady_clock.h"

namespace hwnas::agent {

// NOT_FOUND if there is no monitor with a rail in use. `clock` must outlive the
// source.
absl::StatusOr<std::unique_ptr<PowerSource>> FindJetson(const std::string& root,
                                                        SteadyClock* clock);

}  // namespace hwnas::agent
