#include "nas/space/macro.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/status_macros.h"
#include "nas/space/blocks.h"
#include "nas/space/sampling.h"

namespace hwnas {
namespace {

constexpr size_t kMaxTextBytes = 8192;
constexpr int kMaxLayers = 64;  // Of a fixed skeleton.
constexpr int kMaxDepth = 32;   // Of a searched one.
constexpr int kMaxOperators = 32;
constexpr int kMaxChoices = 64;
constexpr absl::string_view kPresets[] = {"nasbench_macro", "transnasbench101",
                                          "fbnet"};

// What a layer may do to the shape: options of its decision. In the notation
// each is its index + 1.
enum Change { kNormal, kChannels, kResolution, kBoth };
constexpr const char* kChanges[] = {"normal", "channels", "resolution", "both"};
constexpr int kChangeCount = 4;
bool Doubles(int change) { return change == kChannels || change == kBoth; }
bool Halves(int change) { return change == kResolution || change == kBoth; }

std::vector<std::string> Texts(const std::vector<int>& values) {
  std::vector<std::string> texts;
  for (const int value : values) texts.push_back(absl::StrCat(value));
  return texts;
}

// "k3" with prefix "k" gives 3; 0 if it is not that.
int NumberAfter(absl::string_view prefix, absl::string_view text) {
  int value = 0;
  if (!absl::ConsumePrefix(&text, prefix) || text.size() > 3 ||
      !absl::SimpleAtoi(text, &value) || value < 1 || text[0] == '0' ||
      text[0] == '+') {
    return 0;
  }
  return value;
}

MacroConfig PresetOf(const MacroConfig& config) {
  MacroConfig preset;
  if (config.preset == "nasbench_macro") {
    preset.channel_choices = {32};
    preset.stem_stride = 1;
    preset.operators = {"identity", "mbconv_k3_e3", "mbconv_k5_e6"};
    preset.layers = {{64, 2},  {64, 1},  {128, 2}, {128, 1},
                     {128, 1}, {256, 2}, {256, 1}, {256, 1}};
    preset.final_channels = 1280;
  } else if (config.preset == "transnasbench101") {
    preset.channel_choices = {64};
    preset.stem_stride = 4;
    preset.operators = {"basic"};
    preset.depth_choices = {4, 5, 6};
    preset.min_doublings = 1;
    preset.max_doublings = 3;
    preset.min_halvings = 1;
    preset.max_halvings = 4;
    preset.blocks = 2;
  } else if (config.preset == "fbnet") {
    const bool small = std::max(config.input.height, config.input.width) <= 96;
    preset.channel_choices = {16};
    preset.stem_stride = small ? 1 : 2;
    preset.operators = {"k3_e1",    "k3_e1_g2", "k3_e3", "k3_e6", "k5_e1",
                        "k5_e1_g2", "k5_e3",    "k5_e6", "skip"};
    struct Stage {
      int layers, channels, stride;
    };
    // The second stage keeps the size of small images.
    for (const Stage& stage :
         {Stage{1, 16, 1}, Stage{4, 24, small ? 1 : 2}, Stage{4, 32, 2},
          Stage{4, 64, 2}, Stage{4, 112, 1}, Stage{4, 184, 2},
          Stage{1, 352, 1}}) {
      for (int i = 0; i < stage.layers; ++i) {
        preset.layers.push_back({stage.channels, i == 0 ? stage.stride : 1});
      }
    }
    preset.final_channels = small ? 1504 : 1984;
  }
  return preset;
}

}  // namespace

bool IsMacroPreset(absl::string_view name) {
  return std::find(std::begin(kPresets), std::end(kPresets), name) !=
         std::end(kPresets);
}

MacroConfig WithPreset(const MacroConfig& config) {
  const MacroConfig preset = PresetOf(config);
  MacroConfig result = config;
  const auto fill = [](auto* field, const auto& by_preset,
                       const auto& by_default) {
    using Field = std::remove_pointer_t<decltype(field)>;
    if (*field == Field{}) *field = by_preset;
    if (*field == Field{}) *field = by_default;
  };
  fill(&result.channel_choices, preset.channel_choices, std::vector<int>{16});
  fill(&result.stem_stride, preset.stem_stride, 1);
  if (!result.cell) {
    fill(&result.operators, preset.operators,
         std::vector<std::string>{"basic"});
  }
  fill(&result.blocks, preset.blocks, 1);
  if (result.final_channels == 0) {
    result.final_channels = preset.final_channels;
  }
  if (result.layers.empty() && result.depth_choices.empty()) {
    result.layers = preset.layers;
  }
  if (result.layers.empty()) {
    fill(&result.depth_choices, preset.depth_choices,
         std::vector<int>{4, 5, 6});
    const int deepest = *std::max_element(result.depth_choices.begin(),
                                          result.depth_choices.end());
    const int side = std::min(result.input.height, result.input.width);
    int halvings = 0;
    while (halvings < deepest && halvings < 20 &&
           (side >> (halvings + 1)) >= result.stem_stride) {
      ++halvings;
    }
    const auto bound = [](std::optional<int>* field,
                          const std::optional<int>& by_preset, int by_default) {
      if (!field->has_value()) *field = by_preset;
      if (!field->has_value()) *field = by_default;
    };
    bound(&result.min_doublings, preset.min_doublings, 0);
    bound(&result.max_doublings, preset.max_doublings, deepest);
    bound(&result.min_halvings, preset.min_halvings, 0);
    bound(&result.max_halvings, preset.max_halvings, halvings);
  }
  std::sort(result.channel_choices.begin(), result.channel_choices.end());
  std::sort(result.depth_choices.begin(), result.depth_choices.end());
  return result;
}

absl::StatusOr<MacroSpace::Operator> MacroSpace::ParseOperator(
    absl::string_view name) {
  if (name == "identity") return Operator{Operator::kIdentity};
  if (name == "skip") return Operator{Operator::kSkip};
  if (name == "basic") return Operator{Operator::kBasic};
  const absl::Status unknown = absl::InvalidArgumentError(absl::StrCat(
      "unknown operator '", name,
      "': expected identity, skip, conv_k<kernel>, basic, "
      "mbconv_k<kernel>_e<expansion> or k<kernel>_e<expansion>[_g<groups>], "
      "with kernel 1, 3, 5, 7 or 9, expansion 1 to 10 and groups 2 to 8"));
  std::vector<absl::string_view> parts = absl::StrSplit(name, '_');
  Operator op{Operator::kFbnet};
  if (parts[0] == "mbconv" || parts[0] == "conv") {
    op.kind = parts[0] == "conv" ? Operator::kConv : Operator::kMbConv;
    parts.erase(parts.begin());
  }
  const size_t most = op.kind == Operator::kConv     ? 1
                      : op.kind == Operator::kMbConv ? 2
                                                     : 3;
  if (parts.size() > most || parts.size() < std::min<size_t>(most, 2)) {
    return unknown;
  }
  op.kernel = NumberAfter("k", parts[0]);
  if (op.kernel % 2 == 0 || op.kernel > 9) return unknown;
  if (parts.size() > 1) {
    op.expansion = NumberAfter("e", parts[1]);
    if (op.expansion < 1 || op.expansion > 10) return unknown;
  }
  if (parts.size() > 2) {
    op.groups = NumberAfter("g", parts[2]);
    if (op.groups < 2 || op.groups > 8) return unknown;
  }
  return op;
}

absl::Status MacroSpace::Check(const MacroConfig& c) {
  const auto bad = [&c](absl::string_view field, absl::string_view what,
                        absl::string_view expected) {
    return absl::InvalidArgumentError(
        absl::StrCat(c.kind, ".", field, ": ", what, ": expected ", expected));
  };
  const auto in_range = [&bad](absl::string_view field, int value, int low,
                               int high) {
    if (value >= low && value <= high) return absl::OkStatus();
    return bad(field, absl::StrCat(value, " is out of range"),
               absl::StrCat(low, " to ", high));
  };
  // Sorted: each in range, none twice.
  const auto check_choices = [&](absl::string_view field,
                                 const std::vector<int>& list,
                                 int high) -> absl::Status {
    if (list.empty() || list.size() > kMaxChoices) {
      return bad(field, absl::StrCat(list.size(), " choices"),
                 absl::StrCat("1 to ", kMaxChoices));
    }
    for (const int value : list) {
      HWNAS_RETURN_IF_ERROR(in_range(field, value, 1, high));
    }
    const auto twice = std::adjacent_find(list.begin(), list.end());
    if (twice == list.end()) return absl::OkStatus();
    return bad(field, absl::StrCat(*twice, " is listed twice"),
               "different choices");
  };
  if (!c.preset.empty() && !IsMacroPreset(c.preset)) {
    return bad("preset", absl::StrCat("'", c.preset, "' is unknown"),
               absl::StrJoin(kPresets, ", "));
  }
  HWNAS_RETURN_IF_ERROR(in_range("input[0]", c.input.channels, 1, 4096));
  HWNAS_RETURN_IF_ERROR(
      in_range("input[1]", c.input.height, 1, GraphLimits::kMaxImageSide));
  HWNAS_RETURN_IF_ERROR(
      in_range("input[2]", c.input.width, 1, GraphLimits::kMaxImageSide));
  HWNAS_RETURN_IF_ERROR(in_range("classes", c.classes, 2, 100000));
  HWNAS_RETURN_IF_ERROR(
      check_choices("channel_choices", c.channel_choices, 1024));
  if (c.stem_stride != 1 && c.stem_stride != 2 && c.stem_stride != 4) {
    return bad("stem_stride", absl::StrCat(c.stem_stride, " is out of range"),
               "1, 2 or 4");
  }
  HWNAS_RETURN_IF_ERROR(in_range("blocks", c.blocks, 1, 8));
  HWNAS_RETURN_IF_ERROR(in_range("final_channels", c.final_channels, 0, 8192));
  if (!c.cell) {
    HWNAS_RETURN_IF_ERROR(in_range(
        "operators", static_cast<int>(c.operators.size()), 1, kMaxOperators));
  } else if (!c.operators.empty()) {
    return bad("operators", "layers are cells already", "none");
  }
  for (size_t i = 0; i < c.operators.size(); ++i) {
    const absl::Status parsed = ParseOperator(c.operators[i]).status();
    if (!parsed.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(c.kind, ".operators[", i, "]: ", parsed.message()));
    }
    if (std::find(c.operators.begin(), c.operators.begin() + i,
                  c.operators[i]) != c.operators.begin() + i) {
      return bad(absl::StrCat("operators[", i, "]"),
                 absl::StrCat(c.operators[i], " is listed twice"),
                 "different operators");
    }
  }
  int total_stride = c.stem_stride;
  if (!c.layers.empty()) {
    if (!c.depth_choices.empty()) {
      return bad("depth_choices", "the skeleton is fixed by layers", "none");
    }
    for (const auto& [field, bound] :
         {std::pair("min_doublings", c.min_doublings),
          std::pair("max_doublings", c.max_doublings),
          std::pair("min_halvings", c.min_halvings),
          std::pair("max_halvings", c.max_halvings)}) {
      if (bound) return bad(field, "the skeleton is fixed by layers", "none");
    }
    if (c.channel_choices.size() > 1) {
      return bad("channel_choices",
                 absl::StrCat(c.channel_choices.size(),
                              " choices with a skeleton fixed by layers"),
                 "1, the stem's channels");
    }
    HWNAS_RETURN_IF_ERROR(
        in_range("layers", static_cast<int>(c.layers.size()), 1, kMaxLayers));
    for (size_t i = 0; i < c.layers.size(); ++i) {
      const std::string layer = absl::StrCat("layers[", i, "].");
      HWNAS_RETURN_IF_ERROR(
          in_range(layer + "channels", c.layers[i].channels, 1, 4096));
      HWNAS_RETURN_IF_ERROR(
          in_range(layer + "stride", c.layers[i].stride, 1, 2));
      total_stride = std::min(total_stride * c.layers[i].stride, 1 << 20);
    }
  } else {
    HWNAS_RETURN_IF_ERROR(
        check_choices("depth_choices", c.depth_choices, kMaxDepth));
    const int deepest = c.depth_choices.back();
    HWNAS_RETURN_IF_ERROR(
        in_range("max_doublings", *c.max_doublings, 0, deepest));
    // Every depth must have a skeleton.
    HWNAS_RETURN_IF_ERROR(
        in_range("min_doublings", *c.min_doublings, 0,
                 std::min(*c.max_doublings, c.depth_choices.front())));
    HWNAS_RETURN_IF_ERROR(
        in_range("max_halvings", *c.max_halvings, 0, std::min(deepest, 20)));
    HWNAS_RETURN_IF_ERROR(
        in_range("min_halvings", *c.min_halvings, 0,
                 std::min(*c.max_halvings, c.depth_choices.front())));
    total_stride <<= *c.max_halvings;
  }
  const int side = std::min(c.input.height, c.input.width);
  if (side < total_stride) {
    return bad("input",
               absl::StrCat("an image of ", side,
                            " pixels is too small for strides of ",
                            total_stride, " in all"),
               absl::StrCat("at least ", total_stride, " pixels"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<MacroSpace>> MacroSpace::Create(
    const MacroConfig& given) {
  const MacroConfig config = WithPreset(given);
  HWNAS_RETURN_IF_ERROR(Check(config));
  const auto with_kind = [&config](absl::string_view message) {
    return absl::InvalidArgumentError(absl::StrCat(config.kind, message));
  };
  std::unique_ptr<Cell> cell;
  if (config.cell) {
    auto created = CreateCell(*config.cell);
    if (!created.ok()) {
      return with_kind(absl::StrCat(".cell.", created.status().message()));
    }
    cell = *std::move(created);
  }
  auto space = absl::WrapUnique(new MacroSpace(config, std::move(cell)));
  // The largest network must be within what a graph may be: deepest, widest,
  // channels doubled at once and the image halved as late as possible, with
  // each operator.
  Architecture largest;
  for (const Decision& decision : space->decisions_) {
    largest.choices.push_back(static_cast<int>(decision.options.size()) - 1);
  }
  if (space->cell_ != nullptr) {
    const std::vector<int> of_cell = space->cell_->Largest();
    std::copy(of_cell.begin(), of_cell.end(),
              largest.choices.begin() + space->cell_decision_);
  }
  const int depth = static_cast<int>(space->layers_.size());
  for (int i = 0; i < depth && !space->fixed(); ++i) {
    const bool doubles = i < *config.max_doublings;
    const bool halves = i >= depth - *config.min_halvings;
    largest.choices[space->layers_[i].change] =
        doubles ? (halves ? kBoth : kChannels)
                : (halves ? kResolution : kNormal);
  }
  for (size_t op = 0; op < space->operators_.size(); ++op) {
    for (const Layer& layer : space->layers_) {
      if (layer.op >= 0) largest.choices[layer.op] = static_cast<int>(op);
    }
    const absl::Status status = space->Decode(largest).status();
    if (!status.ok()) {
      return with_kind(absl::StrCat(": the largest network is not possible: ",
                                    status.message()));
    }
  }
  return space;
}

MacroSpace::MacroSpace(MacroConfig config, std::unique_ptr<Cell> cell)
    : config_(std::move(config)), cell_(std::move(cell)) {
  const MacroConfig& c = config_;
  for (const std::string& name : c.operators) {
    operators_.push_back(*ParseOperator(name));
    const Operator::Kind kind = operators_.back().kind;
    if (idle_operator_ < 0 &&
        (kind == Operator::kIdentity || kind == Operator::kSkip)) {
      idle_operator_ = static_cast<int>(operators_.size()) - 1;
    }
  }
  if (cell_ != nullptr) operators_ = {Operator{Operator::kCell}};

  const auto decide = [this](std::string name, std::vector<std::string> options,
                             bool ordered) {
    if (options.size() < 2) return -1;
    decisions_.push_back({std::move(name), std::move(options), ordered});
    return static_cast<int>(decisions_.size()) - 1;
  };
  channels_decision_ = decide("channels", Texts(c.channel_choices), true);
  depth_decision_ = decide("depth", Texts(c.depth_choices), true);
  layers_.resize(fixed() ? c.layers.size() : c.depth_choices.back());
  for (size_t i = 0; i < layers_.size(); ++i) {
    const std::string name = absl::StrCat("layer", i + 1, ".");
    if (!fixed()) {
      layers_[i].change = decide(
          name + "change", {std::begin(kChanges), std::end(kChanges)}, false);
    }
    layers_[i].op = decide(name + "operator", c.operators, false);
  }
  std::string skeleton;
  int channels = c.channel_choices[0];
  for (size_t i = 0; i < c.layers.size(); ++i) {
    const MacroLayerConfig& layer = c.layers[i];
    const int at = static_cast<int>(i);
    if (layer.stride == 1 && layer.channels == channels) {
      if (runs_.empty() || runs_.back().second != at) runs_.push_back({at, at});
      runs_.back().second = at + 1;
    }
    channels = layer.channels;
    absl::StrAppend(&skeleton, i == 0 ? "" : ",", layer.channels, "/",
                    layer.stride);
  }
  if (!fixed()) {
    skeleton =
        absl::StrFormat("depths %s doublings %d-%d halvings %d-%d",
                        absl::StrJoin(c.depth_choices, ","), *c.min_doublings,
                        *c.max_doublings, *c.min_halvings, *c.max_halvings);
  }
  key_ = absl::StrFormat(
      "macro input=%dx%dx%d classes=%d channels=%s stem=%d layers=%s "
      "operators=%s blocks=%d final=%d",
      c.input.channels, c.input.height, c.input.width, c.classes,
      absl::StrJoin(c.channel_choices, ","), c.stem_stride, skeleton,
      cell_ == nullptr ? absl::StrJoin(c.operators, ",")
                       : absl::StrCat("cell ", cell_->key()),
      c.blocks, c.final_channels);
  if (cell_ != nullptr) {
    cell_decision_ = static_cast<int>(decisions_.size());
    for (Decision decision : cell_->decisions()) {
      decision.name = absl::StrCat("cell.", decision.name);
      decisions_.push_back(std::move(decision));
    }
  }
}

int MacroSpace::Depth(const Architecture& architecture) const {
  if (depth_decision_ < 0) return static_cast<int>(layers_.size());
  return config_.depth_choices[architecture.choices[depth_decision_]];
}

bool MacroSpace::Idle(int layer, const Architecture& architecture) const {
  if (Change(layer, architecture) != kNormal) return false;
  if (cell_ != nullptr) {
    return cell_->EffectOf(CellChoices(architecture)) == Cell::Effect::kInput;
  }
  const Operator::Kind kind = operators_[Op(layer, architecture)].kind;
  return kind == Operator::kIdentity || kind == Operator::kSkip;
}

absl::Span<const int> MacroSpace::CellChoices(
    const Architecture& architecture) const {
  return absl::MakeConstSpan(architecture.choices).subspan(cell_decision_);
}

absl::Status MacroSpace::Validate(const Architecture& architecture) const {
  HWNAS_RETURN_IF_ERROR(SearchSpace::Validate(architecture));
  if (!fixed()) {
    int doublings = 0, halvings = 0;
    const int depth = Depth(architecture);
    for (int i = 0; i < depth; ++i) {
      doublings += Doubles(Change(i, architecture));
      halvings += Halves(Change(i, architecture));
    }
    if (doublings < *config_.min_doublings ||
        doublings > *config_.max_doublings) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "%d of %d layers double the channels: expected %d to %d", doublings,
          depth, *config_.min_doublings, *config_.max_doublings));
    }
    if (halvings < *config_.min_halvings || halvings > *config_.max_halvings) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "%d of %d layers halve the image: expected %d to %d", halvings, depth,
          *config_.min_halvings, *config_.max_halvings));
    }
  }
  if (cell_ != nullptr) return cell_->Validate(CellChoices(architecture));
  return absl::OkStatus();
}

