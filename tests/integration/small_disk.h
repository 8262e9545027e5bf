// A file system that can be filled.
#pragma once

#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

namespace hwnas {

// Some megabytes at `path`, gone with this object. Only root may have one.
class SmallDisk {
 public:
  explicit SmallDisk(const std::string& path) {
    std::filesystem::create_directories(path);
    if (mount("tmpfs", path.c_str(), "tmpfs", 0, "size=96m") == 0) path_ = path;
  }
  ~SmallDisk() {
    if (!path_.empty()) umount2(path_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  // What this process and its children mount from now on ends with them,
  // whatever becomes of them. Call it first in main().
  static void KeepMountsToOurselves() {
    if (geteuid() == 0 && unshare(CLONE_NEWNS) == 0) {
      (void)mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
    }
  }

  bool there() const { return !path_.empty(); }
  void Fill() {
    std::ofstream ballast(path_ + "/ballast", std::ios::binary);
    // The last bytes, too.
    for (const size_t size : {size_t{64} << 10, size_t{1}}) {
      ballast.clear();
      const std::string block(size, 'x');
      while (ballast.write(block.data(), static_cast<int64_t>(size)) &&
             ballast.flush()) {
      }
    }
  }
  void Free() { std::filesystem::remove(path_ + "/ballast"); }

 private:
  std::string path_;
};

}  // namespace hwnas
