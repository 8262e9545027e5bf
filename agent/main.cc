// hwnas-agent: measures networks on the machine it runs on.
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/flags/usage_config.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "agent/agent_metrics.h"
#include "agent/device/cores.h"
#include "agent/device/device_class.h"
#include "agent/device/governor.h"
#include "agent/device/power/power_sampler.h"
#include "agent/device/power/probe.h"
#include "agent/device/power/raspberry_pi.h"
#include "agent/graph_exporter.h"
#include "agent/measure/steady_clock.h"
#include "agent/measurers_by_runtime.h"
#include "agent/measuring_runner.h"
#include "agent/quantizer.h"
#include "agent/runtime/command_runtime.h"
#include "agent/runtime/libtorch_runtime.h"
#include "agent/runtime/onnx_runtime.h"
#include "agent/sandbox/command_measurer.h"
#include "agent/sandbox/confined_command.h"
#include "agent/sandbox/measuring_child.h"
#include "agent/sandbox/sandboxed_measurer.h"
#include "common/command_runner.h"
#include "common/files.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/status_macros.h"
#include "common/version.h"
#include "fleet/emulation.h"
#include "fleet/executor_main.h"
#include "google/protobuf/util/json_util.h"
#include "model/onnx/onnx_batch.h"
#include "proto/convert/convert.h"
#include "proto/convert/resource_names.h"

ABSL_FLAG(std::string, controller, "127.0.0.1:7420",
          "Controller to serve, host:port; several that share a store with "
          "commas between them");
ABSL_FLAG(std::string, id, "",
          "Name of this agent and its device: 1 to 63 of [a-z0-9-], unique in "
          "the fleet. Empty: made from the host name. Example: pi-7");
ABSL_FLAG(std::string, spool_dir, "",
          "Folder for results that the controller does not have yet. Empty: "
          "below the user's state folder");
ABSL_FLAG(std::string, metrics, "",
          "Serve Prometheus metrics on host:port; port 0 takes a free one. "
          "Empty: do not. Example: 127.0.0.1:9422");
ABSL_FLAG(std::string, log_level, "info",
          "trace, debug, info, warn, error or off");
ABSL_FLAG(int, threads, 0,
          "Most threads that a measurement may use; 0: the number of cores. "
          "With --measure_file: the threads to use; 0: 1");
ABSL_FLAG(std::string, device_class, "",
          "What this machine is, 1 to 63 of [a-z0-9_.-]; several separated by "
          "commas. Empty: detected, such as raspberrypi5 or x86_64");
ABSL_FLAG(bool, insecure, false,
          "Allow a controller beyond this machine although the connection is "
          "not encrypted");
ABSL_FLAG(bool, metrics_insecure, false,
          "Serve metrics beyond this machine although the page is not "
          "encrypted; --insecure allows it as well");
ABSL_FLAG(std::string, tls_dir, "",
          "Folder of this agent's certificate, made by 'hwnas ca enroll'; it "
          "is renewed by itself. Empty: no TLS");
ABSL_FLAG(std::string, enroll, "",
          "With --tls_dir: get the first certificate on host:port, with the "
          "token in $HWNAS_ENROLL_TOKEN or in the file 'token' of that folder");
ABSL_FLAG(std::string, measure_file, "",
          "Measure this ONNX file once, print the result as JSON and leave. A "
          "file whose name ends with .json is a hwnas.v1.ModelGraph instead");
ABSL_FLAG(int, batch, 0,
          "With --measure_file: images in one inference; 0: as the file says");
ABSL_FLAG(absl::Duration, max_time, absl::Seconds(5),
          "With --measure_file: longest time to measure");
ABSL_FLAG(
    std::string, power, "auto",
    "What to measure energy with: auto (the first that is found of "
    "jetson, pmic, hwmon and rapl), none, jetson (its INA3221 or INA238), "
    "pmic (Raspberry Pi 5), hwmon or hwmon:1-0040 (INA219, INA226...), "
    "rapl (Intel and AMD processors), nvml (graphics cards alone), "
    "command:LINE (a shell command that prints watts, one value a line) "
    "or serial:/dev/ttyUSB0@115200 (such lines on a port). All but auto "
    "must be there. See docs/power.md");
