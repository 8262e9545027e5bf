// Inner loops over channels-last (NHWC) float data that LibTorch has no quick
// form of: batch normalisation and the 3x3 average of NAS-Bench-201. Plain
// pointers, no allocation, single-threaded: the callers split the work.
//
// The file is compiled twice on x86_64, for AVX2 with FMA and for any
// processor; CpuKernels() takes the best one the machine runs.
#pragma once

#include <cstdint>

namespace hwnas {

struct CpuKernelTable {
  const char* name;

  // Mean of each of `channels` columns over `rows` rows (rows > 0), and the sum
  // of squared distances from it.
  void (*column_moments)(const float* x, int64_t rows, int64_t channels,
                         float* mean, float* m2);
  // y = x * scale + shift by column; then max(y, 0) if `relu`.
  void (*scale_shift)(const float* x, int64_t rows, int64_t channels,
                      const float* scale, const float* shift, bool relu,
                      float* y);
  // Column sums of g and of g * (x - mean). Where `y` is given, g counts only
  // where y > 0 (a fused ReLU).
  void (*backward_sums)(const float* g, const float* x, const float* y,
                        int64_t rows, int64_t channels, const float* mean,
                        float* sum_g, float* sum_g_x);
  // gx = g * a + x * b + c by column, with the same masking of g.
  void (*backward_apply)(const float* g, const float* x, const float* y,
                         int64_t rows, int64_t channels, const float* a,
                         const float* b, const float* c, float* gx);
  // 3x3 mean, stride 1, padding 1 that does not count, of one image {H, W, C}.
  // `scratch` holds 3 * width * channels floats.
  void (*average_3x3)(const float* x, int64_t height, int64_t width,
                      int64_t channels, float* scratch, float* y);
  // Its adjoint. `scratch` holds 4 * width * channels floats.
  void (*average_3x3_backward)(const float* g, int64_t height, int64_t width,
                               int64_t channels, float* scratch, float* gx);
};

// Never changes while the process lives. Thread-safe.
const CpuKernelTable& CpuKernels();

namespace cpu_kernels_generic {
extern const CpuKernelTable kTable;
}
namespace cpu_kernels_avx2 {
extern const CpuKernelTable kTable;
}

}  // namespace hwnas
