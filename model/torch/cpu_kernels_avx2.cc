// The kernels once more, for processors with AVX2 and FMA.
#define HWNAS_KERNELS_AVX2
#include "model/torch/cpu_kernels.cc"  // NOLINT(bugprone-suspicious-include)
