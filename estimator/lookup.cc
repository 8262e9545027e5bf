#include "estimator/lookup.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>
#include <utility>

#include "Eigen/Dense"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/status_macros.h"
#include "estimator/correlation.h"
#include "nlohmann/json.hpp"

namespace hwnas {
namespace {

// Pull of the weights towards 1, against errors of a share of the latency:
// with a dozen networks the data decide, with two they hardly do.
constexpr double kRidge = 0.05;
constexpr int kFileVersion = 1;

std::string ShapeText(const TensorShape& shape) {
  return absl::StrCat(shape.channels, "x", shape.height, "x", shape.width);
}

bool IsActivation(OpKind op) {
  switch (op) {
    case OpKind::kRelu:
    case OpKind::kRelu6:
    case OpKind::kHardSwish:
    case OpKind::kHardSigmoid:
    case OpKind::kSigmoid:
    case OpKind::kSwish:
      return true;
    default:
      return false;
  }
}

bool IsFree(OpKind op) {
  return op == OpKind::kInput || op == OpKind::kFlatten ||
         op == OpKind::kDropout;
}

// Nodes whose value is the same for every image: what follows from zeros alone.
// A runtime works them out when it loads the network.
std::vector<bool> Constants(const ModelGraph& graph) {
  std::vector<bool> constant(graph.size());
  for (int i = 1; i < graph.size(); ++i) {
    const Node& node = graph.node(i);
    constant[i] =
        node.op == OpKind::kZero ||
        std::all_of(node.inputs.begin(), node.inputs.end(),
                    [&](int input) -> bool { return constant[input]; });
  }
  return constant;
}

// Builds the kernel that begins at a node.
class KernelBuilder {
 public:
  KernelBuilder(const ModelGraph& graph, int node) : node_(graph.node(node)) {
    for (const int input : node_.inputs) {
      inputs_.push_back(graph.node(input).shape);
    }
  }

  // Nodes that the kernel has behind its first, each the only reader of the one
  // before.
  void Fuse(OpKind op) { fused_.push_back(op); }

  absl::StatusOr<Kernel> Build() {
    Kernel kernel;
    GraphBuilder builder;
    int x = Begin(builder, &kernel);
    for (const OpKind op : fused_) {
      if (op == OpKind::kBatchNorm) {
        x = builder.BatchNorm(x);  // Folded into the convolution.
      } else {
        x = builder.Unary(op, x);
        absl::StrAppend(&kernel.key, " ", OpKindName(op));
      }
    }
    HWNAS_ASSIGN_OR_RETURN(kernel.graph, std::move(builder).Build());
    return kernel;
  }

