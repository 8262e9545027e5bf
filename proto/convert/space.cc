#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "proto/convert/convert.h"

namespace hwnas {
namespace {

absl::StatusOr<TensorShape> InputShape(
    const google::protobuf::RepeatedField<int32_t>& input,
    absl::string_view path) {
  if (input.size() != 3) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": ", input.size(),
                     " numbers: expected 3, channels, height and width of one "
                     "image, such as [3, 32, 32]"));
  }
  return TensorShape{input[0], input[1], input[2]};
}

template <typename Out, typename In>
void AssignIfSet(const In& in, std::vector<Out>* out) {
  if (!in.empty()) out->assign(in.begin(), in.end());
}

void AssignIfSet(int32_t in, int* out) {
  if (in != 0) *out = in;
}

}  // namespace

absl::StatusOr<SpaceConfig> FromProto(const v1::SpaceSpec& proto) {
  switch (proto.kind_case()) {
    case v1::SpaceSpec::kNasbench201: {
      const v1::Nasbench201Space& in = proto.nasbench201();
      Nasbench201Config config;
      HWNAS_ASSIGN_OR_RETURN(config.input,
                             InputShape(in.input(), "nasbench201.input"));
      AssignIfSet(in.channels(), &config.channels);
      AssignIfSet(in.cells(), &config.cells);
      config.classes = in.classes();
      return config;
    }
    case v1::SpaceSpec::kMobile: {
      const v1::MobileSpace& in = proto.mobile();
      MobileConfig config;
      HWNAS_ASSIGN_OR_RETURN(config.input,
                             InputShape(in.input(), "mobile.input"));
      config.classes = in.classes();
      AssignIfSet(in.kernel_choices(), &config.kernel_choices);
      AssignIfSet(in.expansion_choices(), &config.expansion_choices);
      AssignIfSet(in.depth_choices(), &config.depth_choices);
      AssignIfSet(in.width_choices(), &config.width_choices);
      AssignIfSet(in.resolution_choices(), &config.resolution_choices);
      config.search_squeeze_excite = in.search_squeeze_excite();
      AssignIfSet(in.stem_channels(), &config.stem_channels);
      AssignIfSet(in.stem_stride(), &config.stem_stride);
      for (const v1::MobileStage& stage : in.stages()) {
        MobileStageConfig& out = config.stages.emplace_back();
        out.channels = stage.channels();
        AssignIfSet(stage.stride(), &out.stride);
        out.squeeze_excite = stage.squeeze_excite();
        out.hard_swish = stage.hard_swish();
      }
      config.head_channels = in.head_channels();
      config.final_expand_channels = in.final_expand_channels();
      return config;
    }
    case v1::SpaceSpec::KIND_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError(
      "no search space given: expected nasbench201 or mobile");
}

}  // namespace hwnas
