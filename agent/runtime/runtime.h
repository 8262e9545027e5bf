// What is measured, apart from how it is measured.
//
//   HWNAS_ASSIGN_OR_RETURN(auto session, runtime.Load(onnx, {.threads = 1}));
//   HWNAS_RETURN_IF_ERROR(session->Run());
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hwnas::agent {

struct SessionOptions {
  // Threads of one inference, from 1. They are made when the session is, and
  // inherit the affinity of the thread that loads it.
  int threads = 1;
  // Takes the place of a free first dimension of the inputs; a fixed one must
  // be equal. 0: as the file says, 1 where it does not.
  int batch = 0;
  // Of the input values.
  uint64_t seed = 1;
};

// A loaded model with its input in place. Used by one thread.
class Session {
 public:
  virtual ~Session() = default;
  // One inference; the output is discarded.
  virtual absl::Status Run() = 0;
  // One inference, and the values of its outputs, one output after another.
  // UNIMPLEMENTED if the runtime does not show them.
  virtual absl::StatusOr<std::vector<float>> RunForOutputs() {
    return absl::UnimplementedError("this runtime does not show its outputs");
  }
};

// Thread-safe.
class Runtime {
 public:
  virtual ~Runtime() = default;
  // "onnxruntime": as in v1.MeasureSpec.runtime.
  virtual std::string name() const = 0;
  // "onnxruntime 1.30.0".
  virtual std::string description() const = 0;
  // `model` is hostile. INVALID_ARGUMENT if it is not a model that can run
  // here: no other machine could run it either. It need not outlive the call.
  virtual absl::StatusOr<std::unique_ptr<Session>> Load(
      absl::string_view model, const SessionOptions& options) = 0;
};

}  // namespace hwnas::agent