Architecture MacroSpace::Canonicalize(const Architecture& architecture) const {
  RequireValid(architecture);
  Architecture result = architecture;
  const auto set_layer = [&](int to, int change, int op) {
    if (layers_[to].change >= 0) result.choices[layers_[to].change] = change;
    if (layers_[to].op >= 0) result.choices[layers_[to].op] = op;
  };
  // Moves the layers of a range that do something to its front, in order;
  // returns their number.
  const auto pack = [&](int begin, int end) {
    int to = begin;
    for (int i = begin; i < end; ++i) {
      if (Idle(i, architecture)) continue;
      set_layer(to++, Change(i, architecture), Op(i, architecture));
    }
    for (int i = to; i < end; ++i) set_layer(i, kNormal, idle_operator_);
    return to - begin;
  };
  if (fixed()) {
    if (idle_operator_ >= 0) {
      for (const auto& [begin, end] : runs_) pack(begin, end);
    }
  } else if (cell_ != nullptr && cell_->EffectOf(CellChoices(architecture)) ==
                                     Cell::Effect::kZeros) {
    // The network is a constant: the least skeleton that is valid.
    std::fill(result.choices.begin(), result.choices.begin() + cell_decision_,
              0);
    for (int i = 0; i < *config_.min_doublings; ++i) {
      result.choices[layers_[i].change] += kChannels;
    }
    for (int i = 0; i < *config_.min_halvings; ++i) {
      result.choices[layers_[i].change] += kResolution;
    }
  } else {
    const int needed = pack(0, Depth(architecture));
    int depth = static_cast<int>(layers_.size());
    if (depth_decision_ >= 0) {
      const auto least = std::lower_bound(config_.depth_choices.begin(),
                                          config_.depth_choices.end(), needed);
      depth = *least;
      result.choices[depth_decision_] =
          static_cast<int>(least - config_.depth_choices.begin());
    }
    for (int i = needed; i < static_cast<int>(layers_.size()); ++i) {
      set_layer(i, kNormal, i < depth ? idle_operator_ : 0);
    }
  }
  if (cell_ != nullptr) {
    cell_->Canonicalize(absl::MakeSpan(result.choices).subspan(cell_decision_));
    if (!fixed()) MinimizeDepth(result);
  }
  return result;
}