ABSL_FLAG(
    absl::Duration, task_limit, absl::Minutes(2),
    "Time that a task may take beside what it asks for (to load the model, "
    "for one inference, for its memory); then it is killed");
ABSL_FLAG(int, max_memory_mb, 0,
          "Memory that a model may use, in 1e6 bytes; 0: its share of three "
          "quarters of what is available when its measurement begins");
ABSL_FLAG(
    std::string, runtime, "onnxruntime",
    "With --measure_file: what to measure with. onnxruntime; libtorch, if "
    "it was built in; a program that is installed: trtexec, "
    "benchmark_model, onnxruntime_perf_test; or one of --runtimes_file");
ABSL_FLAG(std::string, precision, "fp32",
          "With --measure_file: fp32, fp16 or int8, as the runtime has it");
ABSL_FLAG(std::string, runtimes_file, "",
          "JSON file that describes further programs to measure with, under "
          "names that begin with x-. See docs/runtimes.md");
ABSL_FLAG(std::string, profile, "as_shipped",
          "How to measure where a task does not say: as_shipped (the clock as "
          "the system governs it) or pinned (the governor of the measuring "
          "cores set to performance meanwhile; needs the right to write "
          "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor)");
ABSL_FLAG(std::vector<std::string>, cores, {},
          "With --measure_file: cores to pin to, separated by commas; empty: "
          "chosen. Example: 2,3");
ABSL_FLAG(absl::Duration, preflight_wait, absl::Seconds(10),
          "How long to wait before a measurement for the machine to become "
          "idle and cool; after that it is measured nevertheless, and the "
          "result is flagged NOISY");
ABSL_FLAG(int, interleave, 3,
          "Most networks to measure in turns, a pass each in random order, so "
          "that a machine that becomes slower meanwhile favours none; 1: each "
          "at a stretch. So many are loaded at the same time");
ABSL_FLAG(double, max_temperature, 75,
          "Hottest zone at which a measurement may begin, in degrees Celsius");
ABSL_FLAG(bool, restore, false,
          "Set the governors back that an agent which was killed has left "
          "changed, and leave");
ABSL_FLAG(bool, outputs, false,
          "With --measure_file: measure nothing; run the network once, on the "
          "seeded input that is measured with, and print its outputs. For "
          "files you trust: it runs without a process of its own");
ABSL_FLAG(bool, samples, false,
          "With --measure_file: print the raw samples as well");

namespace hwnas::agent {
namespace {

// Each loads a network.
constexpr int kMaxInterleave = 16;
constexpr char kUsage[] =
    "Measures networks on this machine for a controller.\n\n"
    "  hwnas-agent --controller=127.0.0.1:7420\n"
    "  hwnas-agent --controller=10.0.0.5:7420 --tls_dir=/etc/hwnas/tls "
    "--device_class=raspberrypi5\n"
    "  hwnas-agent --measure_file=model.onnx --threads=1\n"
    "  hwnas-agent --measure_file=model.onnx --power=rapl\n"
    "  hwnas-agent --measure_file=model.onnx --precision=int8\n"
    "  hwnas-agent --restore\n\n"
    "SIGTERM hands unfinished work back and leaves; a second one ends it at "
    "once.";

// A task without a controller.
class LocalContext final : public fleet::TaskContext {
 public:
  // So that what was changed is set back.
  LocalContext() {
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) signal(number, Stop);
  }
  bool cancelled() const override { return stopped != 0; }
  void ReportEpoch(const v1::EpochReport&) override {}
  void ReportNote(std::string) override {}
  absl::StatusOr<std::string> UploadArtifact(absl::string_view) override {
    return absl::UnimplementedError("there is no controller");
  }
  absl::StatusOr<std::string> DownloadArtifact(const std::string&) override {
    return absl::UnimplementedError("there is no controller");
  }

