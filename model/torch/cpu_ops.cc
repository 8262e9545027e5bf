#include "model/torch/cpu_ops.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "ATen/Parallel.h"
#include "model/torch/cpu_kernels.h"

namespace hwnas {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Rows are split the same way whatever the number of threads, so that sums do
// not depend on it.
constexpr int64_t kFloatsPerChunk = 1 << 15;

struct Chunks {
  Chunks(int64_t rows, int64_t channels)
      : rows(rows),
        size(std::max<int64_t>(
            1, kFloatsPerChunk / std::max<int64_t>(1, channels))),
        count((rows + size - 1) / size) {}
  int64_t begin(int64_t chunk) const { return chunk * size; }
  int64_t length(int64_t chunk) const {
    return std::min(size, rows - chunk * size);
  }

  const int64_t rows;
  const int64_t size;
  const int64_t count;
};

// Calls body(chunk) for every chunk, on all threads.
template <typename Body>
void ForEachChunk(const Chunks& chunks, const Body& body) {
  at::parallel_for(0, chunks.count, 1, [&](int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; ++chunk) body(chunk);
  });
}

Tensor EmptyLike(const Tensor& x) {
  return at::empty(x.sizes(), x.options(), at::MemoryFormat::ChannelsLast);
}

Tensor ChannelsLast(const Tensor& x) {
  return x.contiguous(at::MemoryFormat::ChannelsLast);
}

class BatchNormFunction : public torch::autograd::Function<BatchNormFunction> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& input,
                        const Tensor& weight, const Tensor& bias,
                        const Tensor& running_mean, const Tensor& running_var,
                        double momentum, double eps, bool relu) {
    const CpuKernelTable& kernels = CpuKernels();
    const Tensor x = ChannelsLast(input);
    const int64_t channels = x.size(1);
    const int64_t rows = x.numel() / channels;
    TORCH_CHECK(rows > 1,
                "batch normalisation needs more than one value per channel");
    const Chunks chunks(rows, channels);
    const float* const in = x.data_ptr<float>();

    std::vector<float> moments(2 * chunks.count * channels);
    ForEachChunk(chunks, [&](int64_t chunk) {
      float* const mean = moments.data() + 2 * chunk * channels;
      kernels.column_moments(in + chunks.begin(chunk) * channels,
                             chunks.length(chunk), channels, mean,
                             mean + channels);
    });
    // Chan, Golub and LeVeque's pairwise update, in double, in order.
    Tensor mean = at::empty({channels}, x.options());
    Tensor inverse_std = at::empty({channels}, x.options());
    Tensor scale = at::empty({channels}, x.options());
    Tensor shift = at::empty({channels}, x.options());
    const float* const w = weight.data_ptr<float>();
    const float* const b = bias.data_ptr<float>();
    float* const mean_out = mean.data_ptr<float>();
    float* const inverse_out = inverse_std.data_ptr<float>();
    float* const scale_out = scale.data_ptr<float>();
    float* const shift_out = shift.data_ptr<float>();
    float* const running_m = running_mean.data_ptr<float>();
    float* const running_v = running_var.data_ptr<float>();
    for (int64_t c = 0; c < channels; ++c) {
      double total_mean = 0;
      double total_m2 = 0;
      double seen = 0;
      for (int64_t chunk = 0; chunk < chunks.count; ++chunk) {
        const double n = static_cast<double>(chunks.length(chunk));
        const double chunk_mean = moments[2 * chunk * channels + c];
        const double chunk_m2 = moments[(2 * chunk + 1) * channels + c];
        const double delta = chunk_mean - total_mean;
        const double both = seen + n;
        total_mean += delta * n / both;
        total_m2 += chunk_m2 + delta * delta * seen * n / both;
        seen = both;
      }
      const double variance = total_m2 / seen;
      const double inverse = 1 / std::sqrt(variance + eps);
      mean_out[c] = static_cast<float>(total_mean);
      inverse_out[c] = static_cast<float>(inverse);
      scale_out[c] = static_cast<float>(w[c] * inverse);
      shift_out[c] = static_cast<float>(b[c] - total_mean * w[c] * inverse);
      running_m[c] = static_cast<float>((1 - momentum) * running_m[c] +
                                        momentum * total_mean);
      running_v[c] = static_cast<float>((1 - momentum) * running_v[c] +
                                        momentum * total_m2 / (seen - 1));
    }

    Tensor y = EmptyLike(x);
    float* const out = y.data_ptr<float>();
    ForEachChunk(chunks, [&](int64_t chunk) {
      const int64_t at = chunks.begin(chunk) * channels;
      kernels.scale_shift(in + at, chunks.length(chunk), channels, scale_out,
                          shift_out, relu, out + at);
    });
    context->saved_data["relu"] = relu;
    context->save_for_backward(
        {x, weight, mean, inverse_std, relu ? y : Tensor()});
    return y;
  }

  static variable_list backward(AutogradContext* context,
                                const variable_list& gradients) {
    const CpuKernelTable& kernels = CpuKernels();
    const variable_list saved = context->get_saved_variables();
    const bool relu = context->saved_data["relu"].toBool();
    const Tensor& x = saved[0];
    const Tensor g = ChannelsLast(gradients[0]);
    const int64_t channels = x.size(1);
    const int64_t rows = x.numel() / channels;
    const Chunks chunks(rows, channels);
    const float* const in = x.data_ptr<float>();
    const float* const grad = g.data_ptr<float>();
    const float* const out = relu ? saved[4].data_ptr<float>() : nullptr;
    const float* const w = saved[1].data_ptr<float>();
    const float* const mean = saved[2].data_ptr<float>();
    const float* const inverse = saved[3].data_ptr<float>();

    std::vector<float> sums(2 * chunks.count * channels);
    ForEachChunk(chunks, [&](int64_t chunk) {
      const int64_t at = chunks.begin(chunk) * channels;
      float* const sum = sums.data() + 2 * chunk * channels;
      kernels.backward_sums(
          grad + at, in + at, out == nullptr ? nullptr : out + at,
          chunks.length(chunk), channels, mean, sum, sum + channels);
    });
    Tensor grad_weight = at::empty({channels}, x.options());
    Tensor grad_bias = at::empty({channels}, x.options());
    float* const gw = grad_weight.data_ptr<float>();
    float* const gb = grad_bias.data_ptr<float>();
    // gx = w inverse (g - mean(g) - xhat mean(g xhat)), as g a + x b + c.
    std::vector<float> abc(3 * channels);
    for (int64_t c = 0; c < channels; ++c) {
      double sum_g = 0;
      double sum_g_x = 0;
      for (int64_t chunk = 0; chunk < chunks.count; ++chunk) {
        sum_g += sums[2 * chunk * channels + c];
        sum_g_x += sums[(2 * chunk + 1) * channels + c];
      }
      const double inv = inverse[c];
      gb[c] = static_cast<float>(sum_g);
      gw[c] = static_cast<float>(sum_g_x * inv);
      const double n = static_cast<double>(rows);
      const double a = w[c] * inv;
      const double b = -a * inv * inv * sum_g_x / n;
      abc[c] = static_cast<float>(a);
      abc[channels + c] = static_cast<float>(b);
      abc[2 * channels + c] = static_cast<float>(-a * sum_g / n - b * mean[c]);
    }
    Tensor grad_x;
    if (context->needs_input_grad(0)) {
      grad_x = EmptyLike(x);
      float* const gx = grad_x.data_ptr<float>();
      ForEachChunk(chunks, [&](int64_t chunk) {
        const int64_t at = chunks.begin(chunk) * channels;
        kernels.backward_apply(
            grad + at, in + at, out == nullptr ? nullptr : out + at,
            chunks.length(chunk), channels, abc.data(), abc.data() + channels,
            abc.data() + 2 * channels, gx + at);
      });
    }
    return {grad_x,   grad_weight, grad_bias, Tensor(),
            Tensor(), Tensor(),    Tensor(),  Tensor()};
  }
};