void MacroSpace::MinimizeDepth(Architecture& architecture) const {
  struct Run {   // Layers of one shape.
    int change;  // Of the first.
    int layers;
  };
  std::vector<Run> runs;
  const int depth = Depth(architecture);
  int divisor = 0;  // The greatest of all runs.
  for (int i = 0; i < depth; ++i) {
    const int change = Change(i, architecture);
    if (i == 0 || change != kNormal) runs.push_back({change, 0});
    ++runs.back().layers;
  }
  for (const Run& run : runs) divisor = std::gcd(divisor, run.layers);
  const auto [own, cells] = cell_->PowersOf(CellChoices(architecture));
  for (auto power = cells.rbegin(); power->first > own; ++power) {
    const auto& [exponent, cell] = *power;
    if (own * divisor % exponent != 0) continue;
    const auto fitting =
        std::find(config_.depth_choices.begin(), config_.depth_choices.end(),
                  own * depth / exponent);
    if (fitting == config_.depth_choices.end()) continue;
    if (depth_decision_ >= 0) {
      architecture.choices[depth_decision_] =
          static_cast<int>(fitting - config_.depth_choices.begin());
    }
    for (const Layer& layer : layers_) {
      architecture.choices[layer.change] = kNormal;
    }
    int layer = 0;
    for (const Run& run : runs) {
      architecture.choices[layers_[layer].change] = run.change;
      layer += own * run.layers / exponent;
    }
    std::copy(cell.begin(), cell.end(),
              architecture.choices.begin() + cell_decision_);
    return;
  }
}