 private:
  static void Stop(int) { stopped = 1; }
  static inline volatile std::sig_atomic_t stopped = 0;
};

absl::StatusOr<std::vector<std::string>> DeviceClasses() {
  const std::string given = absl::GetFlag(FLAGS_device_class);
  if (given.empty()) return std::vector<std::string>{DetectDeviceClass()};
  std::vector<std::string> classes = absl::StrSplit(given, ',');
  for (const std::string& name : classes) {
    if (!IsDeviceClass(name)) {
      return absl::InvalidArgumentError(
          absl::StrCat("device class \"", name,
                       "\" is not allowed: expected 1 to 63 of a-z, 0-9, _, . "
                       "and -, for example raspberrypi5"));
    }
  }
  return classes;
}

// What measures power here, and what it needs. Made before any thread.
struct Power {
  ProcessRunner commands;
  std::unique_ptr<PowerSource> source;  // Until the sampler takes it.
  std::unique_ptr<PowerSampler> sampler;
  std::unique_ptr<ThrottleSensor> throttle;
  std::string why_none;

  absl::Status Probe(SteadyClock* clock) {
    HWNAS_ASSIGN_OR_RETURN(
        PowerProbe probe,
        ChoosePowerSource(absl::GetFlag(FLAGS_power),
                          {.commands = &commands, .clock = clock}));
    source = std::move(probe.source);
    why_none = std::move(probe.why_none);
    throttle = ThrottleSensor::Find("/", &commands);
    return absl::OkStatus();
  }

  v1::PowerSource Announce() const {
    v1::PowerSource power;
    if (source != nullptr) power = PowerSourceProto(source->info());
    power.set_why_none(why_none.substr(0, 1000));
    return power;
  }

  // Starts a thread.
  void Apply(SteadyClock* clock, InProcessMeasurerOptions* options) {
    if (source != nullptr) {
      sampler = std::make_unique<PowerSampler>(std::move(source), clock);
      options->power = sampler.get();
    }
    options->why_no_power = why_none;
    if (throttle != nullptr) {
      options->throttled = [this] { return throttle->Read(); };
    }
  }
};

// The governors of this machine, and whether they can be set.
struct Profiles {
  std::unique_ptr<GovernorControl> governors;
  std::string why_not_pinned;

  // Sets back what an earlier process has left changed.
  absl::Status Prepare() {
    const std::string folder = fleet::StateFolder();
    HWNAS_RETURN_IF_ERROR(MakeDirectories(folder));
    governors = std::make_unique<GovernorControl>(folder + "/governors");
    HWNAS_ASSIGN_OR_RETURN(const std::vector<int> cores,
                           governors->RestoreLeftOver());
    if (!cores.empty()) {
      std::cerr << "hwnas-agent: the governors of cores "
                << absl::StrJoin(cores, ", ")
                << " were set back: an agent was killed" << std::endl;
    }
    const absl::Status can = governors->Check(AllowedCores());
    why_not_pinned = std::string(can.message());
    const std::string profile = absl::GetFlag(FLAGS_profile);
    if (profile != "as_shipped" && profile != "pinned") {
      return absl::InvalidArgumentError(absl::StrCat(
          "--profile is \"", profile, "\": expected as_shipped or pinned"));
    }
    if (profile == "pinned" && !can.ok()) {
      return absl::FailedPreconditionError(
          absl::StrCat("--profile=pinned: ", why_not_pinned));
    }
    return absl::OkStatus();
  }

  std::vector<std::string> Announce() const {
    if (!why_not_pinned.empty()) return {"as_shipped"};
    return {"as_shipped", "pinned"};
  }

