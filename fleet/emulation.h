// Tells whether the processor is a program: times taken on one say nothing
// about a device.
#pragma once

#include <string>
#include <vector>

namespace hwnas::fleet {

// Why the processor is taken for an emulated one, for people; empty if nothing
// tells so. Recognised are emulators of single programs, since what the kernel
// runs below us is then a program of another machine, and the processors that
// Rosetta and whole machines emulated by QEMU show. A virtual machine on real
// hardware is not emulated.
//
// Reads below `root` ("/" outside of tests). Thread-safe. Ask it before this
// process is confined: it reads more than /proc.
std::string WhyEmulated(const std::string& root = "/");

// The command that starts this very program again; arguments may follow. Under
// an emulator of single programs it begins with the emulator, because the
// kernel alone may not know what to do with a program of another machine.
std::vector<std::string> OwnCommand();

}  // namespace hwnas::fleet
