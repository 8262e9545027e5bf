#include "proto/convert/nearest_name.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"

namespace hwnas {
namespace {

// Longer names are nobody's slip of the finger.
constexpr size_t kMaxLength = 64;

std::string Normalized(absl::string_view name) {
  std::string result = absl::AsciiStrToLower(name);
  std::replace(result.begin(), result.end(), '-', '_');
  return result;
}

// Optimal string alignment distance.
int Distance(absl::string_view a, absl::string_view b) {
  std::vector<std::vector<int>> d(a.size() + 1, std::vector<int>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) d[i][0] = static_cast<int>(i);
  for (size_t j = 0; j <= b.size(); ++j) d[0][j] = static_cast<int>(j);
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1,
                          d[i - 1][j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
      }
    }
  }
  return d[a.size()][b.size()];
}

}  // namespace

std::string NearestName(absl::string_view name,
                        absl::Span<const absl::string_view> candidates) {
  if (name.empty() || name.size() > kMaxLength) return "";
  const std::string wanted = Normalized(name);
  std::string best;
  int best_distance = 0;
  for (const absl::string_view candidate : candidates) {
    const int distance = Distance(wanted, Normalized(candidate));
    const int allowed = std::max<int>(
        1, static_cast<int>(std::max(name.size(), candidate.size()) / 3));
    if (distance > allowed) continue;
    if (best.empty() || distance < best_distance) {
      best = std::string(candidate);
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace hwnas
