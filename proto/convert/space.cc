#include <algorithm>
#include <map>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/status_macros.h"
#include "google/protobuf/descriptor.h"
#include "proto/convert/convert.h"
#include "proto/convert/space_spec.h"

namespace hwnas {
namespace {

// Resolutions of Once-for-all, in steps of 4 pixels.
constexpr int kOfaSmallest = 128;
constexpr int kOfaLargest = 224;

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

// What MacroSpace and HierarchicalSpace have in common.
template <typename Proto>
void ReadSkeleton(const Proto& in, MacroConfig* config) {
  config->classes = in.classes();
  AssignIfSet(in.channel_choices(), &config->channel_choices);
  config->stem_stride = in.stem_stride();
  AssignIfSet(in.depth_choices(), &config->depth_choices);
  if (in.has_min_doublings()) config->min_doublings = in.min_doublings();
  if (in.has_max_doublings()) config->max_doublings = in.max_doublings();
  if (in.has_min_halvings()) config->min_halvings = in.min_halvings();
  if (in.has_max_halvings()) config->max_halvings = in.max_halvings();
}

// Of DagCell or DagSpace.
template <typename Proto>
DagCellConfig ReadDagCell(const Proto& in) {
  DagCellConfig config;
  AssignIfSet(in.nodes(), &config.nodes);
  // Of many nodes the default is NAS-Bench-101's bound.
  config.max_edges =
      std::min(config.max_edges, config.nodes * (config.nodes - 1) / 2);
  AssignIfSet(in.max_edges(), &config.max_edges);
  AssignIfSet(in.operations(), &config.operations);
  return config;
}

CellConfig FromProto(const v1::CellSpec& proto) {
  if (proto.has_dag()) return ReadDagCell(proto.dag());
  Nasbench201CellConfig config;
  AssignIfSet(proto.nasbench201().operations(), &config.operations);
  return config;
}

std::vector<DeclaredCondition> Conditions(
    const google::protobuf::RepeatedPtrField<v1::DeclaredCondition>& in) {
  std::vector<DeclaredCondition> conditions;
  for (const v1::DeclaredCondition& condition : in) {
    conditions.push_back(
        {condition.choice(), {condition.is().begin(), condition.is().end()}});
  }
  return conditions;
}

// All texts of a block's message are its parameters.
std::map<std::string, std::string> Parameters(
    const google::protobuf::Message& block) {
  std::map<std::string, std::string> parameters;
  const auto& type = *block.GetDescriptor();
  for (int i = 0; i < type.field_count(); ++i) {
    const google::protobuf::FieldDescriptor* field = type.field(i);
    if (field->is_repeated() ||
        field->type() != google::protobuf::FieldDescriptor::TYPE_STRING) {
      continue;
    }
    const std::string value = block.GetReflection()->GetString(block, field);
    if (!value.empty()) parameters[field->name()] = value;
  }
  return parameters;
}

absl::StatusOr<std::vector<DeclaredBlock>> Blocks(
    const google::protobuf::RepeatedPtrField<v1::NetworkBlock>& in,
    const std::string& path, int depth = 0) {
  // Deeper ones are an error of the space, too; this bounds the recursion.
  constexpr int kMaxDepth = 16;
  if (depth > kMaxDepth) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": blocks in blocks are too deep: expected at most ",
                     kMaxDepth, " levels"));
  }
  std::vector<DeclaredBlock> blocks;
  for (int i = 0; i < in.size(); ++i) {
    DeclaredBlock& out = blocks.emplace_back();
    const std::string at = absl::StrCat(path, "[", i, "]");
    const auto read = [&](DeclaredBlock::Kind kind, const auto& block) {
      out.kind = kind;
      out.parameters = Parameters(block);
    };
    const auto body = [&](const auto& inner,
                          const std::string& where) -> absl::Status {
      HWNAS_ASSIGN_OR_RETURN(out.bodies.emplace_back(),
                             Blocks(inner, at + where, depth + 1));
      return absl::OkStatus();
    };
    switch (in[i].kind_case()) {
      case v1::NetworkBlock::kConv:
        read(DeclaredBlock::kConv, in[i].conv());
        break;
      case v1::NetworkBlock::kDepthwise:
        read(DeclaredBlock::kDepthwise, in[i].depthwise());
        break;
      case v1::NetworkBlock::kMbconv:
        read(DeclaredBlock::kMbConv, in[i].mbconv());
        break;
      case v1::NetworkBlock::kPool:
        read(DeclaredBlock::kPool, in[i].pool());
        break;
      case v1::NetworkBlock::kResidual:
        read(DeclaredBlock::kResidual, in[i].residual());
        HWNAS_RETURN_IF_ERROR(
            body(in[i].residual().blocks(), ".residual.blocks"));
        break;
      case v1::NetworkBlock::kParallel:
        read(DeclaredBlock::kParallel, in[i].parallel());
        for (int k = 0; k < in[i].parallel().branches_size(); ++k) {
          HWNAS_RETURN_IF_ERROR(
              body(in[i].parallel().branches(k).blocks(),
                   absl::StrCat(".parallel.branches[", k, "].blocks")));
        }
        break;
      case v1::NetworkBlock::kRepeat:
        read(DeclaredBlock::kRepeat, in[i].repeat());
        HWNAS_RETURN_IF_ERROR(body(in[i].repeat().blocks(), ".repeat.blocks"));
        break;
      case v1::NetworkBlock::kChoose:
        read(DeclaredBlock::kChoose, in[i].choose());
        for (int k = 0; k < in[i].choose().cases_size(); ++k) {
          const auto& of_case = in[i].choose().cases(k);
          out.cases.emplace_back(of_case.is().begin(), of_case.is().end());
          HWNAS_RETURN_IF_ERROR(body(
              of_case.blocks(), absl::StrCat(".choose.cases[", k, "].blocks")));
        }
        break;
      case v1::NetworkBlock::kHead:
        read(DeclaredBlock::kHead, in[i].head());
        break;
      case v1::NetworkBlock::KIND_NOT_SET:
        return absl::InvalidArgumentError(
            absl::StrCat(at, ": is empty: expected a block such as conv"));
    }
  }
  return blocks;
}

}  // namespace

