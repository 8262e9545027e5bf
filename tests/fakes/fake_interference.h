// What disturbs a measurement, as the test says.
#pragma once

#include <functional>

#include "agent/device/interference.h"

namespace hwnas::agent {

// Nothing happens unless the test makes it. One thread.
class FakeInterference final : public Interference {
 public:
  ThreadCounts ReadThread() override {
    if (before_thread) before_thread(thread);
    return thread;
  }
  HostCounts ReadHost() override {
    if (before_host) before_host(host);
    return host;
  }

  ThreadCounts thread = {.waited_seconds = 0};
  HostCounts host = {.steal_seconds = 0, .others_seconds = 0, .other_cores = 1};
  // Called with the counts before each reading.
  std::function<void(ThreadCounts&)> before_thread;
  std::function<void(HostCounts&)> before_host;
};

}  // namespace hwnas::agent
