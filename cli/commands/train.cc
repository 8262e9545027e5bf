// hwnas train: train one network to the end, on this machine.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/commands.h"
#include "cli/diagnostic.h"
#include "cli/live_display.h"
#include "cli/results.h"
#include "cli/trial_table.h"
#include "common/files.h"
#include "common/limits.h"
#include "common/status_macros.h"
#include "google/protobuf/util/json_util.h"
#include "hwnas/v1/fleet_service.pb.h"
#include "model/onnx/onnx_export.h"
#include "nas/space/space_factory.h"
#include "proto/convert/convert.h"
#include "proto/convert/resource_names.h"

namespace hwnas::cli {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

struct TrainOptions {
  std::string study;
  std::string trial = "best";
  std::string weights;
  std::string onnx;
  std::string data_dir;
  std::optional<int> epochs, batch, cutout, threads;
  std::optional<uint64_t> seed;
  std::optional<double> learning_rate, weight_decay, label_smoothing;
  std::optional<bool> augment;
};

// What is to be trained, from a controller or from a folder of `hwnas run`.
struct Chosen {
  v1::StudySpec spec;
  std::vector<int> choices;
  std::string text;
  int64_t number = 0;
  std::string folder;  // Where files go.
};

absl::StatusOr<Chosen> FromFolder(const TrainOptions& options) {
  Chosen chosen;
  chosen.folder = options.study;
  HWNAS_ASSIGN_OR_RETURN(chosen.spec, ReadStudySpec(options.study));
  // Trials and front as `hwnas run` wrote them.
  const bool by_number = absl::SimpleAtoi(options.trial, &chosen.number);
  const std::string name =
      options.study + (by_number ? "/trials.json" : "/front.json");
  HWNAS_ASSIGN_OR_RETURN(const std::vector<v1::Trial> trials, ReadTrials(name));
  int index = -1;
  if (by_number) {
    for (size_t i = 0; i < trials.size(); ++i) {
      if (trials[i].number() == chosen.number) index = static_cast<int>(i);
    }
    if (index < 0) {
      return absl::NotFoundError(
          absl::StrCat("no trial ", chosen.number, " in ", name));
    }
  } else {
    HWNAS_ASSIGN_OR_RETURN(index,
                           PickTrial(chosen.spec, trials, options.trial));
  }
  const v1::Trial& trial = trials[static_cast<size_t>(index)];
  chosen.number = trial.number();
  chosen.text = trial.architecture().text();
  chosen.choices.assign(trial.architecture().choices().begin(),
                        trial.architecture().choices().end());
  return chosen;
}

absl::StatusOr<Chosen> FromController(const TrainOptions& options,
                                      Client* client) {
  Chosen chosen;
  chosen.folder = ".";
  HWNAS_ASSIGN_OR_RETURN(const std::string name,
                         StudyNameFromUser(options.study));
  HWNAS_ASSIGN_OR_RETURN(const v1::Study study, client->GetStudy(name));
  HWNAS_ASSIGN_OR_RETURN(const std::string id, ParseStudyName(name));
  chosen.spec = study.spec();
  v1::Trial trial;
  if (absl::SimpleAtoi(options.trial, &chosen.number)) {
    HWNAS_ASSIGN_OR_RETURN(trial,
                           client->GetTrial(TrialName(id, chosen.number)));
  } else {
    HWNAS_ASSIGN_OR_RETURN(const v1::Front front, client->GetFront(name));
    const std::vector<v1::Trial> members(front.trials().begin(),
                                         front.trials().end());
    HWNAS_ASSIGN_OR_RETURN(const int index,
                           PickTrial(study.spec(), members, options.trial));
    trial = members[static_cast<size_t>(index)];
  }
  chosen.number = trial.number();
  chosen.text = trial.architecture().text();
  chosen.choices.assign(trial.architecture().choices().begin(),
                        trial.architecture().choices().end());
  return chosen;
}

void Override(const TrainOptions& options, v1::TrainSpec* train) {
  // A search saves data and epochs; a final training uses all images.
  train->clear_data_fraction();
  if (options.epochs) train->set_epochs(*options.epochs);
  if (options.batch) train->set_batch(*options.batch);
  if (options.cutout) train->set_cutout(*options.cutout);
  if (options.threads) train->set_threads(*options.threads);
  if (options.learning_rate) train->set_learning_rate(*options.learning_rate);
  if (options.weight_decay) train->set_weight_decay(*options.weight_decay);
  if (options.label_smoothing) {
    train->set_label_smoothing(*options.label_smoothing);
  }
  if (options.augment) train->set_augment(*options.augment);
  if (!options.data_dir.empty()) train->set_data_dir(options.data_dir);
}

// The worker as a child whose standard output we read.
class TrainProcess {
 public:
  static absl::StatusOr<TrainProcess> Start(
      const std::vector<std::string>& command) {
    std::vector<char*> argv;
    for (const std::string& word : command) {
      argv.push_back(const_cast<char*>(word.c_str()));
    }
    argv.push_back(nullptr);
    if (access(argv[0], X_OK) != 0) {
      return absl::FailedPreconditionError(
          absl::StrCat(command[0],
                       " cannot be run; it is expected beside this program: "
                       "build or install it there"));
    }
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) != 0) {
      return absl::ErrnoToStatus(errno, "open a pipe");
    }
    const pid_t parent = getpid();
    const pid_t pid = fork();
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != parent) _exit(127);
      dup2(fds[1], STDOUT_FILENO);
      execv(argv[0], argv.data());
      _exit(127);
    }
    close(fds[1]);
    if (pid < 0) {
      close(fds[0]);
      return absl::ErrnoToStatus(errno, absl::StrCat("start ", command[0]));
    }
    TrainProcess process;
    process.pid_ = pid;
    process.out_ = fdopen(fds[0], "r");
    return process;
  }
  TrainProcess(TrainProcess&& other) noexcept
      : pid_(std::exchange(other.pid_, -1)),
        out_(std::exchange(other.out_, nullptr)) {}
  ~TrainProcess() {
    if (out_ != nullptr) fclose(out_);
    if (pid_ > 0) {
      kill(pid_, SIGTERM);
      waitpid(pid_, nullptr, 0);
    }
  }

  // False at the end.
  bool ReadLine(std::string* line) {
    line->clear();
    int c;
    while ((c = getc(out_)) != EOF && c != '\n') {
      if (line->size() < 65536) line->push_back(static_cast<char>(c));
    }
    return c != EOF || !line->empty();
  }
  absl::Status Wait() {
    int status = 0;
    waitpid(std::exchange(pid_, -1), &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return absl::OkStatus();
    return absl::InternalError(
        WIFEXITED(status)
            ? absl::StrCat("the training failed with exit code ",
                           WEXITSTATUS(status), "; see the lines above")
            : absl::StrCat("the training was ended by signal ",
                           WTERMSIG(status)));
  }

 private:
  TrainProcess() = default;
  pid_t pid_ = -1;
  FILE* out_ = nullptr;
};

