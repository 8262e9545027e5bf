#include "nas/space/declared_network.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/status_macros.h"
#include "nas/space/blocks.h"

namespace hwnas {
namespace {

constexpr int kMaxDepth = 8;               // Of blocks in blocks.
constexpr int kMaxRounds = 32;             // Of one repeat.
constexpr int kMaxSteps = 4096;            // Of a network.
constexpr int kMaxCombinations = 1 << 16;  // Of the choices in one parameter.
constexpr int kSqueezeReduction = 4;

struct Word {
  absl::string_view name;
  int value;
};
// kInput stands for no activation: it is none of a block's own operators.
constexpr Word kActivations[] = {
    {"relu", static_cast<int>(OpKind::kRelu)},
    {"relu6", static_cast<int>(OpKind::kRelu6)},
    {"hard_swish", static_cast<int>(OpKind::kHardSwish)},
    {"swish", static_cast<int>(OpKind::kSwish)},
    {"none", static_cast<int>(OpKind::kInput)}};
constexpr Word kPools[] = {{"max", 0}, {"avg", 1}};
constexpr Word kJoins[] = {{"add", 0}, {"concat", 1}};
constexpr Word kFlags[] = {{"off", 0},  {"on", 1}, {"false", 0},
                           {"true", 1}, {"0", 0},  {"1", 1}};
constexpr Word kSqueezeOf[] = {{"middle", 0}, {"input", 1}};

absl::Status Bad(const std::string& path, absl::string_view what,
                 absl::string_view expected) {
  return absl::InvalidArgumentError(
      absl::StrCat(path, ": ", what, ": expected ", expected));
}

// `x` in another shape, for a sum with it; as it is if there is no way.
int Shortcut(GraphBuilder& b, int x, const TensorShape& to) {
  const TensorShape from = b.shape(x);
  if (from == to) return x;
  for (int stride = 1; stride <= std::max(from.height, from.width); ++stride) {
    if ((from.height - 1) / stride + 1 == to.height &&
        (from.width - 1) / stride + 1 == to.width) {
      return b.BatchNorm(
          b.Conv2d(x, {.out_channels = to.channels, .stride = stride}));
    }
  }
  return x;
}

int Activate(GraphBuilder& b, int x, int word) {
  const OpKind op = static_cast<OpKind>(word);
  return op == OpKind::kInput ? x : b.Unary(op, x);
}

}  // namespace

// A choice inside a parameter: the decision for each combination of rounds of
// the repeats that its name refers to, and what each option stands for.
struct DeclaredNetwork::Ref {
  std::vector<int> levels;     // The repeats, counted from outside.
  std::vector<int> rounds;     // How many each has.
  std::vector<int> decisions;  // Rounds of the last vary fastest.
  std::vector<std::vector<double>> values;  // By decision in `decisions`.
};

// A product of a number and choices.
struct DeclaredNetwork::Parameter {
  double constant = 1;
  std::vector<Ref> refs;
};

struct DeclaredNetwork::Block {
  DeclaredBlock::Kind kind = DeclaredBlock::kConv;
  Parameter channels, kernel, stride, groups, expansion, times, by;
  Parameter activation, word, squeeze, squeeze_of, dropout;
  bool has_channels = false;
  bool has_stride = false;
  std::vector<std::vector<Block>> bodies;
};

// Turns the configuration into blocks, and checks every value that a parameter
// may take.
class DeclaredNetwork::Compiler {
 public:
  explicit Compiler(absl::Span<const Decision> decisions)
      : decisions_(decisions) {
    for (size_t d = 0; d < decisions.size(); ++d) {
      index_[decisions[d].name] = static_cast<int>(d);
    }
  }

  absl::Status Blocks(const std::vector<DeclaredBlock>& in,
                      const std::string& path, bool top,
                      std::vector<Block>* out) {
    if (++depth_ > kMaxDepth) {
      return Bad(path, "blocks in blocks are too deep",
                 absl::StrCat("at most ", kMaxDepth, " levels"));
    }
    for (size_t i = 0; i < in.size(); ++i) {
      const std::string at =
          absl::StrCat(path, "[", i, "].", DeclaredBlockName(in[i].kind));
      const bool last = top && i + 1 == in.size();
      if (in[i].kind == DeclaredBlock::kHead && !last) {
        return Bad(at, "stands inside of the network",
                   "it as the last block of the network");
      }
      out->emplace_back();
      HWNAS_RETURN_IF_ERROR(One(in[i], at, &out->back()));
    }
    --depth_;
    return absl::OkStatus();
  }

