// hwnas device lut STUDY.yaml --device CLASS
#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "cli/commands.h"
#include "cli/diagnostic.h"
#include "cli/parallel.h"
#include "cli/study_file.h"
#include "cli/trial_table.h"
#include "common/files.h"
#include "common/limits.h"
#include "common/mutex.h"
#include "common/rng.h"
#include "common/status_macros.h"
#include "estimator/lookup.h"
#include "model/onnx/onnx_export.h"
#include "model/weights.h"
#include "nas/space/space_factory.h"
#include "proto/convert/convert.h"

namespace hwnas::cli {
namespace {

constexpr size_t kMaxTableBytes = size_t{256} << 20;
constexpr uint64_t kWeightSeed = 1;
// Draws without a new architecture after which a space counts as exhausted.
constexpr int kMaxRepeats = 10'000;

struct Options {
  std::string study;
  std::string device_class;
  std::string file;
  std::string user;
  int fit = 40;
  int held = 50;
  double max_seconds = 2;
  int parallel = 0;
  uint64_t seed = 1;
};

struct Network {
  std::string digest;
  ModelGraph graph;
};

// Different random networks of the space, the same for the same seed.
absl::StatusOr<std::vector<Network>> RandomNetworks(const SearchSpace& space,
                                                    int count, uint64_t seed) {
  Rng rng(seed);
  std::set<std::string> seen;
  std::vector<Network> networks;
  for (int repeats = 0; static_cast<int>(networks.size()) < count;) {
    const Architecture architecture = space.Sample(rng);
    const std::string digest = space.Digest(architecture);
    if (!seen.insert(digest).second) {
      if (++repeats > kMaxRepeats) break;
      continue;
    }
    HWNAS_ASSIGN_OR_RETURN(ModelGraph graph, space.Decode(architecture));
    networks.push_back({digest, std::move(graph)});
  }
  return networks;
}

// An inference that does nothing worth mentioning.
absl::StatusOr<ModelGraph> NothingGraph() {
  GraphBuilder builder;
  builder.Relu(builder.Input({1, 1, 1}));
  return std::move(builder).Build();
}

// Measures what a table lacks, on as many devices as there are, and saves the
// table after each.
class TableMaker {
 public:
  TableMaker(Context* context, const Options& options, LookupTable table,
             v1::MeasureSpec measure)
      : context_(context),
        options_(options),
        measure_(std::move(measure)),
        client_(context->MakeClient()),
        table_(std::move(table)) {}

  absl::Status Run(const SearchSpace& space) {
    HWNAS_ASSIGN_OR_RETURN(
        std::vector<Network> networks,
        RandomNetworks(space, options_.fit + options_.held, options_.seed));
    std::map<std::string, Kernel> kernels;
    for (const Network& network : networks) {
      HWNAS_ASSIGN_OR_RETURN(std::vector<Kernel> of_network,
                             KernelsOf(network.graph));
      for (Kernel& kernel : of_network) {
        const std::string key = kernel.key;
        kernels.emplace(key, std::move(kernel));
      }
    }
    HWNAS_ASSIGN_OR_RETURN(const int devices, Parallel());
    if (!table_.overhead_ms) {
      HWNAS_ASSIGN_OR_RETURN(const ModelGraph nothing, NothingGraph());
      Add("an inference that does nothing", nothing,
          [this](const LookupEntry& entry) {
            table_.overhead_ms = entry.latency_ms;
          });
    }
    size_t known = 0;
    for (const auto& [key, kernel] : kernels) {
      if (table_.kernels.count(key)) {
        ++known;
        continue;
      }
      Add(key, kernel.graph,
          [this, key = key, kind = kernel.kind](LookupEntry entry) {
            entry.kind = kind;
            table_.kernels[key] = std::move(entry);
          });
    }
    for (const Network& network : networks) {
      if (table_.networks.count(network.digest)) {
        ++known;
        continue;
      }
      Add(absl::StrCat("network ", network.digest.substr(0, 8)), network.graph,
          [this, digest = network.digest](LookupEntry entry) {
            table_.networks[digest] = std::move(entry);
          });
    }
    *context_->err << kernels.size() << " kernels and " << networks.size()
                   << " whole networks for " << table_.Settings() << "; "
                   << known << " are in " << options_.file << " already, "
                   << jobs_.size() << " to measure on " << devices
                   << (devices == 1 ? " device" : " devices") << "\n";
    HWNAS_RETURN_IF_ERROR(Measure(devices));
    return Fit(networks);
  }

