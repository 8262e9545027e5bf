#include "cli/supervisor.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "cli/diagnostic.h"
#include "common/child_process.h"
#include "common/status_macros.h"

namespace hwnas::cli {
namespace {

std::string DescribeEnd(int wait_status) {
  if (WIFEXITED(wait_status)) {
    return absl::StrCat("exit code ", WEXITSTATUS(wait_status));
  }
  if (WIFSIGNALED(wait_status)) {
    return absl::StrCat("signal ", WTERMSIG(wait_status), " (",
                        SignalName(WTERMSIG(wait_status)), ")");
  }
  return absl::StrCat("status ", wait_status);
}

}  // namespace

std::string LastLines(const std::string& path, int count) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return "";
  absl::Cleanup close_fd = [fd] { close(fd); };
  const off_t size = lseek(fd, 0, SEEK_END);
  const off_t from = std::max<off_t>(0, size - 16384);
  std::string text(static_cast<size_t>(size - from), '\0');
  const ssize_t n = pread(fd, text.data(), text.size(), from);
  text.resize(n > 0 ? static_cast<size_t>(n) : 0);
  std::vector<std::string> lines =
      absl::StrSplit(text, '\n', absl::SkipWhitespace());
  std::string out;
  const int skip = std::max<int>(0, static_cast<int>(lines.size()) - count);
  for (size_t i = static_cast<size_t>(skip); i < lines.size(); ++i) {
    absl::StrAppend(&out, "    ", Printable(lines[i], 500), "\n");
  }
  return out;
}

Supervisor::Supervisor(SupervisorOptions options, const Clock* clock)
    : options_(options), clock_(*clock) {}

Supervisor::~Supervisor() {
  for (auto& [name, child] : children_) {
    if (child.pid <= 0) continue;
    kill(child.pid, SIGKILL);
    waitpid(child.pid, nullptr, 0);
  }
}

absl::Status Supervisor::Start(ChildSpec spec) {
  Child child;
  child.spec = std::move(spec);
  HWNAS_RETURN_IF_ERROR(Spawn(child));
  const std::string name = child.spec.name;
  children_[name] = std::move(child);
  return absl::OkStatus();
}

absl::Status Supervisor::Spawn(Child& child) {
  // Everything that allocates comes before fork: other threads may hold the
  // allocator's lock.
  const std::vector<std::string> command = child.spec.command();
  std::vector<char*> argv;
  for (const std::string& word : command) {
    argv.push_back(const_cast<char*>(word.c_str()));
  }
  argv.push_back(nullptr);
  if (access(argv[0], X_OK) != 0) {
    return absl::ErrnoToStatus(
        errno, absl::StrCat("cannot run ", command[0],
                            ", which is expected beside the hwnas program: "
                            "build or install it"));
  }
  const int log = open(child.spec.log_file.c_str(),
                       O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (log < 0) {
    return absl::ErrnoToStatus(
        errno, absl::StrCat("open the log ", child.spec.log_file));
  }
  const int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) {
    // Only async-signal-safe calls from here on.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127);  // It died before prctl.
    setpgid(0, 0);  // Ctrl-C is for the parent, which ends children in order.
    sigset_t none;
    sigemptyset(&none);
    // The child has one thread. NOLINTNEXTLINE(concurrency-mt-unsafe)
    sigprocmask(SIG_SETMASK, &none, nullptr);
    for (int s : {SIGINT, SIGTERM, SIGPIPE, SIGHUP}) signal(s, SIG_DFL);
    dup2(null, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    execv(argv[0], argv.data());
    _exit(127);
  }
  const int error = errno;
  close(log);
  if (null >= 0) close(null);
  if (pid < 0) {
    return absl::ErrnoToStatus(error, absl::StrCat("start ", command[0]));
  }
  child.pid = pid;
  child.started = clock_.Now();
  child.restart_at = absl::InfiniteFuture();
  return absl::OkStatus();
}

absl::Status Supervisor::Poll(std::vector<std::string>* notes) {
  const absl::Time now = clock_.Now();
  for (auto& [name, child] : children_) {
    if (child.pid > 0) {
      int status = 0;
      if (waitpid(child.pid, &status, WNOHANG) != child.pid) continue;
      child.pid = -1;
      child.last_end = DescribeEnd(status);
      if (now - child.started >= options_.healthy_after) child.fast_deaths = 0;
      ++child.fast_deaths;
      if (child.fast_deaths >= options_.max_fast_deaths) {
        return absl::InternalError(absl::StrCat(
            "the ", name, " ended ", child.fast_deaths,
            " times soon after its start, last with ", child.last_end,
            ". The end of its log, ", child.spec.log_file, ":\n",
            LastLines(child.spec.log_file, 10)));
      }
      absl::Duration pause = options_.min_backoff;
      for (int i = 1; i < child.fast_deaths; ++i) pause *= 2;
      pause = std::min(pause, options_.max_backoff);
      child.restart_at = now + pause;
      notes->push_back(absl::StrCat("the ", name, " ended with ",
                                    child.last_end, "; starting it again in ",
                                    absl::FormatDuration(pause)));
    }
    if (child.pid < 0 && now >= child.restart_at) {
      HWNAS_RETURN_IF_ERROR(Spawn(child));
    }
  }
  return absl::OkStatus();
}

void Supervisor::Stop(const std::vector<std::string>& names,
                      const std::function<bool()>& hurry) {
  for (const std::string& name : names) {
    const auto found = children_.find(name);
    if (found == children_.end()) continue;
    found->second.restart_at = absl::InfiniteFuture();
    if (found->second.pid > 0) kill(found->second.pid, SIGTERM);
  }
  const absl::Time deadline = clock_.Now() + options_.stop_grace;
  for (const std::string& name : names) {
    const auto found = children_.find(name);
    if (found == children_.end() || found->second.pid <= 0) continue;
    const pid_t pid = found->second.pid;
    while (waitpid(pid, nullptr, WNOHANG) == 0) {
      if (hurry() || clock_.Now() >= deadline) {
        kill(pid, SIGKILL);
        waitpid(pid, nullptr, 0);
        break;
      }
      usleep(10'000);
    }
    found->second.pid = -1;
  }
}

pid_t Supervisor::pid(const std::string& name) const {
  const auto found = children_.find(name);
  return found == children_.end() ? -1 : found->second.pid;
}

}  // namespace hwnas::cli
