// Files of journals, as `hwnas store export` writes them and `import` reads
// them. Each is read as it is, and once more with the digests of its studies
// put right, which no fuzzer would guess.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "common/digest.h"
#include "common/files.h"
#include "store/journal_file.h"

namespace hwnas {
namespace {

void Silent(const TransferProgress&) {}

// docs/store.md has the format.
std::string WithDigests(std::string file) {
  size_t at = file.find('\n');
  if (at == std::string::npos) return file;
  std::string digest;
  for (++at; file.size() - at >= 5;) {
    uint32_t size = 0;
    for (int i = 4; i >= 1; --i) {
      size = size << 8 | static_cast<unsigned char>(file[at + i]);
    }
    const char kind = file[at];
    at += 5;
    if (size > file.size() - at) break;
    const absl::string_view bytes = absl::string_view(file).substr(at, size);
    if (kind == 'S') digest = std::string(bytes);
    if (kind == 'E') digest = Sha256Hex(absl::StrCat(digest, bytes));
    if (kind == 'e' && size == digest.size()) file.replace(at, size, digest);
    at += size;
  }
  return file;
}

// In memory where that can be had: exports are synced.
struct Folder {
  Folder() {
    if (!std::filesystem::exists("/dev/shm")) {
      path = std::filesystem::temp_directory_path();
    }
    path += "/journal_file_fuzz_XXXXXX";
    if (mkdtemp(path.data()) == nullptr) std::abort();
  }
  ~Folder() { std::filesystem::remove_all(path); }

  std::string path = "/dev/shm";
};

void ImportInto(JournalStore& store, const std::string& path) {
  if (!ImportJournals(path, store, Silent).ok()) std::abort();
}

void Try(const std::string& text) {
  const int fd = memfd_create("journals", MFD_CLOEXEC);
  if (fd < 0) std::abort();
  const absl::Cleanup close_fd = [fd] { close(fd); };
  if (write(fd, text.data(), text.size()) !=
      static_cast<ssize_t>(text.size())) {
    std::abort();
  }
  const std::string path = absl::StrCat("/proc/self/fd/", fd);
  const auto store = CreateMemoryJournalStore();
  const bool good = ImportJournals(path, *store, Silent).ok();
  const auto studies = *store->ListStudies();
  if (!good) {
    if (!studies.empty()) std::abort();  // All or nothing.
    return;
  }
  ImportInto(*store, path);  // Once more changes nothing.
  // Out again and in again; what was written is written the same once more.
  static const Folder folder;
  const std::string out = folder.path + "/out", again = folder.path + "/again";
  const absl::Cleanup remove = [&] {
    unlink(out.c_str());
    unlink(again.c_str());
  };
  if (!ExportJournals(*store, studies, out, Silent).ok()) std::abort();
  const auto copy = CreateMemoryJournalStore();
  ImportInto(*copy, out);
  if (!ExportJournals(*copy, studies, again, Silent).ok()) std::abort();
  if (*ReadFile(out) != *ReadFile(again)) std::abort();
}

}  // namespace
}  // namespace hwnas

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  hwnas::Try(text);
  const std::string repaired = hwnas::WithDigests(text);
  if (repaired != text) hwnas::Try(repaired);
  return 0;
}
