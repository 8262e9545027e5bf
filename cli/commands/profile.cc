// hwnas profile MODEL.onnx... --device CLASS...
#include <algorithm>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "cli/commands.h"
#include "cli/diagnostic.h"
#include "cli/live_display.h"
#include "cli/parallel.h"
#include "cli/profile_table.h"
#include "cli/trial_table.h"
#include "common/files.h"
#include "common/limits.h"
#include "common/mutex.h"
#include "common/status_macros.h"
#include "proto/convert/convert.h"

namespace hwnas::cli {
namespace {

// Measurements at once; each keeps its file in memory.
constexpr int kMostInHand = 32;

// What goes on, for people. Thread-safe.
class Notes {
 public:
  explicit Notes(Context* context) : context_(context) {}
  ~Notes() { Say(""); }

  // Stays until the next one, where that can be.
  void Show(const std::string& what, const std::string& note) {
    MutexLock lock(&mutex_);
    if (context_->err_is_terminal) {
      constexpr const char* kFrames[] = {"⠋", "⠙", "⠹", "⠸", "⠼", "⠴"};
      *context_->err << "\r\x1b[K" << kFrames[frame_++ % 6] << " " << what
                     << Printable(note) << std::flush;
    } else {
      *context_->err << what << Printable(note) << "\n";
    }
  }
  // Stays.
  void Say(const std::string& line) {
    MutexLock lock(&mutex_);
    if (context_->err_is_terminal) *context_->err << "\r\x1b[K";
    *context_->err << line << std::flush;
  }