 private:
  struct Job {
    std::string name;
    ModelGraph graph;
    std::function<void(LookupEntry)> keep;
  };

  void Add(std::string name, const ModelGraph& graph,
           std::function<void(LookupEntry)> keep) {
    jobs_.push_back({std::move(name), graph, std::move(keep)});
  }

  // How many measurements to have in hand.
  absl::StatusOr<int> Parallel() {
    HWNAS_ASSIGN_OR_RETURN(const std::vector<v1::Device> devices,
                           client_.ListDevices());
    const int slots = SlotsOf(devices, {options_.device_class});
    if (slots == 0) {
      return absl::FailedPreconditionError(
          absl::StrCat("no device of class '", options_.device_class,
                       "' is connected; see 'hwnas device list'"));
    }
    return options_.parallel > 0 ? options_.parallel : slots;
  }

  absl::Status Measure(int parallel) {
    begin_ = absl::Now();
    const absl::Status status = RunInParallel(
        jobs_.size(), parallel, [&](size_t i) { return MeasureOne(jobs_[i]); });
    if (context_->err_is_terminal) *context_->err << "\r\x1b[K" << std::flush;
    return status;
  }

  absl::Status MeasureOne(const Job& job) {
    OnnxOptions onnx;
    onnx.batch = table_.batch;
    v1::ProfileModelRequest request;
    HWNAS_ASSIGN_OR_RETURN(
        *request.mutable_onnx(),
        ExportOnnx(job.graph, RandomWeights(job.graph, kWeightSeed), onnx));
    request.set_device_class(options_.device_class);
    *request.mutable_measure() = measure_;
    request.set_user(options_.user);
    HWNAS_ASSIGN_OR_RETURN(
        const v1::TaskResult result,
        client_.ProfileModel(request, [](const std::string&) {}));
    LookupEntry entry;
    for (const v1::Measurement& m : result.measurements()) {
      if (m.metric() != "latency_ms") continue;
      entry.latency_ms = m.value();
      entry.flags.assign(m.flags().begin(), m.flags().end());
    }
    if (!(entry.latency_ms > 0)) {
      return absl::InternalError(
          absl::StrCat(job.name, ": the device told no latency"));
    }
    MutexLock lock(&mutex_);
    job.keep(entry);
    ++done_;
    Progress(job, entry);
    return WriteFileAtomically(options_.file, table_.ToJson());
  }

  void Progress(const Job& job, const LookupEntry& entry)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const double elapsed = absl::ToDoubleSeconds(absl::Now() - begin_);
    const double left = elapsed / static_cast<double>(done_) *
                        static_cast<double>(jobs_.size() - done_);
    const std::string line =
        absl::StrFormat("[%d/%d, %s left] %.4g ms%s  %s", done_, jobs_.size(),
                        FormatSeconds(left), entry.latency_ms,
                        entry.flags.empty() ? "" : "!", job.name);
    if (context_->err_is_terminal) {
      *context_->err << "\r\x1b[K" << line << std::flush;
    } else {
      *context_->err << line << "\n";
    }
  }

  absl::Status Fit(const std::vector<Network>& networks) {
    MutexLock lock(&mutex_);
    std::vector<MeasuredNetwork> fit, held;
    for (const Network& network : networks) {
      // The first ones are held, so that --fit can grow without touching them.
      (static_cast<int>(held.size()) < options_.held ? held : fit)
          .push_back(
              {network.graph, table_.networks.at(network.digest).latency_ms});
    }
    HWNAS_RETURN_IF_ERROR(FitLookup(fit, held, &table_));
    HWNAS_RETURN_IF_ERROR(WriteFileAtomically(options_.file, table_.ToJson()));
    const LookupTrust& trust = *table_.trust;
    Table table({{"networks", "networks held apart", true},
                 {"mape_percent", "mean error [%]", true},
                 {"rmse_ms", "RMSE [ms]", true},
                 {"spearman", "Spearman", true},
                 {"plain_mape_percent", "plain sum's mean error [%]", true}});
    table.Add({Cell::Integer(trust.networks), Cell::Number(trust.mape_percent),
               Cell::Number(trust.rmse_ms), Cell::Number(trust.spearman),
               Cell::Number(trust.plain_mape_percent)});
    *context_->out << table.Render(context_->format());
    if (context_->format() == OutputFormat::kTable) {
      *context_->out << "\nfitted on " << fit.size()
                     << " other networks; the table is " << options_.file
                     << "\n";
    }
    return absl::OkStatus();
  }