Architecture MacroSpace::Sample(Rng& rng) const {
  Architecture result;
  for (const Decision& decision : decisions_) {
    result.choices.push_back(
        static_cast<int>(rng.Below(decision.options.size())));
  }
  if (!fixed()) {
    const int depth = Depth(result);
    const std::vector<int> doubling =
        AnySubset(depth, *config_.min_doublings, *config_.max_doublings, rng);
    const std::vector<int> halving =
        AnySubset(depth, *config_.min_halvings, *config_.max_halvings, rng);
    std::vector<int> changes(depth, kNormal);
    for (const int layer : doubling) changes[layer] += kChannels;
    for (const int layer : halving) changes[layer] += kResolution;
    for (int i = 0; i < depth; ++i) {
      result.choices[layers_[i].change] = changes[i];
    }
  }
  if (cell_ != nullptr) {
    const std::vector<int> of_cell = cell_->Sample(rng);
    std::copy(of_cell.begin(), of_cell.end(),
              result.choices.begin() + cell_decision_);
  }
  return Canonicalize(result);
}

Architecture MacroSpace::AnotherForm(const Architecture& canonical,
                                     Rng& rng) const {
  Architecture result = canonical;
  if (cell_ != nullptr) {
    cell_->Disguise(absl::MakeSpan(result.choices).subspan(cell_decision_),
                    rng);
  }
  return result;
}

