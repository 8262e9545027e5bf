// Content digests.
#pragma once

#include <array>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hwnas {

// SHA-256 as 64 lower-case hex digits. Thread-safe.
std::string Sha256Hex(absl::string_view data);

// Whether `text` has the form of a digest made by Sha256Hex.
bool IsSha256Hex(absl::string_view text);

// A SHA-256 in 32 bytes instead of 64 hex digits. All zeros stand for none.
class Sha256 {
 public:
  // `hex` must be IsSha256Hex.
  static Sha256 FromHex(absl::string_view hex);
  // 64 lower-case hex digits; empty if there is none.
  std::string Hex() const;

  friend bool operator==(const Sha256&, const Sha256&) = default;

 private:
  std::array<char, 32> bytes_ = {};
};

}  // namespace hwnas
