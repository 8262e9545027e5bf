#include "fleet/emulation.h"

#include <elf.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hwnas::fleet {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class EmulationTest : public ::testing::Test {
 protected:
  EmulationTest()
      : root_(::testing::TempDir() + "/emulation." + std::to_string(getpid())) {
    std::filesystem::remove_all(root_);
  }
  ~EmulationTest() override { std::filesystem::remove_all(root_); }

  void Write(const std::string& path, const std::string& contents) {
    const std::filesystem::path file = root_ + path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << contents;
  }

  // Our own program, as if made for another machine.
  static std::string Program(std::optional<uint16_t> machine = {}) {
    std::ifstream file("/proc/self/exe", std::ios::binary);
    std::string header(64, '\0');
    file.read(header.data(), static_cast<std::streamsize>(header.size()));
    if (machine) {
      memcpy(header.data() + offsetof(Elf64_Ehdr, e_machine), &*machine,
             sizeof(*machine));
    }
    return header;
  }

  const std::string root_;
};

TEST_F(EmulationTest, NothingToldMeansARealProcessor) {
  EXPECT_EQ(WhyEmulated(root_), "");
}

TEST_F(EmulationTest, TheKernelRunsThisProgramItself) {
  Write("/proc/thread-self/exe", Program());
  EXPECT_EQ(WhyEmulated(root_), "");
}

TEST_F(EmulationTest, TheKernelRunsAProgramOfAnotherMachine) {
  Write("/proc/thread-self/exe", Program(EM_S390));
  EXPECT_THAT(WhyEmulated(root_), HasSubstr("an emulator runs this program"));
}

TEST_F(EmulationTest, IgnoresWhatIsNoProgram) {
  Write("/proc/thread-self/exe", "");
  EXPECT_EQ(WhyEmulated(root_), "");
  Write("/proc/thread-self/exe", "#!/bin/sh\nexec something else\n");
  EXPECT_EQ(WhyEmulated(root_), "");
}

TEST_F(EmulationTest, KnowsBoardsAndVirtualMachinesAsReal) {
  // Raspberry Pi 5, Jetson Orin.
  for (const char* part : {"0xd0b", "0xd42"}) {
    Write("/proc/cpuinfo",
          std::string("processor\t: 0\nCPU implementer\t: 0x41\n"
                      "CPU architecture: 8\nCPU part\t: ") +
              part + "\n");
    EXPECT_EQ(WhyEmulated(root_), "");
  }
  // KVM shows this one too.
  for (const char* model : {"QEMU Virtual CPU version 2.5+", "AMD EPYC-Milan",
                            "Intel Xeon Processor (Skylake)"}) {
    Write("/proc/cpuinfo", std::string("vendor_id\t: GenuineIntel\n"
                                       "model name\t: ") +
                               model + "\nflags\t: hypervisor\n");
    EXPECT_EQ(WhyEmulated(root_), "");
  }
}

TEST_F(EmulationTest, KnowsProcessorsThatAdmitIt) {
  Write("/proc/cpuinfo",
        "processor\t: 0\nCPU implementer\t: 0x00\nCPU part\t: 0x051\n");
  EXPECT_THAT(WhyEmulated(root_), HasSubstr("CPU implementer 0x00"));
  Write("/proc/cpuinfo",
        "vendor_id\t: AuthenticAMD\nmodel name\t: QEMU TCG CPU version 2.5+\n");
  EXPECT_THAT(WhyEmulated(root_), HasSubstr("QEMU TCG CPU"));
  Write("/proc/cpuinfo", "vendor_id\t: VirtualApple\n");
  EXPECT_THAT(WhyEmulated(root_), HasSubstr("VirtualApple"));
}

TEST(OwnCommand, IsThisProgramOnARealProcessor) {
  if (!WhyEmulated().empty()) GTEST_SKIP() << WhyEmulated();
  EXPECT_THAT(OwnCommand(), ElementsAre("/proc/self/exe"));
}

}  // namespace
}  // namespace hwnas::fleet