std::vector<int> MacroSpace::Mattering(const Architecture& canonical) const {
  std::vector<bool> idle(decisions_.size(), false);
  for (size_t i = Depth(canonical); i < layers_.size(); ++i) {
    if (layers_[i].change >= 0) idle[layers_[i].change] = true;
    if (layers_[i].op >= 0) idle[layers_[i].op] = true;
  }
  std::vector<int> mattering;
  for (size_t d = 0; d < idle.size(); ++d) {
    if (!idle[d]) mattering.push_back(static_cast<int>(d));
  }
  return mattering;
}

std::string MacroSpace::CanonicalKey(const Architecture& architecture) const {
  const Architecture canonical = Canonicalize(architecture);
  std::string key = SkeletonText(canonical);
  if (cell_ != nullptr) {
    absl::StrAppend(&key, cell_->CanonicalKey(CellChoices(canonical)));
  }
  return key;
}

std::string MacroSpace::SkeletonText(const Architecture& architecture) const {
  std::string text;
  const int depth = Depth(architecture);
  if (!fixed()) {
    const int channels =
        channels_decision_ < 0 ? 0 : architecture.choices[channels_decision_];
    absl::StrAppend(&text, config_.channel_choices[channels], "-");
    for (int i = 0; i < depth; ++i) {
      text.push_back(static_cast<char>('1' + Change(i, architecture)));
    }
    text.push_back('-');
  }
  if (cell_ != nullptr) return text;
  if (config_.operators.size() == 1) return text + config_.operators[0];
  for (int i = 0; i < depth; ++i) {
    absl::StrAppend(&text, i == 0 ? "" : " ",
                    config_.operators[Op(i, architecture)]);
  }
  return text;
}

