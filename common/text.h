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

// 1 to 63 of [a-z0-9] and `extra`: what names and ids are made of.
inline bool IsShortName(absl::string_view text, absl::string_view extra) {
  if (text.empty() || text.size() > 63) return false;
  for (const char c : text) {
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
          extra.find(c) != absl::string_view::npos)) {
      return false;
    }
  }
  return true;
}

}  // namespace hwnas
