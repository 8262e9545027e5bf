#include "nas/space/mobile.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/status_macros.h"
#include "nas/space/blocks.h"

namespace hwnas {
namespace {

constexpr int kMaxOptions = 64;
constexpr int kMaxStages = 16;
constexpr size_t kMaxTextBytes = 8192;
constexpr double kDropRate = 0.1;
constexpr int kSqueezeReduction = 4;

int LongSide(const TensorShape& input) {
  return std::max(input.height, input.width);
}

absl::Status Bad(absl::string_view field, absl::string_view what,
                 absl::string_view expected) {
  return absl::InvalidArgumentError(
      absl::StrCat("mobile.", field, ": ", what, ": expected ", expected));
}

absl::Status InRange(absl::string_view field, int value, int low, int high) {
  if (value >= low && value <= high) return absl::OkStatus();
  return Bad(field, absl::StrCat(value, " is out of range"),
             absl::StrCat(low, " to ", high));
}

// A list of choices: each valid, none twice.
template <typename T, typename IsValid>
absl::Status CheckChoices(absl::string_view field, const std::vector<T>& list,
                          absl::string_view expected, IsValid is_valid) {
  if (list.empty() || list.size() > kMaxOptions) {
    return Bad(field, absl::StrCat(list.size(), " choices"),
               absl::StrCat("1 to ", kMaxOptions));
  }
  std::vector<std::string> seen;
  for (const T value : list) {
    if (!is_valid(value)) {
      return Bad(field, absl::StrCat(value, " is out of range"), expected);
    }
    seen.push_back(absl::StrCat(value));
  }
  std::sort(seen.begin(), seen.end());
  const auto twice = std::adjacent_find(seen.begin(), seen.end());
  if (twice != seen.end()) {
    return Bad(field, absl::StrCat(*twice, " is listed twice"),
               "different choices");
  }
  return absl::OkStatus();
}

absl::Status Check(const MobileConfig& c) {
  HWNAS_RETURN_IF_ERROR(InRange("input[0]", c.input.channels, 1, 4096));
  HWNAS_RETURN_IF_ERROR(
      InRange("input[1]", c.input.height, 1, GraphLimits::kMaxImageSide));
  HWNAS_RETURN_IF_ERROR(
      InRange("input[2]", c.input.width, 1, GraphLimits::kMaxImageSide));
  HWNAS_RETURN_IF_ERROR(InRange("classes", c.classes, 2, 100000));
  HWNAS_RETURN_IF_ERROR(
      CheckChoices("kernel_choices", c.kernel_choices, "odd numbers, 3 to 9",
                   [](int k) { return k >= 3 && k <= 9 && k % 2 == 1; }));
  HWNAS_RETURN_IF_ERROR(CheckChoices("expansion_choices", c.expansion_choices,
                                     "1 to 10",
                                     [](int e) { return e >= 1 && e <= 10; }));
  HWNAS_RETURN_IF_ERROR(CheckChoices("depth_choices", c.depth_choices, "1 to 8",
                                     [](int d) { return d >= 1 && d <= 8; }));
  HWNAS_RETURN_IF_ERROR(CheckChoices("width_choices", c.width_choices,
                                     "more than 0, at most 4",
                                     [](double w) { return w > 0 && w <= 4; }));
  if (!c.resolution_choices.empty()) {
    HWNAS_RETURN_IF_ERROR(CheckChoices(
        "resolution_choices", c.resolution_choices,
        absl::StrCat("1 to ", GraphLimits::kMaxImageSide),
        [](int r) { return r >= 1 && r <= GraphLimits::kMaxImageSide; }));
  }
  HWNAS_RETURN_IF_ERROR(InRange("stem_channels", c.stem_channels, 1, 4096));
  HWNAS_RETURN_IF_ERROR(InRange("stem_stride", c.stem_stride, 1, 2));
  HWNAS_RETURN_IF_ERROR(
      InRange("final_expand_channels", c.final_expand_channels, 0, 8192));
  HWNAS_RETURN_IF_ERROR(InRange("head_channels", c.head_channels, 0, 8192));
  HWNAS_RETURN_IF_ERROR(
      InRange("stages", static_cast<int>(c.stages.size()), 1, kMaxStages));
  for (size_t s = 0; s < c.stages.size(); ++s) {
    const std::string stage = absl::StrCat("stages[", s, "].");
    HWNAS_RETURN_IF_ERROR(
        InRange(stage + "channels", c.stages[s].channels, 1, 4096));
    HWNAS_RETURN_IF_ERROR(InRange(stage + "stride", c.stages[s].stride, 1, 2));
  }
  int total_stride = c.stem_stride;
  for (const MobileStageConfig& stage : c.stages) total_stride *= stage.stride;
  const int side = c.resolution_choices.empty()
                       ? std::min(c.input.height, c.input.width)
                       : *std::min_element(c.resolution_choices.begin(),
                                           c.resolution_choices.end());
  if (side < total_stride) {
    return Bad(c.resolution_choices.empty() ? "input" : "resolution_choices",
               absl::StrCat("an image of ", side,
                            " pixels is too small for strides of ",
                            total_stride, " in all"),
               absl::StrCat("at least ", total_stride, " pixels"));
  }
  return absl::OkStatus();
}

template <typename T>
std::vector<std::string> Texts(const std::vector<T>& values) {
  std::vector<std::string> texts;
  for (const T value : values) texts.push_back(absl::StrCat(value));
  return texts;
}

struct Block {
  int out_channels;
  int kernel;
  int expansion;
  int stride;
  bool squeeze_excite;
  OpKind activation;
};

int AddBlock(GraphBuilder& b, int x, const Block& block) {
  const int in_channels = b.shape(x).channels;
  const int middle = block.expansion > 1
                         ? RoundChannels(in_channels * block.expansion)
                         : in_channels;
  return AddInvertedResidual(
      b, x,
      {.out_channels = block.out_channels,
       .middle_channels = middle,
       .expand = block.expansion > 1,
       .kernel = block.kernel,
       .stride = block.stride,
       .activation = block.activation,
       .squeeze_channels =
           block.squeeze_excite
               ? RoundChannels(static_cast<double>(middle) / kSqueezeReduction)
               : 0});
}

}  // namespace

MobileConfig WithPreset(const MobileConfig& config) {
  MobileConfig result = config;
  const int side = config.resolution_choices.empty()
                       ? LongSide(config.input)
                       : *std::max_element(config.resolution_choices.begin(),
                                           config.resolution_choices.end());
  const auto set = [](int* field, int value) {
    if (*field == 0) *field = value;
  };
  set(&result.stem_channels, 16);
  set(&result.stem_stride, side <= 40 ? 1 : 2);
  if (config.stages.empty() && side <= 96) {
    result.stages = {
        {24, 2, false, false}, {32, 2, true, false}, {64, 2, true, true}};
    set(&result.final_expand_channels, 256);
  } else if (config.stages.empty()) {
    result.stages = {{24, 2, false, false},
                     {40, 2, true, false},
                     {80, 2, false, true},
                     {112, 1, true, true},
                     {160, 2, true, true}};
    set(&result.final_expand_channels, 960);
    set(&result.head_channels, 1280);
  }
  for (std::vector<int>* list :
       {&result.kernel_choices, &result.expansion_choices,
        &result.depth_choices, &result.resolution_choices}) {
    std::sort(list->begin(), list->end());
  }
  std::sort(result.width_choices.begin(), result.width_choices.end());
  return result;
}

absl::StatusOr<std::unique_ptr<MobileSpace>> MobileSpace::Create(
    const MobileConfig& given) {
  const MobileConfig config = WithPreset(given);
  if (const absl::Status status = Check(config); !status.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(
        config.kind, absl::StripPrefix(status.message(), "mobile")));
  }
  auto space = absl::WrapUnique(new MobileSpace(config));
  // The largest network (all lists are sorted) must be within what a graph may
  // be.
  Architecture largest;
  for (const Decision& decision : space->decisions_) {
    largest.choices.push_back(static_cast<int>(decision.options.size()) - 1);
  }
  if (const absl::Status status = space->Decode(largest).status();
      !status.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(
        config.kind,
        ": the largest network is not possible: ", status.message()));
  }
  return space;
}

