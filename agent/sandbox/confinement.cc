#include "agent/sandbox/confinement.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"

namespace hwnas::agent {
namespace {

constexpr rlim_t kMaxOpenFiles = 64;

absl::Status Limit(int resource, rlim_t value, const char* what) {
  rlimit limit;
  if (getrlimit(resource, &limit) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("limit on ", what));
  }
  limit.rlim_max = std::min(limit.rlim_max, value);
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(resource, &limit) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("limit on ", what));
  }
  return absl::OkStatus();
}

// Files may be read below /proc and /sys only. False: the kernel cannot.
bool RestrictFiles() {
  landlock_ruleset_attr attributes = {};
  // What the first version of Landlock knows, so that every kernel with it does
  // the same.
  attributes.handled_access_fs =
      LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_WRITE_FILE |
      LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR |
      LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |
      LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR |
      LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK |
      LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |
      LANDLOCK_ACCESS_FS_MAKE_SYM;
  const int rules = static_cast<int>(
      syscall(SYS_landlock_create_ruleset, &attributes, sizeof(attributes), 0));
  if (rules < 0) return false;
  bool done = true;
  for (const char* folder : {"/proc", "/sys"}) {
    const int fd = open(folder, O_PATH | O_CLOEXEC);
    if (fd < 0) continue;
    landlock_path_beneath_attr beneath = {};
    beneath.allowed_access =
        LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
    beneath.parent_fd = fd;
    done = syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH,
                   &beneath, 0) == 0 &&
           done;
    close(fd);
  }
  done = done && syscall(SYS_landlock_restrict_self, rules, 0) == 0;
  close(rules);
  return done;
}

// Null if this system has no seccomp.
struct ReleaseFilter {
  void operator()(void* filter) const { seccomp_release(filter); }
};
using Filter = std::unique_ptr<void, ReleaseFilter>;

// Those that ONNX Runtime, the C library and our own measuring use, whatever
// their arguments.
constexpr const char* kAllowed[] = {
    // Memory.
    "brk", "mmap", "mremap", "munmap", "mprotect", "madvise", "membarrier",
    "get_mempolicy", "mincore",
    // Threads.
    "futex", "set_robust_list", "rseq", "sched_yield", "sched_getaffinity",
    "sched_setaffinity", "getcpu", "gettid", "getpid", "set_tid_address",
    "arch_prctl", "restart_syscall", "exit", "exit_group", "tgkill",
    // Signals, such as that of abort().
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack",
    // Time.
    "clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep",
    "gettimeofday",
    // What is open is read; what may be opened and written is said below.
    "read", "readv", "pread64", "lseek", "close", "fstat", "newfstatat",
    "statx", "getdents64", "readlink", "readlinkat", "access", "faccessat",
    "faccessat2", "poll", "ppoll", "recvfrom",
    // About the machine and ourselves.
    "uname", "sysinfo", "getrusage", "getrandom", "getuid", "geteuid", "getgid",
    "getegid", "getppid"};

absl::Status Filtered(int result, absl::string_view what) {
  if (result == 0) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat("seccomp: ", what, ": ", strerror(-result)));
}