std::string MacroSpace::ToText(const Architecture& architecture) const {
  RequireValid(architecture);
  std::string text = SkeletonText(architecture);
  if (cell_ != nullptr) {
    absl::StrAppend(&text, cell_->ToText(CellChoices(architecture)));
  }
  return text;
}

absl::StatusOr<Architecture> MacroSpace::FromText(
    absl::string_view text) const {
  if (text.size() > kMaxTextBytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("network of %d bytes: expected at most %d", text.size(),
                        kMaxTextBytes));
  }
  Architecture result;
  result.choices.assign(decisions_.size(), 0);
  const auto take = [&result](int decision, const auto& options,
                              const auto& value) {
    const auto found = std::find(options.begin(), options.end(), value);
    if (found == options.end()) return false;
    if (decision >= 0) {
      result.choices[decision] = static_cast<int>(found - options.begin());
    }
    return true;
  };
  absl::string_view operators = text;
  int depth = static_cast<int>(layers_.size());
  if (!fixed()) {
    const std::vector<absl::string_view> parts =
        absl::StrSplit(text, absl::MaxSplits('-', 2));
    if (parts.size() != 3) {
      return absl::InvalidArgumentError(absl::StrCat(
          "'", text, "': expected channels, a digit for each layer, and ",
          cell_ == nullptr ? "operators" : "a cell", ", such as '",
          config_.channel_choices[0], "-41...-",
          cell_ == nullptr ? config_.operators[0] : "...", "'"));
    }
    if (!take(channels_decision_, Texts(config_.channel_choices),
              std::string(parts[0]))) {
      return absl::InvalidArgumentError(
          absl::StrCat("channels '", parts[0],
                       "' are not in the space: "
                       "expected one of ",
                       absl::StrJoin(config_.channel_choices, ", ")));
    }
    depth = static_cast<int>(parts[1].size());
    if (!take(depth_decision_, config_.depth_choices, depth)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "'", parts[1], "' are ", depth, " layers: expected one of ",
          absl::StrJoin(config_.depth_choices, ", ")));
    }
    for (int i = 0; i < depth; ++i) {
      const int change = parts[1][i] - '1';
      if (change < 0 || change >= kChangeCount) {
        return absl::InvalidArgumentError(
            absl::StrCat("layer ", i + 1, " of '", parts[1],
                         "': expected a digit, 1 normal, 2 channels, 3 "
                         "resolution, 4 both"));
      }
      result.choices[layers_[i].change] = change;
    }
    operators = parts[2];
  }
  if (cell_ != nullptr) {
    HWNAS_ASSIGN_OR_RETURN(const std::vector<int> choices,
                           cell_->FromText(operators));
    std::copy(choices.begin(), choices.end(),
              result.choices.begin() + cell_decision_);
  } else if (config_.operators.size() == 1) {
    if (operators != config_.operators[0]) {
      return absl::InvalidArgumentError(absl::StrCat(
          "operator '", operators, "' is not in the space: expected ",
          config_.operators[0]));
    }
  } else {
    const std::vector<absl::string_view> names = absl::StrSplit(operators, ' ');
    if (static_cast<int>(names.size()) != depth) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "network has %d operators: expected %d, one for each layer",
          names.size(), depth));
    }
    for (int i = 0; i < depth; ++i) {
      if (!take(layers_[i].op, config_.operators, names[i])) {
        return absl::InvalidArgumentError(
            absl::StrCat("layer ", i + 1, ": operator '", names[i],
                         "' is not in the space: expected one of ",
                         absl::StrJoin(config_.operators, ", ")));
      }
    }
  }
  HWNAS_RETURN_IF_ERROR(Validate(result));
  return result;
}

