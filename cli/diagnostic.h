// An error in a file, printed as compilers do.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace hwnas::cli {

// Lines and columns count from 1; 0 means the file as a whole. Columns count
// characters, not bytes.
struct Diagnostic {
  int line = 0;
  int column = 0;
  // Characters to underline; at least the first.
  int length = 1;
  // Path of the field in the file, "spec.train.epochs". May be empty.
  std::string field;
  // The offending value, what was expected, a suggestion.
  std::string message;
};

// One block for each error, by position, with the source line and a caret:
//
//   study.yaml:12:21: error: spec.train.epochs: 0 is out of range: ...
//      12 |   train: {epochs: 0}
//         |                   ^
std::string RenderDiagnostics(absl::string_view file_name,
                              absl::string_view source,
                              absl::Span<const Diagnostic> diagnostics);

// "auto, random or nsga2".
std::string JoinChoices(absl::Span<const std::string> names);

// Text from outside, made safe to print on a terminal: control characters are
// shown as \xNN, and more than `max_bytes` are cut off with "...".
std::string Printable(absl::string_view text, size_t max_bytes = 80);

}  // namespace hwnas::cli
