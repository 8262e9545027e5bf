// The one seam where LibTorch's exceptions become Status.
#pragma once

#include <exception>
#include <new>
#include <string>
#include <type_traits>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "torch/torch.h"

namespace hwnas {

// Runs `body`, which returns absl::Status or absl::StatusOr<T>, and turns what
// LibTorch throws into a status: RESOURCE_EXHAUSTED when memory ran out,
// INTERNAL otherwise, with `what` being done and the first line of the message.
template <typename Body>
std::invoke_result_t<Body> CatchTorch(absl::string_view what, Body&& body) {
  const auto first_line = [](const char* text) {
    const std::string line(text);
    return line.substr(0, line.find('\n'));
  };
  try {
    return body();
  } catch (const c10::Error& error) {
    const std::string line = first_line(error.what_without_backtrace());
    const bool memory = line.find("allocate memory") != std::string::npos ||
                        line.find("out of memory") != std::string::npos;
    const std::string message = absl::StrCat(what, ": LibTorch: ", line);
    return memory ? absl::ResourceExhaustedError(message)
                  : absl::InternalError(message);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(absl::StrCat(what, ": out of memory"));
  } catch (const std::exception& error) {
    return absl::InternalError(
        absl::StrCat(what, ": ", first_line(error.what())));
  }
}

}  // namespace hwnas