int MacroSpace::AppendLayer(GraphBuilder& b, int x, int layer,
                            const Operator& op, int channels, int stride,
                            const Architecture& architecture,
                            const DecodeOptions& options) const {
  const std::string scope = absl::StrCat("layer", layer + 1, ".");
  if (op.kind == Operator::kIdentity || op.kind == Operator::kSkip) {
    if (stride == 1 && b.shape(x).channels == channels) return x;
    b.SetScope(scope);
    x = b.BatchNorm(b.Conv2d(x, {.out_channels = channels, .stride = stride}));
    return op.kind == Operator::kSkip ? b.Relu(x) : x;
  }
  if (op.kind == Operator::kCell && Change(layer, architecture) != kNormal) {
    b.SetScope(absl::StrCat(scope, "transition."));
    x = AddBasicBlock(b, x, channels, stride);
    stride = 1;
  }
  for (int i = 0; i < config_.blocks; ++i) {
    const std::string block = absl::StrCat(scope, "block", i + 1, ".");
    b.SetScope(block);
    const int in_channels = b.shape(x).channels;
    switch (op.kind) {
      case Operator::kConv:
        x = ConvBnAct(b, x,
                      {.out_channels = channels,
                       .kernel = op.kernel,
                       .stride = stride,
                       .padding = op.kernel / 2},
                      OpKind::kRelu);
        break;
      case Operator::kBasic:
        x = AddBasicBlock(b, x, channels, stride);
        break;
      case Operator::kMbConv:
      case Operator::kFbnet:
        x = AddInvertedResidual(
            b, x,
            {.out_channels = channels,
             .middle_channels = in_channels * op.expansion,
             .expand = op.kind == Operator::kFbnet || op.expansion > 1,
             .kernel = op.kernel,
             .stride = stride,
             .groups = op.groups});
        break;
      case Operator::kCell:
        x = cell_->Append(b, x, channels, CellChoices(architecture), block,
                          options);
        break;
      case Operator::kIdentity:
      case Operator::kSkip:
        break;
    }
    stride = 1;
  }
  return x;
}