  void Apply(MeasuringRunnerOptions* options) const {
    options->profile = absl::GetFlag(FLAGS_profile);
    options->why_not_pinned = why_not_pinned;
    if (why_not_pinned.empty()) options->governors = governors.get();
    options->preflight.wait = absl::GetFlag(FLAGS_preflight_wait);
    options->preflight.max_temperature_c = absl::GetFlag(FLAGS_max_temperature);
  }
};

SandboxedMeasurerOptions SandboxOptions() {
  SandboxedMeasurerOptions options;
  options.time_limit = absl::GetFlag(FLAGS_task_limit);
  options.max_memory_bytes =
      int64_t{absl::GetFlag(FLAGS_max_memory_mb)} * 1'000'000;
  return options;
}

// What this agent can measure with.
struct Runtimes {
  std::vector<CommandRuntime> commands;
  // Presets whose programs are not here.
  std::vector<std::string> missing;

  absl::Status Probe() {
    for (const CommandRuntime& preset : PresetCommandRuntimes()) {
      auto found = FindPrograms(preset);
      if (found.ok()) {
        commands.push_back(*std::move(found));
      } else {
        missing.push_back(preset.name);
      }
    }
    const std::string path = absl::GetFlag(FLAGS_runtimes_file);
    if (path.empty()) return absl::OkStatus();
    HWNAS_ASSIGN_OR_RETURN(const std::string json, ReadFile(path, 1 << 20));
    auto own = ParseCommandRuntimes(json);
    if (!own.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": ", own.status().message()));
    }
    for (CommandRuntime& runtime : *own) {
      auto found = FindPrograms(std::move(runtime));
      if (!found.ok()) {
        return absl::InvalidArgumentError(
            absl::StrCat(path, ": ", found.status().message()));
      }
      commands.push_back(*std::move(found));
    }
    return absl::OkStatus();
  }

  // `only_onnx`: without those that cannot measure what studies ask for.
  std::vector<v1::RuntimeCapability> Capabilities(bool only_onnx) const {
    std::vector<v1::RuntimeCapability> all = {OnnxRuntimeCapability()};
    if (LibtorchRuntimeFactory() != nullptr) {
      v1::RuntimeCapability libtorch;
      libtorch.set_runtime("libtorch");
      libtorch.add_precisions("fp32");
      all.push_back(std::move(libtorch));
    }
    for (const CommandRuntime& command : commands) {
      if (!only_onnx || command.takes_onnx()) {
        all.push_back(CapabilityOf(command));
      }
    }
    return all;
  }
};

// One measurer for each of them.
class Measurers {
 public:
  Measurers(const Runtimes& runtimes, const SandboxedMeasurerOptions& options)
      : sandboxed_(options) {
    std::map<std::string, Measurer*> by_name = {{"onnxruntime", &sandboxed_},
                                                {"libtorch", &sandboxed_}};
    for (const CommandRuntime& command : runtimes.commands) {
      commands_.push_back(std::make_unique<CommandMeasurer>(command, options));
      by_name[command.name] = commands_.back().get();
    }
    all_.emplace(std::move(by_name));
  }
  Measurer* get() { return &*all_; }

 private:
  SandboxedMeasurer sandboxed_;
  std::vector<std::unique_ptr<CommandMeasurer>> commands_;
  std::optional<MeasurersByRuntime> all_;
};

// The network in the file.
absl::StatusOr<v1::MeasureTask> ReadNetwork(const std::string& path) {
  v1::MeasureTask task;
  if (!absl::EndsWith(path, ".json")) {
    HWNAS_ASSIGN_OR_RETURN(*task.mutable_onnx(), ReadFile(path, kMaxOnnxBytes));
    return task;
  }
  HWNAS_ASSIGN_OR_RETURN(const std::string json, ReadFile(path, kMaxOnnxBytes));
  const auto status =
      google::protobuf::util::JsonStringToMessage(json, task.mutable_graph());
  if (!status.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(
        path,
        " is no hwnas.v1.ModelGraph as JSON: ", std::string(status.message())));
  }
  return task;
}