 private:
  int Begin(GraphBuilder& b, Kernel* kernel) {
    const TensorShape& in = inputs_[0];
    const std::string shape = ShapeText(in);
    switch (node_.op) {
      case OpKind::kConv2d: {
        const bool depthwise = node_.groups > 1 && node_.groups == in.channels;
        kernel->kind = depthwise           ? "depthwise"
                       : node_.kernel == 1 ? "conv1x1"
                                           : "conv";
        kernel->key =
            absl::StrFormat("conv%dx%d s%d p%d g%d %s -> %d", node_.kernel,
                            node_.kernel, node_.stride, node_.padding,
                            node_.groups, shape, node_.out_channels);
        return b.Conv2d(b.Input(in), {.out_channels = node_.out_channels,
                                      .kernel = node_.kernel,
                                      .stride = node_.stride,
                                      .padding = node_.padding,
                                      .groups = node_.groups,
                                      .bias = node_.bias});
      }
      case OpKind::kMaxPool:
      case OpKind::kAvgPool: {
        kernel->kind = "pool";
        kernel->key =
            absl::StrFormat("%s%d s%d p%d %s", OpKindName(node_.op),
                            node_.kernel, node_.stride, node_.padding, shape);
        const GraphBuilder::Pool pool = {
            .kernel = node_.kernel,
            .stride = node_.stride,
            .padding = node_.padding,
            .count_include_pad = node_.count_include_pad};
        const int x = b.Input(in);
        return node_.op == OpKind::kMaxPool ? b.MaxPool(x, pool)
                                            : b.AvgPool(x, pool);
      }
      case OpKind::kLinear:
        kernel->kind = "linear";
        kernel->key =
            absl::StrCat("linear ", shape, " -> ", node_.out_channels);
        return b.Linear(b.Flatten(b.Input(in)), node_.out_channels, node_.bias);
      case OpKind::kAdd: {
        kernel->kind = "elementwise";
        kernel->key = absl::StrCat("add", inputs_.size(), " ", shape);
        // An addition of equal values is no cheaper than of different ones.
        return b.Add(std::vector<int>(inputs_.size(), b.Input(in)));
      }
      case OpKind::kMul: {
        kernel->kind = "elementwise";
        const bool scale = inputs_[1] != in;
        kernel->key = absl::StrCat(scale ? "pool and scale " : "mul ", shape);
        const int x = b.Input(in);
        return b.Mul(x, scale ? b.GlobalAvgPool(x) : x);
      }
      case OpKind::kConcat: {
        kernel->kind = "elementwise";
        const int count = static_cast<int>(inputs_.size());
        TensorShape part = in;
        part.channels = std::max(1, node_.shape.channels / count);
        kernel->key = absl::StrCat("concat", count, " ", ShapeText(part));
        return b.Concat(std::vector<int>(count, b.Input(part)));
      }
      case OpKind::kGlobalAvgPool:
        kernel->kind = "pool";
        kernel->key = absl::StrCat("global_avg_pool ", shape);
        return b.GlobalAvgPool(b.Input(in));
      case OpKind::kChannelShuffle:
        kernel->kind = "elementwise";
        kernel->key = absl::StrCat("shuffle", node_.groups, " ", shape);
        return b.ChannelShuffle(b.Input(in), node_.groups);
      case OpKind::kBatchNorm:
        kernel->kind = "elementwise";
        kernel->key = absl::StrCat("batch_norm ", shape);
        return b.BatchNorm(b.Input(in));
      default:
        kernel->kind = "elementwise";
        kernel->key = absl::StrCat(OpKindName(node_.op), " ", shape);
        return b.Unary(node_.op, b.Input(in));
    }
  }

  const Node& node_;
  std::vector<TensorShape> inputs_;
  std::vector<OpKind> fused_;
};

double Weighted(const LookupTable& table,
                const std::map<std::string, double>& times) {
  double latency_ms = table.intercept_ms;
  for (const auto& [kind, time] : times) {
    const auto weight = table.weights.find(kind);
    latency_ms += time * (weight == table.weights.end() ? 1 : weight->second);
  }
  return latency_ms;
}

double Plain(const LookupTable& table,
             const std::map<std::string, double>& times) {
  double latency_ms = *table.overhead_ms;
  for (const auto& [kind, time] : times) latency_ms += time;
  return latency_ms;
}

class LookupEstimator final : public Estimator {
 public:
  explicit LookupEstimator(LookupTable table) : table_(std::move(table)) {}

  absl::StatusOr<std::vector<Estimate>> Predict(
      const ModelGraph& graph) const override {
    HWNAS_ASSIGN_OR_RETURN(const auto times, KernelTimes(table_, graph));
    return std::vector<Estimate>{{.key = {"latency_ms", table_.device_class},
                                  .value = Weighted(table_, times),
                                  .uncertainty = table_.trust->rmse_ms}};
  }

