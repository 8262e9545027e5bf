#include "agent/sandbox/confinement.h"

#include <fcntl.h>
#include <glob.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
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
// A converter may write large models, a graphics driver open many files.
constexpr rlim_t kMaxCommandFileBytes = rlim_t{2} << 30;
constexpr rlim_t kMaxCommandOpenFiles = 4096;

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

// What the first version of Landlock knows, so that every kernel with it does
// the same.
constexpr uint64_t kReading =
    LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR;
constexpr uint64_t kExecuting = kReading | LANDLOCK_ACCESS_FS_EXECUTE;
constexpr uint64_t kDevices = kReading | LANDLOCK_ACCESS_FS_WRITE_FILE;
constexpr uint64_t kEverything =
    kExecuting | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |
    LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |
    LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |
    LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |
    LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM;
// Those that make sense for a file, not a folder.
constexpr uint64_t kOfFiles = LANDLOCK_ACCESS_FS_EXECUTE |
                              LANDLOCK_ACCESS_FS_WRITE_FILE |
                              LANDLOCK_ACCESS_FS_READ_FILE;

struct FileRule {
  std::string path;
  uint64_t access;
};

// Files may be used below the given paths only; those that do not exist are
// left out. False: the kernel cannot.
bool RestrictFiles(const std::vector<FileRule>& allowed) {
  landlock_ruleset_attr attributes = {};
  attributes.handled_access_fs = kEverything;
  const int rules = static_cast<int>(
      syscall(SYS_landlock_create_ruleset, &attributes, sizeof(attributes), 0));
  if (rules < 0) return false;
  bool done = true;
  for (const FileRule& rule : allowed) {
    const int fd = open(rule.path.c_str(), O_PATH | O_CLOEXEC);
    if (fd < 0) continue;
    struct stat what = {};
    fstat(fd, &what);
    landlock_path_beneath_attr beneath = {};
    beneath.allowed_access =
        S_ISDIR(what.st_mode) ? rule.access : rule.access & kOfFiles;
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
      absl::ErrnoToStatus(-result, absl::StrCat("seccomp: ", what)).message());
}

absl::Status HideClone3(void* filter) {
  const int clone3 = seccomp_syscall_resolve_name("clone3");
  return Filtered(seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(ENOSYS), clone3,
                                         0, nullptr),
                  "clone3");
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
  HWNAS_RETURN_IF_ERROR(HideClone3(filter.get()));
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

// Of both kinds. Adds what the system does not keep to `missing`.
absl::Status SetLimits(int64_t max_memory_bytes, absl::Duration max_cpu_time,
                       rlim_t max_file_bytes, rlim_t max_open_files,
                       std::vector<std::string>& missing) {
  const pid_t parent = getppid();
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent ||
      parent == 1) {
    return absl::UnavailableError("the agent is gone");
  }
  OfferToTheOomKiller();
  HWNAS_RETURN_IF_ERROR(Limit(RLIMIT_CORE, 0, "core dumps"));
  // Standard error may be a file: what is said there is lost, and no crash.
  signal(SIGXFSZ, SIG_IGN);
  HWNAS_RETURN_IF_ERROR(
      Limit(RLIMIT_FSIZE, max_file_bytes, "the size of files"));
  HWNAS_RETURN_IF_ERROR(Limit(RLIMIT_NOFILE, max_open_files, "open files"));
  if (max_memory_bytes > 0) {
    HWNAS_RETURN_IF_ERROR(
        Limit(RLIMIT_DATA, static_cast<rlim_t>(max_memory_bytes), "memory"));
    // An emulator takes the limit and does not keep it.
    rlimit kept;
    if (getrlimit(RLIMIT_DATA, &kept) != 0 ||
        kept.rlim_cur > static_cast<rlim_t>(max_memory_bytes)) {
      missing.push_back("a limit on memory");
    }
  }
  if (max_cpu_time < absl::InfiniteDuration()) {
    HWNAS_RETURN_IF_ERROR(Limit(RLIMIT_CPU,
                                static_cast<rlim_t>(std::max<int64_t>(
                                    1, absl::ToInt64Seconds(max_cpu_time))),
                                "processor time"));
  }
  return absl::OkStatus();
}

// For good, also if root's. Adds what the system refuses to `missing`.
void GiveUpPrivileges(std::vector<std::string>& missing) {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    missing.push_back("no_new_privs");
  }
  for (int capability = 0; capability <= CAP_LAST_CAP; ++capability) {
    // Refused to those who have none.
    prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  }
  __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3,
                                     .pid = 0};
  __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
  if (syscall(SYS_capset, &header, none) != 0) {
    missing.push_back("giving up capabilities");
  }
}

// What a foreign program needs of the system, and nothing of its owner's.
std::vector<FileRule> CommandFiles(const CommandConfinementOptions& options) {
  std::vector<FileRule> files = {{options.folder, kEverything}};
  for (const std::string& path : options.reads) {
    files.push_back({path, kExecuting});
  }
  for (const char* path :
       {"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/opt",
        "/etc/alternatives", "/etc/ld.so.cache", "/etc/localtime",
        "/etc/nsswitch.conf", "/etc/nv_tegra_release", "/etc/passwd",
        "/etc/OpenCL", "/etc/vulkan"}) {
    files.push_back({path, kExecuting});
  }
  files.push_back({"/proc", kReading});
  files.push_back({"/sys", kReading});
  glob_t devices = {};
  for (const char* pattern :
       {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom",
        "/dev/nvidia*", "/dev/nvhost*", "/dev/nvmap", "/dev/nvgpu*", "/dev/dri",
        "/dev/kfd", "/dev/apex_*", "/dev/accel", "/dev/hailo*", "/dev/mali*",
        "/dev/dma_heap"}) {
    // Before a second thread exists. NOLINTNEXTLINE(concurrency-mt-unsafe)
    glob(pattern, devices.gl_pathc > 0 ? GLOB_APPEND : 0, nullptr, &devices);
  }
  for (size_t i = 0; i < devices.gl_pathc; ++i) {
    files.push_back({devices.gl_pathv[i], kDevices});
  }
  globfree(&devices);
  return files;
}

