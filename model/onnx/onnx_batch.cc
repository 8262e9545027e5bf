#include "model/onnx/onnx_batch.h"

#include <onnx/onnx_pb.h>

#include <set>

#include "absl/strings/str_cat.h"

namespace hwnas {

absl::StatusOr<std::string> FixOnnxBatch(absl::string_view onnx, int batch) {
  onnx::ModelProto model;
  if (!model.ParseFromArray(onnx.data(), static_cast<int>(onnx.size())) ||
      !model.has_graph()) {
    return absl::InvalidArgumentError(
        "the model cannot be read: it is no ONNX file");
  }
  std::set<std::string> constants;
  for (const auto& tensor : model.graph().initializer()) {
    constants.insert(tensor.name());
  }
  bool changed = false;
  for (onnx::ValueInfoProto& input : *model.mutable_graph()->mutable_input()) {
    if (constants.count(input.name()) > 0 || !input.type().has_tensor_type()) {
      continue;
    }
    auto* shape = input.mutable_type()->mutable_tensor_type()->mutable_shape();
    for (int d = 0; d < shape->dim_size(); ++d) {
      auto* dim = shape->mutable_dim(d);
      if (dim->has_dim_value() && dim->dim_value() >= 0) {
        if (d == 0 && batch > 0 && dim->dim_value() != batch) {
          return absl::InvalidArgumentError(absl::StrCat(
              "input \"", input.name(), "\" has a fixed batch of ",
              dim->dim_value(), ", but a batch of ", batch, " was asked for"));
        }
        continue;
      }
      if (d > 0) {
        return absl::InvalidArgumentError(absl::StrCat(
            "dimension ", d, " of input \"", input.name(),
            "\" is not fixed: only the first one (the batch) may be free"));
      }
      dim->set_dim_value(batch > 0 ? batch : 1);
      changed = true;
    }
  }
  if (!changed) return std::string(onnx);
  // What was said of the shapes behind is about the free batch.
  model.mutable_graph()->clear_value_info();
  for (onnx::ValueInfoProto& output :
       *model.mutable_graph()->mutable_output()) {
    auto* type = output.mutable_type();
    if (type->has_tensor_type()) type->mutable_tensor_type()->clear_shape();
  }
  return model.SerializeAsString();
}

}  // namespace hwnas
