// hwnas-controller: runs studies and serves workers, agents and users.
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/flags/usage_config.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/mutex.h"
#include "common/log.h"
#include "common/version.h"
#include "controller/server.h"
#include "controller/study/history_check.h"
#include "proto/convert/resource_names.h"
#include "store/journal_store.h"
#include "store/store_folder.h"

ABSL_FLAG(std::string, listen, "127.0.0.1:7420",
          "Serve gRPC on host:port; port 0 takes a free one");
ABSL_FLAG(std::string, store, "",
          "Folder of the journal and the artifacts; created if missing. "
          "Required. Example: /var/lib/hwnas");
ABSL_FLAG(std::string, store_url_file, "",
          "File with the connection string of a PostgreSQL database that keeps "
          "the journals instead of the folder, for example "
          "postgresql://hwnas@db/hwnas. Several controllers may share it: one "
          "leads, the others stand by. Empty: $HWNAS_STORE_URL; empty too: "
          "SQLite in the folder");
ABSL_FLAG(bool, check, false,
          "Prove the histories of all studies in the store, print what was "
          "found, and exit: 0 if every promise holds, else 1. May run beside a "
          "controller");
ABSL_FLAG(double, max_artifacts_gib, 0,
          "Weights and checkpoints may take so much in the folder, in GiB; an "
          "upload that does not fit is refused and tried again. 0: as much as "
          "the disk has");
ABSL_FLAG(absl::Duration, leader_lease, absl::Seconds(4),
          "With PostgreSQL: a leader that has not been heard of for so long is "
          "replaced, one whose connection ended after half of it. 1s to 1m");
ABSL_FLAG(std::string, metrics, "127.0.0.1:9420",
          "Serve Prometheus metrics on host:port; port 0 takes a free one. "
          "Empty: do not");
ABSL_FLAG(std::string, health, "",
          "Serve grpc.health.v1 in the clear on host:port, for probes that "
          "cannot have a certificate: service '' while this controller leads, "
          "'live' while it runs. Empty: do not. Example: 0.0.0.0:7422");
ABSL_FLAG(std::string, port_file, "",
          "Once listening, write the addresses to this file as JSON");
ABSL_FLAG(std::string, log_level, "info",
          "trace, debug, info, warn, error or off");
ABSL_FLAG(bool, insecure, false,
          "Listen beyond this machine although connections are not encrypted");
ABSL_FLAG(
    bool, metrics_insecure, false,
    "Serve metrics beyond this machine although the page is not encrypted "
    "and asks nobody for a certificate; --insecure allows it as well");
ABSL_FLAG(std::string, tls_dir, "",
          "Folder made by 'hwnas ca init': callers need a certificate, and "
          "their role says what they may do. Empty: no TLS");
ABSL_FLAG(std::string, enroll, "",
          "With --tls_dir: let newcomers with a token get a certificate on "
          "host:port; port 0 takes a free one. Empty: do not. Example: "
          "0.0.0.0:7421");
ABSL_FLAG(absl::Duration, certificate_lifetime, absl::Hours(24 * 7),
          "Of the certificates that are signed here; their holders renew them "
          "when a third is left. 1m to 8760h");
ABSL_FLAG(std::string, audit_log, "",
          "Append who did what to this file. Empty: with --tls_dir to the log, "
          "else nowhere");
ABSL_FLAG(double, lease_seconds, 30,
          "How long a task stays with a worker or agent that is silent, 0.1 to "
          "86400 s");
ABSL_FLAG(std::string, tables_dir, "",
          "Folder of the benchmark tables that studies with `replay` may name. "
          "Empty: such studies are refused");

ABSL_FLAG(absl::Duration, anchor_interval, absl::Minutes(10),
          "How often each device measures the anchor, a network whose latency "
          "tells whether the device is still what it was; also after it came "
          "back. 0: never");
ABSL_FLAG(double, drift_limit, 0.05,
          "An anchor that differs by more than this share from the device's "
          "own latency is bad; two such take back what the device has measured "
          "since the last good one. More than 0, at most 1");
ABSL_FLAG(double, cross_check_share, 0.02,
          "Share of measured candidates that a second device of the class "
          "measures as well, to find a device that is unlike the others; 0 to "
          "1");
ABSL_FLAG(bool, speculate, true,
          "Give a training that takes far longer than others of its study to a "
          "second worker that has nothing to do; the first result counts");
ABSL_FLAG(int, user_quota, 0,
          "Measurements, and trainings, that one user may have running at "
          "once; 0: no limit");
ABSL_FLAG(int, max_user_studies, 1000,
          "Studies that have not ended that one user may have; 0: no limit");
ABSL_FLAG(std::vector<std::string>, user_quotas, {},
          "Other quotas for these users. Example: alice=4,bob=2");

