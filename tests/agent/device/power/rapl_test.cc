#include "agent/device/power/rapl.h"

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <memory>

#include "agent/device/power/energy_integrator.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/agent/device/power/fake_root.h"
#include "tests/fakes/fake_runtime.h"

namespace hwnas::agent {
namespace {

using ::testing::HasSubstr;

class RaplTest : public ::testing::Test {
 protected:
  void WriteZone(const std::string& zone, const std::string& name,
                 int64_t energy_uj, int64_t range_uj = 262143328850) {
    const std::string folder = "/sys/class/powercap/" + zone;
    root_.Write(folder + "/name", name + "\n");
    root_.Write(folder + "/max_energy_range_uj",
                std::to_string(range_uj) + "\n");
    WriteEnergy(zone, energy_uj);
  }
  void WriteEnergy(const std::string& zone, int64_t energy_uj) {
    root_.Write("/sys/class/powercap/" + zone + "/energy_uj",
                std::to_string(energy_uj) + "\n");
  }
  std::unique_ptr<PowerSource> Find() {
    auto source = FindRapl(root_.path(), &clock_);
    EXPECT_TRUE(source.ok()) << source.status();
    return source.ok() ? *std::move(source) : nullptr;
  }
  // Joules counted since the last call, after a tenth of a second.
  double Step(PowerSource& source) {
    clock_.Advance(absl::Milliseconds(100));
    const auto reading = source.Read();
    EXPECT_TRUE(reading.ok()) << reading.status();
    EXPECT_FALSE(reading->broken);
    EXPECT_EQ(reading->time, clock_.Now());
    const double step = *reading->energy_j - last_j_;
    last_j_ = *reading->energy_j;
    return step;
  }

