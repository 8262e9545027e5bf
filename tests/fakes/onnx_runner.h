// Runs an ONNX file in ONNX Runtime, for tests.
#pragma once

#include <onnxruntime_cxx_api.h>

#include <string>
#include <vector>

namespace hwnas {

// `input` holds the whole batch. Throws Ort::Exception, which fails the test.
inline std::vector<float> RunOnnx(const std::string& model,
                                  std::vector<float> input) {
  static Ort::Env env(ORT_LOGGING_LEVEL_ERROR, "test");
  Ort::SessionOptions options;
  options.SetIntraOpNumThreads(1);
  Ort::Session session(env, model.data(), model.size(), options);
  const std::vector<int64_t> dims =
      session.GetInputTypeInfo(0).GetTensorTypeAndShapeInfo().GetShape();
  const auto memory =
      Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  const Ort::Value image = Ort::Value::CreateTensor<float>(
      memory, input.data(), input.size(), dims.data(), dims.size());
  const char* const inputs[] = {"image"};
  const char* const outputs[] = {"logits"};
  std::vector<Ort::Value> results =
      session.Run(Ort::RunOptions{nullptr}, inputs, &image, 1, outputs, 1);
  const float* data = results[0].GetTensorData<float>();
  return {data,
          data + results[0].GetTensorTypeAndShapeInfo().GetElementCount()};
}

}  // namespace hwnas
