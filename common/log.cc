#include "common/log.h"

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "spdlog/sinks/null_sink.h"
#include "spdlog/sinks/stdout_sinks.h"

namespace hwnas {

absl::StatusOr<std::shared_ptr<Logger>> CreateLogger(const std::string& program,
                                                     absl::string_view level) {
  const auto parsed = spdlog::level::from_str(std::string(level));
  if (parsed == spdlog::level::off && level != "off") {
    return absl::InvalidArgumentError(
        absl::StrCat("log level \"", level,
                     "\" is unknown: expected trace, debug, info, warn, error "
                     "or off"));
  }
  auto logger = std::make_shared<Logger>(
      program, std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %n %v",
                      spdlog::pattern_time_type::utc);
  logger->set_level(parsed);
  logger->flush_on(spdlog::level::info);
  return logger;
}

void SilenceGrpcLog() {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): no other thread runs yet.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
}

std::shared_ptr<Logger> NullLogger() {
  return std::make_shared<Logger>(
      "null", std::make_shared<spdlog::sinks::null_sink_mt>());
}

}  // namespace hwnas