// Equal on every machine but for rounding.
absl::Status PrintOutputs(const std::string& path) {
  HWNAS_ASSIGN_OR_RETURN(v1::MeasureTask task, ReadNetwork(path));
  SessionOptions options;
  options.threads = std::max(1, absl::GetFlag(FLAGS_threads));
  options.batch = absl::GetFlag(FLAGS_batch);
  if (task.has_graph()) {
    HWNAS_ASSIGN_OR_RETURN(
        *task.mutable_onnx(),
        ExportForMeasuring(task.graph(), std::max(1, options.batch)));
  }
  HWNAS_ASSIGN_OR_RETURN(const auto runtime, CreateOnnxRuntime());
  HWNAS_ASSIGN_OR_RETURN(const auto session,
                         runtime->Load(task.onnx(), options));
  HWNAS_ASSIGN_OR_RETURN(const std::vector<float> values,
                         session->RunForOutputs());
  std::cout << "{\"outputs\": ["
            << absl::StrJoin(values, ", ",
                             [](std::string* out, float value) {
                               absl::StrAppend(out,
                                               absl::StrFormat("%.9g", value));
                             })
            << "]}" << std::endl;
  return absl::OkStatus();
}

absl::Status MeasureFile(const std::string& path,
                         const std::vector<std::string>& classes) {
  HWNAS_ASSIGN_OR_RETURN(
      const std::shared_ptr<Logger> logger,
      CreateLogger("hwnas-agent", absl::GetFlag(FLAGS_log_level)));
  v1::Task task;
  HWNAS_ASSIGN_OR_RETURN(*task.mutable_measure(), ReadNetwork(path));
  task.mutable_measure()->set_device_class(classes.front());
  v1::MeasureSpec& spec = *task.mutable_measure()->mutable_measure();
  spec.set_threads(absl::GetFlag(FLAGS_threads));
  spec.set_batch(absl::GetFlag(FLAGS_batch));
  spec.set_runtime(absl::GetFlag(FLAGS_runtime));
  spec.set_precision(absl::GetFlag(FLAGS_precision));
  *spec.mutable_max_time() = ToProto(absl::GetFlag(FLAGS_max_time));
  for (const std::string& text : absl::GetFlag(FLAGS_cores)) {
    int core;
    if (!absl::SimpleAtoi(text, &core)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--cores names \"", text, "\": expected numbers, such as 2,3"));
    }
    spec.add_cores(core);
  }
  prometheus::Registry registry;
  AgentMetrics metrics(registry);
  RealSteadyClock clock;
  Power power;
  HWNAS_RETURN_IF_ERROR(power.Probe(&clock));
  Runtimes runtimes;
  HWNAS_RETURN_IF_ERROR(runtimes.Probe());
  Profiles profiles;
  HWNAS_RETURN_IF_ERROR(profiles.Prepare());
  task.mutable_measure()->set_energy(power.source != nullptr);
  SandboxedMeasurerOptions options = SandboxOptions();
  power.Apply(&clock, &options.measurer);
  MeasuringRunnerOptions runner_options;
  runner_options.capabilities = runtimes.Capabilities(/*only_onnx=*/false);
  profiles.Apply(&runner_options);
  runner_options.preflight.throttled = options.measurer.throttled;
  runner_options.why_emulated = fleet::WhyEmulated();
  Measurers measurers(runtimes, options);
  MeasuringRunner runner(std::move(runner_options), measurers.get(), &clock,
                         &metrics, logger);
  LocalContext context;
  v1::TaskResult result = runner.Run(task, context);
  if (!result.error().empty()) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": ", result.error()));
  }
  if (!absl::GetFlag(FLAGS_samples)) {
    result.mutable_latency_samples()->clear_block_latency_ms();
    result.mutable_latency_samples()->clear_warmup_block_latency_ms();
  }
  google::protobuf::util::JsonPrintOptions format;
  format.preserve_proto_field_names = true;
  std::string json;
  const auto status =
      google::protobuf::util::MessageToJsonString(result, &json, format);
  if (!status.ok()) return absl::InternalError(std::string(status.message()));
  std::cout << json << std::endl;
  return absl::OkStatus();
}