 private:
  Context* const context_;
  Mutex mutex_;
  int frame_ ABSL_GUARDED_BY(mutex_) = 0;
};

// Beside the table, so that the output of a script stays what it is.
void SayWhatIsMissing(Notes& notes, const std::string& what,
                      const v1::TaskResult& result) {
  for (const v1::MissingMetric& missing : result.missing_metrics()) {
    notes.Say(absl::StrCat("hwnas: ", what, "no ", Printable(missing.metric()),
                           ": ", Printable(missing.reason(), 400), "\n"));
  }
}

void ShowOne(Context* context, const v1::TaskResult& result) {
  *context->out << MetricTable(result).Render(context->format());
  if (context->format() == OutputFormat::kTable) {
    const v1::Environment& e = result.environment();
    *context->out << "\non " << Printable(e.cpu_model()) << ", "
                  << Printable(e.runtime()) << ", " << e.threads() << " thread"
                  << (e.threads() == 1 ? "" : "s")
                  << (e.cpu_governor().empty()
                          ? ""
                          : ", governor " + Printable(e.cpu_governor()))
                  << "\n";
    if (result.has_energy()) {
      *context->out << "energy of "
                    << Printable(result.energy().source().includes()) << "\n";
    }
  }
}

}  // namespace

void AddProfileCommand(CLI::App* app, Context* context) {
  struct Options {
    std::vector<std::string> models;
    std::vector<std::string> devices;
    std::string runtime;
    std::string precision;
    std::string profile;
    std::vector<std::string> labels;
    std::string on;
    std::string user;
    int priority = 0;
    int batch = 0;
    int threads = 0;
    double max_seconds = 0;
    bool energy = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app->add_subcommand(
      "profile", "Measure ONNX files on devices and compare them");
  command
      ->add_option("model", options->models,
                   "ONNX files with one float input, or folders of them")
      ->required();
  command
      ->add_option("-d,--device", options->devices,
                   "Device classes, separated by commas; 'hwnas device list' "
                   "shows those there are")
      ->delimiter(',')
      ->allow_extra_args(false)  // What follows is a model.
      ->required();
  command->add_option("--runtime", options->runtime,
                      "onnxruntime (default), libtorch, trtexec, or another "
                      "that the device has; 'hwnas device show' tells");
  command->add_option("--precision", options->precision,
                      "fp32 (default), fp16 or int8, where the device can");
  command->add_option("--profile", options->profile,
                      "as_shipped: the clock as the system governs it; pinned: "
                      "fixed for the time of the measurement");
  command
      ->add_option("--label", options->labels,
                   "Only on devices that have this label; may be repeated")
      ->allow_extra_args(false);
  command->add_option("--on", options->on,
                      "On this very device, as in 'hwnas device list'");
  command->add_option("--batch", options->batch, "Images in one inference")
      ->check(CLI::Range(1, 4096));
  command
      ->add_option("--priority", options->priority,
                   "-100 to 100; the higher goes first")
      ->check(CLI::Range(-100, 100));
  AddUserOption(command, &options->user);
  command->add_option("--threads", options->threads, "Threads of one inference")
      ->check(CLI::Range(1, 1024));
  command
      ->add_option("--max-seconds", options->max_seconds,
                   "Measure each no longer than this")
      ->check(CLI::Range(0.01, 3600.0));
  command->add_flag("--energy", options->energy,
                    "Measure the energy as well, on a device with a power "
                    "source");
  AddServerOption(command, context);
  AddOutputOption(command, context);
  SetExamples(
      command,
      {"hwnas profile model.onnx --device x86_64",
       "hwnas profile a.onnx b.onnx --device raspberrypi5,x86_64",
       "hwnas profile models/ --device x86_64 --output csv > models.csv",
       "hwnas profile model.onnx --device jetson-orin-nano --energy"});
  SetAction(command, context, [=]() -> absl::Status {
    HWNAS_ASSIGN_OR_RETURN(const std::vector<std::string> files,
                           ModelFiles(options->models));
    v1::ProfileModelRequest request;
    request.set_energy(options->energy);
    v1::MeasureSpec* measure = request.mutable_measure();
    measure->set_runtime(options->runtime);
    measure->set_threads(options->threads);
    measure->set_precision(options->precision);
    measure->set_profile(options->profile);
    measure->set_batch(options->batch);
    for (const std::string& label : options->labels) {
      measure->add_labels(label);
    }
    request.set_user(options->user);
    request.set_priority(options->priority);
    if (!options->on.empty()) {
      HWNAS_ASSIGN_OR_RETURN(*request.mutable_device(),
                             DeviceNameFromUser(options->on));
    }
    if (options->max_seconds > 0) {
      *measure->mutable_max_time() =
          ToProto(absl::Seconds(options->max_seconds));
    }
    Client client = context->MakeClient();
    Notes notes(context);
    std::vector<Profiled> profiled;
    std::vector<std::string> paths;
    for (const std::string& file : files) {
      for (const std::string& device : options->devices) {
        Profiled& p = profiled.emplace_back();
        p.model = std::filesystem::path(file).filename().string();
        p.device_class = device;
        paths.push_back(file);
      }
    }
    const size_t all = profiled.size();
    const auto measure_one = [&](size_t i) -> absl::Status {
      Profiled& p = profiled[i];
      const std::string what =
          all == 1
              ? ""
              : absl::StrCat("[", i + 1, "/", all, "] ", Printable(p.model),
                             " on ", Printable(p.device_class), ": ");
      v1::ProfileModelRequest own = request;
      absl::StatusOr<std::string> onnx = ReadFile(paths[i], kMaxOnnxBytes);
      p.status = onnx.status();
      if (!onnx.ok()) return absl::OkStatus();
      own.set_onnx(*std::move(onnx));
      own.set_device_class(p.device_class);
      absl::StatusOr<v1::TaskResult> result = client.ProfileModel(
          own, [&](const std::string& note) { notes.Show(what, note); });
      p.status = result.status();
      // Without the controller there is nothing to go on with.
      if (absl::IsUnavailable(p.status)) return p.status;
      if (!result.ok()) return absl::OkStatus();
      SayWhatIsMissing(notes, what, *result);
      p.result = *std::move(result);
      return absl::OkStatus();
    };
    if (all == 1) {
      HWNAS_RETURN_IF_ERROR(measure_one(0));
      HWNAS_RETURN_IF_ERROR(profiled[0].status);
      ShowOne(context, profiled[0].result);
      return absl::OkStatus();
    }
    HWNAS_ASSIGN_OR_RETURN(const std::vector<v1::Device> devices,
                           client.ListDevices());
    HWNAS_RETURN_IF_ERROR(RunInParallel(
        all, std::min(SlotsOf(devices, options->devices), kMostInHand),
        measure_one));
    notes.Say("");
    // What fails costs its row only.
    *context->out << ComparisonTable(profiled).Render(context->format());
    const auto failed =
        std::count_if(profiled.begin(), profiled.end(),
                      [](const Profiled& p) { return !p.status.ok(); });
    if (failed == 0) return absl::OkStatus();
    return absl::InternalError(absl::StrCat(
        failed, " of ", all, " measurements failed: see the remarks"));
  });
}

}  // namespace hwnas::cli