MobileSpace::MobileSpace(MobileConfig config) : config_(std::move(config)) {
  const MobileConfig& c = config_;
  std::vector<std::string> resolutions = Texts(c.resolution_choices);
  if (resolutions.empty()) {
    resolutions = {c.input.height == c.input.width
                       ? absl::StrCat(c.input.height)
                       : absl::StrCat(c.input.height, "x", c.input.width)};
  }
  resolution_ = AddSlot("resolution", std::move(resolutions));
  width_ = AddSlot("width", Texts(c.width_choices));
  std::string stages;
  for (size_t s = 0; s < c.stages.size(); ++s) {
    const std::string prefix = absl::StrCat("stage", s + 1, ".");
    const MobileStageConfig& given = c.stages[s];
    Stage& stage = stages_.emplace_back();
    stage.depth = AddSlot(prefix + "depth", Texts(c.depth_choices));
    stage.squeeze_excite = AddSlot(
        prefix + "squeeze_excite",
        c.search_squeeze_excite
            ? std::vector<std::string>{"off", "on"}
            : std::vector<std::string>{given.squeeze_excite ? "on" : "off"});
    for (int block = 1; block <= c.depth_choices.back(); ++block) {
      stage.kernels.push_back(AddSlot(absl::StrCat(prefix, "kernel", block),
                                      Texts(c.kernel_choices)));
      stage.expansions.push_back(
          AddSlot(absl::StrCat(prefix, "expansion", block),
                  Texts(c.expansion_choices)));
    }
    absl::StrAppend(&stages, s == 0 ? "" : ",", given.channels, "/",
                    given.stride, "/",
                    c.search_squeeze_excite ? "?"
                    : given.squeeze_excite  ? "se"
                                            : "-",
                    "/", given.hard_swish ? "hard_swish" : "relu");
  }
  key_ = absl::StrFormat(
      "mobile channels=%d resolutions=%s classes=%d kernels=%s expansions=%s "
      "depths=%s widths=%s stem=%d/%d first_block=%d stages=%s "
      "final_expand=%d head=%d",
      c.input.channels, absl::StrJoin(resolution_.options, ","), c.classes,
      absl::StrJoin(c.kernel_choices, ","),
      absl::StrJoin(c.expansion_choices, ","),
      absl::StrJoin(c.depth_choices, ","), absl::StrJoin(width_.options, ","),
      c.stem_channels, c.stem_stride, c.first_block ? 1 : 0, stages,
      c.final_expand_channels, c.head_channels);
}

