// hwnas profile MODEL.onnx --device CLASS
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "cli/commands.h"
#include "cli/diagnostic.h"
#include "cli/live_display.h"
#include "cli/trial_table.h"
#include "common/files.h"
#include "common/limits.h"
#include "common/status_macros.h"
#include "proto/convert/convert.h"

namespace hwnas::cli {

void AddProfileCommand(CLI::App* app, Context* context) {
  struct Options {
    std::string file;
    std::string device;
    std::string runtime;
    int threads = 0;
    double max_seconds = 0;
    bool energy = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app->add_subcommand(
      "profile", "Measure an ONNX file on a device of a class");
  command->add_option("model", options->file, "ONNX file with one float input")
      ->required();
  command
      ->add_option("-d,--device", options->device,
                   "Device class; 'hwnas device list' shows those there are")
      ->required();
  command->add_option("--runtime", options->runtime,
                      "onnxruntime (default) or libtorch");
  command->add_option("--threads", options->threads, "Threads of one inference")
      ->check(CLI::Range(1, 1024));
  command
      ->add_option("--max-seconds", options->max_seconds,
                   "Measure no longer than this")
      ->check(CLI::Range(0.01, 3600.0));
  command->add_flag("--energy", options->energy,
                    "Measure the energy as well, on a device with a power "
                    "source");
  AddServerOption(command, context);
  AddOutputOption(command, context);
  SetExamples(command,
              {"hwnas profile model.onnx --device x86_64",
               "hwnas profile model.onnx --device raspberrypi5 --output json",
               "hwnas profile model.onnx --device jetson-orin-nano --energy"});
  SetAction(command, context, [=]() -> absl::Status {
    v1::ProfileModelRequest request;
    HWNAS_ASSIGN_OR_RETURN(*request.mutable_onnx(),
                           ReadFile(options->file, kMaxOnnxBytes));
    request.set_device_class(options->device);
    request.set_energy(options->energy);
    v1::MeasureSpec* measure = request.mutable_measure();
    measure->set_runtime(options->runtime);
    measure->set_threads(options->threads);
    if (options->max_seconds > 0) {
      *measure->mutable_max_time() =
          ToProto(absl::Seconds(options->max_seconds));
    }
    Client client = context->MakeClient();
    grpc::ClientContext call;
    auto reader = client.devices().ProfileModel(&call, request);
    v1::ProfileModelUpdate update;
    v1::TaskResult result;
    bool has_result = false;
    int frame = 0;
    while (reader->Read(&update)) {
      if (update.has_result()) {
        result = update.result();
        has_result = true;
      } else if (context->err_is_terminal) {
        constexpr const char* kFrames[] = {"⠋", "⠙", "⠹", "⠸", "⠼", "⠴"};
        *context->err << "\r\x1b[K" << kFrames[frame++ % 6] << " "
                      << Printable(update.note()) << std::flush;
      } else {
        *context->err << Printable(update.note()) << "\n";
      }
    }
    if (context->err_is_terminal) *context->err << "\r\x1b[K" << std::flush;
    HWNAS_RETURN_IF_ERROR(client.ToStatus(reader->Finish()));
    if (!has_result) return absl::InternalError("the device sent no result");
    if (!result.error().empty()) {
      return absl::InternalError(absl::StrCat("the measurement failed: ",
                                              Printable(result.error(), 400)));
    }
    Table table({{"metric", "metric"},
                 {"value", "value", true},
                 {"unit", "unit"},
                 {"ci_low", "95 % from", true},
                 {"ci_high", "to", true},
                 {"samples", "samples", true},
                 {"device", "device"},
                 {"flags", "remarks"}});
    for (const v1::Measurement& m : result.measurements()) {
      table.Add({m.metric(), Cell::Number(m.value()), m.unit(),
                 m.has_ci_low() ? Cell::Number(m.ci_low()) : Cell(),
                 m.has_ci_high() ? Cell::Number(m.ci_high()) : Cell(),
                 Cell::Integer(m.sample_count()), m.device(),
                 absl::StrJoin(m.flags(), "; ")});
    }
    *context->out << table.Render(context->format());
    if (context->format() == OutputFormat::kTable) {
      const v1::Environment& e = result.environment();
      *context->out << "\non " << Printable(e.cpu_model()) << ", "
                    << Printable(e.runtime()) << ", " << e.threads()
                    << " thread" << (e.threads() == 1 ? "" : "s")
                    << (e.cpu_governor().empty()
                            ? ""
                            : ", governor " + Printable(e.cpu_governor()))
                    << "\n";
      if (result.has_energy()) {
        *context->out << "energy of "
                      << Printable(result.energy().source().includes()) << "\n";
      }
    }
    // Beside the table, so that the output of a script stays what it is.
    for (const v1::MissingMetric& missing : result.missing_metrics()) {
      *context->err << "hwnas: no " << Printable(missing.metric()) << ": "
                    << Printable(missing.reason(), 400) << "\n";
    }
    return absl::OkStatus();
  });
}

}  // namespace hwnas::cli