 private:
  const LookupTable table_;
};

using Json = nlohmann::ordered_json;

Json EntriesToJson(const std::map<std::string, LookupEntry>& entries) {
  Json json = Json::object();
  for (const auto& [key, entry] : entries) {
    Json& one = json[key];
    if (!entry.kind.empty()) one["kind"] = entry.kind;
    one["latency_ms"] = entry.latency_ms;
    if (!entry.flags.empty()) one["flags"] = entry.flags;
  }
  return json;
}

// Throws what nlohmann-json throws; FromJson catches it.
std::map<std::string, LookupEntry> EntriesFromJson(const Json& json) {
  std::map<std::string, LookupEntry> entries;
  for (const auto& [key, one] : json.items()) {
    LookupEntry& entry = entries[key];
    entry.kind = one.value("kind", "");
    entry.latency_ms = one.at("latency_ms").get<double>();
    entry.flags = one.value("flags", std::vector<std::string>());
  }
  return entries;
}

}  // namespace

absl::StatusOr<std::vector<Kernel>> KernelsOf(const ModelGraph& whole) {
  const ModelGraph graph = RemoveDeadNodes(whole);
  std::vector<std::vector<int>> readers(graph.size());
  for (int i = 0; i < graph.size(); ++i) {
    for (const int input : graph.node(i).inputs) readers[input].push_back(i);
  }
  const std::vector<bool> constant = Constants(graph);
  std::vector<Kernel> kernels;
  std::set<int> fused;
  for (int i = 0; i < graph.size(); ++i) {
    const Node& node = graph.node(i);
    if (IsFree(node.op) || constant[i] || fused.count(i)) continue;
    KernelBuilder builder(graph, i);
    if (node.op == OpKind::kConv2d || node.op == OpKind::kLinear) {
      int last = i;
      bool activated = false;
      while (readers[last].size() == 1) {
        const int next = readers[last][0];
        const OpKind op = graph.node(next).op;
        const bool norm =
            op == OpKind::kBatchNorm && last == i && node.op == OpKind::kConv2d;
        if (!norm && (activated || !IsActivation(op))) break;
        activated = !norm;
        builder.Fuse(op);
        fused.insert(next);
        last = next;
      }
    }
    HWNAS_ASSIGN_OR_RETURN(Kernel kernel, builder.Build());
    kernels.push_back(std::move(kernel));
  }
  return kernels;
}

std::string LookupTable::Settings() const {
  return absl::StrCat("device class ", device_class, ", ", runtime, " ",
                      precision, ", ", threads,
                      threads == 1 ? " thread" : " threads", ", batch ", batch);
}

std::string LookupTable::ToJson() const {
  Json json = {{"hwnas_lookup_table", kFileVersion},
               {"device_class", device_class},
               {"runtime", runtime},
               {"precision", precision},
               {"threads", threads},
               {"batch", batch}};
  if (overhead_ms) json["overhead_ms"] = *overhead_ms;
  if (!weights.empty()) {
    json["weights"] = weights;
    json["intercept_ms"] = intercept_ms;
  }
  if (trust) {
    json["trust"] = {{"networks", trust->networks},
                     {"mape_percent", trust->mape_percent},
                     {"rmse_ms", trust->rmse_ms},
                     {"spearman", trust->spearman},
                     {"plain_mape_percent", trust->plain_mape_percent}};
  }
  json["kernels"] = EntriesToJson(kernels);
  json["networks"] = EntriesToJson(networks);
  return json.dump(1) + "\n";
}

absl::StatusOr<LookupTable> LookupTable::FromJson(absl::string_view text) {
  const auto wrong = [](const std::string& what) {
    return absl::InvalidArgumentError(
        absl::StrCat("no look-up table of hwnas: ", what));
  };
  const Json json = Json::parse(text.begin(), text.end(), nullptr,
                                /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("hwnas_lookup_table")) {
    return wrong("expected an object with \"hwnas_lookup_table\"");
  }
  LookupTable table;
  try {
    if (const int version = json.at("hwnas_lookup_table").get<int>();
        version != kFileVersion) {
      return wrong(
          absl::StrCat("version ", version, ", expected ", kFileVersion));
    }
    table.device_class = json.at("device_class").get<std::string>();
    table.runtime = json.at("runtime").get<std::string>();
    table.precision = json.at("precision").get<std::string>();
    table.threads = json.at("threads").get<int>();
    table.batch = json.at("batch").get<int>();
    if (json.contains("overhead_ms")) {
      table.overhead_ms = json["overhead_ms"].get<double>();
    }
    table.kernels = EntriesFromJson(json.at("kernels"));
    table.networks = EntriesFromJson(json.at("networks"));
    if (json.contains("weights")) {
      table.weights = json["weights"].get<std::map<std::string, double>>();
      table.intercept_ms = json.at("intercept_ms").get<double>();
    }
    if (json.contains("trust")) {
      const Json& trust = json["trust"];
      table.trust = {
          .networks = trust.at("networks").get<int>(),
          .mape_percent = trust.at("mape_percent").get<double>(),
          .rmse_ms = trust.at("rmse_ms").get<double>(),
          .spearman = trust.at("spearman").get<double>(),
          .plain_mape_percent = trust.at("plain_mape_percent").get<double>()};
    }
  } catch (const nlohmann::json::exception& error) {
    return wrong(error.what());
  }
  return table;
}

absl::StatusOr<std::map<std::string, double>> KernelTimes(
    const LookupTable& table, const ModelGraph& graph) {
  if (!table.overhead_ms) {
    return absl::FailedPreconditionError(
        "the table has no latency of an inference that does nothing");
  }
  HWNAS_ASSIGN_OR_RETURN(const std::vector<Kernel> kernels, KernelsOf(graph));
  std::map<std::string, double> times;
  for (const Kernel& kernel : kernels) {
    const auto entry = table.kernels.find(kernel.key);
    if (entry == table.kernels.end()) {
      return absl::NotFoundError(
          absl::StrCat("the table lacks the kernel \"", kernel.key, "\""));
    }
    times[kernel.kind] +=
        std::max(0.0, entry->second.latency_ms - *table.overhead_ms);
  }
  return times;
}

absl::Status FitLookup(absl::Span<const MeasuredNetwork> fit,
                       absl::Span<const MeasuredNetwork> held,
                       LookupTable* table) {
  if (fit.size() < 2 || held.size() < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat(fit.size(), " networks to fit on and ", held.size(),
                     " held: expected at least 2 of each"));
  }
  std::vector<std::map<std::string, double>> times;
  std::set<std::string> kinds;
  for (const MeasuredNetwork& network : fit) {
    HWNAS_ASSIGN_OR_RETURN(times.emplace_back(),
                           KernelTimes(*table, network.graph));
    for (const auto& [kind, time] : times.back()) kinds.insert(kind);
  }
  // Relative errors, and weights as corrections of 1: each row is divided by
  // its network's latency.
  const int rows = static_cast<int>(fit.size());
  const int columns = static_cast<int>(kinds.size()) + 1;
  Eigen::MatrixXd a = Eigen::MatrixXd::Zero(rows, columns);
  Eigen::VectorXd b(rows);
  for (int i = 0; i < rows; ++i) {
    const double latency_ms = fit[i].latency_ms;
    int column = 0;
    for (const std::string& kind : kinds) {
      const auto time = times[i].find(kind);
      if (time != times[i].end()) a(i, column) = time->second / latency_ms;
      ++column;
    }
    a(i, column) = *table->overhead_ms / latency_ms;
    b(i) = 1 - a.row(i).sum();
  }
  const Eigen::MatrixXd normal =
      a.transpose() * a + kRidge * Eigen::MatrixXd::Identity(columns, columns);
  const Eigen::VectorXd correction = normal.ldlt().solve(a.transpose() * b);
  table->weights.clear();
  int column = 0;
  for (const std::string& kind : kinds) {
    table->weights[kind] = std::max(0.0, 1 + correction(column++));
  }
  table->intercept_ms =
      std::max(0.0, (1 + correction(column)) * *table->overhead_ms);

