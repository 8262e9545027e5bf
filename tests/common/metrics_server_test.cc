#include "common/metrics_server.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hwnas {
namespace {

TEST(MetricsServer, RefusesAPortInUse) {
  auto registry = std::make_shared<prometheus::Registry>();
  auto first = MetricsServer::Start("127.0.0.1:0", registry);
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_GT((*first)->port(), 0);
  const std::string address = "127.0.0.1:" + std::to_string((*first)->port());
  const auto second = MetricsServer::Start(address, registry);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()),
              ::testing::HasSubstr(address));
}

TEST(ProcessMetrics, ReportsOurResidentMemory) {
  double resident_bytes = 0;
  for (const auto& family : ProcessMetrics().Collect()) {
    if (family.name == "process_resident_memory_bytes") {
      resident_bytes = family.metric.at(0).gauge.value;
    }
  }
  EXPECT_GT(resident_bytes, 1e6);
  EXPECT_LT(resident_bytes, 1e9);
}

}  // namespace
}  // namespace hwnas
