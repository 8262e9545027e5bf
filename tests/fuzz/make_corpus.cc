// Writes what the fuzzers of protobufs and journals start from:
//
//   ninja make_corpus && tests/bin/make_corpus SOURCE_FOLDER
//
// Files that are there stay as they are.
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "cli/study_file.h"
#include "common/files.h"
#include "store/journal_file.h"
#include "tests/controller/study/engine_harness.h"

namespace hwnas::controller {
namespace {

std::string corpus;

void Write(const std::string& name, const std::string& bytes) {
  const std::string path = corpus + "/" + name;
  std::filesystem::create_directories(
      std::filesystem::path(path).parent_path());
  if (std::filesystem::exists(path)) return;
  if (!WriteFileAtomically(path, bytes).ok()) std::abort();
  std::printf("%s\n", name.c_str());
}

void WriteSpecs(const std::string& examples) {
  for (const char* name :
       {"ask_tell", "declared_fashion_mnist", "fashion_mnist_asha",
        "hierarchical_fashion_mnist", "mnasnet_reward", "replay_ofa",
        "training_free", "two_boards"}) {
    const auto study = cli::LoadedStudy::Load(examples + "/" + name + ".yaml");
    if (!study.ok()) {
      std::fprintf(stderr, "%s\n", study.Render().c_str());
      std::abort();
    }
    Write(std::string("study_spec/") + name + ".pb",
          study.spec().SerializeAsString());
  }
}

// See report_fuzz.cc for the first byte.
template <typename Message>
void WriteReport(const std::string& name, unsigned char head,
                 const Message& message) {
  Write("report/" + name,
        static_cast<char>(head) + message.SerializeAsString());
}

void WriteReports() {
  v1::Hello worker = WorkerHello("w-1", "host-1");
  worker.add_accelerators("cuda:0");
  v1::LeaseKey& held = *worker.add_held_leases();
  held.set_task_id("s/1/train");
  held.set_attempt(1);
  held.set_token(2);
  WriteReport("hello_worker", 0, worker);
  v1::Hello agent = AgentHello("a-1", "host-2");
  agent.add_labels("rack-a");
  agent.add_profiles("pinned");
  agent.mutable_power()->set_name("rapl");
  v1::RuntimeCapability& capability = *agent.add_capabilities();
  capability.set_runtime("onnxruntime");
  capability.add_precisions("fp32");
  capability.add_precisions("int8");
  agent.mutable_environment()->set_cpu_model("a processor");
  WriteReport("hello_agent", 0, agent);

  v1::Heartbeat epochs;
  v1::TaskProgress& progress = *epochs.add_tasks();
  progress.set_note("epoch 1 of 3");
  *progress.mutable_epoch() = EngineHarness::Epoch("digest", 1, 3);
  *progress.add_epochs() = progress.epoch();
  WriteReport("heartbeat_training", 1, epochs);
  v1::Heartbeat measuring;
  measuring.add_tasks()->set_note("measuring 12/30");
  measuring.mutable_environment()->set_cpu_model("a processor");
  WriteReport("heartbeat_measuring", 0x40 | 1, measuring);

  v1::TaskResult trained;
  for (int epoch = 1; epoch <= 3; ++epoch) {
    *trained.add_epochs() = EngineHarness::Epoch("digest", epoch, 3);
  }
  *trained.add_measurements() = Value("accuracy", 88);
  *trained.add_measurements() = Value("validation_loss", 0.3);
  WriteReport("result_trained", 2, trained);
  v1::TaskResult measured;
  *measured.add_measurements() = Value("latency_ms", 2.5, "x86_64");
  measured.mutable_latency_samples()->add_block_latency_ms(2.4);
  measured.mutable_latency_samples()->add_block_latency_ms(2.6);
  WriteReport("result_measured", 0x40 | 2, measured);
  v1::TaskResult failed;
  failed.set_error("loss is not finite");
  failed.set_candidate_fault(true);
  WriteReport("result_failed", 2, failed);
  v1::TaskResult stranger = measured;
  *stranger.mutable_lease() = held;
  WriteReport("result_of_another", 0x80 | 2, stranger);
}

void WriteJournals() {
  EngineHarness h;
  auto worker = h.Connect(WorkerHello("w", "host-w"));
  auto agent = h.Connect(AgentHello("a", "host-a"));
  h.Create("done", ToySpec(2));
  h.Work({&worker, &agent});
  h.Create("begun", ToySpec(3));
  const auto silent = [](const TransferProgress&) {};
  const auto write = [&](const std::string& name,
                         const std::vector<std::string>& studies) {
    const std::string path = corpus + "/journal_file/" + name;
    std::filesystem::create_directories(corpus + "/journal_file");
    if (std::filesystem::exists(path)) return;
    if (!ExportJournals(*h.journals, studies, path, silent).ok()) std::abort();
    std::printf("journal_file/%s\n", name.c_str());
  };
  write("one_study", {"done"});
  write("two_studies", {"begun", "done"});
  write("none", {});
  write("twice", {"begun", "begun"});
  Write("journal_file/newer_format", "hwnas journals 2\nZ");
  // A record that claims 2 GiB.
  Write("journal_file/huge_record",
        std::string("hwnas journals 1\nS\1\0\0\0aE\xff\xff\xff\x7f", 28));
}

}  // namespace
}  // namespace hwnas::controller

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_corpus SOURCE_FOLDER\n");
    return 2;
  }
  hwnas::controller::corpus = std::string(argv[1]) + "/tests/fuzz/corpus";
  hwnas::controller::WriteSpecs(std::string(argv[1]) + "/examples");
  hwnas::controller::WriteReports();
  hwnas::controller::WriteJournals();
}
