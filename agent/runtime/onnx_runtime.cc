#include "agent/runtime/onnx_runtime.h"

// The library's version is checked before the first call.
#define ORT_API_MANUAL_INIT
#include <onnxruntime_cxx_api.h>
#include <onnxruntime_session_options_config_keys.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/types/span.h"
#include "common/limits.h"
#include "common/rng.h"
#include "common/status_macros.h"

namespace hwnas::agent {
namespace {

constexpr size_t kMaxInputs = 64;
// Floats of all inputs together: 1 GiB.
constexpr int64_t kMaxInputElements = int64_t{1} << 28;
// Where files that a model refers to would be looked for: a folder that does
// not exist, since a model from the network may read no file.
constexpr char kNoFolder[] = "/proc/self/fd/none";

// The library's error as ours.
absl::Status FromOrt(absl::string_view what, const Ort::Exception& error) {
  absl::StatusCode code;
  switch (error.GetOrtErrorCode()) {
    case ORT_NOT_IMPLEMENTED:
    case ORT_INVALID_ARGUMENT:
    case ORT_INVALID_PROTOBUF:
    case ORT_INVALID_GRAPH:
    case ORT_NO_SUCHFILE:
    case ORT_FAIL:
      code = absl::StatusCode::kInvalidArgument;
      break;
    default:
      code = absl::StatusCode::kInternal;
  }
  // The library has no code for it.
  if (absl::StrContains(error.what(), "Failed to allocate memory")) {
    code = absl::StatusCode::kResourceExhausted;
  }
  return absl::Status(code, absl::StrCat(what, ": ", error.what()));
}

// Runs `body`, which may throw as the library does.
template <typename Body>
auto Guarded(absl::string_view what, Body body) -> decltype(body()) {
  try {
    return body();
  } catch (const Ort::Exception& error) {
    return FromOrt(what, error);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(absl::StrCat(what, ": out of memory"));
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat(what, ": ", error.what()));
  }
}

absl::Status CheckSize(absl::string_view model) {
  if (!model.empty() && model.size() <= kMaxOnnxBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "the model has ", model.size(), " bytes: expected 1 to ", kMaxOnnxBytes));
}

class OnnxSession final : public Session {
 public:
  static absl::StatusOr<std::unique_ptr<OnnxSession>> Create(
      const Ort::Env& env, absl::string_view model,
      const SessionOptions& options,
      GraphOptimizationLevel optimization = ORT_ENABLE_ALL) {
    Ort::SessionOptions settings;
    settings.SetIntraOpNumThreads(options.threads);
    settings.SetInterOpNumThreads(1);
    settings.SetExecutionMode(ORT_SEQUENTIAL);
    settings.SetGraphOptimizationLevel(optimization);
    settings.AddConfigEntry(
        kOrtSessionOptionsModelExternalInitializersFileFolderPath, kNoFolder);
    auto session = absl::WrapUnique(new OnnxSession(
        Ort::Session(env, model.data(), model.size(), settings)));
    const absl::Status status = session->Prepare(options);
    if (!status.ok()) return status;
    return session;
  }

  absl::Status Run() override {
    return Guarded("inference failed", [&] {
      RunOnce();
      return absl::OkStatus();
    });
  }

  absl::StatusOr<std::vector<float>> RunForOutputs() override {
    return Guarded(
        "inference failed", [&]() -> absl::StatusOr<std::vector<float>> {
          std::vector<float> values;
          for (const Ort::Value& output : RunOnce()) {
            const auto floats = Floats(output);
            if (!floats) {
              return absl::UnimplementedError(
                  "an output is not a float32 tensor");
            }
            values.insert(values.end(), floats->begin(), floats->end());
          }
          return values;
        });
  }