MobileSpace::Slot MobileSpace::AddSlot(std::string name,
                                       std::vector<std::string> options,
                                       bool ordered) {
  Slot slot{.options = options};
  if (options.size() > 1) {
    slot.decision = static_cast<int>(decisions_.size());
    decisions_.push_back({std::move(name), std::move(options), ordered});
  }
  return slot;
}

int MobileSpace::Choice(const Slot& slot, const Architecture& architecture) {
  return slot.decision < 0 ? 0 : architecture.choices[slot.decision];
}

const std::string& MobileSpace::Text(const Slot& slot,
                                     const Architecture& architecture) {
  return slot.options[Choice(slot, architecture)];
}

bool MobileSpace::Take(const Slot& slot, absl::string_view text,
                       Architecture* architecture) {
  for (size_t i = 0; i < slot.options.size(); ++i) {
    if (slot.options[i] != text) continue;
    if (slot.decision >= 0) {
      architecture->choices[slot.decision] = static_cast<int>(i);
    }
    return true;
  }
  return false;
}

int MobileSpace::Depth(const Stage& stage,
                       const Architecture& architecture) const {
  return config_.depth_choices[Choice(stage.depth, architecture)];
}

bool MobileSpace::HasSqueezeExcite(int stage,
                                   const Architecture& architecture) const {
  return Text(stages_[stage].squeeze_excite, architecture) == "on";
}

