#include "nas/space/declared.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/memory/memory.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/digest.h"
#include "common/status_macros.h"
#include "nas/replay.h"

namespace hwnas {
namespace {

constexpr size_t kMaxDecisions = 512;
constexpr size_t kMaxOptions = 64;
constexpr size_t kMaxConditions = 16;
constexpr size_t kMaxRules = 64;
constexpr size_t kMaxNameBytes = 64;
constexpr size_t kMaxTextBytes = 65536;

absl::Status Bad(const std::string& path, absl::string_view what,
                 absl::string_view expected) {
  return absl::InvalidArgumentError(
      absl::StrCat(path, ": ", what, ": expected ", expected));
}

bool IsName(absl::string_view text) {
  return !text.empty() && text.size() <= kMaxNameBytes &&
         absl::ascii_islower(text[0]) &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '_';
         });
}

bool IsOption(absl::string_view text) {
  return !text.empty() && text.size() <= kMaxNameBytes &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_isalnum(c) || absl::StrContains("_.+:/-", c);
         });
}

// "12" of "k12"; empty if there is none.
absl::string_view TrailingNumber(absl::string_view name) {
  size_t begin = name.size();
  while (begin > 0 && absl::ascii_isdigit(name[begin - 1])) --begin;
  return name.substr(begin);
}

// The options of a choice as given, in order.
absl::StatusOr<std::vector<std::string>> OptionsOf(const DeclaredChoice& choice,
                                                   const std::string& path) {
  const int lists = static_cast<int>(!choice.options.empty()) +
                    static_cast<int>(!choice.ordered.empty()) +
                    static_cast<int>(choice.integers.has_value());
  if (lists != 1) {
    return Bad(
        path,
        lists == 0 ? "nothing to choose from" : "several kinds of options",
        "one of options, ordered and integers");
  }
  std::vector<std::string> options =
      choice.options.empty() ? choice.ordered : choice.options;
  std::string field = choice.options.empty() ? ".ordered" : ".options";
  if (choice.integers) {
    field = ".integers";
    const auto& [from, to, step] = *choice.integers;
    if (step < 1) {
      return Bad(path + ".integers.step",
                 absl::StrCat(step, " is out of range"), "at least 1");
    }
    if (to < from) {
      return Bad(path + ".integers.to", absl::StrCat(to, " is less than from"),
                 absl::StrCat("at least ", from));
    }
    for (int64_t value = from; value <= to && options.size() <= kMaxOptions;
         value += step) {
      options.push_back(absl::StrCat(value));
    }
  }
  if (options.size() > kMaxOptions) {
    return Bad(path + field, "too many options",
               absl::StrCat("at most ", kMaxOptions));
  }
  std::vector<std::string> sorted = options;
  std::sort(sorted.begin(), sorted.end());
  const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
  if (twice != sorted.end()) {
    return Bad(path + field, absl::StrCat("'", *twice, "' is listed twice"),
               "different options");
  }
  for (size_t i = 0; i < options.size(); ++i) {
    if (!IsOption(options[i])) {
      return Bad(absl::StrCat(path, field, "[", i, "]"),
                 "not a name or a number", "1 to 64 of [A-Za-z0-9_.+:/-]");
    }
  }
  return options;
}