namespace {

// "alice=4". INVALID_ARGUMENT names what is wrong.
absl::StatusOr<hwnas::controller::Quotas> QuotasFromFlags() {
  hwnas::controller::Quotas quotas;
  quotas.everybody = absl::GetFlag(FLAGS_user_quota);
  if (quotas.everybody < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--user_quota=", quotas.everybody,
                     " is out of range: expected 0 or more"));
  }
  for (const std::string& entry : absl::GetFlag(FLAGS_user_quotas)) {
    const std::pair<std::string, std::string> parts =
        absl::StrSplit(entry, absl::MaxSplits('=', 1));
    int quota = 0;
    if (parts.first.empty() || !absl::SimpleAtoi(parts.second, &quota) ||
        quota < 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("--user_quotas has \"", entry,
                       "\": expected USER=NUMBER, for example alice=4"));
    }
    if (const absl::Status user =
            hwnas::CheckUser("--user_quotas", parts.first);
        !user.ok()) {
      return user;
    }
    quotas.by_user[parts.first] = quota;
  }
  return quotas;
}

absl::StatusOr<hwnas::controller::DeviceCheckOptions> ChecksFromFlags() {
  hwnas::controller::DeviceCheckOptions checks;
  checks.anchor_interval = absl::GetFlag(FLAGS_anchor_interval);
  checks.drift_limit = absl::GetFlag(FLAGS_drift_limit);
  checks.cross_check_share = absl::GetFlag(FLAGS_cross_check_share);
  if (checks.anchor_interval < absl::ZeroDuration()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--anchor_interval=", absl::FormatDuration(checks.anchor_interval),
        " is out of range: expected 0 or more"));
  }
  if (!(checks.drift_limit > 0 && checks.drift_limit <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--drift_limit=", checks.drift_limit,
                     " is out of range: expected more than 0, at most 1"));
  }
  if (!(checks.cross_check_share >= 0 && checks.cross_check_share <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--cross_check_share=", checks.cross_check_share,
                     " is out of range: expected 0 to 1"));
  }
  return checks;
}

absl::Status CheckLeaderLease() {
  const absl::Duration lease = absl::GetFlag(FLAGS_leader_lease);
  if (lease >= absl::Seconds(1) && lease <= absl::Minutes(1)) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--leader_lease=", absl::FormatDuration(lease),
                   " is out of range: expected 1s to 1m"));
}

absl::Status CheckMaxArtifacts() {
  const double gib = absl::GetFlag(FLAGS_max_artifacts_gib);
  if (gib >= 0 && gib <= 1e6) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "--max_artifacts_gib=", gib, " is out of range: expected 0 to 1000000"));
}

// The exit code.
int CheckStore(const std::string& folder, const std::string& url) {
  const std::string path = hwnas::JournalPath(folder);
  if (url.empty() && !std::filesystem::exists(path)) {
    std::cerr << "hwnas-controller: no journal " << path << "\n";
    return 1;
  }
  const auto store = url.empty()
                         ? hwnas::OpenSqliteJournalStore({.path = path})
                         : hwnas::OpenPostgresJournalStore({.url = url});
  const auto studies = store.ok() ? (*store)->ListStudies() : store.status();
  if (!studies.ok()) {
    std::cerr << "hwnas-controller: " << studies.status().message() << "\n";
    return 1;
  }
  size_t violations = 0;
  for (const std::string& study : *studies) {
    const auto report = hwnas::controller::CheckHistory(**store, study);
    std::cout << study << ": events " << report.events << ", trials "
              << report.proposed << ", attempts " << report.attempts
              << ", expired " << report.expired_attempts << ", lost "
              << report.lost << ", repeated " << report.repeated
              << ", violations " << report.violations.size() << "\n";
    for (const std::string& violation : report.violations) {
      std::cout << "  " << violation << "\n";
    }
    violations += report.violations.size();
  }
  return violations == 0 ? 0 : 1;
}

// Each connection takes a descriptor, and the usual 1024 are few for a cluster,
// or for somebody who opens connections only to hold them.
void RaiseDescriptorLimit() {
  rlimit limit = {};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

constexpr char kUsage[] =
    "Runs searches and serves workers, agents and users.\n\n"
    "  hwnas-controller --store=/var/lib/hwnas\n"
    "  hwnas-controller --store=store --listen=127.0.0.1:0 "
    "--port_file=ports.json\n"
    "  hwnas-controller --store=store --listen=0.0.0.0:7420 --tls_dir=tls "
    "--enroll=0.0.0.0:7421\n"
    "  hwnas-controller --store=store --listen=0.0.0.0:7420 --insecure\n"
    "  hwnas-controller --store=/shared/hwnas "
    "--store_url_file=/etc/hwnas/store_url\n"
    "  hwnas-controller --store=/var/lib/hwnas --check\n\n"
    "SIGTERM stops it; studies go on where they were when it starts again.";

}  // namespace