Architecture MobileSpace::Canonicalize(const Architecture& architecture) const {
  RequireValid(architecture);
  Architecture result = architecture;
  for (const Stage& stage : stages_) {
    for (size_t i = Depth(stage, architecture); i < stage.kernels.size(); ++i) {
      for (const Slot* slot : {&stage.kernels[i], &stage.expansions[i]}) {
        if (slot->decision >= 0) result.choices[slot->decision] = 0;
      }
    }
  }
  return result;
}

std::vector<int> MobileSpace::Mattering(const Architecture& canonical) const {
  std::vector<bool> idle(decisions_.size(), false);
  for (const Stage& stage : stages_) {
    for (size_t i = Depth(stage, canonical); i < stage.kernels.size(); ++i) {
      for (const Slot* slot : {&stage.kernels[i], &stage.expansions[i]}) {
        if (slot->decision >= 0) idle[slot->decision] = true;
      }
    }
  }
  std::vector<int> mattering;
  for (size_t d = 0; d < idle.size(); ++d) {
    if (!idle[d]) mattering.push_back(static_cast<int>(d));
  }
  return mattering;
}

std::string MobileSpace::CanonicalKey(const Architecture& architecture) const {
  return ToText(architecture);
}

std::string MobileSpace::ToText(const Architecture& architecture) const {
  RequireValid(architecture);
  std::string text = absl::StrCat("r", Text(resolution_, architecture), " w",
                                  Text(width_, architecture));
  for (size_t s = 0; s < stages_.size(); ++s) {
    const Stage& stage = stages_[s];
    absl::StrAppend(&text, " |");
    for (int i = 0; i < Depth(stage, architecture); ++i) {
      absl::StrAppend(&text, " k", Text(stage.kernels[i], architecture), "e",
                      Text(stage.expansions[i], architecture));
    }
    if (HasSqueezeExcite(static_cast<int>(s), architecture)) {
      absl::StrAppend(&text, " se");
    }
  }
  return text;
}

absl::StatusOr<Architecture> MobileSpace::FromText(
    absl::string_view text) const {
  if (text.size() > kMaxTextBytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("network of %d bytes: expected at most %d", text.size(),
                        kMaxTextBytes));
  }
  const auto expect = [](absl::string_view where, absl::string_view what,
                         const std::string& expected) {
    return absl::InvalidArgumentError(absl::StrCat(
        where, ": '", what, "' is not in the space: expected ", expected));
  };
  const std::vector<absl::string_view> groups = absl::StrSplit(text, '|');
  if (groups.size() != stages_.size() + 1) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "network has %d stages: expected %d, as in 'r224 w1 | k3e6 k5e4 | ...'",
        static_cast<int>(groups.size()) - 1, stages_.size()));
  }
  Architecture result;
  result.choices.assign(decisions_.size(), 0);
  const std::vector<absl::string_view> header =
      absl::StrSplit(groups[0], ' ', absl::SkipEmpty());
  if (header.size() != 2) {
    return absl::InvalidArgumentError(absl::StrCat(
        "'", groups[0], "': expected resolution and width, such as 'r",
        resolution_.options[0], " w", width_.options[0], "'"));
  }
  for (int i = 0; i < 2; ++i) {
    const Slot& slot = i == 0 ? resolution_ : width_;
    absl::string_view value = header[i];
    if (!absl::ConsumePrefix(&value, i == 0 ? "r" : "w") ||
        !Take(slot, value, &result)) {
      return expect(i == 0 ? "resolution" : "width", header[i],
                    absl::StrCat(i == 0 ? "r" : "w", " and one of ",
                                 absl::StrJoin(slot.options, ", ")));
    }
  }
  for (size_t s = 0; s < stages_.size(); ++s) {
    const Stage& stage = stages_[s];
    const std::string where = absl::StrCat("stage ", s + 1);
    std::vector<absl::string_view> blocks =
        absl::StrSplit(groups[s + 1], ' ', absl::SkipEmpty());
    const bool squeeze_excite = !blocks.empty() && blocks.back() == "se";
    if (squeeze_excite) blocks.pop_back();
    if (!Take(stage.squeeze_excite, squeeze_excite ? "on" : "off", &result)) {
      return expect(where, squeeze_excite ? "se" : "no se",
                    squeeze_excite ? "no squeeze-excite" : "se at the end");
    }
    if (!Take(stage.depth, absl::StrCat(blocks.size()), &result)) {
      return expect(where, absl::StrCat(blocks.size(), " blocks"),
                    absl::StrJoin(stage.depth.options, ", "));
    }
    for (size_t i = 0; i < blocks.size(); ++i) {
      absl::string_view block = blocks[i];
      const bool k = absl::ConsumePrefix(&block, "k");
      const std::vector<absl::string_view> parts = absl::StrSplit(block, 'e');
      if (!k || parts.size() != 2 ||
          !Take(stage.kernels[i], parts[0], &result) ||
          !Take(stage.expansions[i], parts[1], &result)) {
        return expect(
            absl::StrCat(where, ", block ", i + 1), blocks[i],
            absl::StrCat("k<kernel>e<expansion> with kernel ",
                         absl::StrJoin(stage.kernels[i].options, ", "),
                         " and expansion ",
                         absl::StrJoin(stage.expansions[i].options, ", ")));
      }
    }
  }
  return result;
}