  // A number of a range, whatever is chosen.
  absl::Status Number(const std::string& text, const std::string& path,
                      double low, double high, bool integer,
                      Parameter* out) const {
    HWNAS_RETURN_IF_ERROR(Product(text, path, out));
    return EachValue(*out, [&](double value) -> absl::Status {
      if (value >= low && value <= high &&
          (!integer || value == std::floor(value))) {
        return absl::OkStatus();
      }
      return Bad(
          path, absl::StrCat(value, " of '", text, "' is out of range"),
          absl::StrCat(integer ? "an integer, " : "", low, " to ", high));
    });
  }

  absl::Status OneWord(const std::string& text, const std::string& path,
                       absl::Span<const Word> words, Parameter* out) const {
    const auto value_of = [&words](absl::string_view name) {
      const auto found =
          std::find_if(words.begin(), words.end(),
                       [&name](const Word& word) { return word.name == name; });
      return found == words.end() ? -1 : found->value;
    };
    std::vector<absl::string_view> names;
    for (const Word& word : words) names.push_back(word.name);
    const std::string expected =
        absl::StrCat("a choice, or one of ", absl::StrJoin(names, ", "));
    if (!IsChoice(text)) {
      out->constant = value_of(text);
      if (out->constant < 0) {
        return Bad(path, absl::StrCat("'", text, "' is unknown"), expected);
      }
      return absl::OkStatus();
    }
    HWNAS_ASSIGN_OR_RETURN(Ref ref, Reference(text, path));
    for (size_t i = 0; i < ref.decisions.size(); ++i) {
      ref.values.emplace_back();
      for (const std::string& option : decisions_[ref.decisions[i]].options) {
        ref.values.back().push_back(value_of(option));
        if (value_of(option) < 0) {
          return Bad(
              path,
              absl::StrCat("option '", option, "' of ",
                           decisions_[ref.decisions[i]].name, " is unknown"),
              absl::StrCat("some of ", absl::StrJoin(names, ", ")));
        }
      }
    }
    out->refs.push_back(std::move(ref));
    return absl::OkStatus();
  }