void AppendConditions(const std::vector<DeclaredCondition>& conditions,
                      std::string* text) {
  for (const DeclaredCondition& condition : conditions) {
    absl::StrAppend(text, " ", condition.choice, "=",
                    absl::StrJoin(condition.is, "|"));
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<DeclaredSpace>> DeclaredSpace::Create(
    const DeclaredConfig& config) {
  auto space = absl::WrapUnique(new DeclaredSpace());
  std::string content;  // All that distinguishes the space.
  for (size_t i = 0; i < config.choices.size(); ++i) {
    HWNAS_RETURN_IF_ERROR(space->AddChoice(
        config.choices[i], absl::StrCat("declared.choices[", i, "]")));
  }
  if (config.choices.empty()) {
    return Bad("declared.choices", "none", "at least 1");
  }
  for (size_t d = 0; d < space->decisions_.size(); ++d) {
    const Decision& decision = space->decisions_[d];
    absl::StrAppend(&content, decision.name, ":",
                    absl::StrJoin(decision.options, ","),
                    decision.ordered ? "<" : "");
    for (const Condition& condition : space->when_[d]) {
      absl::StrAppend(&content, " when ", condition.decision, " in ",
                      condition.options);
    }
    absl::StrAppend(&content, "\n");
  }
  if (config.forbid.size() > kMaxRules) {
    return Bad("declared.forbid", absl::StrCat(config.forbid.size(), " rules"),
               absl::StrCat("at most ", kMaxRules));
  }
  for (size_t i = 0; i < config.forbid.size(); ++i) {
    const std::string path = absl::StrCat("declared.forbid[", i, "]");
    if (config.forbid[i].empty()) {
      return Bad(path, "no condition", "at least 1 under all");
    }
    HWNAS_ASSIGN_OR_RETURN(
        Conditions rule,
        space->Compile(config.forbid[i], /*number=*/"", path + ".all"));
    space->forbidden_.push_back(std::move(rule));
    absl::StrAppend(&content, "forbid");
    AppendConditions(config.forbid[i], &content);
    absl::StrAppend(&content, "\n");
  }
  if (config.network) {
    absl::StrAppend(&content, DeclaredNetwork::Describe(*config.network));
    auto network = DeclaredNetwork::Create(*config.network, space->decisions_);
    if (!network.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("declared.", network.status().message()));
    }
    space->network_ = *std::move(network);
  }
  space->key_ = absl::StrCat("declared ", Sha256Hex(content));
  space->all_matter_ =
      space->network_ == nullptr &&
      std::all_of(space->when_.begin(), space->when_.end(),
                  [](const Conditions& when) { return when.empty(); });
  const absl::Status common = space->CheckValidPointsAreCommon();
  if (!common.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("declared.forbid: ", common.message()));
  }
  if (space->network_ != nullptr) HWNAS_RETURN_IF_ERROR(space->TryNetworks());
  return space;
}

absl::Status DeclaredSpace::TryNetworks() const {
  constexpr int kSamples = 64;
  Rng rng(0);
  for (int i = 0; i < kSamples + 2; ++i) {
    Architecture point = Sample(rng);
    if (i < 2) {  // All first options, then all last.
      for (size_t d = 0; d < decisions_.size(); ++d) {
        point.choices[d] =
            i == 0 ? 0 : static_cast<int>(decisions_[d].options.size()) - 1;
      }
      if (!Validate(point).ok()) continue;
    }
    const absl::Status status = SearchSpace::Decode(point).status();
    if (!status.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("declared.network: '", ToText(point),
                       "' is not possible: ", status.message()));
    }
  }
  return absl::OkStatus();
}

