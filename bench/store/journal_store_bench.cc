// Durable appends and reads of a journal: SQLite's in a folder of TMPDIR, which
// should be on the disk in question; or with $HWNAS_STORE_URL PostgreSQL's,
// where studies named "bench-..." are left. docs/store.md lists results.
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "store/journal_store.h"

namespace hwnas {
namespace {

namespace fs = std::filesystem;

std::string Folder() {
  return absl::StrCat(fs::temp_directory_path().string(), "/store_bench_",
                      getpid());
}

std::unique_ptr<JournalStore> OpenFresh() {
  fs::remove_all(Folder());
  const char* url = std::getenv("HWNAS_STORE_URL");
  auto store = url == nullptr
                   ? OpenSqliteJournalStore({.path = Folder() + "/journal.db"})
                   : OpenPostgresJournalStore({.url = url});
  if (!store.ok()) {
    fprintf(stderr, "%s\n", store.status().ToString().c_str());
    exit(1);
  }
  return *std::move(store);
}

// An id that no study has had.
std::string NewStudy() {
  static std::atomic<int> count = 0;
  return absl::StrCat("bench-", getpid(), "-", ++count);
}

// About 200 bytes, like a finished stage with one measurement.
v1::JournalEvent Event() {
  v1::JournalEvent event;
  event.mutable_time()->set_seconds(1'700'000'000);
  v1::StageFinished& finished = *event.mutable_stage_finished();
  finished.set_trial(123);
  finished.set_stage(v1::MEASURE);
  finished.set_device_class("x86_64");
  finished.set_executor("agents/bench");
  v1::Measurement& measurement = *finished.add_measurements();
  measurement.set_metric("latency_ms");
  measurement.set_value(1.25);
  measurement.set_ci_low(1.24);
  measurement.set_ci_high(1.26);
  measurement.set_sample_count(400);
  measurement.set_device_class("x86_64");
  measurement.set_device("devices/bench");
  finished.mutable_environment()->set_cpu_model("Example CPU at 2.4 GHz");
  finished.mutable_environment()->set_runtime("onnxruntime 1.30.0");
  return event;
}

// Each thread appends to its own study; range(0) events at a time.
void BM_DurableAppend(benchmark::State& state) {
  static std::unique_ptr<JournalStore> store;
  if (state.thread_index() == 0) store = OpenFresh();
  const std::string study = NewStudy();
  std::vector<v1::JournalEvent> events(state.range(0), Event());
  int64_t size = 0;
  for (auto _ : state) {
    const absl::Status status =
        store->Append(study, size, absl::MakeSpan(events));
    if (!status.ok()) {
      state.SkipWithError(std::string(status.message()).c_str());
      break;
    }
    size += state.range(0);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
  if (state.thread_index() == 0) {
    store.reset();
    fs::remove_all(Folder());
  }
}
BENCHMARK(BM_DurableAppend)->Arg(1)->Arg(64)->UseRealTime();
BENCHMARK(BM_DurableAppend)->Arg(1)->Threads(8)->UseRealTime();
BENCHMARK(BM_DurableAppend)->Arg(64)->Threads(8)->UseRealTime();

void BM_Read(benchmark::State& state) {
  const std::unique_ptr<JournalStore> store = OpenFresh();
  const std::string study = NewStudy();
  std::vector<v1::JournalEvent> events(1000, Event());
  for (int64_t size = 0; size < state.range(0); size += 1000) {
    if (!store->Append(study, size, absl::MakeSpan(events)).ok()) exit(1);
  }
  for (auto _ : state) {
    int64_t count = 0;
    const absl::Status status =
        store->Read(study, 0, [&](v1::JournalEvent&& e) {
          benchmark::DoNotOptimize(e);
          ++count;
          return absl::OkStatus();
        });
    if (!status.ok() || count != state.range(0)) {
      state.SkipWithError("read failed");
    }
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
  fs::remove_all(Folder());
}
BENCHMARK(BM_Read)->Arg(100'000)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace hwnas