 private:
  absl::Status One(const DeclaredBlock& in, const std::string& path,
                   Block* out) {
    out->kind = in.kind;
    const auto text = [&in](absl::string_view name, const char* by_default) {
      const auto found = in.parameters.find(std::string(name));
      return found == in.parameters.end() ? std::string(by_default)
                                          : found->second;
    };
    const auto number = [&](const char* name, const char* by_default,
                            double low, double high, bool integer,
                            Parameter* to) {
      return Number(text(name, by_default), absl::StrCat(path, ".", name), low,
                    high, integer, to);
    };
    const auto word = [&](const char* name, const char* by_default,
                          absl::Span<const Word> words, Parameter* to) {
      return OneWord(text(name, by_default), absl::StrCat(path, ".", name),
                     words, to);
    };
    const auto kernel = [&]() -> absl::Status {
      HWNAS_RETURN_IF_ERROR(number("kernel", "3", 1, 15, true, &out->kernel));
      return EachValue(out->kernel, [&](double value) {
        if (std::fmod(value, 2) == 1) return absl::OkStatus();
        return Bad(path + ".kernel", absl::StrCat(value, " is even"),
                   "odd numbers");
      });
    };
    const auto channels = [&]() -> absl::Status {
      out->has_channels = in.parameters.contains("channels");
      if (!out->has_channels) return absl::OkStatus();
      return number("channels", "", 1, 8192, false, &out->channels);
    };
    switch (in.kind) {
      case DeclaredBlock::kConv:
        HWNAS_RETURN_IF_ERROR(channels());
        HWNAS_RETURN_IF_ERROR(
            number("groups", "1", 1, 8192, true, &out->groups));
        [[fallthrough]];
      case DeclaredBlock::kDepthwise:
        HWNAS_RETURN_IF_ERROR(kernel());
        HWNAS_RETURN_IF_ERROR(number("stride", "1", 1, 8, true, &out->stride));
        HWNAS_RETURN_IF_ERROR(
            word("activation", "relu", kActivations, &out->activation));
        break;
      case DeclaredBlock::kMbConv:
        HWNAS_RETURN_IF_ERROR(channels());
        HWNAS_RETURN_IF_ERROR(kernel());
        HWNAS_RETURN_IF_ERROR(number("stride", "1", 1, 8, true, &out->stride));
        HWNAS_RETURN_IF_ERROR(
            number("expansion", "6", 0.125, 16, false, &out->expansion));
        // There is always one.
        HWNAS_RETURN_IF_ERROR(word("activation", "relu",
                                   absl::MakeConstSpan(kActivations).first(4),
                                   &out->activation));
        HWNAS_RETURN_IF_ERROR(
            word("squeeze_excite", "off", kFlags, &out->squeeze));
        HWNAS_RETURN_IF_ERROR(
            word("squeeze_of", "middle", kSqueezeOf, &out->squeeze_of));
        break;
      case DeclaredBlock::kPool:
        HWNAS_RETURN_IF_ERROR(word("kind", "max", kPools, &out->word));
        HWNAS_RETURN_IF_ERROR(number("kernel", "2", 1, 15, true, &out->kernel));
        out->has_stride = in.parameters.contains("stride");
        HWNAS_RETURN_IF_ERROR(number("stride", "1", 1, 8, true, &out->stride));
        break;
      case DeclaredBlock::kResidual:
        HWNAS_RETURN_IF_ERROR(
            word("activation", "none", kActivations, &out->activation));
        break;
      case DeclaredBlock::kParallel:
        HWNAS_RETURN_IF_ERROR(word("join", "add", kJoins, &out->word));
        break;
      case DeclaredBlock::kRepeat:
        HWNAS_RETURN_IF_ERROR(
            number("times", "", 0, kMaxRounds, true, &out->times));
        HWNAS_RETURN_IF_ERROR(number("stride", "1", 1, 8, true, &out->stride));
        break;
      case DeclaredBlock::kChoose:
        return Choose(in, text("by", ""), path, out);
      case DeclaredBlock::kHead:
        out->has_channels = in.parameters.contains("channels");
        HWNAS_RETURN_IF_ERROR(
            number("channels", "0", 0, 8192, false, &out->channels));
        HWNAS_RETURN_IF_ERROR(
            word("activation", "relu", kActivations, &out->activation));
        HWNAS_RETURN_IF_ERROR(
            number("dropout", "0", 0, 0.9, false, &out->dropout));
        break;
    }
    return Bodies(in, path, out);
  }

  absl::Status Bodies(const DeclaredBlock& in, const std::string& path,
                      Block* out) {
    const bool repeat = in.kind == DeclaredBlock::kRepeat;
    const bool parallel = in.kind == DeclaredBlock::kParallel;
    if (repeat) {
      int most = 0;
      HWNAS_RETURN_IF_ERROR(EachValue(out->times, [&most](double value) {
        most = std::max(most, static_cast<int>(value));
        return absl::OkStatus();
      }));
      const auto index = in.parameters.find("index");
      repeats_.push_back(
          {index == in.parameters.end() ? "" : index->second, most});
    }
    if (parallel && in.bodies.size() > 16) {
      return Bad(path + ".branches",
                 absl::StrCat(in.bodies.size(), " branches"), "at most 16");
    }
    int64_t before = steps_;
    for (size_t i = 0; i < in.bodies.size(); ++i) {
      out->bodies.emplace_back();
      HWNAS_RETURN_IF_ERROR(
          Blocks(in.bodies[i],
                 parallel ? absl::StrCat(path, ".branches[", i, "].blocks")
                          : path + ".blocks",
                 /*top=*/false, &out->bodies.back()));
    }
    if (repeat) {
      steps_ = before + (steps_ - before) * std::max(repeats_.back().most, 1);
      repeats_.pop_back();
    }
    steps_ += 2 + static_cast<int64_t>(in.bodies.size());
    if (steps_ > kMaxSteps) {
      return Bad(path, "the network may have too many operations",
                 absl::StrCat("at most ", kMaxSteps));
    }
    return absl::OkStatus();
  }