absl::Status Train(Context* context, const TrainOptions& options) {
  std::error_code error;
  absl::StatusOr<Chosen> found;
  if (fs::exists(options.study + "/study.json", error)) {
    found = FromFolder(options);
  } else {
    Client client = context->MakeClient();
    found = FromController(options, &client);
  }
  HWNAS_RETURN_IF_ERROR(found.status());
  const Chosen& chosen = *found;
  if (!chosen.spec.has_train()) {
    return absl::InvalidArgumentError(
        "the study has no 'train' section: there is nothing to train with");
  }
  HWNAS_ASSIGN_OR_RETURN(const SpaceConfig config, SearchedSpace(chosen.spec));
  HWNAS_ASSIGN_OR_RETURN(const auto space, CreateSpace(config));
  const Architecture architecture{chosen.choices};
  HWNAS_RETURN_IF_ERROR(space->Validate(architecture));
  HWNAS_ASSIGN_OR_RETURN(const ModelGraph graph, space->Decode(architecture));

  v1::TrainTask task;
  *task.mutable_graph() = ToProto(graph);
  v1::StudySpec adjusted = chosen.spec;
  Override(options, adjusted.mutable_train());
  HWNAS_RETURN_IF_ERROR(CheckStudySpec(adjusted));
  *task.mutable_train() = WithDefaults(adjusted).train();
  task.set_seed(options.seed.value_or(chosen.spec.seed()));
  task.set_architecture_digest(space->Digest(architecture));
  task.set_keep_weights(true);

  const std::string stem =
      absl::StrCat(chosen.folder, "/trial-", chosen.number, "-trained");
  const std::string weights_file =
      options.weights.empty() ? stem + ".weights" : options.weights;
  const std::string onnx_file =
      options.onnx.empty() ? stem + ".onnx" : options.onnx;
  const std::string task_file = absl::StrCat(weights_file, ".task");
  HWNAS_RETURN_IF_ERROR(
      WriteFileAtomically(task_file, task.SerializeAsString()));
  absl::Cleanup remove_task = [&] { unlink(task_file.c_str()); };

  *context->out << "Training trial " << chosen.number << " for "
                << task.train().epochs()
                << " epochs: " << Printable(chosen.text, 300) << std::endl;
  HWNAS_ASSIGN_OR_RETURN(
      TrainProcess process,
      TrainProcess::Start({context->program_dir + "/hwnas-worker",
                           "--train_task=" + task_file,
                           "--weights_out=" + weights_file}));
  const absl::Time start = absl::Now();
  std::string line;
  Json done;
  while (process.ReadLine(&line)) {
    const Json event = Json::parse(line, nullptr, false);
    if (!event.is_object()) continue;
    const std::string kind = event.value("event", "");
    if (kind == "done") done = event;
    if (kind != "epoch") continue;
    const int epoch = event.value("epoch", 0);
    const int epochs = event.value("epochs", 0);
    const double elapsed = absl::ToDoubleSeconds(absl::Now() - start);
    const double eta = EstimateEta(epoch, epochs, elapsed);
    const std::string text = absl::StrFormat(
        "epoch %d/%d  loss %.4f  %.0f images/s  elapsed %s%s", epoch, epochs,
        event.value("train_loss", 0.0), event.value("images_per_second", 0.0),
        FormatSeconds(elapsed), eta >= 0 ? "  ETA " + FormatSeconds(eta) : "");
    if (context->out_is_terminal) {
      const double fraction =
          epochs > 0 ? static_cast<double>(epoch) / epochs : 0;
      *context->out << "\r\x1b[K"
                    << Fit(absl::StrCat(Bar(fraction, 20), "  ", text),
                           TerminalWidth())
                    << std::flush;
    } else {
      *context->out << text << std::endl;
    }
  }
  if (context->out_is_terminal) *context->out << "\n";
  HWNAS_RETURN_IF_ERROR(process.Wait());
  if (!done.is_object()) {
    return absl::InternalError("the training ended without a result");
  }

  HWNAS_ASSIGN_OR_RETURN(
      const std::string bytes,
      ReadFile(weights_file, static_cast<size_t>(kMaxArtifactBytes)));
  v1::Weights weights;
  if (!weights.ParseFromString(bytes)) {
    return absl::DataLossError(
        absl::StrCat(weights_file, " is not a file of weights"));
  }
  OnnxOptions onnx_options;
  onnx_options.description = chosen.text;
  HWNAS_ASSIGN_OR_RETURN(const std::string onnx,
                         ExportOnnx(graph, weights, onnx_options));
  HWNAS_RETURN_IF_ERROR(WriteFileAtomically(onnx_file, onnx));
  *context->out << absl::StrFormat(
                       "test accuracy %.2f %%  test loss %.4f  in %s\n",
                       done.value("test_accuracy", 0.0),
                       done.value("test_loss", 0.0),
                       FormatSeconds(done.value("seconds", 0.0)))
                << "Wrote " << weights_file << " and " << onnx_file << "\n";
  return absl::OkStatus();
}

}  // namespace