template <typename Kernel>
Tensor Average(const Tensor& x, int64_t scratch_rows, const Kernel& kernel) {
  const int64_t channels = x.size(1);
  const int64_t height = x.size(2);
  const int64_t width = x.size(3);
  Tensor y = EmptyLike(x);
  const float* const in = x.data_ptr<float>();
  float* const out = y.data_ptr<float>();
  const int64_t image = height * width * channels;
  at::parallel_for(0, x.size(0), 1, [&](int64_t begin, int64_t end) {
    std::vector<float> scratch(scratch_rows * width * channels);
    for (int64_t i = begin; i < end; ++i) {
      kernel(in + i * image, height, width, channels, scratch.data(),
             out + i * image);
    }
  });
  return y;
}

class Average3x3Function
    : public torch::autograd::Function<Average3x3Function> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& x) {
    return Average(ChannelsLast(x), 3, CpuKernels().average_3x3);
  }
  static variable_list backward(AutogradContext* context,
                                const variable_list& gradients) {
    return {Average(ChannelsLast(gradients[0]), 4,
                    CpuKernels().average_3x3_backward)};
  }
};

}  // namespace

bool SuitsCpuOps(const Tensor& x) {
  return x.is_cpu() && x.dim() == 4 && x.scalar_type() == torch::kFloat &&
         x.numel() > 0 && x.is_contiguous(at::MemoryFormat::ChannelsLast);
}

Tensor BatchNormTraining(const Tensor& x, const Tensor& weight,
                         const Tensor& bias, const Tensor& running_mean,
                         const Tensor& running_var, double momentum, double eps,
                         bool relu) {
  return BatchNormFunction::apply(x, weight, bias, running_mean, running_var,
                                  momentum, eps, relu);
}

Tensor BatchNormInference(const Tensor& x, const Tensor& weight,
                          const Tensor& bias, const Tensor& running_mean,
                          const Tensor& running_var, double eps, bool relu) {
  const Tensor scale = weight / torch::sqrt(running_var + eps);
  const Tensor shift = bias - running_mean * scale;
  const int64_t channels = x.size(1);
  const Chunks chunks(x.numel() / channels, channels);
  Tensor y = EmptyLike(x);
  const float* const in = x.data_ptr<float>();
  const float* const s = scale.data_ptr<float>();
  const float* const t = shift.data_ptr<float>();
  float* const out = y.data_ptr<float>();
  ForEachChunk(chunks, [&](int64_t chunk) {
    const int64_t at = chunks.begin(chunk) * channels;
    CpuKernels().scale_shift(in + at, chunks.length(chunk), channels, s, t,
                             relu, out + at);
  });
  return y;
}

Tensor Average3x3(const Tensor& x) { return Average3x3Function::apply(x); }

}  // namespace hwnas