  FakeRoot root_;
  FakeSteadyClock clock_;
  double last_j_ = 0;
};

TEST_F(RaplTest, AddsPackagesButNotTheirParts) {
  // As on a server with two processors; core and uncore are in the package.
  WriteZone("intel-rapl:0", "package-0", 1'000'000);
  WriteZone("intel-rapl:0:0", "core", 500'000);
  WriteZone("intel-rapl:0:1", "uncore", 100'000);
  WriteZone("intel-rapl:1", "package-1", 2'000'000);
  WriteZone("intel-rapl:1:0", "core", 700'000);
  // The same package again, by another way; and all together.
  WriteZone("intel-rapl-mmio:0", "package-0", 1'000'000);
  WriteZone("intel-rapl:2", "psys", 9'000'000);
  root_.Write("/sys/class/powercap/intel-rapl/enabled", "1\n");
  root_.Write("/sys/class/powercap/dtpm/name", "dtpm\n");
  const auto source = Find();
  ASSERT_NE(source, nullptr);
  EXPECT_EQ(source->info().name, "rapl");
  EXPECT_EQ(source->info().includes, "processor: package-0, package-1");
  Step(*source);
  WriteEnergy("intel-rapl:0", 2'500'000);
  WriteEnergy("intel-rapl:0:0", 1'900'000);
  WriteEnergy("intel-rapl:1", 2'250'000);
  WriteEnergy("intel-rapl-mmio:0", 2'500'000);
  WriteEnergy("intel-rapl:2", 19'000'000);
  EXPECT_NEAR(Step(*source), 1.75, 1e-9);
}

TEST_F(RaplTest, AddsMemoryWhichIsApartFromThePackage) {
  WriteZone("intel-rapl:0", "package-0", 0);
  WriteZone("intel-rapl:0:0", "dram", 0, 65712999613);
  const auto source = Find();
  EXPECT_EQ(source->info().includes,
            "processor: package-0, memory of package-0");
  Step(*source);
  WriteEnergy("intel-rapl:0", 1'000'000);
  WriteEnergy("intel-rapl:0:0", 300'000);
  EXPECT_NEAR(Step(*source), 1.3, 1e-9);
}

TEST_F(RaplTest, TakesTheOtherZonesWhereThereIsNoPackage) {
  WriteZone("intel-rapl-mmio:0", "package-0", 0);
  EXPECT_EQ(Find()->info().includes, "processor: package-0");
  root_.Remove("/sys/class/powercap/intel-rapl-mmio:0");
  WriteZone("intel-rapl:0", "psys", 0);
  EXPECT_EQ(Find()->info().includes, "processor: whole platform");
}

TEST_F(RaplTest, EachZoneWrapsAtItsOwnRange) {
  WriteZone("intel-rapl:0", "package-0", 262143000000);
  WriteZone("intel-rapl:0:0", "dram", 65712000000, 65712999613);
  const auto source = Find();
  Step(*source);
  WriteEnergy("intel-rapl:0", 1'000'000);
  WriteEnergy("intel-rapl:0:0", 500'387);
  EXPECT_NEAR(Step(*source), 1.328850 + 1.5, 1e-9);
}

TEST_F(RaplTest, ComesBackExactlyThroughManyWrapsInAWindow) {
  // A counter of 2 J, and 20 W: it wraps ten times a second.
  WriteZone("intel-rapl:0", "package-0", 0, 2'000'000);
  root_.Write("/sys/class/powercap/intel-rapl:0/constraint_0_name",
              "long_term\n");
  root_.Write("/sys/class/powercap/intel-rapl:0/constraint_0_power_limit_uw",
              "15000000\n");
  const auto source = Find();
  // Twice the limit; a quarter of the time in which it could wrap.
  EXPECT_LE(source->info().interval, absl::Milliseconds(17));
  std::vector<PowerReading> readings;
  const absl::Duration begin = clock_.Now();
  int64_t wraps = 0;
  for (int i = 0; i < 200; ++i) {
    const double joules = 20 * absl::ToDoubleSeconds(clock_.Now() - begin);
    wraps = static_cast<int64_t>(joules / 2);
    WriteEnergy("intel-rapl:0",
                std::llround(std::fmod(joules, 2) * 1e6) % 2'000'000);
    readings.push_back(*source->Read());
    clock_.Advance(absl::Milliseconds(10));
  }
  EXPECT_GT(wraps, 10);
  const WindowEnergy energy = IntegrateEnergy(
      readings, {begin + absl::Milliseconds(153), begin + absl::Seconds(1.7)},
      absl::Milliseconds(25));
  ASSERT_TRUE(energy.energy_mj) << energy.reason;
  EXPECT_NEAR(*energy.energy_mj, 20 * 1547, 20);
  EXPECT_DOUBLE_EQ(energy.coverage, 1);
}

TEST_F(RaplTest, ALatePossiblyWrappedReadingIsNoValue) {
  WriteZone("intel-rapl:0", "package-0", 100, 2'000'000);
  const auto source = Find();
  ASSERT_TRUE(source->Read().ok());
  clock_.Advance(absl::Seconds(2));
  WriteEnergy("intel-rapl:0", 50);
  const auto reading = source->Read();
  EXPECT_TRUE(reading->broken);
  EXPECT_GE(*reading->energy_j, 0);
}

TEST_F(RaplTest, SaysWhyItIsNotThere) {
  EXPECT_THAT(FindRapl(root_.path(), &clock_).status().message(),
              HasSubstr("no zone of a processor"));
  WriteZone("intel-rapl:0", "package-0", 1);
  root_.Write("/sys/class/powercap/intel-rapl:0/energy_uj", "much\n");
  EXPECT_THAT(FindRapl(root_.path(), &clock_).status().message(),
              HasSubstr("says \"much\": expected a whole number"));
  WriteZone("intel-rapl:0", "package-0", 1, 0);
  EXPECT_THAT(FindRapl(root_.path(), &clock_).status().message(),
              HasSubstr("max_energy_range_uj is 0"));
  if (geteuid() == 0) GTEST_SKIP() << "root may read everything";
  WriteZone("intel-rapl:0", "package-0", 1);
  std::filesystem::permissions(
      root_.path() + "/sys/class/powercap/intel-rapl:0/energy_uj",
      std::filesystem::perms::none);
  EXPECT_THAT(FindRapl(root_.path(), &clock_).status().message(),
              HasSubstr("may only be read by root"));
}

TEST_F(RaplTest, AReadingThatFailsDoesNotSpoilTheNext) {
  WriteZone("intel-rapl:0", "package-0", 0);
  const auto source = Find();
  Step(*source);
  root_.Write("/sys/class/powercap/intel-rapl:0/energy_uj", "");
  EXPECT_FALSE(source->Read().ok());
  WriteEnergy("intel-rapl:0", 800'000);
  EXPECT_NEAR(Step(*source), 0.8, 1e-9);
}

}  // namespace
}  // namespace hwnas::agent