  // `by` becomes the index of the body.
  absl::Status Choose(const DeclaredBlock& in, const std::string& by,
                      const std::string& path, Block* out) {
    if (!IsChoice(by)) {
      return Bad(path + ".by", absl::StrCat("'", by, "' is not declared"),
                 "the name of a choice");
    }
    HWNAS_ASSIGN_OR_RETURN(Ref ref, Reference(by, path + ".by"));
    for (size_t c = 0; c < in.cases.size(); ++c) {
      for (size_t k = 0; k < in.cases[c].size(); ++k) {
        const bool known =
            std::any_of(ref.decisions.begin(), ref.decisions.end(), [&](int d) {
              const std::vector<std::string>& options = decisions_[d].options;
              return std::find(options.begin(), options.end(),
                               in.cases[c][k]) != options.end();
            });
        if (!known) {
          return Bad(
              absl::StrCat(path, ".cases[", c, "].is[", k, "]"),
              absl::StrCat("'", in.cases[c][k], "' is no option of ", by),
              absl::StrCat(
                  "some of ",
                  absl::StrJoin(decisions_[ref.decisions[0]].options, ", ")));
        }
      }
    }
    for (const int d : ref.decisions) {
      ref.values.emplace_back();
      for (const std::string& option : decisions_[d].options) {
        int found = -1;
        for (size_t c = 0; c < in.cases.size(); ++c) {
          const std::vector<std::string>& is = in.cases[c];
          if (std::find(is.begin(), is.end(), option) == is.end()) continue;
          if (found >= 0) {
            return Bad(absl::StrCat(path, ".cases[", c, "].is"),
                       absl::StrCat("'", option, "' has a case already"),
                       "each option once");
          }
          found = static_cast<int>(c);
        }
        if (found < 0) {
          return Bad(path + ".cases",
                     absl::StrCat("none for option '", option, "' of ",
                                  decisions_[d].name),
                     "one for each option");
        }
        ref.values.back().push_back(found);
      }
    }
    out->by.refs.push_back(std::move(ref));
    for (size_t c = 0; c < in.bodies.size(); ++c) {
      out->bodies.emplace_back();
      HWNAS_RETURN_IF_ERROR(Blocks(in.bodies[c],
                                   absl::StrCat(path, ".cases[", c, "].blocks"),
                                   /*top=*/false, &out->bodies.back()));
    }
    return absl::OkStatus();
  }

  bool IsChoice(absl::string_view text) const {
    return index_.contains(std::string(text)) || absl::StrContains(text, "{");
  }

  absl::StatusOr<Ref> Reference(absl::string_view text,
                                const std::string& path) const {
    // "kernel{s}_{b}": texts between the indices, and the repeats they name.
    Ref ref;
    std::vector<absl::string_view> texts;
    absl::string_view rest = text;
    int64_t combinations = 1;
    for (;;) {
      const size_t open = rest.find('{');
      texts.push_back(rest.substr(0, open));
      if (open == absl::string_view::npos) break;
      const size_t close = rest.find('}', open);
      if (close == absl::string_view::npos) {
        return Bad(path, absl::StrCat("'", text, "' has no }"),
                   "the index of a repeat in braces, such as kernel{i}");
      }
      const absl::string_view index = rest.substr(open + 1, close - open - 1);
      const auto repeat = std::find_if(
          repeats_.rbegin(), repeats_.rend(),
          [&index](const Round& round) { return round.index == index; });
      if (repeat == repeats_.rend() || index.empty()) {
        return Bad(path,
                   absl::StrCat("'", index, "' is no index of a repeat around"),
                   "the index of one");
      }
      ref.levels.push_back(static_cast<int>(repeats_.rend() - repeat) - 1);
      ref.rounds.push_back(std::max(repeat->most, 1));
      combinations *= ref.rounds.back();
      if (combinations > kMaxCombinations) {
        return Bad(path, absl::StrCat("'", text, "' names too many choices"),
                   absl::StrCat("at most ", kMaxCombinations));
      }
      rest.remove_prefix(close + 1);
    }
    for (int64_t c = 0; c < combinations; ++c) {
      // The last index varies fastest.
      std::vector<int64_t> rounds(ref.levels.size());
      int64_t remaining = c;
      for (size_t k = rounds.size(); k-- > 0;) {
        rounds[k] = remaining % ref.rounds[k];
        remaining /= ref.rounds[k];
      }
      std::string name(texts[0]);
      for (size_t k = 0; k < rounds.size(); ++k) {
        absl::StrAppend(&name, rounds[k], texts[k + 1]);
      }
      const auto found = index_.find(name);
      if (found == index_.end()) {
        return Bad(path, absl::StrCat("'", name, "' is not declared"),
                   "the name of a choice");
      }
      ref.decisions.push_back(found->second);
    }
    return ref;
  }

