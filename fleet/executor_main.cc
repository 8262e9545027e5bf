#include "fleet/executor_main.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <optional>
#include <thread>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/clock.h"
#include "common/files.h"
#include "common/metrics_server.h"
#include "common/status_macros.h"
#include "common/version.h"
#include "fleet/channel.h"
#include "fleet/host_environment.h"
#include "fleet/service_manager.h"
#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "security/credentials.h"
#include "security/enrolment.h"
#include "security/identity.h"

namespace hwnas::fleet {
namespace {

constexpr int kMaxExecutorsPerHost = 256;
// A client that has not come round for so long hangs: the service manager is no
// longer told that we live, and restarts us.
constexpr absl::Duration kMaxSilence = absl::Minutes(2);

// Who we are, and the proof that no other process on this machine is it: a lock
// on the spool that the kernel frees when the process dies.
struct Identity {
  std::string id;
  std::string spool_dir;
  int lock_fd = -1;
};

// ALREADY_EXISTS if another process holds the spool.
absl::StatusOr<int> LockSpool(const std::string& spool_dir) {
  HWNAS_RETURN_IF_ERROR(MakeDirectories(spool_dir));
  const std::string path = absl::StrCat(spool_dir, "/lock");
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return absl::ErrnoToStatus(errno, absl::StrCat("open ", path));
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    close(fd);
    if (error == EWOULDBLOCK) {
      return absl::AlreadyExistsError(
          absl::StrCat("another process uses the spool ", spool_dir,
                       ": give each one its own --id and --spool_dir"));
    }
    return absl::ErrnoToStatus(error, absl::StrCat("lock ", path));
  }
  return fd;
}

// What our certificate lets us call ourselves, before a number; empty if that
// is one name and not a group's.
std::string BaseOfId(const ExecutorOptions& options,
                     const std::optional<security::Identity>& certified,
                     const HostEnvironment& host) {
  if (!certified) {
    return absl::StrCat(options.kind == v1::AGENT ? "agent-" : "worker-",
                        host.HostLabel());
  }
  absl::string_view name = certified->name;
  if (!absl::ConsumeSuffix(&name, "*")) return "";
  return absl::StrCat(name, host.HostLabel());
}

absl::StatusOr<Identity> TakeIdentity(
    const ExecutorOptions& options,
    const std::optional<security::Identity>& certified,
    const HostEnvironment& host) {
  const std::string base = BaseOfId(options, certified, host);
  const std::string id =
      options.id.empty() && base.empty() ? certified->name : options.id;
  if (certified && !id.empty() && !security::Covers(*certified, id)) {
    return absl::InvalidArgumentError(
        absl::StrCat("id \"", id, "\" is not that of the certificate in ",
                     options.tls_dir, ", which is of ", ToText(*certified)));
  }
  if (!id.empty()) {
    if (!IsExecutorId(id)) {
      return absl::InvalidArgumentError(
          absl::StrCat("id \"", id,
                       "\" is not allowed: expected 1 to 63 of a-z, 0-9 and "
                       "-, for example pi-7"));
    }
    Identity identity = {.id = id, .spool_dir = options.spool_dir};
    if (identity.spool_dir.empty()) {
      identity.spool_dir = absl::StrCat(StateFolder(), "/", identity.id);
    }
    HWNAS_ASSIGN_OR_RETURN(identity.lock_fd, LockSpool(identity.spool_dir));
    return identity;
  }
  // Ids are claimed in the common state folder also when the spool is
  // elsewhere.
  for (int i = 1; i <= kMaxExecutorsPerHost; ++i) {
    Identity identity = {.id = i == 1 ? base : absl::StrCat(base, "-", i)};
    identity.spool_dir = absl::StrCat(StateFolder(), "/", identity.id);
    absl::StatusOr<int> fd = LockSpool(identity.spool_dir);
    if (absl::IsAlreadyExists(fd.status())) continue;
    if (!fd.ok()) return fd.status();
    identity.lock_fd = *fd;
    if (!options.spool_dir.empty()) {
      identity.spool_dir = options.spool_dir;
      // Held until the process ends, like the first.
      HWNAS_RETURN_IF_ERROR(LockSpool(options.spool_dir).status());
    }
    return identity;
  }
  return absl::ResourceExhaustedError(
      absl::StrCat("all ", kMaxExecutorsPerHost, " default ids ", base,
                   "-N are taken on this machine: give an --id"));
}

// Copies the client's counters to the registry; one thread.
class ClientMetrics {
 public:
  ClientMetrics(prometheus::Registry& registry, const std::string& kind)
      : kind_({{"kind", kind}}),
        connected_(Gauge(registry, "hwnas_executor_connected",
                         "1 while the controller has welcomed us.")),
        running_(Gauge(registry, "hwnas_executor_running_tasks",
                       "Tasks being worked on.")),
        spooled_(Gauge(registry, "hwnas_executor_spooled_results",
                       "Results without acknowledgement.")),
        finished_(Counter(registry, "hwnas_executor_tasks_finished_total",
                          "Tasks that succeeded.")),
        failed_(Counter(registry, "hwnas_executor_tasks_failed_total",
                        "Tasks that failed.")),
        reconnects_(Counter(registry, "hwnas_executor_reconnects_total",
                            "Sessions after the first.")) {}

