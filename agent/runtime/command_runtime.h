// Programs that measure a model by themselves, such as trtexec: what to start,
// and where in their output the numbers are. A description is data in JSON;
// ours (the presets) and a user's are written alike. See docs/runtimes.md.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "hwnas/v1/fleet_service.pb.h"

namespace hwnas::agent {

// Where one number, or a list of them, stands.
struct CommandResult {
  // Below the command's folder. Empty: in what it prints.
  std::string file;
  // RE2; the group "value" or the first one is the number. Exactly one of both
  // is set.
  std::string regex;
  // JSON pointer (RFC 6901), in which "*" stands for each element of an array.
  std::string json;
  // From the tool's unit to ours: milliseconds, or 1e6 bytes.
  double scale = 1;
};

struct CommandRuntime {
  // As in v1.MeasureSpec.runtime. A user's own begin with "x-".
  std::string name;
  // Program and arguments; {model}, {threads}, {batch}, {seconds}, {precision}
  // and {folder} are replaced.
  std::vector<std::string> command;
  // Further arguments for each precision that it has.
  std::map<std::string, std::vector<std::string>> precisions = {{"fp32", {}}};
  // Give it a file that we have quantised if int8 is asked for.
  bool quantize = false;
  // Reads TensorFlow Lite files. Else ONNX.
  bool reads_tflite = false;
  // Makes {model} of the ONNX file {onnx}. Empty: nothing does.
  std::vector<std::string> convert;
  // Files and folders that it needs to read beside the system's.
  std::vector<std::string> reads;
  // "median", "mean", "p90", "p99", "samples" (latencies); "count";
  // "load", "first" (times); "peak_memory"; "version" (a text).
  std::map<std::string, CommandResult> results;

  // Whether it can measure ONNX files, and so everything that studies ask for.
  bool takes_onnx() const { return !reads_tflite || !convert.empty(); }
};

// The runtimes of a file {"runtimes": [{...}]}; comments are allowed. An entry
// may take what it does not say from a preset: {"name": "x-fast", "preset":
// "trtexec", ...}. INVALID_ARGUMENT says where it is wrong: unknown keys and
// placeholders, names that do not begin with "x-", regular expressions that do
// not compile.
absl::StatusOr<std::vector<CommandRuntime>> ParseCommandRuntimes(
    absl::string_view json);

// trtexec, benchmark_model and onnxruntime_perf_test.
const std::vector<CommandRuntime>& PresetCommandRuntimes();

// The same with the paths of its programs, looked for as a shell does.
// NOT_FOUND if there is none that may be executed.
absl::StatusOr<CommandRuntime> FindPrograms(CommandRuntime runtime);

// As Hello announces it.
v1::RuntimeCapability CapabilityOf(const CommandRuntime& runtime);

// The command with its placeholders replaced. All must be in `values`.
std::vector<std::string> FillIn(
    const std::vector<std::string>& command,
    const std::map<std::string, std::string>& values);

// What a command told. What it did not tell is unset.
struct CommandReport {
  std::optional<double> median_ms;
  std::optional<double> mean_ms;
  std::optional<double> p90_ms;
  std::optional<double> p99_ms;
  std::vector<double> samples_ms;  // One for each inference.
  std::optional<int64_t> count;
  std::optional<double> load_ms;
  std::optional<double> first_ms;
  std::optional<double> peak_memory_mb;
  std::string version;
};

// Reads `output` and the files in `folder`. INTERNAL, naming the expression and
// what there was instead, if there is no latency. Both are foreign: bounded,
// and read in linear time.
absl::StatusOr<CommandReport> ReadCommandReport(const CommandRuntime& runtime,
                                                absl::string_view output,
                                                const std::string& folder);

}  // namespace hwnas::agent