  absl::Status Product(const std::string& text, const std::string& path,
                       Parameter* out) const {
    constexpr absl::string_view kForm =
        "a number, the name of a choice, or several with * between";
    if (text.empty()) return Bad(path, "is required", kForm);
    int64_t combinations = 1;
    for (const absl::string_view factor : absl::StrSplit(text, '*')) {
      double value = 0;
      if (absl::SimpleAtod(factor, &value) && std::isfinite(value)) {
        out->constant *= value;
        continue;
      }
      if (!IsChoice(factor)) {
        return Bad(
            path,
            absl::StrCat("'", factor, "' is neither a number nor declared"),
            kForm);
      }
      HWNAS_ASSIGN_OR_RETURN(Ref ref, Reference(factor, path));
      size_t most = 1;
      for (const int d : ref.decisions) {
        ref.values.emplace_back();
        for (const std::string& option : decisions_[d].options) {
          if (!absl::SimpleAtod(option, &value) || !std::isfinite(value)) {
            return Bad(path,
                       absl::StrCat("option '", option, "' of ",
                                    decisions_[d].name, " is no number"),
                       "a choice among numbers");
          }
          ref.values.back().push_back(value);
        }
        most = std::max(most, decisions_[d].options.size());
      }
      combinations *= static_cast<int64_t>(most);
      if (combinations > kMaxCombinations) {
        return Bad(path, absl::StrCat("'", text, "' has too many values"),
                   absl::StrCat("at most ", kMaxCombinations));
      }
      out->refs.push_back(std::move(ref));
    }
    return absl::OkStatus();
  }

  // Visits a superset of the values that a parameter may take: products of any
  // value of each factor.
  template <typename F>
  static absl::Status EachValue(const Parameter& parameter, F visit) {
    std::vector<double> values = {parameter.constant};
    for (const Ref& ref : parameter.refs) {
      std::vector<double> factors;
      for (const std::vector<double>& options : ref.values) {
        factors.insert(factors.end(), options.begin(), options.end());
      }
      std::sort(factors.begin(), factors.end());
      factors.erase(std::unique(factors.begin(), factors.end()), factors.end());
      std::vector<double> products;
      for (const double value : values) {
        for (const double factor : factors) products.push_back(value * factor);
      }
      values = std::move(products);
      if (values.size() > kMaxCombinations) values.resize(kMaxCombinations);
    }
    for (const double value : values) HWNAS_RETURN_IF_ERROR(visit(value));
    return absl::OkStatus();
  }

  const absl::Span<const Decision> decisions_;
  std::map<std::string, int> index_;
  struct Round {
    std::string index;  // As the study calls it; may be empty.
    int most;           // Rounds.
  };
  std::vector<Round> repeats_;  // Around the block, outermost first.
  int64_t steps_ = 0;
  int depth_ = 0;
};

absl::string_view DeclaredBlockName(DeclaredBlock::Kind kind) {
  switch (kind) {
    case DeclaredBlock::kConv:
      return "conv";
    case DeclaredBlock::kDepthwise:
      return "depthwise";
    case DeclaredBlock::kMbConv:
      return "mbconv";
    case DeclaredBlock::kPool:
      return "pool";
    case DeclaredBlock::kResidual:
      return "residual";
    case DeclaredBlock::kParallel:
      return "parallel";
    case DeclaredBlock::kRepeat:
      return "repeat";
    case DeclaredBlock::kChoose:
      return "choose";
    case DeclaredBlock::kHead:
      return "head";
  }
  return "unknown";
}

namespace {

void DescribeBlocks(const std::vector<DeclaredBlock>& blocks,
                    std::string* text) {
  text->push_back('[');
  for (const DeclaredBlock& block : blocks) {
    absl::StrAppend(text, DeclaredBlockName(block.kind), "{");
    for (const auto& [name, value] : block.parameters) {
      absl::StrAppend(text, name, "=", value, ",");
    }
    for (size_t i = 0; i < block.bodies.size(); ++i) {
      if (i < block.cases.size()) {
        absl::StrAppend(text, absl::StrJoin(block.cases[i], "|"), ":");
      }
      DescribeBlocks(block.bodies[i], text);
    }
    text->push_back('}');
  }
  text->push_back(']');
}

}  // namespace

std::string DeclaredNetwork::Describe(const DeclaredNetworkConfig& config) {
  std::string text = absl::StrFormat(
      "input=%dx%dx%d classes=%d resolution=%s multiple=%d ",
      config.input.channels, config.input.height, config.input.width,
      config.classes, config.resolution, config.channel_multiple);
  DescribeBlocks(config.blocks, &text);
  return text;
}

// One way through the blocks.
class DeclaredNetwork::Walk {
 public:
  Walk(absl::Span<const int> choices, int channel_multiple,
       std::vector<bool>* read, std::vector<Step>* steps)
      : choices_(choices),
        channel_multiple_(channel_multiple),
        read_(read),
        steps_(*steps) {}