  // Widens `ranges` by what one inference with other inputs takes and gives.
  absl::Status Observe(uint64_t seed,
                       std::map<std::string, ValueRange>& ranges) {
    FillInputs(seed);
    return Guarded("inference failed", [&] {
      const std::vector<Ort::Value> values = RunOnce();
      for (size_t i = 0; i < inputs_.size(); ++i) {
        HWNAS_RETURN_IF_ERROR(Widen(input_names_[i], inputs_[i], ranges));
      }
      for (size_t i = 0; i < values.size(); ++i) {
        HWNAS_RETURN_IF_ERROR(Widen(output_names_[i], values[i], ranges));
      }
      return absl::OkStatus();
    });
  }

 private:
  explicit OnnxSession(Ort::Session session) : session_(std::move(session)) {}

  std::vector<Ort::Value> RunOnce() {
    return session_.Run(Ort::RunOptions{nullptr}, input_pointers_.data(),
                        inputs_.data(), inputs_.size(), output_pointers_.data(),
                        output_pointers_.size());
  }

  absl::Status Prepare(const SessionOptions& options) {
    const size_t input_count = session_.GetInputCount();
    const size_t output_count = session_.GetOutputCount();
    if (input_count > kMaxInputs || output_count == 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the model has ", input_count, " inputs and ", output_count,
          " outputs: expected at most ", kMaxInputs, " and at least 1"));
    }
    const Ort::AllocatorWithDefaultOptions allocator;
    int64_t budget = kMaxInputElements;
    for (size_t i = 0; i < input_count; ++i) {
      input_names_.emplace_back(
          session_.GetInputNameAllocated(i, allocator).get());
      const Ort::TypeInfo type = session_.GetInputTypeInfo(i);
      if (type.GetONNXType() != ONNX_TYPE_TENSOR ||
          type.GetTensorTypeAndShapeInfo().GetElementType() !=
              ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT) {
        return absl::InvalidArgumentError(absl::StrCat(
            "input \"", input_names_.back(), "\" is not a float32 tensor"));
      }
      std::vector<int64_t> dims = type.GetTensorTypeAndShapeInfo().GetShape();
      int64_t elements = 1;
      for (size_t d = 0; d < dims.size(); ++d) {
        if (d == 0) {
          if (dims[0] < 0) dims[0] = options.batch > 0 ? options.batch : 1;
          if (options.batch > 0 && dims[0] != options.batch) {
            return absl::InvalidArgumentError(absl::StrCat(
                "input \"", input_names_.back(), "\" has a fixed batch of ",
                dims[0], ", but a batch of ", options.batch, " was asked for"));
          }
        }
        if (dims[d] < 0) {
          return absl::InvalidArgumentError(absl::StrCat(
              "dimension ", d, " of input \"", input_names_.back(),
              "\" is not fixed: only the first one (the batch) may be free"));
        }
        if (dims[d] > 0 && elements > budget / dims[d]) {
          return absl::InvalidArgumentError(absl::StrCat(
              "input \"", input_names_.back(), "\" of {",
              absl::StrJoin(dims, ", "), "} is too large: expected at most ",
              kMaxInputElements, " values in all inputs"));
        }
        elements *= dims[d];
      }
      budget -= elements;
      inputs_.push_back(
          Ort::Value::CreateTensor<float>(allocator, dims.data(), dims.size()));
    }
    FillInputs(options.seed);
    for (size_t i = 0; i < output_count; ++i) {
      output_names_.emplace_back(
          session_.GetOutputNameAllocated(i, allocator).get());
    }
    for (const std::string& name : input_names_) {
      input_pointers_.push_back(name.c_str());
    }
    for (const std::string& name : output_names_) {
      output_pointers_.push_back(name.c_str());
    }
    return absl::OkStatus();
  }

  void FillInputs(uint64_t seed) {
    Rng rng(seed);
    for (Ort::Value& input : inputs_) {
      float* data = input.GetTensorMutableData<float>();
      const size_t count = input.GetTensorTypeAndShapeInfo().GetElementCount();
      for (size_t i = 0; i < count; ++i) {
        data[i] = static_cast<float>(rng.Normal());
      }
    }
  }

  // Unset if it is no float32 tensor.
  static std::optional<absl::Span<const float>> Floats(
      const Ort::Value& value) {
    if (!value.IsTensor()) return std::nullopt;
    const auto info = value.GetTensorTypeAndShapeInfo();
    if (info.GetElementType() != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT) {
      return std::nullopt;
    }
    return absl::Span<const float>(value.GetTensorData<float>(),
                                   info.GetElementCount());
  }

  static absl::Status Widen(const std::string& name, const Ort::Value& value,
                            std::map<std::string, ValueRange>& ranges) {
    const auto floats = Floats(value);
    if (!floats || floats->empty()) return absl::OkStatus();
    const auto [found, added] =
        ranges.try_emplace(name, ValueRange{floats->front(), floats->front()});
    ValueRange& range = found->second;
    for (const float number : *floats) {
      if (!std::isfinite(number)) {
        return absl::InvalidArgumentError(
            absl::StrCat("tensor \"", name.substr(0, 200),
                         "\" is not finite on random inputs"));
      }
      range.low = std::min(range.low, number);
      range.high = std::max(range.high, number);
    }
    return absl::OkStatus();
  }

  Ort::Session session_;
  std::vector<std::string> input_names_, output_names_;
  std::vector<const char*> input_pointers_, output_pointers_;
  std::vector<Ort::Value> inputs_;
};