int Main(int argc, char** argv) {
  absl::SetProgramUsageMessage(kUsage);
  absl::FlagsUsageConfig usage;
  usage.version_string = [] {
    return absl::StrCat("hwnas-agent ", kVersion, "\n");
  };
  const auto from_main = [](absl::string_view file) {
    return absl::EndsWith(file, "agent/main.cc");
  };
  usage.contains_help_flags = from_main;
  usage.contains_helpshort_flags = from_main;
  absl::SetFlagsUsageConfig(usage);
  const std::vector<char*> rest = absl::ParseCommandLine(argc, argv);
  const auto fail = [](const absl::Status& status) {
    std::cerr << "hwnas-agent: " << std::string(status.message()) << std::endl;
    return absl::IsFailedPrecondition(status) ? 1 : 2;
  };
  if (rest.size() > 1) {
    return fail(absl::InvalidArgumentError(
        absl::StrCat("unexpected argument \"", rest[1], "\"; see --help")));
  }
  const auto classes = DeviceClasses();
  if (!classes.ok()) return fail(classes.status());
  if (absl::GetFlag(FLAGS_max_memory_mb) < 0) {
    return fail(absl::InvalidArgumentError(
        absl::StrCat("--max_memory_mb is ", absl::GetFlag(FLAGS_max_memory_mb),
                     ": expected 0 or more")));
  }
  if (const int most = absl::GetFlag(FLAGS_interleave);
      most < 1 || most > kMaxInterleave) {
    return fail(absl::InvalidArgumentError(absl::StrCat(
        "--interleave is ", most, ": expected 1 to ", kMaxInterleave)));
  }
  if (absl::GetFlag(FLAGS_task_limit) <= absl::ZeroDuration()) {
    return fail(absl::InvalidArgumentError(
        absl::StrCat("--task_limit is ",
                     absl::FormatDuration(absl::GetFlag(FLAGS_task_limit)),
                     ": expected more than 0")));
  }
  if (absl::GetFlag(FLAGS_preflight_wait) < absl::ZeroDuration()) {
    return fail(absl::InvalidArgumentError(
        absl::StrCat("--preflight_wait is ",
                     absl::FormatDuration(absl::GetFlag(FLAGS_preflight_wait)),
                     ": expected 0 or more")));
  }
  if (absl::GetFlag(FLAGS_restore)) {
    const absl::Status status = Profiles().Prepare();
    return status.ok() ? 0 : fail(status);
  }
  if (const std::string file = absl::GetFlag(FLAGS_measure_file);
      !file.empty()) {
    const absl::Status status = absl::GetFlag(FLAGS_outputs)
                                    ? PrintOutputs(file)
                                    : MeasureFile(file, *classes);
    return status.ok() ? 0 : fail(status);
  }
  if (absl::GetFlag(FLAGS_threads) < 0) {
    return fail(absl::InvalidArgumentError(
        absl::StrCat("--threads is ", absl::GetFlag(FLAGS_threads),
                     ": expected 0 or more")));
  }

  // Models of many megabytes pass through: each shall be mapped by itself, and
  // gone when it is freed. Otherwise the C library learns from the first one to
  // keep blocks of that size. There are no threads yet.
  mallopt(M_MMAP_THRESHOLD, 256 << 10);  // NOLINT(concurrency-mt-unsafe)

  // Better said now than by each task's own process.
  const auto onnxruntime = CreateOnnxRuntime();
  if (!onnxruntime.ok()) return fail(onnxruntime.status());
  Runtimes runtimes;
  if (const absl::Status status = runtimes.Probe(); !status.ok()) {
    return fail(status);
  }
  std::optional<Measurers> measurers;
  std::unique_ptr<AgentMetrics> metrics;
  RealSteadyClock clock;
  Power power;
  if (const absl::Status status = power.Probe(&clock); !status.ok()) {
    return fail(status);
  }
  Profiles profiles;
  if (const absl::Status status = profiles.Prepare(); !status.ok()) {
    return fail(status);
  }
  fleet::ExecutorOptions options;
  options.kind = v1::AGENT;
  options.program = "hwnas-agent";
  options.controller = absl::GetFlag(FLAGS_controller);
  options.insecure = absl::GetFlag(FLAGS_insecure);
  options.metrics_insecure = absl::GetFlag(FLAGS_metrics_insecure);
  options.tls_dir = absl::GetFlag(FLAGS_tls_dir);
  options.enroll = absl::GetFlag(FLAGS_enroll);
  options.id = absl::GetFlag(FLAGS_id);
  options.spool_dir = absl::GetFlag(FLAGS_spool_dir);
  options.metrics = absl::GetFlag(FLAGS_metrics);
  options.log_level = absl::GetFlag(FLAGS_log_level);
  // They take turns: two at the same moment would spoil both.
  options.slots = absl::GetFlag(FLAGS_interleave);
  options.device_classes = *classes;
  options.capabilities = runtimes.Capabilities(/*only_onnx=*/true);
  options.capabilities.front().set_description((*onnxruntime)->description());
  for (const v1::RuntimeCapability& capability : options.capabilities) {
    options.runtimes.push_back(capability.runtime());
  }
  options.power = power.Announce();
  options.profiles = profiles.Announce();
  return fleet::RunExecutor(
      options,
      [&](const fleet::ExecutorContext& context)
          -> absl::StatusOr<std::unique_ptr<fleet::TaskRunner>> {
        metrics = std::make_unique<AgentMetrics>(*context.registry);
        SandboxedMeasurerOptions sandbox = SandboxOptions();
        sandbox.at_once = options.slots;
        sandbox.measurer.device = DeviceName(context.id);
        power.Apply(&clock, &sandbox.measurer);
        MeasuringRunnerOptions runner;
        runner.device_classes = *classes;
        runner.capabilities = options.capabilities;
        runner.max_threads = absl::GetFlag(FLAGS_threads);
        runner.why_emulated = fleet::WhyEmulated();
        profiles.Apply(&runner);
        runner.preflight.throttled = sandbox.measurer.throttled;
        measurers.emplace(runtimes, sandbox);
        context.logger->info(
            "event=power source={} reason=\"{}\"",
            options.power->name().empty() ? "none" : options.power->name(),
            options.power->why_none());
        context.logger->info("event=runtimes runtimes={} missing={}",
                             absl::StrJoin(options.runtimes, ","),
                             absl::StrJoin(runtimes.missing, ","));
        if (!runner.why_emulated.empty()) {
          context.logger->warn("event=emulated reason=\"{}\"",
                               runner.why_emulated);
        }
        context.logger->info("event=profiles profiles={} reason=\"{}\"",
                             absl::StrJoin(options.profiles, ","),
                             profiles.why_not_pinned);
        return std::make_unique<MeasuringRunner>(std::move(runner),
                                                 measurers->get(), &clock,
                                                 metrics.get(), context.logger);
      });
}

}  // namespace
}  // namespace hwnas::agent

int main(int argc, char** argv) {
  if (argc > 1 &&
      argv[1] == std::string_view(hwnas::agent::kMeasuringChildArgument)) {
    return hwnas::agent::RunMeasuringChild(
        {.export_graph = hwnas::agent::ExportForMeasuring,
         .fix_batch = hwnas::FixOnnxBatch,
         .quantize = hwnas::agent::QuantizeForMeasuring,
         .create_libtorch = hwnas::agent::LibtorchRuntimeFactory()});
  }
  if (argc > 1 &&
      argv[1] == std::string_view(hwnas::agent::kCommandLauncherArgument)) {
    return hwnas::agent::RunCommandLauncher(argc, argv);
  }
  hwnas::SilenceGrpcLog();
  return hwnas::agent::Main(argc, argv);
}
