#include "agent/device/power/energy_integrator.h"

#include <rapidcheck.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "agent/device/power/wrapping_counter.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hwnas::agent {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kInterval = absl::Milliseconds(10);
const absl::Duration kGap = kMaxGapIntervals * kInterval;

PowerReading Power(double seconds, double watts) {
  return {.time = absl::Seconds(seconds), .power_w = watts};
}

PowerReading Counter(double seconds, double joules, bool broken = false) {
  return {.time = absl::Seconds(seconds), .energy_j = joules, .broken = broken};
}

TimeWindow Window(double begin, double end) {
  return {absl::Seconds(begin), absl::Seconds(end)};
}

std::vector<PowerReading> Constant(double watts, double begin, double end) {
  std::vector<PowerReading> readings;
  for (double t = begin; t <= end; t += 0.01) {
    readings.push_back(Power(t, watts));
  }
  return readings;
}

TEST(IntegrateEnergy, OfAConstantPowerIsExactAtAnyPhase) {
  for (const double phase : {0.0, 0.0013, 0.005, 0.0099}) {
    const WindowEnergy energy =
        IntegrateEnergy(Constant(5, 0.9 + phase, 3.1), Window(1, 3), kGap);
    ASSERT_TRUE(energy.energy_mj) << energy.reason;
    EXPECT_NEAR(*energy.energy_mj, 10'000, 1e-6);
    EXPECT_NEAR(*energy.power_w, 5, 1e-9);
    EXPECT_DOUBLE_EQ(energy.coverage, 1);
    EXPECT_NEAR(energy.reading_count, 200, 1);
  }
}

TEST(IntegrateEnergy, InterpolatesARampAtBothEnds) {
  // 10 W a second, from 0 at 0 s; the window begins and ends between readings.
  std::vector<PowerReading> ramp;
  for (int i = 0; i <= 300; ++i) ramp.push_back(Power(i * 0.01, i * 0.1));
  const WindowEnergy energy =
      IntegrateEnergy(ramp, Window(1.0037, 2.0071), kGap);
  EXPECT_NEAR(*energy.energy_mj, 1000 * 5 * (2.0071 * 2.0071 - 1.0037 * 1.0037),
              1e-6);
}

TEST(IntegrateEnergy, SubtractsCounters) {
  std::vector<PowerReading> readings;
  for (int i = 0; i <= 100; ++i) readings.push_back(Counter(i * 0.1, 50 + i));
  // Readings 0.1 s apart: the window's ends lie in stretches that are too long
  // to be split, unless they may be.
  const WindowEnergy energy =
      IntegrateEnergy(readings, Window(1.05, 5.05), absl::Milliseconds(250));
  EXPECT_NEAR(*energy.energy_mj, 40'000, 1e-6);
  const WindowEnergy whole =
      IntegrateEnergy(readings, Window(1, 5), absl::Milliseconds(1));
  EXPECT_NEAR(*whole.energy_mj, 40'000, 1e-6);
  EXPECT_DOUBLE_EQ(whole.coverage, 1);
}

TEST(IntegrateEnergy, ACounterKnowsWhatALongPauseTook) {
  const WindowEnergy energy =
      IntegrateEnergy(std::vector{Counter(1, 0), Counter(1.01, 1),
                                  Counter(4, 300), Counter(5, 400)},
                      Window(1, 5), kGap);
  EXPECT_NEAR(*energy.energy_mj, 400'000, 1e-6);
}

TEST(IntegrateEnergy, ABrokenCounterLeavesAGap) {
  std::vector<PowerReading> readings;
  for (int i = 0; i <= 100; ++i) {
    readings.push_back(Counter(i * 0.01, i * 0.1, /*broken=*/i == 50));
  }
  WindowEnergy energy = IntegrateEnergy(readings, Window(0, 1), kGap);
  EXPECT_NEAR(energy.coverage, 0.99, 1e-9);
  EXPECT_NEAR(*energy.energy_mj, 10'000, 1e-6);
  // Nothing negative, whatever a counter does.
  readings[70].energy_j = 0.5;
  energy = IntegrateEnergy(readings, Window(0, 1), kGap);
  EXPECT_LT(energy.coverage, 0.99);
  EXPECT_GE(*energy.energy_mj, 0);
}

TEST(IntegrateEnergy, HasNoValueBelow95PercentAndSaysWhy) {
  std::vector<PowerReading> readings = Constant(5, 0, 1.005);
  // 40 ms without readings: 96 %.
  std::vector<PowerReading> few = readings;
  few.erase(few.begin() + 50, few.begin() + 53);
  WindowEnergy energy = IntegrateEnergy(few, Window(0, 1), kGap);
  EXPECT_NEAR(energy.coverage, 0.96, 1e-9);
  EXPECT_NEAR(*energy.energy_mj, 5000, 1e-6);
  // 60 ms: 94 %.
  few = readings;
  few.erase(few.begin() + 50, few.begin() + 55);
  energy = IntegrateEnergy(few, Window(0, 1), kGap);
  EXPECT_NEAR(energy.coverage, 0.94, 1e-9);
  EXPECT_FALSE(energy.energy_mj);
  EXPECT_FALSE(energy.power_w);
  EXPECT_EQ(energy.reason, "power readings cover 94.0 % of 1s: expected 95 %");
}

TEST(IntegrateEnergy, DoesNotReachBeyondTheReadings) {
  const WindowEnergy energy =
      IntegrateEnergy(Constant(5, 1.2, 2.5), Window(1, 2), kGap);
  EXPECT_NEAR(energy.coverage, 0.8, 1e-9);
  EXPECT_FALSE(energy.energy_mj);
  EXPECT_FALSE(IntegrateEnergy({}, Window(1, 2), kGap).energy_mj);
  EXPECT_THAT(IntegrateEnergy({}, Window(1, 2), kGap).reason,
              HasSubstr("0 power readings in 1s"));
  EXPECT_THAT(IntegrateEnergy({}, Window(2, 2), kGap).reason,
              HasSubstr("no time"));
  // One stretch around a whole window is no measurement of it.
  EXPECT_FALSE(IntegrateEnergy(std::vector{Power(0.99, 5), Power(1.01, 5)},
                               Window(0.995, 1.005), kGap)
                   .energy_mj);
}

TEST(IntegrateEnergy, LeavesOutWhatIsNoReading) {
  std::vector<PowerReading> readings = Constant(5, 0, 2.005);
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  readings[50].power_w = kNan;
  readings[60].power_w = kInfinity;
  readings[70].power_w = 1e9;
  readings[80].power_w = std::nullopt;
  readings[90].energy_j = 3;               // Both.
  readings[100].time = readings[10].time;  // Back in time.
  const WindowEnergy energy = IntegrateEnergy(readings, Window(0, 2), kGap);
  EXPECT_NEAR(*energy.energy_mj, 10'000, 1e-6);
  EXPECT_DOUBLE_EQ(energy.coverage, 1);  // Single losses leave no gap.
}

// A power over time whose integral is known: a constant, waves and a step.
struct Trace {
  double base_w = 5;
  struct Wave {
    double amplitude_w, hertz, phase;
  };
  std::vector<Wave> waves;
  double step_w = 0;
  double step_time = 0;

  double At(double t) const {
    double watts = base_w;
    for (const Wave& w : waves) {
      watts += w.amplitude_w *
               std::sin(2 * std::numbers::pi * w.hertz * t + w.phase);
    }
    return t < step_time ? watts : watts + step_w;
  }
  // From 0 to t.
  double Joules(double t) const {
    double joules = base_w * t;
    for (const Wave& w : waves) {
      const double angular = 2 * std::numbers::pi * w.hertz;
      joules += w.amplitude_w / angular *
                (std::cos(w.phase) - std::cos(angular * t + w.phase));
    }
    return joules + step_w * std::max(0.0, t - step_time);
  }
};

double Between(double low, double high) {
  return low + (high - low) * *rc::gen::inRange(0, 1'000'000) * 1e-6;
}

Trace AnyTrace() {
  Trace trace = {.base_w = Between(1, 300)};
  const int waves = *rc::gen::inRange(0, 4);
  for (int i = 0; i < waves; ++i) {
    trace.waves.push_back({.amplitude_w = trace.base_w * Between(0, 0.1),
                           .hertz = Between(0.05, 1.5),
                           .phase = Between(0, 2 * std::numbers::pi)});
  }
  trace.step_w = trace.base_w * Between(-0.2, 0.2);
  trace.step_time = Between(0, 12);
  return trace;
}

// Times of readings with a random phase, some jitter and single losses.
std::vector<double> AnyTimes() {
  std::vector<double> times;
  const double phase = Between(0, 0.01);
  bool lost = false;
  for (int i = 0; i < 1200; ++i) {
    lost = *rc::gen::inRange(0, 50) == 0 && i > 0 && !lost;
    if (lost) continue;
    times.push_back(phase + i * 0.01 + Between(0, 0.002));
  }
  return times;
}

TEST(IntegrateEnergyProperty, PowersComeBackWithinATenthOfAPercent) {
  EXPECT_TRUE(rc::check("powers", [] {
    const Trace trace = AnyTrace();
    std::vector<PowerReading> readings;
    for (const double t : AnyTimes()) readings.push_back(Power(t, trace.At(t)));
    const double begin = Between(0.1, 1), end = Between(6, 11.5);
    const WindowEnergy energy =
        IntegrateEnergy(readings, Window(begin, end), kGap);
    RC_ASSERT(energy.energy_mj.has_value());
    const double wanted = 1000 * (trace.Joules(end) - trace.Joules(begin));
    RC_ASSERT(std::abs(*energy.energy_mj - wanted) <= 1e-3 * wanted);
    RC_ASSERT(energy.coverage > 0.999);
  }));
}

TEST(IntegrateEnergyProperty, CountersComeBackThroughManyWraps) {
  EXPECT_TRUE(rc::check("counters", [] {
    const Trace trace = AnyTrace();
    // Of 15.3 microjoules, as processors count; begins again every few
    // readings.
    const double unit = 1.0 / 65536;
    const double range = trace.base_w * Between(0.06, 0.8);
    const double start = Between(0, range);
    WrappingCounter counter(range, 2 * trace.base_w);
    std::vector<PowerReading> readings;
    int wraps = 0;
    double before = 0;
    for (const double t : AnyTimes()) {
      const double counted =
          std::floor((start + trace.Joules(t)) / unit) * unit;
      const double raw = std::fmod(counted, range);
      if (raw < before) ++wraps;
      before = raw;
      const WrappingCounter::Total total = counter.Add(absl::Seconds(t), raw);
      readings.push_back(Counter(t, total.energy_j, total.broken));
    }
    RC_ASSERT(wraps >= 3);
    const double begin = Between(0.1, 1), end = Between(6, 11.5);
    const WindowEnergy energy =
        IntegrateEnergy(readings, Window(begin, end), kGap);
    RC_ASSERT(energy.energy_mj.has_value());
    const double wanted = 1000 * (trace.Joules(end) - trace.Joules(begin));
    RC_ASSERT(std::abs(*energy.energy_mj - wanted) <= 1e-3 * wanted);
  }));
}

TEST(IntegrateEnergyProperty, GarbageNeitherCrashesNorYieldsNonsense) {
  EXPECT_TRUE(rc::check("garbage", [] {
    std::vector<PowerReading> readings;
    const auto any = [] {
      constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
      const std::vector<double> values = {
          0, -1, 5, 1e300, -1e300, kNan, HUGE_VAL, Between(-10, 10)};
      return values[*rc::gen::inRange<size_t>(0, values.size())];
    };
    for (int i = 0; i < 60; ++i) {
      PowerReading reading = {.time = absl::Seconds(Between(-1, 3))};
      if (*rc::gen::arbitrary<bool>()) reading.power_w = any();
      if (*rc::gen::arbitrary<bool>()) reading.energy_j = any();
      reading.broken = *rc::gen::arbitrary<bool>();
      readings.push_back(reading);
    }
    const WindowEnergy energy = IntegrateEnergy(
        readings, Window(Between(-1, 1), Between(0, 3)), absl::Seconds(0.5));
    RC_ASSERT(energy.coverage >= 0 && energy.coverage <= 1 + 1e-9);
    RC_ASSERT(energy.energy_mj.has_value() == energy.reason.empty());
    if (energy.energy_mj) RC_ASSERT(std::isfinite(*energy.energy_mj));
  }));
}

TEST(WrappingCounter, GoesOnThroughWraps) {
  WrappingCounter counter(/*range_j=*/10, /*max_power_w=*/50);
  EXPECT_EQ(counter.longest_gap(), absl::Milliseconds(200));
  EXPECT_DOUBLE_EQ(counter.Add(absl::Seconds(0), 9).energy_j, 0);
  EXPECT_DOUBLE_EQ(counter.Add(absl::Seconds(0.1), 2).energy_j, 3);
  EXPECT_DOUBLE_EQ(counter.Add(absl::Seconds(0.2), 6).energy_j, 7);
  EXPECT_DOUBLE_EQ(counter.Add(absl::Seconds(0.3), 1).energy_j, 12);
}

TEST(WrappingCounter, SaysWhenItMayHaveMissedAWrap) {
  WrappingCounter counter(10, 50);
  counter.Add(absl::Seconds(0), 9);
  WrappingCounter::Total total = counter.Add(absl::Seconds(0.25), 9.5);
  EXPECT_TRUE(total.broken);
  EXPECT_DOUBLE_EQ(total.energy_j, 0);
  // Begun anew at 0: more than is possible in this time.
  counter.Add(absl::Seconds(0.26), 9.6);
  total = counter.Add(absl::Seconds(0.27), 7);
  EXPECT_TRUE(total.broken);
  total = counter.Add(absl::Seconds(0.28), 7.1);
  EXPECT_FALSE(total.broken);
  EXPECT_NEAR(total.energy_j, 0.2, 1e-9);
}

}  // namespace
}  // namespace hwnas::agent