absl::Status DeclaredSpace::AddChoice(const DeclaredChoice& choice,
                                      const std::string& path) {
  const absl::StatusOr<std::vector<std::string>> names =
      ExpandBraces(choice.name);
  if (!names.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ".name: ", names.status().message()));
  }
  HWNAS_ASSIGN_OR_RETURN(const std::vector<std::string> options,
                         OptionsOf(choice, path));
  for (const std::string& name : *names) {
    if (!IsName(name)) {
      return Bad(path + ".name", absl::StrCat("'", name, "' is malformed"),
                 "1 to 64 of [a-z0-9_], beginning with a letter");
    }
    if (std::any_of(decisions_.begin(), decisions_.end(),
                    [&name](const Decision& d) { return d.name == name; })) {
      return Bad(path + ".name", absl::StrCat("'", name, "' is declared twice"),
                 "different names");
    }
    if (decisions_.size() == kMaxDecisions) {
      return Bad("declared.choices", "too many choices",
                 absl::StrCat("at most ", kMaxDecisions));
    }
    HWNAS_ASSIGN_OR_RETURN(
        Conditions when,
        Compile(choice.when, TrailingNumber(name), path + ".when"));
    decisions_.push_back({name, options, choice.options.empty()});
    when_.push_back(std::move(when));
    std::vector<std::string>& text = text_.emplace_back();
    for (const std::string& option : options) {
      text.push_back(absl::StrCat(name, "=", option));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<DeclaredSpace::Conditions> DeclaredSpace::Compile(
    const std::vector<DeclaredCondition>& conditions, absl::string_view number,
    const std::string& path) const {
  if (conditions.size() > kMaxConditions) {
    return Bad(path, absl::StrCat(conditions.size(), " conditions"),
               absl::StrCat("at most ", kMaxConditions));
  }
  Conditions result;
  for (size_t i = 0; i < conditions.size(); ++i) {
    const std::string at = absl::StrCat(path, "[", i, "]");
    std::string name = conditions[i].choice;
    if (absl::StrContains(name, "#") && !number.empty()) {
      name = absl::StrReplaceAll(name, {{"#", number}});
    }
    const auto found =
        std::find_if(decisions_.begin(), decisions_.end(),
                     [&name](const Decision& d) { return d.name == name; });
    if (found == decisions_.end()) {
      return Bad(at + ".choice",
                 absl::StrCat("'", name, "' is not declared before"),
                 "an earlier choice");
    }
    if (conditions[i].is.empty()) {
      return Bad(at + ".is", "no option",
                 absl::StrCat("some of ", absl::StrJoin(found->options, ", ")));
    }
    Condition& condition = result.emplace_back();
    condition.decision = static_cast<int>(found - decisions_.begin());
    condition.options = 0;
    for (size_t k = 0; k < conditions[i].is.size(); ++k) {
      const auto option = std::find(found->options.begin(),
                                    found->options.end(), conditions[i].is[k]);
      if (option == found->options.end()) {
        return Bad(
            absl::StrCat(at, ".is[", k, "]"),
            absl::StrCat("'", conditions[i].is[k], "' is no option of ", name),
            absl::StrCat("some of ", absl::StrJoin(found->options, ", ")));
      }
      condition.options |= uint64_t{1} << (option - found->options.begin());
    }
  }
  return result;
}

bool DeclaredSpace::Holds(const Conditions& conditions,
                          const Architecture& architecture,
                          const std::vector<bool>& active) {
  return std::all_of(
      conditions.begin(), conditions.end(), [&](const Condition& c) {
        return active[c.decision] &&
               (c.options >> architecture.choices[c.decision] & 1) != 0;
      });
}

std::vector<bool> DeclaredSpace::Active(
    const Architecture& architecture) const {
  std::vector<bool> active(decisions_.size());
  // Conditions are about earlier choices.
  for (size_t d = 0; d < active.size(); ++d) {
    active[d] = Holds(when_[d], architecture, active);
  }
  return active;
}

absl::Status DeclaredSpace::Validate(const Architecture& architecture) const {
  HWNAS_RETURN_IF_ERROR(SearchSpace::Validate(architecture));
  if (forbidden_.empty()) return absl::OkStatus();
  const std::vector<bool> active = Active(architecture);
  for (const Conditions& rule : forbidden_) {
    if (!Holds(rule, architecture, active)) continue;
    std::vector<absl::string_view> texts;
    for (const Condition& condition : rule) {
      const int d = condition.decision;
      texts.push_back(text_[d][architecture.choices[d]]);
    }
    return absl::InvalidArgumentError(
        absl::StrCat("'", absl::StrJoin(texts, " "), "' is forbidden by rule ",
                     &rule - forbidden_.data() + 1));
  }
  return absl::OkStatus();
}

std::vector<bool> DeclaredSpace::Settle(Architecture* architecture) const {
  if (all_matter_) return std::vector<bool>(decisions_.size(), true);
  std::vector<bool> matters = Active(*architecture);
  for (size_t d = 0; d < matters.size(); ++d) {
    if (!matters[d]) architecture->choices[d] = 0;
  }
  if (network_ == nullptr) return matters;
  std::vector<bool> read(decisions_.size());
  network_->Resolve(architecture->choices, &read);
  for (const Conditions& rule : forbidden_) {
    for (const Condition& condition : rule) read[condition.decision] = true;
  }
  // Whether a choice that is looked at has a say depends on its conditions.
  for (size_t d = read.size(); d-- > 0;) {
    if (!read[d]) continue;
    for (const Condition& condition : when_[d]) read[condition.decision] = true;
  }
  for (size_t d = 0; d < matters.size(); ++d) {
    matters[d] = matters[d] && read[d];
  }
  return matters;
}

std::vector<int> DeclaredSpace::Mattering(const Architecture& canonical) const {
  Architecture architecture = canonical;
  const std::vector<bool> matters = Settle(&architecture);
  std::vector<int> mattering;
  for (size_t d = 0; d < matters.size(); ++d) {
    if (matters[d]) mattering.push_back(static_cast<int>(d));
  }
  return mattering;
}

Architecture DeclaredSpace::Canonicalize(
    const Architecture& architecture) const {
  RequireValid(architecture);
  Architecture result = architecture;
  if (all_matter_) return result;
  const std::vector<bool> matters = Settle(&result);
  for (size_t d = 0; d < matters.size(); ++d) {
    if (!matters[d]) result.choices[d] = 0;
  }
  return result;
}

std::string DeclaredSpace::CanonicalKey(
    const Architecture& architecture) const {
  if (network_ == nullptr) return ToText(architecture);
  return DeclaredNetwork::Text(
      network_->Resolve(Canonicalize(architecture).choices, /*read=*/nullptr));
}

std::string DeclaredSpace::ToText(const Architecture& architecture) const {
  RequireValid(architecture);
  Architecture settled = architecture;
  const std::vector<bool> matters = Settle(&settled);
  std::string text;
  for (size_t d = 0; d < matters.size(); ++d) {
    if (!matters[d]) continue;
    if (!text.empty()) text.push_back(' ');
    text.append(text_[d][settled.choices[d]]);
  }
  return text;
}

absl::StatusOr<Architecture> DeclaredSpace::FromText(
    absl::string_view text) const {
  if (text.size() > kMaxTextBytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("architecture of %d bytes: expected at most %d",
                        text.size(), kMaxTextBytes));
  }
  Architecture result;
  result.choices.assign(decisions_.size(), 0);
  std::vector<bool> given(decisions_.size());
  std::vector<absl::string_view> items;
  if (!text.empty()) items = absl::StrSplit(text, ' ');
  size_t d = 0;
  for (const absl::string_view item : items) {
    const absl::string_view name = item.substr(0, item.find('='));
    while (d < decisions_.size() && decisions_[d].name != name) ++d;
    if (d == decisions_.size()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "'", item, "': expected name=option of a choice, in their order"));
    }
    const auto found = std::find(text_[d].begin(), text_[d].end(), item);
    if (found == text_[d].end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("'", item, "': expected '", name, "=' and one of ",
                       absl::StrJoin(decisions_[d].options, ", ")));
    }
    result.choices[d] = static_cast<int>(found - text_[d].begin());
    given[d++] = true;
  }
  HWNAS_RETURN_IF_ERROR(Validate(result));
  Architecture settled = result;
  const std::vector<bool> matters = Settle(&settled);
  for (size_t i = 0; i < matters.size(); ++i) {
    if (matters[i] == given[i]) continue;
    return absl::InvalidArgumentError(
        given[i] ? absl::StrCat("'", text_[i][result.choices[i]],
                                "' does not matter here: expected it left out")
                 : absl::StrCat("'", decisions_[i].name,
                                "' is missing: expected one of ",
                                absl::StrJoin(decisions_[i].options, ", ")));
  }
  return result;
}

