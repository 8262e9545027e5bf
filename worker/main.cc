// hwnas-worker: trains candidates for a controller.
#include <malloc.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <thread>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/flags/usage_config.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/host_cores_lock.h"
#include "common/log.h"
#include "common/version.h"
#include "fleet/executor_main.h"
#include "worker/train/dataset.h"
#include "worker/train/trainer.h"
#include "worker/train_runner.h"
#include "worker/train_task_file.h"

ABSL_FLAG(std::string, controller, "127.0.0.1:7420",
          "host:port of the controller; several that share a store with commas "
          "between them");
ABSL_FLAG(bool, insecure, false,
          "allow a controller beyond this machine although nothing is "
          "encrypted");
ABSL_FLAG(bool, metrics_insecure, false,
          "serve metrics beyond this machine although the page is not "
          "encrypted; --insecure allows it as well");
ABSL_FLAG(std::string, tls_dir, "",
          "folder of this worker's certificate, made by 'hwnas ca enroll'; it "
          "is renewed by itself; empty: no TLS");
ABSL_FLAG(std::string, enroll, "",
          "with --tls_dir: get the first certificate on host:port, with the "
          "token in $HWNAS_ENROLL_TOKEN or in the file 'token' of that folder");
ABSL_FLAG(std::string, id, "",
          "name in the fleet, 1 to 63 of a-z, 0-9 and -; default worker-HOST");
ABSL_FLAG(std::string, spool_dir, "",
          "where unacknowledged results are kept; default below "
          "~/.local/state/hwnas");
ABSL_FLAG(
    std::string, checkpoint_dir, "",
    "where trainings are kept after every epoch, so that the next attempt "
    "goes on from there; workers on any machine may share it; default "
    "'checkpoints' in --spool_dir");
ABSL_FLAG(double, max_checkpoints_gib, 10,
          "the checkpoints in that folder may take so much, in GiB; the oldest "
          "are deleted");
ABSL_FLAG(std::string, metrics, "",
          "host:port of the Prometheus page (port 0: a free one); empty: none");
ABSL_FLAG(std::string, log_level, "info",
          "trace, debug, info, warn, error or off");
ABSL_FLAG(int, threads, 0,
          "threads of one training; 0: the machine's cores divided by --slots");
ABSL_FLAG(int, slots, 1, "trainings at once");
ABSL_FLAG(std::string, data_dir, "",
          "folder with data sets: DIR/cifar10/..., DIR/fashion-mnist/...");
ABSL_FLAG(std::string, train_task, "",
          "train this one serialized hwnas.v1.TrainTask on all training "
          "images, test it, print JSON lines and leave");
ABSL_FLAG(std::string, weights_out, "",
          "with --train_task: write the serialized hwnas.v1.Weights here");

namespace {

constexpr char kUsage[] =
    "Trains candidate networks for a controller.\n\n"
    "  hwnas-worker --controller=127.0.0.1:7420 --data_dir=/data\n"
    "  hwnas-worker --controller=ctl:7420 --tls_dir=/etc/hwnas/tls "
    "--metrics=127.0.0.1:9421\n"
    "  hwnas-worker --controller=ctl:7420 --tls_dir=/etc/hwnas/tls "
    "--checkpoint_dir=/shared/checkpoints\n"
    "  hwnas-worker --train_task=task.pb --weights_out=weights.pb\n";

// LibTorch's OpenMP threads spin while they wait for each other. On a machine
// that does anything else, a spinning thread takes the core from the very
// thread it waits for: steps become ten times slower. A short spin costs
// nothing on an idle machine. libgomp reads this only when it is loaded, hence
// the second start.
void LimitSpinning(char** argv) {
  // NOLINTBEGIN(concurrency-mt-unsafe): no other thread runs yet.
  if (std::getenv("GOMP_SPINCOUNT") != nullptr ||
      std::getenv("OMP_WAIT_POLICY") != nullptr) {
    return;
  }
  setenv("GOMP_SPINCOUNT", "10000", 1);
  // NOLINTEND(concurrency-mt-unsafe)
  execv("/proc/self/exe", argv);
  // Not to be had: go on without.
}

// Every step allocates the same large tensors: keep the pages instead of
// returning them to the kernel and faulting them in again.
void KeepFreedMemory() {
  // NOLINTBEGIN(concurrency-mt-unsafe): no other thread runs yet.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_TOP_PAD, 64 << 20);
  // NOLINTEND(concurrency-mt-unsafe)
}

}  // namespace