absl::StatusOr<ModelGraph> MacroSpace::Decode(
    const Architecture& given, const DecodeOptions& options) const {
  const Architecture architecture = Canonicalize(given);
  int channels =
      config_.channel_choices[channels_decision_ < 0
                                  ? 0
                                  : architecture.choices[channels_decision_]];
  GraphBuilder b;
  int x = b.Input(config_.input);
  b.SetScope("stem.");
  if (config_.stem_stride == 4) {
    x = b.BatchNorm(b.Conv2d(x, {.out_channels = std::max(channels / 2, 1),
                                 .kernel = 3,
                                 .stride = 2,
                                 .padding = 1}));
    x = ReluConvBn(b, x, channels, 3, 2);
  } else {
    x = b.BatchNorm(b.Conv2d(x, {.out_channels = channels,
                                 .kernel = 3,
                                 .stride = config_.stem_stride,
                                 .padding = 1}));
    // Basic blocks and cells begin with their own.
    if (cell_ == nullptr) x = b.Relu(x);
  }
  const int depth = Depth(architecture);
  for (int i = 0; i < depth; ++i) {
    const int change = Change(i, architecture);
    int stride = Halves(change) ? 2 : 1;
    // Beyond the limit, what is built is refused anyway.
    if (Doubles(change) && channels <= GraphLimits::kMaxChannels) channels *= 2;
    if (fixed()) {
      stride = config_.layers[i].stride;
      channels = config_.layers[i].channels;
    }
    x = AppendLayer(b, x, i, operators_[Op(i, architecture)], channels, stride,
                    architecture, options);
  }
  b.SetScope("head.");
  // The blocks of cells and basic layers end in a sum.
  if (cell_ != nullptr) x = b.Relu(b.BatchNorm(x));
  if (config_.final_channels > 0) {
    x = ConvBnAct(b, x, {.out_channels = config_.final_channels},
                  OpKind::kRelu);
  }
  b.Linear(b.Flatten(b.GlobalAvgPool(x)), config_.classes);
  return std::move(b).Build();
}

}  // namespace hwnas