absl::StatusOr<ModelGraph> DeclaredSpace::Decode(
    const Architecture& architecture, const DecodeOptions& /*options*/) const {
  RequireValid(architecture);
  if (network_ == nullptr) {
    return absl::FailedPreconditionError(
        "the declared space has choices but no network");
  }
  return network_->Build(network_->Resolve(Canonicalize(architecture).choices,
                                           /*read=*/nullptr));
}

Architecture DeclaredSpace::MutateOne(const Architecture& parent,
                                      Rng& rng) const {
  if (network_ != nullptr) return SearchSpace::MutateOne(parent, rng);
  // Another option of a choice that matters is another point, without asking
  // for canonical keys. A long search spends most of its time here.
  const Architecture canonical = Canonicalize(parent);
  std::vector<int> order = Mattering(canonical);
  rng.Shuffle(order);
  Architecture child = canonical;
  for (const int decision : order) {
    std::vector<int> options(decisions_[decision].options.size());
    std::iota(options.begin(), options.end(), 0);
    rng.Shuffle(options);
    for (const int option : options) {
      if (option == canonical.choices[decision]) continue;
      child.choices[decision] = option;
      if (Validate(child).ok()) return Canonicalize(child);
    }
    child.choices[decision] = canonical.choices[decision];
  }
  return canonical;
}

std::optional<std::vector<Architecture>> DeclaredSpace::Enumerate(
    double limit) const {
  // Choices without an active condition are passed over.
  std::vector<Architecture> points;
  absl::flat_hash_set<std::string> known;
  Architecture point;
  point.choices.assign(decisions_.size(), 0);
  std::vector<bool> active(decisions_.size());
  double visited = 0;
  // Sets choices from `d` on in every way; false when there are too many.
  const auto visit = [&](const auto& self, size_t d) -> bool {
    for (; d < decisions_.size(); ++d) {
      active[d] = Holds(when_[d], point, active);
      point.choices[d] = 0;
      if (active[d] && decisions_[d].options.size() > 1) break;
    }
    if (d == decisions_.size()) {
      if (++visited > limit) return false;
      if (Validate(point).ok() &&
          (network_ == nullptr || known.insert(CanonicalKey(point)).second)) {
        points.push_back(Canonicalize(point));
      }
      return true;
    }
    const int options = static_cast<int>(decisions_[d].options.size());
    for (int option = 0; option < options; ++option) {
      point.choices[d] = option;
      if (!self(self, d + 1)) return false;
    }
    point.choices[d] = 0;
    return true;
  };
  if (!visit(visit, 0)) return std::nullopt;
  return points;
}

}  // namespace hwnas