  void Blocks(const std::vector<Block>& blocks) {
    for (const Block& block : blocks) One(block);
  }

  double Read(const Parameter& parameter) {
    double value = parameter.constant;
    for (const Ref& ref : parameter.refs) {
      size_t at = 0;
      for (size_t k = 0; k < ref.levels.size(); ++k) {
        at = at * ref.rounds[k] + rounds_[ref.levels[k]];
      }
      const int decision = ref.decisions[at];
      if (read_ != nullptr) (*read_)[decision] = true;
      value *= ref.values[at][choices_[decision]];
    }
    return value;
  }

 private:
  int Integer(const Parameter& parameter) {
    return static_cast<int>(Read(parameter));
  }
  int Channels(const Parameter& parameter) {
    const double value = Read(parameter);
    if (channel_multiple_ > 1) return RoundChannels(value, channel_multiple_);
    return std::max(1, static_cast<int>(std::lround(value)));
  }
  // That of the repeat around if nobody has taken it yet.
  int Stride(const Block& block) {
    const int own = Integer(block.stride);
    return pending_stride_ > 1 ? std::exchange(pending_stride_, 1) : own;
  }
  void Reduce() {
    if (pending_stride_ == 1) return;
    steps_.push_back(
        {.kind = Step::kReduce,
         .stride = static_cast<int16_t>(std::exchange(pending_stride_, 1))});
  }

  void One(const Block& block) {
    Step step;
    switch (block.kind) {
      case DeclaredBlock::kConv:
        step.kind = Step::kConv;
        if (block.has_channels) step.channels = Channels(block.channels);
        step.kernel = static_cast<int16_t>(Integer(block.kernel));
        step.stride = static_cast<int16_t>(Stride(block));
        step.groups = static_cast<int16_t>(Integer(block.groups));
        step.word = static_cast<int8_t>(Integer(block.activation));
        steps_.push_back(step);
        return;
      case DeclaredBlock::kDepthwise:
        step.kind = Step::kDepthwise;
        step.kernel = static_cast<int16_t>(Integer(block.kernel));
        step.stride = static_cast<int16_t>(Stride(block));
        step.word = static_cast<int8_t>(Integer(block.activation));
        steps_.push_back(step);
        return;
      case DeclaredBlock::kMbConv:
        step.kind = Step::kMbConv;
        if (block.has_channels) step.channels = Channels(block.channels);
        step.kernel = static_cast<int16_t>(Integer(block.kernel));
        step.stride = static_cast<int16_t>(Stride(block));
        step.expansion = Read(block.expansion);
        step.word = static_cast<int8_t>(Integer(block.activation));
        // 1: of the middle, 2: of the input.
        step.groups = 0;
        if (Integer(block.squeeze) != 0) {
          step.groups = static_cast<int16_t>(1 + Integer(block.squeeze_of));
        }
        steps_.push_back(step);
        return;
      case DeclaredBlock::kPool:
        step.kind = Integer(block.word) == 0 ? Step::kMaxPool : Step::kAvgPool;
        step.kernel = static_cast<int16_t>(Integer(block.kernel));
        step.stride = block.has_stride || pending_stride_ > 1
                          ? static_cast<int16_t>(Stride(block))
                          : step.kernel;
        if (step.kernel > 1 || step.stride > 1) steps_.push_back(step);
        return;
      case DeclaredBlock::kResidual: {
        step.kind = Step::kResidual;
        steps_.push_back(step);
        const size_t begin = steps_.size();
        Blocks(block.bodies[0]);
        step.kind = Step::kEnd;
        step.word = static_cast<int8_t>(Integer(block.activation));
        if (steps_.size() == begin) {
          steps_.pop_back();  // Nothing to add.
        } else {
          steps_.push_back(step);
        }
        return;
      }
      case DeclaredBlock::kParallel:
        Parallel(block);
        return;
      case DeclaredBlock::kRepeat: {
        const int times = Integer(block.times);
        const int stride = Integer(block.stride);
        for (int round = 0; round < times; ++round) {
          if (round == 0 && stride > 1) pending_stride_ = stride;
          rounds_.push_back(round);
          Blocks(block.bodies[0]);
          rounds_.pop_back();
          if (round == 0 && stride > 1) Reduce();
        }
        return;
      }
      case DeclaredBlock::kChoose:
        Blocks(block.bodies[Integer(block.by)]);
        return;
      case DeclaredBlock::kHead:
        step.kind = Step::kHead;
        if (block.has_channels && Read(block.channels) > 0) {
          step.channels = Channels(block.channels);
        }
        step.word = static_cast<int8_t>(Integer(block.activation));
        step.expansion = Read(block.dropout);
        steps_.push_back(step);
        return;
    }
  }

