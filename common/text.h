// Text from elsewhere, made fit for logs and messages.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace hwnas {

// ASCII alone: what is not printable (but for tabs and line feeds) becomes '?'.
// A message's string must be UTF-8, which bytes of a foreign program or file
// need not be.
inline std::string Printable(absl::string_view text) {
  std::string printable(text);
  for (char& c : printable) {
    const bool plain = (c >= ' ' && c <= '~') || c == '\n' || c == '\t';
    if (!plain) c = '?';
  }
  return printable;
}

}  // namespace hwnas
