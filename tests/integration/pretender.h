// Executors that only pretend to work, but keep, spool and report as the real
// ones do: the test program itself, started once more.
//
//   int main(int argc, char** argv) {
//     if (IsPretender(argc, argv)) return Pretend(argv);
//     ...
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/digest.h"
#include "common/log.h"
#include "fleet/channel.h"
#include "fleet/fleet_client.h"

namespace hwnas {

inline constexpr char kPretendedDevice[] = "pretended-board";
inline constexpr char kPretendedDataset[] = "mnist";

// How it behaves: "well", "broken" (fails whatever it is given), "choosy"
// (fails some networks, as every other choosy one does), "slow" (takes
// seconds), or "stuck" (never comes to an end).
//
// `id` begins with "worker" or "agent"; it spools in a folder in `dir`.
inline std::vector<std::string> PretenderCommand(const std::string& id,
                                                 const std::string& controller,
                                                 const std::string& dir,
                                                 const std::string& how) {
  return {std::filesystem::read_symlink("/proc/self/exe"),
          "--pretend",
          id,
          controller,
          absl::StrCat(dir, "/spool-", id),
          how};
}

class Pretender final : public fleet::TaskRunner {
 public:
  explicit Pretender(std::string how) : how_(std::move(how)) {}

  v1::TaskResult Run(const v1::Task& task,
                     fleet::TaskContext& context) override {
    const v1::ModelGraph& graph =
        task.has_train() ? task.train().graph() : task.measure().graph();
    uint64_t bits = 0;
    (void)absl::SimpleHexAtoi(
        Sha256Hex(graph.SerializeAsString()).substr(0, 12), &bits);
    v1::TaskResult result;
    if (how_ == "broken" || (how_ == "choosy" && bits % 4 == 0)) {
      result.set_error("out of memory");
      return result;
    }
    constexpr int kEpochs = 4;
    for (int epoch = 1; epoch <= kEpochs || how_ == "stuck"; ++epoch) {
      absl::SleepFor(absl::Milliseconds(how_ == "slow" ? 1000 : 5 + bits % 20));
      if (context.cancelled()) return {};
      if (!task.has_train()) continue;
      v1::EpochReport report;
      report.set_epoch(epoch);
      report.set_epoch_count(kEpochs);
      context.ReportEpoch(report);
    }
    v1::Measurement* m = result.add_measurements();
    m->set_sample_count(1);
    m->set_value(1 + static_cast<double>(bits % 9000) / 100);
    if (task.has_train()) {
      m->set_metric("accuracy");
    } else {
      m->set_metric("latency_ms");
      m->set_device_class(kPretendedDevice);
    }
    return result;
  }

 private:
  const std::string how_;
};

inline bool IsPretender(int argc, char** argv) {
  return argc == 6 && std::string(argv[1]) == "--pretend";
}

// Until it is killed or refused.
inline int Pretend(char** argv) {
  const std::string id = argv[2];
  fleet::FleetClientOptions options;
  options.spool_dir = argv[4];
  options.max_backoff = absl::Milliseconds(500);
  v1::Hello& hello = options.hello;
  hello.set_executor_id(id);
  hello.set_host_id("host-of-" + id);
  hello.set_slots(2);
  if (absl::StartsWith(id, "worker")) {
    hello.set_kind(v1::WORKER);
    hello.add_datasets(kPretendedDataset);
  } else {
    hello.set_kind(v1::AGENT);
    hello.add_device_classes(kPretendedDevice);
    hello.add_runtimes("onnxruntime");
  }
  Pretender pretender(argv[5]);
  fleet::FleetClient client(options, fleet::DialController(argv[3]), &pretender,
                            Clock::Real(), *CreateLogger("pretender", "debug"));
  const absl::Status status = client.Run();
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}

}  // namespace hwnas
