#include "cli/diagnostic.h"

#include <algorithm>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace hwnas::cli {
namespace {

bool StartsCharacter(char byte) {
  return (static_cast<uint8_t>(byte) & 0xc0) != 0x80;
}

// A source line fit for a terminal: tabs become one blank (so that columns
// stay), control characters a question mark.
std::string CleanLine(absl::string_view line) {
  std::string clean;
  for (char c : line) {
    if (c == '\r') continue;
    clean.push_back(c == '\t' ? ' '
                    : static_cast<uint8_t>(c) < 0x20 ||
                            static_cast<uint8_t>(c) == 0x7f
                        ? '?'
                        : c);
  }
  return clean;
}

int CharacterCount(absl::string_view text) {
  return static_cast<int>(
      std::count_if(text.begin(), text.end(), StartsCharacter));
}

// Characters [from, from + count) of a UTF-8 text.
std::string Characters(absl::string_view text, int from, int count) {
  std::string out;
  int index = -1;
  for (char c : text) {
    if (StartsCharacter(c)) ++index;
    if (index >= from && index < from + count) out.push_back(c);
  }
  return out;
}

}  // namespace

std::string RenderDiagnostics(absl::string_view file_name,
                              absl::string_view source,
                              absl::Span<const Diagnostic> diagnostics) {
  constexpr int kWidth = 100;  // Characters of a source line that are shown.
  std::vector<Diagnostic> sorted(diagnostics.begin(), diagnostics.end());
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const Diagnostic& a, const Diagnostic& b) {
                     return std::pair(a.line, a.column) <
                            std::pair(b.line, b.column);
                   });
  const std::vector<absl::string_view> lines = absl::StrSplit(source, '\n');
  std::string out;
  for (const Diagnostic& error : sorted) {
    absl::StrAppend(&out, file_name, ":");
    if (error.line > 0) {
      absl::StrAppend(&out, error.line, ":", error.column, ":");
    }
    absl::StrAppend(&out, " error: ");
    if (!error.field.empty()) absl::StrAppend(&out, error.field, ": ");
    absl::StrAppend(&out, error.message, "\n");
    if (error.line < 1 || error.line > static_cast<int>(lines.size())) continue;
    const std::string line = CleanLine(lines[error.line - 1]);
    const int characters = CharacterCount(line);
    // Long lines are cut to a window around the error.
    const int column = std::clamp(error.column, 1, characters + 1);
    int from = 0;
    if (characters > kWidth && column > kWidth - 20) {
      from = std::min(column - 20, characters - kWidth + 20);
    }
    const std::string shown = Characters(line, from, kWidth);
    const int marked =
        std::clamp(std::min(error.length, from + kWidth - column + 1), 1,
                   std::max(1, characters - column + 1));
    absl::StrAppendFormat(&out, "%6d | %s\n", error.line, shown);
    absl::StrAppend(&out, "       | ", std::string(column - 1 - from, ' '), "^",
                    std::string(marked - 1, '~'), "\n");
  }
  return out;
}

std::string JoinChoices(absl::Span<const std::string> names) {
  std::string out;
  for (size_t i = 0; i < names.size(); ++i) {
    if (i > 0) absl::StrAppend(&out, i + 1 == names.size() ? " or " : ", ");
    absl::StrAppend(&out, names[i]);
  }
  return out;
}

std::string Printable(absl::string_view text, size_t max_bytes) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (out.size() >= max_bytes && StartsCharacter(text[i])) {
      return out + "...";
    }
    const uint8_t byte = static_cast<uint8_t>(text[i]);
    if (byte < 0x20 || byte == 0x7f) {
      absl::StrAppendFormat(&out, "\\x%02x", byte);
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

}  // namespace hwnas::cli
