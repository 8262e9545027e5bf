// Compiled once for any processor and, on x86_64, once more with
// HWNAS_KERNELS_AVX2 and the compiler's AVX2 flags. Uses nothing from the
// standard library, so that no shared inline function is built with AVX2.
#include "model/torch/cpu_kernels.h"

namespace hwnas {

#ifdef HWNAS_KERNELS_AVX2
namespace cpu_kernels_avx2 {
#else
namespace cpu_kernels_generic {
#endif

namespace {

template <int W>
void ColumnMomentsBlock(const float* __restrict x, int64_t rows, int64_t stride,
                        float* __restrict mean, float* __restrict m2) {
  float sum[W] = {};
  for (int64_t r = 0; r < rows; ++r) {
    for (int c = 0; c < W; ++c) sum[c] += x[r * stride + c];
  }
  const float inverse = 1.0f / static_cast<float>(rows);
  float centre[W];
  for (int c = 0; c < W; ++c) centre[c] = sum[c] * inverse;
  float squares[W] = {};
  for (int64_t r = 0; r < rows; ++r) {
    for (int c = 0; c < W; ++c) {
      const float d = x[r * stride + c] - centre[c];
      squares[c] += d * d;
    }
  }
  for (int c = 0; c < W; ++c) {
    mean[c] = centre[c];
    m2[c] = squares[c];
  }
}

void ColumnMoments(const float* x, int64_t rows, int64_t channels, float* mean,
                   float* m2) {
  int64_t c = 0;
  for (; c + 32 <= channels; c += 32) {
    ColumnMomentsBlock<32>(x + c, rows, channels, mean + c, m2 + c);
  }
  for (; c + 8 <= channels; c += 8) {
    ColumnMomentsBlock<8>(x + c, rows, channels, mean + c, m2 + c);
  }
  for (; c < channels; ++c) {
    ColumnMomentsBlock<1>(x + c, rows, channels, mean + c, m2 + c);
  }
}

template <bool kRelu>
void ScaleShiftImpl(const float* __restrict x, int64_t rows, int64_t channels,
                    const float* __restrict scale,
                    const float* __restrict shift, float* __restrict y) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* __restrict in = x + r * channels;
    float* __restrict out = y + r * channels;
    for (int64_t c = 0; c < channels; ++c) {
      const float v = in[c] * scale[c] + shift[c];
      // Written so that NaN stays NaN.
      out[c] = kRelu ? (v < 0 ? 0.0f : v) : v;
    }
  }
}

void ScaleShift(const float* x, int64_t rows, int64_t channels,
                const float* scale, const float* shift, bool relu, float* y) {
  if (relu) {
    ScaleShiftImpl<true>(x, rows, channels, scale, shift, y);
  } else {
    ScaleShiftImpl<false>(x, rows, channels, scale, shift, y);
  }
}

template <int W, bool kMask>
void BackwardSumsBlock(const float* __restrict g, const float* __restrict x,
                       const float* __restrict y, int64_t rows, int64_t stride,
                       const float* __restrict mean, float* __restrict sum_g,
                       float* __restrict sum_g_x) {
  float a[W] = {};
  float b[W] = {};
  float m[W];
  for (int c = 0; c < W; ++c) m[c] = mean[c];
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t at = r * stride;
    for (int c = 0; c < W; ++c) {
      const float gv = kMask ? (y[at + c] > 0 ? g[at + c] : 0.0f) : g[at + c];
      a[c] += gv;
      b[c] += gv * (x[at + c] - m[c]);
    }
  }
  for (int c = 0; c < W; ++c) {
    sum_g[c] = a[c];
    sum_g_x[c] = b[c];
  }
}

template <bool kMask>
void BackwardSumsImpl(const float* g, const float* x, const float* y,
                      int64_t rows, int64_t channels, const float* mean,
                      float* sum_g, float* sum_g_x) {
  const float* mask = kMask ? y : x;
  int64_t c = 0;
  for (; c + 16 <= channels; c += 16) {
    BackwardSumsBlock<16, kMask>(g + c, x + c, mask + c, rows, channels,
                                 mean + c, sum_g + c, sum_g_x + c);
  }
  for (; c + 8 <= channels; c += 8) {
    BackwardSumsBlock<8, kMask>(g + c, x + c, mask + c, rows, channels,
                                mean + c, sum_g + c, sum_g_x + c);
  }
  for (; c < channels; ++c) {
    BackwardSumsBlock<1, kMask>(g + c, x + c, mask + c, rows, channels,
                                mean + c, sum_g + c, sum_g_x + c);
  }
}

void BackwardSums(const float* g, const float* x, const float* y, int64_t rows,
                  int64_t channels, const float* mean, float* sum_g,
                  float* sum_g_x) {
  if (y != nullptr) {
    BackwardSumsImpl<true>(g, x, y, rows, channels, mean, sum_g, sum_g_x);
  } else {
    BackwardSumsImpl<false>(g, x, y, rows, channels, mean, sum_g, sum_g_x);
  }
}

template <bool kMask>
void BackwardApplyImpl(const float* __restrict g, const float* __restrict x,
                       const float* __restrict y, int64_t rows,
                       int64_t channels, const float* __restrict a,
                       const float* __restrict b, const float* __restrict c,
                       float* __restrict gx) {
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t at = r * channels;
    for (int64_t i = 0; i < channels; ++i) {
      const float gv = kMask ? (y[at + i] > 0 ? g[at + i] : 0.0f) : g[at + i];
      gx[at + i] = gv * a[i] + x[at + i] * b[i] + c[i];
    }
  }
}