int main(int argc, char** argv) {
  hwnas::SilenceGrpcLog();
  // Debian's Abseil looks for deadlocks in each lock of gRPC. The thread
  // sanitizer does so for our tests.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  RaiseDescriptorLimit();
  // Before any thread starts, so that all of them leave the signals to sigwait.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  absl::FlagsUsageConfig usage;
  usage.version_string = [] {
    return absl::StrCat("hwnas-controller ", hwnas::kVersion, "\n");
  };
  usage.contains_helpshort_flags = [](absl::string_view file) {
    return absl::StrContains(file, "controller/main.cc");
  };
  usage.contains_help_flags = usage.contains_helpshort_flags;
  absl::SetFlagsUsageConfig(usage);
  absl::SetProgramUsageMessage(kUsage);
  const std::vector<char*> rest = absl::ParseCommandLine(argc, argv);
  if (rest.size() > 1) {
    std::cerr << "hwnas-controller: unexpected argument \"" << rest[1]
              << "\"; see --help\n";
    return 2;
  }
  const double lease_seconds = absl::GetFlag(FLAGS_lease_seconds);
  if (!(lease_seconds >= 0.1 && lease_seconds <= 86400)) {
    std::cerr << "hwnas-controller: --lease_seconds=" << lease_seconds
              << " is out of range: expected 0.1 to 86400\n";
    return 2;
  }
  const absl::Duration certificate_lifetime =
      absl::GetFlag(FLAGS_certificate_lifetime);
  if (certificate_lifetime < absl::Minutes(1) ||
      certificate_lifetime > absl::Hours(8760)) {
    std::cerr << "hwnas-controller: --certificate_lifetime="
              << absl::FormatDuration(certificate_lifetime)
              << " is out of range: expected 1m to 8760h\n";
    return 2;
  }
  if (absl::GetFlag(FLAGS_max_user_studies) < 0) {
    std::cerr << "hwnas-controller: --max_user_studies="
              << absl::GetFlag(FLAGS_max_user_studies)
              << " is out of range: expected 0 or more\n";
    return 2;
  }
  const auto quotas = QuotasFromFlags();
  const auto checks = ChecksFromFlags();
  const auto store_url = hwnas::ReadStoreUrl(
      "--store_url_file", absl::GetFlag(FLAGS_store_url_file));
  for (const absl::Status& status :
       {quotas.status(), checks.status(), store_url.status(),
        CheckLeaderLease(), CheckMaxArtifacts()}) {
    if (status.ok()) continue;
    std::cerr << "hwnas-controller: " << status.message() << "\n";
    return 2;
  }
  if (absl::GetFlag(FLAGS_check)) {
    return CheckStore(absl::GetFlag(FLAGS_store), *store_url);
  }
  const auto logger =
      hwnas::CreateLogger("controller", absl::GetFlag(FLAGS_log_level));
  if (!logger.ok()) {
    std::cerr << "hwnas-controller: " << logger.status().message() << "\n";
    return 2;
  }
  const auto server = hwnas::controller::Server::Start(
      {.listen = absl::GetFlag(FLAGS_listen),
       .store = absl::GetFlag(FLAGS_store),
       .max_artifacts_bytes = static_cast<int64_t>(
           absl::GetFlag(FLAGS_max_artifacts_gib) * (int64_t{1} << 30)),
       .store_url = *store_url,
       .leader_lease = absl::GetFlag(FLAGS_leader_lease),
       .on_failure =
           [&logger](const absl::Status& why) {
             // At once: nobody may be told any more what is in this memory.
             (*logger)->critical("event=ending error=\"{}\"", why.ToString());
             (*logger)->flush();
             std::_Exit(1);
           },
       .metrics = absl::GetFlag(FLAGS_metrics),
       .health = absl::GetFlag(FLAGS_health),
       .port_file = absl::GetFlag(FLAGS_port_file),
       .insecure = absl::GetFlag(FLAGS_insecure),
       .metrics_insecure = absl::GetFlag(FLAGS_metrics_insecure),
       .tls_dir = absl::GetFlag(FLAGS_tls_dir),
       .enroll = absl::GetFlag(FLAGS_enroll),
       .certificate_lifetime = certificate_lifetime,
       .audit_log = absl::GetFlag(FLAGS_audit_log),
       .lease_duration = absl::Seconds(lease_seconds),
       .tables_dir = absl::GetFlag(FLAGS_tables_dir),
       .checks = *checks,
       .quotas = *quotas,
       .max_user_studies = absl::GetFlag(FLAGS_max_user_studies),
       .speculate = absl::GetFlag(FLAGS_speculate)},
      *logger);
  if (!server.ok()) {
    std::cerr << "hwnas-controller: " << server.status().message() << "\n";
    return 1;
  }
  int signal = 0;
  sigwait(&signals, &signal);
  (*logger)->info("event=stopping signal={}", signal);
  (*server)->Stop();
  return 0;
}