class OnnxRuntime final : public Runtime {
 public:
  OnnxRuntime() : env_(ORT_LOGGING_LEVEL_FATAL, "hwnas") {
    env_.DisableTelemetryEvents();
  }
  std::string name() const override { return "onnxruntime"; }
  std::string description() const override {
    return absl::StrCat("onnxruntime ", OrtGetApiBase()->GetVersionString());
  }
  absl::StatusOr<std::unique_ptr<Session>> Load(
      absl::string_view model, const SessionOptions& options) override {
    HWNAS_RETURN_IF_ERROR(CheckSize(model));
    return Guarded("the model cannot be loaded",
                   [&]() -> absl::StatusOr<std::unique_ptr<Session>> {
                     return OnnxSession::Create(env_, model, options);
                   });
  }

 private:
  Ort::Env env_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Runtime>> CreateOnnxRuntime() {
  const OrtApi* api = OrtGetApiBase()->GetApi(ORT_API_VERSION);
  if (api == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(
        "libonnxruntime ", OrtGetApiBase()->GetVersionString(),
        " is too old: this program needs version 1.", ORT_API_VERSION,
        " or newer (scripts/install-onnxruntime)"));
  }
  // Before anything is made: the library's ready-made builds otherwise run
  // `blkid` and `hostname`, write logs and a device id, and report home.
  setenv("ORT_DISABLE_TELEMETRY", "1", 1);  // NOLINT(concurrency-mt-unsafe)
  Ort::InitApi(api);
  return Guarded("ONNX Runtime cannot start",
                 []() -> absl::StatusOr<std::unique_ptr<Runtime>> {
                   return std::make_unique<OnnxRuntime>();
                 });
}

absl::StatusOr<std::map<std::string, ValueRange>> ObserveOnnxRanges(
    absl::string_view model, const SessionOptions& options, int rounds) {
  HWNAS_RETURN_IF_ERROR(CheckSize(model));
  // The same one as the runtime's: there is one in a process.
  const Ort::Env env(ORT_LOGGING_LEVEL_FATAL, "hwnas");
  HWNAS_ASSIGN_OR_RETURN(
      const std::unique_ptr<OnnxSession> session,
      Guarded("the model cannot be loaded",
              [&]() -> absl::StatusOr<std::unique_ptr<OnnxSession>> {
                // As it is written, so that each tensor has its name.
                return OnnxSession::Create(env, model, options,
                                           ORT_DISABLE_ALL);
              }));
  std::map<std::string, ValueRange> ranges;
  for (int round = 0; round < rounds; ++round) {
    HWNAS_RETURN_IF_ERROR(session->Observe(options.seed + round, ranges));
  }
  return ranges;
}

}  // namespace hwnas::agent