  void Update(const FleetClient::Stats& stats) {
    connected_.Set(stats.connected ? 1 : 0);
    running_.Set(stats.running_tasks);
    spooled_.Set(static_cast<double>(stats.spooled_results));
    const auto raise = [](prometheus::Counter& counter, int64_t total) {
      counter.Increment(static_cast<double>(total) - counter.Value());
    };
    raise(finished_, stats.finished_tasks);
    raise(failed_, stats.failed_tasks);
    raise(reconnects_, stats.reconnects);
  }

 private:
  prometheus::Gauge& Gauge(prometheus::Registry& registry, const char* name,
                           const char* help) {
    return prometheus::BuildGauge()
        .Name(name)
        .Help(help)
        .Register(registry)
        .Add(kind_);
  }
  prometheus::Counter& Counter(prometheus::Registry& registry, const char* name,
                               const char* help) {
    return prometheus::BuildCounter()
        .Name(name)
        .Help(help)
        .Register(registry)
        .Add(kind_);
  }

  const prometheus::Labels kind_;
  prometheus::Gauge &connected_, &running_, &spooled_;
  prometheus::Counter &finished_, &failed_, &reconnects_;
};

std::string Describe(const ExecutorOptions& options,
                     const FleetClient::Stats& stats) {
  return absl::StrCat(stats.connected ? "connected to " : "dialling ",
                      options.controller, ", ", stats.running_tasks,
                      " running, ", stats.finished_tasks, " finished, ",
                      stats.failed_tasks, " failed");
}

absl::Status Serve(const ExecutorOptions& options,
                   const TaskRunnerFactory& create_runner,
                   const sigset_t& signals, ServiceManager manager) {
  HWNAS_ASSIGN_OR_RETURN(const std::shared_ptr<Logger> logger,
                         CreateLogger(options.program, options.log_level));
  HWNAS_RETURN_IF_ERROR(CheckControllerAddress(
      options.controller, options.insecure || !options.tls_dir.empty()));
  if (options.slots < 1 || options.slots > 256) {
    return absl::InvalidArgumentError(
        absl::StrCat("slots is ", options.slots, ": expected 1 to 256"));
  }
  const HostEnvironment host;
  std::shared_ptr<grpc::ChannelCredentials> credentials;
  std::optional<security::Identity> certified;
  if (!options.tls_dir.empty()) {
    if (!options.enroll.empty()) {
      HWNAS_RETURN_IF_ERROR(
          security::EnrollIfNew(options.tls_dir, options.enroll));
    }
    HWNAS_ASSIGN_OR_RETURN(
        const security::Certificate own,
        security::ReadIdentity(options.tls_dir, Clock::Real()->Now()));
    certified = own.identity;
    HWNAS_ASSIGN_OR_RETURN(credentials,
                           security::ChannelCredentials(options.tls_dir));
  }
  HWNAS_ASSIGN_OR_RETURN(const Identity identity,
                         TakeIdentity(options, certified, host));

  auto registry = std::make_shared<prometheus::Registry>();
  std::unique_ptr<MetricsServer> metrics_server;
  if (!options.metrics.empty()) {
    HWNAS_ASSIGN_OR_RETURN(
        metrics_server,
        MetricsServer::Start(options.metrics, registry,
                             options.insecure || options.metrics_insecure));
  }
  ClientMetrics metrics(*registry,
                        options.kind == v1::AGENT ? "agent" : "worker");

  ExecutorContext context = {.id = identity.id,
                             .spool_dir = identity.spool_dir,
                             .logger = logger,
                             .registry = registry,
                             .environment = host.Read()};
  context.environment.set_threads(options.threads);
  HWNAS_ASSIGN_OR_RETURN(const std::unique_ptr<TaskRunner> runner,
                         create_runner(context));

  FleetClientOptions client_options;
  v1::Hello& hello = client_options.hello;
  hello.set_kind(options.kind);
  hello.set_executor_id(identity.id);
  const std::string host_id = host.HostId();
  hello.set_host_id(host_id);
  hello.set_slots(options.slots);
  hello.mutable_device_classes()->Assign(options.device_classes.begin(),
                                         options.device_classes.end());
  hello.mutable_runtimes()->Assign(options.runtimes.begin(),
                                   options.runtimes.end());
  hello.mutable_datasets()->Assign(options.datasets.begin(),
                                   options.datasets.end());
  hello.mutable_accelerators()->Assign(options.accelerators.begin(),
                                       options.accelerators.end());
  if (options.power) *hello.mutable_power() = *options.power;
  hello.mutable_capabilities()->Assign(options.capabilities.begin(),
                                       options.capabilities.end());
  hello.mutable_profiles()->Assign(options.profiles.begin(),
                                   options.profiles.end());
  *hello.mutable_environment() = context.environment;
  client_options.spool_dir = identity.spool_dir;
  client_options.drain_grace = options.drain_grace;
  if (options.kind == v1::AGENT) {
    client_options.read_environment = [&host] { return host.ReadState(); };
  }
  const std::shared_ptr<grpc::Channel> channel =
      DialController(options.controller, credentials);
  FleetClient client(std::move(client_options), channel, runner.get(),
                     Clock::Real(), logger);
  std::optional<security::Renewer> renewer;
  if (certified) {
    renewer.emplace(options.tls_dir, channel, Clock::Real(), logger);
  }
  logger->info(
      "event=started version={} id={} host_id={} controller={} slots={} "
      "spool={} metrics_port={}",
      kVersion, identity.id, host_id, options.controller, options.slots,
      identity.spool_dir, metrics_server ? metrics_server->port() : 0);

  absl::Status status;
  std::atomic<bool> done{false};
  std::thread serving([&] {
    status = client.Run();
    done = true;
    // Wakes the loop below.
    kill(getpid(), SIGALRM);
  });
  // Once for each reason; the next turn tries again.
  std::string not_told;
  const auto tell = [&](const absl::Status& status) {
    if (status.ok() || status.message() == not_told) return;
    not_told = std::string(status.message());
    logger->warn("event=not_told reason=\"{}\"", not_told);
  };
  bool draining = false;
  while (!done) {
    const FleetClient::Stats stats = client.stats();
    metrics.Update(stats);
    tell(manager.Ready());
    tell(manager.Describe(Describe(options, stats)));
    if (stats.silence < kMaxSilence) tell(manager.Alive());
    const timespec wait = {.tv_sec = 0, .tv_nsec = 500'000'000};
    const int signal = sigtimedwait(&signals, nullptr, &wait);
    if (signal != SIGTERM && signal != SIGINT) continue;
    if (draining) {
      logger->warn("event=killed signal={} what=\"second signal\"", signal);
      _exit(128 + signal);
    }
    draining = true;
    tell(manager.Stopping());
    client.Drain();
  }
  serving.join();
  logger->info("event=stopped code={}",
               absl::StatusCodeToString(status.code()));
  if (status.ok()) return status;
  // Not the options' fault.
  return absl::AbortedError(absl::StrCat("cannot serve ", options.controller,
                                         " as ", identity.id, ": ",
                                         status.message()));
}

}  // namespace

std::string StateFolder() {
  const auto get = [](const char* name) {
    const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
    return std::string(value == nullptr ? "" : value);
  };
  if (std::string dir = get("HWNAS_STATE_DIR"); !dir.empty()) return dir;
  if (std::string dir = get("XDG_STATE_HOME"); !dir.empty()) {
    return dir + "/hwnas";
  }
  if (std::string dir = get("HOME"); !dir.empty()) {
    return dir + "/.local/state/hwnas";
  }
  std::error_code error;
  const auto temporary = std::filesystem::temp_directory_path(error);
  return error ? "/tmp/hwnas" : (temporary / "hwnas").string();
}

int RunExecutor(const ExecutorOptions& options,
                const TaskRunnerFactory& create_runner) {
  ServiceManager manager = ServiceManager::FromEnvironment();
  signal(SIGPIPE, SIG_IGN);
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGALRM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  const absl::Status status =
      Serve(options, create_runner, signals, std::move(manager));
  if (status.ok()) return 0;
  std::cerr << options.program << ": " << status.message() << std::endl;
  return absl::IsInvalidArgument(status) || absl::IsFailedPrecondition(status)
             ? 2
             : 1;
}

}  // namespace hwnas::fleet
