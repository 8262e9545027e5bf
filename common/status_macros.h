// Early return on error for absl::Status and absl::StatusOr. Our Abseil release
// has no such macros.
//
//   absl::StatusOr<Graph> Load(...) {
//     HWNAS_ASSIGN_OR_RETURN(std::string text, ReadFile(path));
//     HWNAS_RETURN_IF_ERROR(Check(text));
//     ...
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#define HWNAS_RETURN_IF_ERROR(expr)       \
  do {                                    \
    absl::Status hwnas_status_ = (expr);  \
    if (!hwnas_status_.ok()) [[unlikely]] \
      return hwnas_status_;               \
  } while (false)

#define HWNAS_CONCAT_INNER_(a, b) a##b
#define HWNAS_CONCAT_(a, b) HWNAS_CONCAT_INNER_(a, b)

#define HWNAS_ASSIGN_OR_RETURN(lhs, expr) \
  HWNAS_ASSIGN_OR_RETURN_IMPL_(HWNAS_CONCAT_(hwnas_or_, __LINE__), lhs, expr)
#define HWNAS_ASSIGN_OR_RETURN_IMPL_(tmp, lhs, expr) \
  auto tmp = (expr);                                 \
  if (!tmp.ok()) [[unlikely]]                        \
    return std::move(tmp).status();                  \
  lhs = *std::move(tmp)