std::vector<int> OfaResolutions(const v1::OfaSpace& space) {
  std::vector<int> resolutions(space.resolution_choices().begin(),
                               space.resolution_choices().end());
  if (resolutions.empty() && space.input_size() == 3 &&
      std::min(space.input(1), space.input(2)) >= kOfaSmallest) {
    for (int side = kOfaSmallest; side <= kOfaLargest; side += 4) {
      resolutions.push_back(side);
    }
  }
  return resolutions;
}

namespace {

// The sides that a declared network scales images to; empty if it does not, or
// if they are not written as numbers.
std::vector<int> DeclaredResolutions(const v1::DeclaredSpace& space) {
  const std::string& resolution = space.network().resolution();
  std::vector<int> sides;
  const auto add = [&sides](const std::string& text) {
    int side = 0;
    if (absl::SimpleAtoi(text, &side)) sides.push_back(side);
  };
  if (resolution.empty()) return sides;
  add(resolution);
  for (const v1::DeclaredChoice& choice : space.choices()) {
    if (choice.name() != resolution) continue;
    for (const std::string& option : choice.options()) add(option);
    for (const std::string& option : choice.ordered()) add(option);
    if (choice.has_integers()) sides.push_back(choice.integers().from());
  }
  return sides;
}

}  // namespace

std::string SpaceKinds() {
  const auto& kinds = *v1::SpaceSpec::descriptor()->oneof_decl(0);
  std::vector<std::string> names;
  for (int i = 0; i < kinds.field_count(); ++i) {
    names.push_back(kinds.field(i)->name());
  }
  const std::string last = names.back();
  names.pop_back();
  return absl::StrCat(absl::StrJoin(names, ", "), " or ", last);
}