absl::StatusOr<ModelGraph> MobileSpace::Decode(
    const Architecture& architecture, const DecodeOptions& /*options*/) const {
  RequireValid(architecture);
  const double width = config_.width_choices[Choice(width_, architecture)];
  TensorShape input = config_.input;
  if (!config_.resolution_choices.empty()) {
    input.height = input.width =
        config_.resolution_choices[Choice(resolution_, architecture)];
  }
  GraphBuilder b;
  int x = b.Input(input);
  b.SetScope("stem.");
  x = ConvBnAct(b, x,
                {.out_channels = RoundChannels(config_.stem_channels * width),
                 .kernel = 3,
                 .stride = config_.stem_stride,
                 .padding = 1},
                OpKind::kHardSwish);
  if (config_.first_block) {
    b.SetScope("first.");
    x = AddBlock(b, x,
                 {.out_channels = b.shape(x).channels,
                  .kernel = 3,
                  .expansion = 1,
                  .stride = 1,
                  .squeeze_excite = false,
                  .activation = OpKind::kRelu});
  }
  for (size_t s = 0; s < stages_.size(); ++s) {
    const Stage& stage = stages_[s];
    const MobileStageConfig& config = config_.stages[s];
    for (int i = 0; i < Depth(stage, architecture); ++i) {
      b.SetScope(absl::StrCat("stage", s + 1, ".block", i + 1, "."));
      x = AddBlock(
          b, x,
          {.out_channels = RoundChannels(config.channels * width),
           .kernel =
               config_.kernel_choices[Choice(stage.kernels[i], architecture)],
           .expansion = config_.expansion_choices[Choice(stage.expansions[i],
                                                         architecture)],
           .stride = i == 0 ? config.stride : 1,
           .squeeze_excite =
               HasSqueezeExcite(static_cast<int>(s), architecture),
           .activation =
               config.hard_swish ? OpKind::kHardSwish : OpKind::kRelu});
    }
  }
  b.SetScope("head.");
  if (config_.final_expand_channels > 0) {
    x = ConvBnAct(
        b, x,
        {.out_channels = RoundChannels(config_.final_expand_channels * width)},
        OpKind::kHardSwish);
  }
  x = b.GlobalAvgPool(x);
  if (config_.head_channels > 0) {
    x = b.Conv2d(
        x, {.out_channels = RoundChannels(config_.head_channels * width)});
    x = b.Unary(OpKind::kHardSwish, x);
  }
  b.Linear(b.Dropout(b.Flatten(x), kDropRate), config_.classes);
  return std::move(b).Build();
}

}  // namespace hwnas