void BackwardApply(const float* g, const float* x, const float* y, int64_t rows,
                   int64_t channels, const float* a, const float* b,
                   const float* c, float* gx) {
  if (y != nullptr) {
    BackwardApplyImpl<true>(g, x, y, rows, channels, a, b, c, gx);
  } else {
    BackwardApplyImpl<false>(g, x, x, rows, channels, a, b, c, gx);
  }
}

// out[w] = row[w-1] + row[w] + row[w+1], pixels of `channels` floats.
void SumOfThreeColumns(const float* __restrict row, int64_t width,
                       int64_t channels, float* __restrict out) {
  const int64_t n = width * channels;
  for (int64_t i = 0; i < n; ++i) out[i] = row[i];
  for (int64_t i = channels; i < n; ++i) out[i] += row[i - channels];
  for (int64_t i = 0; i < n - channels; ++i) out[i] += row[i + channels];
}

// out[w] = row[w] / (columns counted at w * rows_counted); in place if equal.
void DivideByCount(const float* row, int64_t width, int64_t channels,
                   int rows_counted, float* out) {
  const float inner = 1.0f / static_cast<float>(3 * rows_counted);
  const float edge =
      1.0f / static_cast<float>((width > 1 ? 2 : 1) * rows_counted);
  for (int64_t i = 0; i < channels; ++i) out[i] = row[i] * edge;
  const int64_t last = (width - 1) * channels;
  for (int64_t i = channels; i < last; ++i) out[i] = row[i] * inner;
  if (width > 1) {
    for (int64_t i = last; i < last + channels; ++i) out[i] = row[i] * edge;
  }
}

int RowsCounted(int64_t y, int64_t height) {
  return 1 + (y > 0 ? 1 : 0) + (y + 1 < height ? 1 : 0);
}

void Average3x3(const float* x, int64_t height, int64_t width, int64_t channels,
                float* scratch, float* y) {
  const int64_t n = width * channels;
  SumOfThreeColumns(x, width, channels, scratch);
  for (int64_t r = 0; r < height; ++r) {
    if (r + 1 < height) {
      SumOfThreeColumns(x + (r + 1) * n, width, channels,
                        scratch + ((r + 1) % 3) * n);
    }
    const float* __restrict centre = scratch + (r % 3) * n;
    float* __restrict out = y + r * n;
    if (r > 0 && r + 1 < height) {
      const float* __restrict above = scratch + ((r + 2) % 3) * n;
      const float* __restrict below = scratch + ((r + 1) % 3) * n;
      for (int64_t i = 0; i < n; ++i) out[i] = above[i] + centre[i] + below[i];
    } else {
      for (int64_t i = 0; i < n; ++i) out[i] = centre[i];
      if (r > 0) {
        const float* __restrict above = scratch + ((r + 2) % 3) * n;
        for (int64_t i = 0; i < n; ++i) out[i] += above[i];
      }
      if (r + 1 < height) {
        const float* __restrict below = scratch + ((r + 1) % 3) * n;
        for (int64_t i = 0; i < n; ++i) out[i] += below[i];
      }
    }
    DivideByCount(out, width, channels, RowsCounted(r, height), out);
  }
}

void Average3x3Backward(const float* g, int64_t height, int64_t width,
                        int64_t channels, float* scratch, float* gx) {
  const int64_t n = width * channels;
  float* const divided = scratch + 3 * n;
  DivideByCount(g, width, channels, RowsCounted(0, height), divided);
  SumOfThreeColumns(divided, width, channels, scratch);
  for (int64_t r = 0; r < height; ++r) {
    if (r + 1 < height) {
      DivideByCount(g + (r + 1) * n, width, channels,
                    RowsCounted(r + 1, height), divided);
      SumOfThreeColumns(divided, width, channels, scratch + ((r + 1) % 3) * n);
    }
    const float* __restrict centre = scratch + (r % 3) * n;
    const float* __restrict above = scratch + ((r + 2) % 3) * n;
    const float* __restrict below = scratch + ((r + 1) % 3) * n;
    float* __restrict out = gx + r * n;
    if (r > 0 && r + 1 < height) {
      for (int64_t i = 0; i < n; ++i) out[i] = above[i] + centre[i] + below[i];
    } else {
      for (int64_t i = 0; i < n; ++i) out[i] = centre[i];
      if (r > 0) {
        for (int64_t i = 0; i < n; ++i) out[i] += above[i];
      }
      if (r + 1 < height) {
        for (int64_t i = 0; i < n; ++i) out[i] += below[i];
      }
    }
  }
}

}  // namespace

const CpuKernelTable kTable = {
#ifdef HWNAS_KERNELS_AVX2
    "avx2",
#else
    "generic",
#endif
    ColumnMoments, ScaleShift, BackwardSums,
    BackwardApply, Average3x3, Average3x3Backward,
};

}  // namespace cpu_kernels_avx2 or cpu_kernels_generic

#ifndef HWNAS_KERNELS_AVX2
const CpuKernelTable& CpuKernels() {
#ifdef __x86_64__
  static const CpuKernelTable& table =
      __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
          ? cpu_kernels_avx2::kTable
          : cpu_kernels_generic::kTable;
  return table;
#else
  return cpu_kernels_generic::kTable;
#endif
}
#endif

}  // namespace hwnas