std::optional<SpaceImages> ImagesOf(const v1::SpaceSpec& space) {
  const auto images = [](const auto& of_kind) {
    return SpaceImages{{of_kind.input().begin(), of_kind.input().end()},
                       of_kind.classes(),
                       {}};
  };
  SpaceImages result;
  switch (space.kind_case()) {
    case v1::SpaceSpec::kNasbench201:
      return images(space.nasbench201());
    case v1::SpaceSpec::kMobile: {
      result = images(space.mobile());
      const auto& resolutions = space.mobile().resolution_choices();
      result.resolutions.assign(resolutions.begin(), resolutions.end());
      return result;
    }
    case v1::SpaceSpec::kMacro:
      return images(space.macro());
    case v1::SpaceSpec::kDag:
      return images(space.dag());
    case v1::SpaceSpec::kFbnet:
      return images(space.fbnet());
    case v1::SpaceSpec::kOfa:
      result = images(space.ofa());
      result.resolutions = OfaResolutions(space.ofa());
      return result;
    case v1::SpaceSpec::kHierarchical:
      return images(space.hierarchical());
    case v1::SpaceSpec::kDeclared: {
      const v1::DeclaredSpace& declared = space.declared();
      if (!declared.has_network()) return std::nullopt;
      result = images(declared.network());
      result.resolutions = DeclaredResolutions(declared);
      return result;
    }
    case v1::SpaceSpec::KIND_NOT_SET:
      break;
  }
  return std::nullopt;
}

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
      config.operations.assign(in.operations().begin(), in.operations().end());
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
    case v1::SpaceSpec::kMacro: {
      const v1::MacroSpace& in = proto.macro();
      MacroConfig config;
      HWNAS_ASSIGN_OR_RETURN(config.input,
                             InputShape(in.input(), "macro.input"));
      ReadSkeleton(in, &config);
      config.preset = in.preset();
      AssignIfSet(in.operators(), &config.operators);
      for (const v1::MacroLayer& layer : in.layers()) {
        MacroLayerConfig& out = config.layers.emplace_back();
        out.channels = layer.channels();
        AssignIfSet(layer.stride(), &out.stride);
      }
      config.blocks = in.blocks();
      config.final_channels = in.final_channels();
      return config;
    }
    case v1::SpaceSpec::kDag: {
      const v1::DagSpace& in = proto.dag();
      DagConfig config;
      HWNAS_ASSIGN_OR_RETURN(config.input, InputShape(in.input(), "dag.input"));
      config.classes = in.classes();
      AssignIfSet(in.channels(), &config.channels);
      AssignIfSet(in.stacks(), &config.stacks);
      AssignIfSet(in.cells(), &config.cells);
      config.cell = ReadDagCell(in);
      return config;
    }
    case v1::SpaceSpec::kFbnet: {
      const v1::FbnetSpace& in = proto.fbnet();
      MacroConfig config;
      config.kind = "fbnet";
      HWNAS_ASSIGN_OR_RETURN(config.input,
                             InputShape(in.input(), "fbnet.input"));
      config.classes = in.classes();
      config.preset = "fbnet";
      return config;
    }
    case v1::SpaceSpec::kOfa: {
      const v1::OfaSpace& in = proto.ofa();
      MobileConfig config;
      config.kind = "ofa";
      HWNAS_ASSIGN_OR_RETURN(config.input, InputShape(in.input(), "ofa.input"));
      config.classes = in.classes();
      AssignIfSet(in.width_choices(), &config.width_choices);
      config.resolution_choices = OfaResolutions(in);
      return config;
    }
    case v1::SpaceSpec::kHierarchical: {
      const v1::HierarchicalSpace& in = proto.hierarchical();
      MacroConfig config;
      config.kind = "hierarchical";
      HWNAS_ASSIGN_OR_RETURN(config.input,
                             InputShape(in.input(), "hierarchical.input"));
      ReadSkeleton(in, &config);
      config.blocks = in.cells();
      config.cell = FromProto(in.cell());
      return config;
    }
    case v1::SpaceSpec::kDeclared: {
      const v1::DeclaredSpace& in = proto.declared();
      DeclaredConfig config;
      for (const v1::DeclaredChoice& choice : in.choices()) {
        DeclaredChoice& out = config.choices.emplace_back();
        out.name = choice.name();
        AssignIfSet(choice.options(), &out.options);
        AssignIfSet(choice.ordered(), &out.ordered);
        if (choice.has_integers()) {
          const v1::IntegerRange& range = choice.integers();
          out.integers = IntegerRange{range.from(), range.to()};
          AssignIfSet(range.step(), &out.integers->step);
        }
        out.when = Conditions(choice.when());
      }
      for (const v1::DeclaredRule& rule : in.forbid()) {
        config.forbid.push_back(Conditions(rule.all()));
      }
      if (in.has_network()) {
        const v1::DeclaredNetwork& network = in.network();
        DeclaredNetworkConfig& out = config.network.emplace();
        HWNAS_ASSIGN_OR_RETURN(
            out.input, InputShape(network.input(), "declared.network.input"));
        out.classes = network.classes();
        out.resolution = network.resolution();
        AssignIfSet(network.channel_multiple(), &out.channel_multiple);
        HWNAS_ASSIGN_OR_RETURN(
            out.blocks, Blocks(network.blocks(), "declared.network.blocks"));
      }
      return config;
    }
    case v1::SpaceSpec::KIND_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("no search space given: expected ", SpaceKinds()));
}

absl::StatusOr<SpaceConfig> SearchedSpace(const v1::StudySpec& spec) {
  HWNAS_ASSIGN_OR_RETURN(SpaceConfig config, FromProto(spec.space()));
  if (!spec.has_replay()) return config;
  if (auto* cells = std::get_if<Nasbench201Config>(&config)) {
    cells->benchmark_classes = true;
  }
  if (auto* macro = std::get_if<MacroConfig>(&config); macro && macro->cell) {
    if (auto* cell = std::get_if<Nasbench201CellConfig>(&*macro->cell)) {
      cell->benchmark_classes = true;
    }
  }
  return config;
}

}  // namespace hwnas