int main(int argc, char** argv) {
  hwnas::SilenceGrpcLog();
  LimitSpinning(argv);
  KeepFreedMemory();
  absl::SetProgramUsageMessage(kUsage);
  absl::FlagsUsageConfig usage;
  usage.contains_helpshort_flags = [](absl::string_view file) {
    return absl::EndsWith(file, "worker/main.cc");
  };
  usage.contains_help_flags = usage.contains_helpshort_flags;
  usage.version_string = [] {
    return absl::StrCat("hwnas-worker ", hwnas::kVersion, " (",
                        hwnas::worker::TrainingRuntime(), ")\n");
  };
  absl::SetFlagsUsageConfig(usage);
  const auto positional = absl::ParseCommandLine(argc, argv);
  if (positional.size() > 1) {
    std::cerr << "hwnas-worker: unexpected argument \"" << positional[1]
              << "\"; see --help" << std::endl;
    return 2;
  }
  const int slots = absl::GetFlag(FLAGS_slots);
  int threads = absl::GetFlag(FLAGS_threads);
  if (slots < 1 || slots > 256 || threads < 0 || threads > 1024) {
    std::cerr << "hwnas-worker: --slots=" << slots << " --threads=" << threads
              << ": expected 1 to 256 slots and 0 to 1024 threads" << std::endl;
    return 2;
  }
  const double checkpoints_gib = absl::GetFlag(FLAGS_max_checkpoints_gib);
  if (!(checkpoints_gib > 0 && checkpoints_gib <= 1e6)) {
    std::cerr << "hwnas-worker: --max_checkpoints_gib=" << checkpoints_gib
              << " is out of range: expected more than 0, at most 1000000"
              << std::endl;
    return 2;
  }
  if (threads == 0) {
    const int cores = static_cast<int>(std::thread::hardware_concurrency());
    threads = std::max(1, cores / slots);
  }

  if (const std::string task = absl::GetFlag(FLAGS_train_task); !task.empty()) {
    const absl::Status status = hwnas::worker::RunTrainTaskFile(
        {.task_path = task,
         .weights_path = absl::GetFlag(FLAGS_weights_out),
         .data_dir = absl::GetFlag(FLAGS_data_dir),
         .threads = threads},
        std::cout);
    if (status.ok()) return 0;
    std::cerr << "hwnas-worker: " << status.message() << std::endl;
    return absl::IsInvalidArgument(status) || absl::IsNotFound(status) ? 2 : 1;
  }

  hwnas::fleet::ExecutorOptions options;
  options.kind = hwnas::v1::WORKER;
  options.program = "hwnas-worker";
  options.controller = absl::GetFlag(FLAGS_controller);
  options.insecure = absl::GetFlag(FLAGS_insecure);
  options.metrics_insecure = absl::GetFlag(FLAGS_metrics_insecure);
  options.tls_dir = absl::GetFlag(FLAGS_tls_dir);
  options.enroll = absl::GetFlag(FLAGS_enroll);
  options.id = absl::GetFlag(FLAGS_id);
  options.spool_dir = absl::GetFlag(FLAGS_spool_dir);
  options.metrics = absl::GetFlag(FLAGS_metrics);
  options.log_level = absl::GetFlag(FLAGS_log_level);
  options.slots = slots;
  options.threads = threads;
  const std::string data_dir = absl::GetFlag(FLAGS_data_dir);
  options.datasets = hwnas::worker::AvailableDatasets({.worker_dir = data_dir});
  {
    // Looking for accelerators may start threads, which must not take signals.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    options.accelerators = hwnas::worker::Accelerators();
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  return hwnas::fleet::RunExecutor(
      options,
      [&](const hwnas::fleet::ExecutorContext& context)
          -> absl::StatusOr<std::unique_ptr<hwnas::fleet::TaskRunner>> {
        hwnas::worker::TrainRunnerOptions runner;
        runner.data_dir = data_dir;
        runner.checkpoints.path = absl::GetFlag(FLAGS_checkpoint_dir);
        if (runner.checkpoints.path.empty()) {
          runner.checkpoints.path = context.spool_dir + "/checkpoints";
        }
        runner.checkpoints.owner = context.id;
        runner.checkpoints.max_bytes =
            static_cast<int64_t>(checkpoints_gib * (1 << 30));
        runner.threads = threads;
        runner.cores_lock_path = hwnas::HostCoresLock::DefaultPath();
        runner.environment = context.environment;
        return std::make_unique<hwnas::worker::TrainRunner>(
            std::move(runner), context.logger, context.registry);
      });
}
