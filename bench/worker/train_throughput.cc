// Images a second of the worker's training loop, data loading and augmentation
// included, on Fashion-MNIST; and the network as JSON for peers.
#include <malloc.h>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "nas/space/space_factory.h"
#include "worker/train/split.h"
#include "worker/train/trainer.h"

ABSL_FLAG(std::string, space, "nasbench201", "nasbench201 or mobile");
ABSL_FLAG(std::string, architecture,
          "|nor_conv_3x3~0|+|nor_conv_1x1~0|avg_pool_3x3~1|+"
          "|skip_connect~0|skip_connect~1|nor_conv_3x3~2|",
          "in the space's notation; \"random\" takes one by --seed");
ABSL_FLAG(int, seed, 1, "seed of a random architecture");
ABSL_FLAG(int, channels, 8, "of the first stage (nasbench201)");
ABSL_FLAG(int, cells, 1, "in a stage (nasbench201)");
ABSL_FLAG(int, batch, 128, "images in a batch");
ABSL_FLAG(int, threads, 2, "of the training");
ABSL_FLAG(double, data_fraction, 0.1, "share of the training images");
ABSL_FLAG(int, epochs, 3, "the first does not count");
ABSL_FLAG(bool, cpu_time, false,
          "images a second of processor time, all threads (and a little "
          "evaluation) included: bears a busy machine");
ABSL_FLAG(std::string, dump, "", "write the network as JSON and leave");

namespace hwnas::worker {
namespace {

void Dump(const ModelGraph& graph, std::ostream& out) {
  out << "[";
  for (int i = 0; i < graph.size(); ++i) {
    const Node& node = graph.node(i);
    out << (i == 0 ? "\n" : ",\n") << "{\"op\":\"" << OpKindName(node.op)
        << "\",\"kind\":" << static_cast<int>(node.op) << ",\"inputs\":[";
    for (size_t k = 0; k < node.inputs.size(); ++k) {
      out << (k == 0 ? "" : ",") << node.inputs[k];
    }
    out << "],\"channels\":" << node.shape.channels
        << ",\"height\":" << node.shape.height
        << ",\"width\":" << node.shape.width << ",\"out\":" << node.out_channels
        << ",\"bias\":" << node.bias << ",\"kernel\":" << node.kernel
        << ",\"stride\":" << node.stride << ",\"padding\":" << node.padding
        << ",\"groups\":" << node.groups
        << ",\"count_include_pad\":" << node.count_include_pad
        << ",\"drop\":" << node.drop_rate << "}";
  }
  out << "\n]\n";
}

absl::StatusOr<ModelGraph> Network() {
  SpaceConfig config =
      Nasbench201Config{.input = {1, 28, 28},
                        .channels = absl::GetFlag(FLAGS_channels),
                        .cells = absl::GetFlag(FLAGS_cells),
                        .classes = 10};
  if (absl::GetFlag(FLAGS_space) == "mobile") {
    config = MobileConfig{.input = {1, 28, 28}, .classes = 10};
  }
  const auto space = CreateSpace(config);
  if (!space.ok()) return space.status();
  if (absl::GetFlag(FLAGS_architecture) == "random" ||
      absl::GetFlag(FLAGS_space) == "mobile") {
    Rng rng(absl::GetFlag(FLAGS_seed));
    return (*space)->Decode((*space)->Sample(rng));
  }
  const auto architecture =
      (*space)->FromText(absl::GetFlag(FLAGS_architecture));
  if (!architecture.ok()) return architecture.status();
  return (*space)->Decode(*architecture);
}

absl::Status Main() {
  const auto graph = Network();
  if (!graph.ok()) return graph.status();
  if (!absl::GetFlag(FLAGS_dump).empty()) {
    std::ofstream out(absl::GetFlag(FLAGS_dump));
    Dump(*graph, out);
    return absl::OkStatus();
  }
  const auto dataset = LoadDataset("fashion-mnist", {}, {1, 28, 28});
  if (!dataset.ok()) return dataset.status();
  v1::TrainSpec spec;
  spec.set_batch(absl::GetFlag(FLAGS_batch));
  spec.set_epochs(absl::GetFlag(FLAGS_epochs));
  spec.set_threads(absl::GetFlag(FLAGS_threads));
  const auto options = ResolveTrainSpec(spec, {1, 28, 28}, 7);
  if (!options.ok()) return options.status();
  const Split split = SplitTraining((*dataset)->train.labels, 0.01,
                                    absl::GetFlag(FLAGS_data_fraction));
  // Processor time and images so far at the end of every epoch.
  std::vector<std::pair<double, int64_t>> marks;
  int64_t images = 0;
  TrainHooks hooks;
  hooks.on_images = [&](int64_t n) { images += n; };
  hooks.on_epoch = [&](const v1::EpochReport&) {
    marks.emplace_back(static_cast<double>(std::clock()) / CLOCKS_PER_SEC,
                       images);
  };
  const auto outcome = Train(*graph,
                             {.dataset = dataset->get(),
                              .train = split.train,
                              .evaluation = split.validation},
                             *options, hooks);
  if (!outcome.ok()) return outcome.status();
  std::vector<double> rates;
  for (size_t i = 1; i < outcome->epochs.size(); ++i) {
    rates.push_back(
        absl::GetFlag(FLAGS_cpu_time)
            ? static_cast<double>(marks[i].second - marks[i - 1].second) /
                  (marks[i].first - marks[i - 1].first)
            : outcome->epochs[i].images_per_second());
  }
  std::sort(rates.begin(), rates.end());
  std::cout << rates[rates.size() / 2] << std::endl;
  return absl::OkStatus();
}

}  // namespace
}  // namespace hwnas::worker

int main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  // As hwnas-worker does.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_TOP_PAD, 64 << 20);
  const absl::Status status = hwnas::worker::Main();
  if (status.ok()) return 0;
  std::cerr << status.message() << std::endl;
  return 1;
}