absl::Status RestrictSystemCalls(const ConfinementOptions& options) {
  const Filter filter(seccomp_init(SCMP_ACT_ERRNO(EPERM)));
  if (filter == nullptr) return absl::UnavailableError("seccomp: no filter");
  // A filter must not slow down what is timed: without this, kernels
  // before 5.16 turn speculative stores off for the process. Those before 4.17
  // cannot, and do not know the flag.
  if (const int result = seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_SSB, 1);
      result != -EOPNOTSUPP) {
    HWNAS_RETURN_IF_ERROR(Filtered(result, "SSB"));
  }
  const auto allow = [&](const char* name,
                         const std::vector<scmp_arg_cmp>& conditions = {}) {
    const int number = seccomp_syscall_resolve_name(name);
    // One that this architecture does not have.
    if (number < 0) return absl::OkStatus();
    return Filtered(
        seccomp_rule_add_array(filter.get(), SCMP_ACT_ALLOW, number,
                               static_cast<unsigned>(conditions.size()),
                               conditions.data()),
        name);
  };
  for (const char* name : kAllowed) HWNAS_RETURN_IF_ERROR(allow(name));
  // Writing.
  std::vector<int> writable = options.writable;
  writable.push_back(STDERR_FILENO);
  for (const int fd : writable) {
    const auto to = SCMP_A0(SCMP_CMP_EQ, static_cast<scmp_datum_t>(fd));
    HWNAS_RETURN_IF_ERROR(allow("write", {to}));
    HWNAS_RETURN_IF_ERROR(allow("writev", {to}));
  }
  HWNAS_RETURN_IF_ERROR(
      allow("sendto",
            {SCMP_A0(SCMP_CMP_EQ, static_cast<scmp_datum_t>(options.socket)),
             SCMP_A4(SCMP_CMP_EQ, 0)}));
  // Opening: to read.
  constexpr scmp_datum_t kWriting =
      O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND;
  HWNAS_RETURN_IF_ERROR(
      allow("open", {SCMP_A1(SCMP_CMP_MASKED_EQ, kWriting, 0)}));
  HWNAS_RETURN_IF_ERROR(
      allow("openat", {SCMP_A2(SCMP_CMP_MASKED_EQ, kWriting, 0)}));
  // Listing a folder asks for both.
  for (const int command : {F_GETFL, F_SETFD}) {
    HWNAS_RETURN_IF_ERROR(allow(
        "fcntl", {SCMP_A1(SCMP_CMP_EQ, static_cast<scmp_datum_t>(command))}));
  }
  // Threads, but no processes. The flags of clone3 are out of sight, so the C
  // library is told that there is none and falls back to clone.
  HWNAS_RETURN_IF_ERROR(allow(
      "clone", {SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD)}));
  const int clone3 = seccomp_syscall_resolve_name("clone3");
  HWNAS_RETURN_IF_ERROR(
      Filtered(seccomp_rule_add_array(filter.get(), SCMP_ACT_ERRNO(ENOSYS),
                                      clone3, 0, nullptr),
               "clone3"));
  // Limits are looked at, never changed.
  HWNAS_RETURN_IF_ERROR(allow("prlimit64", {SCMP_A2(SCMP_CMP_EQ, 0)}));
  HWNAS_RETURN_IF_ERROR(allow("getrlimit"));
  for (const int option : {PR_SET_NAME, PR_GET_NAME, PR_SET_VMA}) {
    HWNAS_RETURN_IF_ERROR(allow(
        "prctl", {SCMP_A0(SCMP_CMP_EQ, static_cast<scmp_datum_t>(option))}));
  }
  return Filtered(seccomp_load(filter.get()), "loading the filter");
}

// As the first one when memory runs short. Not vital.
void OfferToTheOomKiller() {
  const int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  [[maybe_unused]] const ssize_t written = write(fd, "1000", 4);
  close(fd);
}

}  // namespace

absl::StatusOr<std::string> ConfineThisProcess(
    const ConfinementOptions& options) {
  const pid_t parent = getppid();
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent ||
      parent == 1) {
    return absl::UnavailableError("the agent is gone");
  }
  std::vector<std::string> missing;
  OfferToTheOomKiller();
  HWNAS_RETURN_IF_ERROR(Limit(RLIMIT_CORE, 0, "core dumps"));
  // Standard error may be a file: what is said there is lost, and no crash.
  signal(SIGXFSZ, SIG_IGN);
  HWNAS_RETURN_IF_ERROR(Limit(RLIMIT_FSIZE, 0, "the size of files"));
  HWNAS_RETURN_IF_ERROR(Limit(RLIMIT_NOFILE, kMaxOpenFiles, "open files"));
  if (options.max_memory_bytes > 0) {
    HWNAS_RETURN_IF_ERROR(Limit(
        RLIMIT_DATA, static_cast<rlim_t>(options.max_memory_bytes), "memory"));
    // An emulator takes the limit and does not keep it.
    rlimit kept;
    if (getrlimit(RLIMIT_DATA, &kept) != 0 ||
        kept.rlim_cur > static_cast<rlim_t>(options.max_memory_bytes)) {
      missing.push_back("a limit on memory");
    }
  }
  if (options.max_cpu_time < absl::InfiniteDuration()) {
    HWNAS_RETURN_IF_ERROR(
        Limit(RLIMIT_CPU,
              static_cast<rlim_t>(std::max<int64_t>(
                  1, absl::ToInt64Seconds(options.max_cpu_time))),
              "processor time"));
  }
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    missing.push_back("no_new_privs");
  }
  if (!RestrictFiles()) missing.push_back("Landlock");
  if (const absl::Status status = RestrictSystemCalls(options); !status.ok()) {
    missing.push_back(std::string(status.message()));
  }
  return absl::StrJoin(missing, ", ");
}

}  // namespace hwnas::agent