  Context* const context_;
  const Options& options_;
  const v1::MeasureSpec measure_;
  Client client_;
  std::vector<Job> jobs_;
  absl::Time begin_;
  Mutex mutex_;
  // By the threads only under the mutex.
  LookupTable table_;
  size_t done_ ABSL_GUARDED_BY(mutex_) = 0;
};

// The table to go on with: what the file holds, or an empty one.
absl::StatusOr<LookupTable> OpenTable(const std::string& file,
                                      LookupTable fresh) {
  const absl::StatusOr<std::string> text = ReadFile(file, kMaxTableBytes);
  if (absl::IsNotFound(text.status())) return fresh;
  HWNAS_RETURN_IF_ERROR(text.status());
  absl::StatusOr<LookupTable> table = LookupTable::FromJson(*text);
  if (!table.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": ", table.status().message()));
  }
  if (table->Settings() != fresh.Settings()) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, " is about ", table->Settings(), ", not ",
                     fresh.Settings(), ": give --file another name"));
  }
  return table;
}

absl::Status MakeTable(Context* context, Options* options) {
  const LoadedStudy study = LoadedStudy::Load(options->study);
  if (!study.ok()) {
    *context->err << study.Render();
    context->exit_code = kExitBadInput;
    return absl::OkStatus();
  }
  HWNAS_ASSIGN_OR_RETURN(const SpaceConfig config,
                         FromProto(study.spec().space()));
  HWNAS_ASSIGN_OR_RETURN(const std::unique_ptr<SearchSpace> space,
                         CreateSpace(config));
  v1::StudySpec spec = study.spec();
  spec.mutable_measure();
  v1::MeasureSpec measure = WithDefaults(spec).measure();
  *measure.mutable_max_time() = ToProto(absl::Seconds(options->max_seconds));
  if (FromProto(measure.min_time()) > FromProto(measure.max_time())) {
    *measure.mutable_min_time() = measure.max_time();
  }
  LookupTable fresh;
  fresh.device_class = options->device_class;
  fresh.runtime = measure.runtime();
  fresh.precision = measure.precision();
  fresh.threads = measure.threads();
  fresh.batch = measure.batch();
  if (options->file.empty()) {
    options->file =
        absl::StrCat(study.id(), "-", options->device_class, ".lut.json");
  }
  HWNAS_ASSIGN_OR_RETURN(LookupTable table,
                         OpenTable(options->file, std::move(fresh)));
  return TableMaker(context, *options, std::move(table), std::move(measure))
      .Run(*space);
}

}  // namespace

void AddDeviceLutCommand(CLI::App* device, Context* context) {
  auto options = std::make_shared<Options>();
  CLI::App* command = device->add_subcommand(
      "lut",
      "Measure a latency table of a search space's kernels, and how well their "
      "sums predict whole networks. Interrupted, it goes on where it was");
  command
      ->add_option("study", options->study,
                   "Study file: its space, and the settings of its `measure`")
      ->required();
  command->add_option("-d,--device", options->device_class, "Device class")
      ->required();
  command->add_option("-f,--file", options->file,
                      "Table to write, or to go on with. Without it "
                      "<study>-<class>.lut.json");
  command
      ->add_option("--fit", options->fit,
                   "Random networks to fit the kinds' weights on")
      ->check(CLI::Range(2, 100000))
      ->capture_default_str();
  command
      ->add_option("--held", options->held,
                   "Other random networks to measure the error on")
      ->check(CLI::Range(2, 100000))
      ->capture_default_str();
  command
      ->add_option("--max-seconds", options->max_seconds,
                   "Measure each kernel and network no longer than this")
      ->check(CLI::Range(0.01, 3600.0))
      ->capture_default_str();
  command
      ->add_option("--parallel", options->parallel,
                   "Measurements at once; 0: as many as the devices take")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  command->add_option("--seed", options->seed, "Of the random networks")
      ->capture_default_str();
  AddUserOption(command, &options->user);
  AddServerOption(command, context);
  AddOutputOption(command, context);
  SetExamples(command,
              {"hwnas device lut study.yaml --device raspberrypi5",
               "hwnas device lut study.yaml -d x86_64 -f x86.lut.json --held "
               "100"});
  SetAction(command, context,
            [=] { return MakeTable(context, options.get()); });
}

}  // namespace hwnas::cli