  void Parallel(const Block& block) {
    const int8_t join = static_cast<int8_t>(Integer(block.word));
    if (block.bodies.size() > 1) {
      steps_.push_back({.kind = Step::kParallel, .word = join});
    }
    const int stride = pending_stride_;
    for (size_t i = 0; i < block.bodies.size(); ++i) {
      if (i > 0) steps_.push_back({.kind = Step::kBranch});
      pending_stride_ = stride;
      Blocks(block.bodies[i]);
      if (block.bodies.size() > 1) Reduce();
    }
    if (block.bodies.size() > 1) steps_.push_back({.kind = Step::kEnd});
  }

  const absl::Span<const int> choices_;
  const int channel_multiple_;
  std::vector<bool>* const read_;
  std::vector<Step>& steps_;
  std::vector<int> rounds_;
  int pending_stride_ = 1;
};

absl::StatusOr<std::unique_ptr<DeclaredNetwork>> DeclaredNetwork::Create(
    const DeclaredNetworkConfig& config, absl::Span<const Decision> decisions) {
  auto network = absl::WrapUnique(new DeclaredNetwork());
  const auto in_range = [](const char* field, int value, int low, int high) {
    if (value >= low && value <= high) return absl::OkStatus();
    return Bad(absl::StrCat("network.", field),
               absl::StrCat(value, " is out of range"),
               absl::StrCat(low, " to ", high));
  };
  HWNAS_RETURN_IF_ERROR(in_range("input[0]", config.input.channels, 1, 4096));
  HWNAS_RETURN_IF_ERROR(
      in_range("input[1]", config.input.height, 1, GraphLimits::kMaxImageSide));
  HWNAS_RETURN_IF_ERROR(
      in_range("input[2]", config.input.width, 1, GraphLimits::kMaxImageSide));
  HWNAS_RETURN_IF_ERROR(in_range("classes", config.classes, 2, 100000));
  HWNAS_RETURN_IF_ERROR(
      in_range("channel_multiple", config.channel_multiple, 1, 256));
  network->input_ = config.input;
  network->classes_ = config.classes;
  network->channel_multiple_ = config.channel_multiple;
  Compiler compiler(decisions);
  if (!config.resolution.empty()) {
    HWNAS_RETURN_IF_ERROR(compiler.Number(
        config.resolution, "network.resolution", 1, GraphLimits::kMaxImageSide,
        /*integer=*/true, &network->resolution_.emplace_back()));
  }
  std::vector<DeclaredBlock> blocks = config.blocks;
  if (blocks.empty() || blocks.back().kind != DeclaredBlock::kHead) {
    blocks.push_back({.kind = DeclaredBlock::kHead});
  }
  HWNAS_RETURN_IF_ERROR(compiler.Blocks(blocks, "network.blocks", /*top=*/true,
                                        &network->blocks_));
  return network;
}

DeclaredNetwork::DeclaredNetwork() = default;
DeclaredNetwork::~DeclaredNetwork() = default;

std::vector<DeclaredNetwork::Step> DeclaredNetwork::Resolve(
    absl::Span<const int> choices, std::vector<bool>* read) const {
  std::vector<Step> steps;
  steps.reserve(64);
  Walk walk(choices, channel_multiple_, read, &steps);
  Step input{.kind = Step::kInput, .channels = input_.channels};
  input.kernel = static_cast<int16_t>(input_.height);
  input.stride = static_cast<int16_t>(input_.width);
  for (const Parameter& resolution : resolution_) {
    input.kernel = input.stride = static_cast<int16_t>(walk.Read(resolution));
  }
  steps.push_back(input);
  walk.Blocks(blocks_);
  return steps;
}

std::string DeclaredNetwork::Text(const std::vector<Step>& steps) {
  constexpr char kLetters[] = "icdmpar(<|)h";
  std::string text;
  text.reserve(steps.size() * 12);
  for (const Step& step : steps) {
    text.push_back(kLetters[step.kind]);
    for (const int value :
         {int{step.channels}, int{step.kernel}, int{step.stride},
          int{step.groups}, int{step.word}}) {
      absl::StrAppend(&text, value, ".");
    }
    if (step.expansion != 0) absl::StrAppend(&text, step.expansion);
  }
  return text;
}

absl::StatusOr<ModelGraph> DeclaredNetwork::Build(
    const std::vector<Step>& steps) const {
  struct Open {
    int8_t word;                // Of a parallel: how it is joined.
    int in;                     // What came in.
    std::vector<int> branches;  // Of a parallel, ended ones.
    bool residual;
  };
  std::vector<Open> open;
  GraphBuilder b;
  int x = 0;
  int number = 0;
  for (const Step& step : steps) {
    b.SetScope(absl::StrCat("block", number, "."));
    const int in_channels = b.shape(x).channels;
    switch (step.kind) {
      case Step::kInput:
        x = b.Input({step.channels, step.kernel, step.stride});
        break;
      case Step::kConv:
      case Step::kDepthwise: {
        const bool depthwise = step.kind == Step::kDepthwise;
        const int out =
            depthwise || step.channels == 0 ? in_channels : step.channels;
        x = b.Conv2d(x, {.out_channels = out,
                         .kernel = step.kernel,
                         .stride = step.stride,
                         .padding = step.kernel / 2,
                         .groups = depthwise ? in_channels : step.groups});
        x = Activate(b, b.BatchNorm(x), step.word);
        break;
      }
      case Step::kMbConv: {
        const double wanted = in_channels * step.expansion;
        const int middle =
            step.expansion == 1 ? in_channels
            : channel_multiple_ > 1
                ? RoundChannels(wanted, channel_multiple_)
                : std::max(1, static_cast<int>(std::lround(wanted)));
        const int squeezed = step.groups == 2 ? in_channels : middle;
        // An activation of none is that of the depthwise one, too.
        x = AddInvertedResidual(
            b, x,
            {.out_channels = step.channels == 0 ? in_channels : step.channels,
             .middle_channels = middle,
             .expand = step.expansion != 1,
             .kernel = step.kernel,
             .stride = step.stride,
             .activation = static_cast<OpKind>(step.word),
             .squeeze_channels =
                 step.groups == 0 ? 0
                                  : std::max(1, squeezed / kSqueezeReduction)});
        break;
      }
      case Step::kMaxPool:
      case Step::kAvgPool: {
        const GraphBuilder::Pool pool{.kernel = step.kernel,
                                      .stride = step.stride,
                                      .padding = (step.kernel - 1) / 2};
        x = step.kind == Step::kMaxPool ? b.MaxPool(x, pool)
                                        : b.AvgPool(x, pool);
        break;
      }
      case Step::kReduce:
        x = b.BatchNorm(
            b.Conv2d(x, {.out_channels = in_channels, .stride = step.stride}));
        break;
      case Step::kResidual:
      case Step::kParallel:
        open.push_back({step.word, x, {}, step.kind == Step::kResidual});
        break;
      case Step::kBranch:
        open.back().branches.push_back(x);
        x = open.back().in;
        break;
      case Step::kEnd: {
        Open& block = open.back();
        if (block.residual) {
          x = Activate(b, b.Add({Shortcut(b, block.in, b.shape(x)), x}),
                       step.word);
        } else {
          block.branches.push_back(x);
          x = block.word == 0 ? b.Add(block.branches)
                              : b.Concat(block.branches);
        }
        open.pop_back();
        break;
      }
      case Step::kHead:
        b.SetScope("head.");
        if (step.channels > 0) {
          x = Activate(
              b, b.BatchNorm(b.Conv2d(x, {.out_channels = step.channels})),
              step.word);
        }
        x = b.Flatten(b.GlobalAvgPool(x));
        if (step.expansion > 0) x = b.Dropout(x, step.expansion);
        b.Linear(x, classes_);
        break;
    }
    ++number;
  }
  return std::move(b).Build();
}

}  // namespace hwnas