// What a program that computes has no need of. All else is allowed: which
// system calls a foreign tool makes is not known beforehand.
constexpr const char* kForbiddenToCommands[] = {
    // Connections.
    "socket", "connect", "bind", "listen", "accept", "accept4",
    "io_uring_setup", "io_uring_enter", "io_uring_register",
    // Other processes, and out of its group.
    "setsid", "setpgid", "ptrace", "process_vm_readv", "process_vm_writev",
    "process_madvise", "pidfd_open", "pidfd_getfd", "pidfd_send_signal",
    "rt_sigqueueinfo", "rt_tgsigqueueinfo", "kcmp",
    // The system.
    "mount", "umount2", "pivot_root", "chroot", "unshare", "setns",
    "open_by_handle_at", "move_mount", "fsopen", "open_tree", "mount_setattr",
    "init_module", "finit_module", "delete_module", "kexec_load",
    "kexec_file_load", "reboot", "swapon", "swapoff", "acct", "settimeofday",
    "clock_settime", "clock_adjtime", "adjtimex", "sethostname",
    "setdomainname", "iopl", "ioperm", "mknod", "mknodat", "quotactl", "bpf",
    "perf_event_open", "userfaultfd", "keyctl", "add_key", "request_key",
    "syslog", "vhangup"};

absl::Status ForbidToCommand() {
  const Filter filter(seccomp_init(SCMP_ACT_ALLOW));
  if (filter == nullptr) return absl::UnavailableError("seccomp: no filter");
  HWNAS_RETURN_IF_ERROR(
      Filtered(seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_SSB, 1), "SSB"));
  const auto forbid = [&](const char* name,
                          const std::vector<scmp_arg_cmp>& conditions = {}) {
    const int number = seccomp_syscall_resolve_name(name);
    if (number < 0) return absl::OkStatus();
    return Filtered(
        seccomp_rule_add_array(filter.get(), SCMP_ACT_ERRNO(EPERM), number,
                               static_cast<unsigned>(conditions.size()),
                               conditions.data()),
        name);
  };
  for (const char* name : kForbiddenToCommands) {
    HWNAS_RETURN_IF_ERROR(forbid(name));
  }
  // No namespaces, in which it would be mighty. The flags of clone3 are out of
  // sight; the C library falls back to clone.
  for (const scmp_datum_t flag :
       {CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC,
        CLONE_NEWUTS, CLONE_NEWCGROUP}) {
    HWNAS_RETURN_IF_ERROR(
        forbid("clone", {SCMP_A0(SCMP_CMP_MASKED_EQ, flag, flag)}));
  }
  HWNAS_RETURN_IF_ERROR(HideClone3(filter.get()));
  // The agent, its group, and everyone at once.
  constexpr scmp_datum_t kPid = 0xffffffff;
  const auto as_argument = [](pid_t pid) {
    return static_cast<scmp_datum_t>(static_cast<uint32_t>(pid));
  };
  const pid_t agent = getppid();
  for (const pid_t pid : {agent, -getpgid(agent), pid_t{-1}}) {
    HWNAS_RETURN_IF_ERROR(
        forbid("kill", {SCMP_A0(SCMP_CMP_MASKED_EQ, kPid, as_argument(pid))}));
  }
  HWNAS_RETURN_IF_ERROR(forbid(
      "tgkill", {SCMP_A0(SCMP_CMP_MASKED_EQ, kPid, as_argument(agent))}));
  HWNAS_RETURN_IF_ERROR(forbid("tkill"));
  // Keystrokes into the agent's terminal.
  HWNAS_RETURN_IF_ERROR(forbid(
      "ioctl", {SCMP_A1(SCMP_CMP_MASKED_EQ, kPid, scmp_datum_t{TIOCSTI})}));
  return Filtered(seccomp_load(filter.get()), "loading the filter");
}

}  // namespace

absl::StatusOr<std::string> ConfineThisProcess(
    const ConfinementOptions& options) {
  std::vector<std::string> missing;
  HWNAS_RETURN_IF_ERROR(SetLimits(options.max_memory_bytes,
                                  options.max_cpu_time, 0, kMaxOpenFiles,
                                  missing));
  GiveUpPrivileges(missing);
  if (!RestrictFiles({{"/proc", kReading}, {"/sys", kReading}})) {
    missing.push_back("Landlock");
  }
  if (const absl::Status status = RestrictSystemCalls(options); !status.ok()) {
    missing.push_back(std::string(status.message()));
  }
  return absl::StrJoin(missing, ", ");
}

absl::StatusOr<std::string> ConfineForCommand(
    const CommandConfinementOptions& options) {
  std::vector<std::string> missing;
  HWNAS_RETURN_IF_ERROR(SetLimits(options.max_memory_bytes,
                                  options.max_cpu_time, kMaxCommandFileBytes,
                                  kMaxCommandOpenFiles, missing));
  GiveUpPrivileges(missing);
  if (!RestrictFiles(CommandFiles(options))) missing.push_back("Landlock");
  if (const absl::Status status = ForbidToCommand(); !status.ok()) {
    missing.push_back(std::string(status.message()));
  }
  return absl::StrJoin(missing, ", ");
}

}  // namespace hwnas::agent
