// Times inferences by ONNX Runtime in a bare loop, without any code of hwnas:
// to compare hwnas-agent with.
//   time_plainly MODEL.onnx SECONDS CORE
// One thread on CORE, normally distributed input, half a second of warm-up.
// Prints the median milliseconds of one inference.
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <random>
#include <stdexcept>
#include <vector>

#include "onnxruntime_cxx_api.h"

namespace {

using Clock = std::chrono::steady_clock;

double Time(const char* model, double seconds, int core) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  CPU_SET(core, &cores);
  if (sched_setaffinity(0, sizeof(cores), &cores) != 0) {
    throw std::runtime_error("cannot run on that core");
  }
  const Ort::Env env(ORT_LOGGING_LEVEL_ERROR);
  Ort::SessionOptions options;
  options.SetIntraOpNumThreads(1);
  options.SetInterOpNumThreads(1);
  options.SetGraphOptimizationLevel(ORT_ENABLE_ALL);
  Ort::Session session(env, model, options);

  const Ort::AllocatorWithDefaultOptions allocator;
  const auto input_name = session.GetInputNameAllocated(0, allocator);
  const auto output_name = session.GetOutputNameAllocated(0, allocator);
  std::vector<int64_t> shape =
      session.GetInputTypeInfo(0).GetTensorTypeAndShapeInfo().GetShape();
  for (int64_t& size : shape) size = std::max<int64_t>(size, 1);
  auto input =
      Ort::Value::CreateTensor<float>(allocator, shape.data(), shape.size());
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  const size_t count = input.GetTensorTypeAndShapeInfo().GetElementCount();
  std::generate_n(input.GetTensorMutableData<float>(), count,
                  [&] { return normal(random); });

  const char* input_names[] = {input_name.get()};
  const char* output_names[] = {output_name.get()};
  const auto run_until = [&](Clock::time_point end) {
    std::vector<double> ms;
    for (Clock::time_point begin = Clock::now(); begin < end;) {
      session.Run(Ort::RunOptions{nullptr}, input_names, &input, 1,
                  output_names, 1);
      const Clock::time_point now = Clock::now();
      ms.push_back(
          std::chrono::duration<double, std::milli>(now - begin).count());
      begin = now;
    }
    return ms;
  };
  run_until(Clock::now() + std::chrono::milliseconds(500));
  std::vector<double> ms =
      run_until(Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                   std::chrono::duration<double>(seconds)));
  const auto middle = ms.begin() + static_cast<ptrdiff_t>(ms.size() / 2);
  std::nth_element(ms.begin(), middle, ms.end());
  return *middle;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: time_plainly MODEL.onnx SECONDS CORE\n");
    return 2;
  }
  try {
    std::printf("%.6f\n",
                Time(argv[1], std::atof(argv[2]), std::atoi(argv[3])));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "time_plainly: %s\n", error.what());
    return 1;
  }
  return 0;
}
