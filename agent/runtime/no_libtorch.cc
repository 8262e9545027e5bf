// In place of libtorch_runtime.cc where LibTorch is not built in.
#include "agent/runtime/libtorch_runtime.h"

namespace hwnas::agent {

RuntimeFactory LibtorchRuntimeFactory() { return nullptr; }

}  // namespace hwnas::agent