  LookupTrust trust;
  trust.networks = static_cast<int>(held.size());
  std::vector<double> measured, predicted;
  for (const MeasuredNetwork& network : held) {
    HWNAS_ASSIGN_OR_RETURN(const auto of_network,
                           KernelTimes(*table, network.graph));
    measured.push_back(network.latency_ms);
    predicted.push_back(Weighted(*table, of_network));
    const double error = predicted.back() - network.latency_ms;
    trust.mape_percent += 100 * std::abs(error) / network.latency_ms;
    trust.rmse_ms += error * error;
    trust.plain_mape_percent +=
        100 * std::abs(Plain(*table, of_network) - network.latency_ms) /
        network.latency_ms;
  }
  trust.mape_percent /= trust.networks;
  trust.plain_mape_percent /= trust.networks;
  trust.rmse_ms = std::sqrt(trust.rmse_ms / trust.networks);
  trust.spearman = SpearmanCorrelation(measured, predicted);
  table->trust = trust;
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Estimator>> CreateLookupEstimator(
    LookupTable table) {
  if (!table.overhead_ms || !table.trust) {
    return absl::InvalidArgumentError(
        "the table is not complete: expected one that 'hwnas device lut' has "
        "finished");
  }
  return std::make_unique<LookupEstimator>(std::move(table));
}

}  // namespace hwnas