void AddTrainCommand(CLI::App* app, Context* context) {
  auto options = std::make_shared<TrainOptions>();
  CLI::App* command = app->add_subcommand(
      "train",
      "Train a trial's network on all training images, here, and test it");
  command
      ->add_option("--study", options->study,
                   "Name of a study on the controller, or the folder of a "
                   "'hwnas run'")
      ->required();
  command
      ->add_option("-t,--trial", options->trial,
                   "best: best by the first objective; knee; an objective's "
                   "name; or a trial's number")
      ->capture_default_str();
  command->add_option("--epochs", options->epochs)->check(CLI::Range(1, 10000));
  command->add_option("--batch", options->batch)->check(CLI::Range(1, 65536));
  command->add_option("--seed", options->seed, "Without it, the study's");
  command
      ->add_option("--cutout", options->cutout,
                   "Side of the square that Cutout erases, in pixels")
      ->check(CLI::Range(0, 4096));
  command->add_option("--learning-rate", options->learning_rate, "Peak");
  command->add_option("--weight-decay", options->weight_decay);
  command->add_option("--label-smoothing", options->label_smoothing);
  command->add_option("--augment", options->augment,
                      "Random crop and flip: true or false");
  command->add_option("--threads", options->threads)
      ->check(CLI::Range(0, 1024));
  command->add_option("--data-dir", options->data_dir,
                      "Where the data set's files are");
  command->add_option("--weights", options->weights,
                      "Weights file to write. Without it "
                      "trial-<N>-trained.weights in the folder");
  command->add_option("--onnx", options->onnx, "ONNX file to write");
  AddServerOption(command, context);
  SetExamples(command,
              {"hwnas train --study studies/fashion_mnist --trial accuracy "
               "--epochs 30 --cutout 8",
               "hwnas train --study fashion-mnist --trial 17 --server ctl:7420",
               "Settings not given are the study's; data_fraction is 1."});
  SetAction(command, context,
            [context, options] { return Train(context, *options); });
}

}  // namespace hwnas::cli
