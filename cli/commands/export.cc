// hwnas export STUDY
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "cli/commands.h"
#include "cli/results.h"
#include "cli/trial_table.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "proto/convert/resource_names.h"

namespace hwnas::cli {

void AddExportCommand(CLI::App* app, Context* context) {
  struct Options {
    std::string study;
    std::string pick;
    std::string device;
    std::string file;
    std::string dir;
    bool untrained = false;
    int batch = 1;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app->add_subcommand(
      "export", "Write a trial's network as ONNX, or all results of a study");
  command->add_option("study", options->study, "Name of the study")->required();
  command
      ->add_option("-t,--trial,--pick", options->pick,
                   "knee: the best compromise; best: best by the score or else "
                   "by the first objective; or an objective's name; or a "
                   "trial's number. Without it best if the study has a score, "
                   "else knee")
      ->type_name("PICK");
  command->add_option("--device", options->device,
                      "Choose from the front of this device class, which the "
                      "study has for each of an objective's `devices`");
  command->add_option("-f,--output-file", options->file,
                      "ONNX file to write. Without it <study>-<trial>.onnx");
  command->add_option("-d,--dir", options->dir,
                      "Write front and trials (csv, json), best.onnx and "
                      "report.html into this folder instead");
  command->add_flag("--untrained", options->untrained,
                    "Random weights even where trained ones are stored");
  command->add_option("--batch", options->batch, "Images in one inference")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  AddServerOption(command, context);
  SetExamples(command, {"hwnas export fashion-mnist --output-file model.onnx",
                        "hwnas export fashion-mnist --trial accuracy",
                        "hwnas export fashion-mnist --trial 17 --batch 8",
                        "hwnas export two-boards --device raspberrypi5",
                        "hwnas export fashion-mnist --dir results"});
  SetAction(command, context, [=]() -> absl::Status {
    HWNAS_ASSIGN_OR_RETURN(const std::string name,
                           StudyNameFromUser(options->study));
    Client client = context->MakeClient();
    if (!options->dir.empty()) {
      HWNAS_ASSIGN_OR_RETURN(ReportInput results, FetchResults(&client, name));
      HWNAS_ASSIGN_OR_RETURN(const WrittenResults written,
                             WriteResults(&client, std::move(results),
                                          options->dir, options->pick));
      for (const std::string& file : written.files) {
        *context->out << options->dir << "/" << file << "\n";
      }
      return absl::OkStatus();
    }
    HWNAS_ASSIGN_OR_RETURN(const std::string study_id, ParseStudyName(name));
    int64_t number = 0;
    if (!absl::SimpleAtoi(options->pick, &number)) {  // Any trial by number.
      HWNAS_ASSIGN_OR_RETURN(const v1::Study study, client.GetStudy(name));
      HWNAS_ASSIGN_OR_RETURN(const v1::Front front,
                             client.GetFront(name, options->device));
      const std::vector<v1::Trial> members(front.trials().begin(),
                                           front.trials().end());
      HWNAS_ASSIGN_OR_RETURN(
          const int index,
          PickTrial(study.spec(), members, options->pick, options->device));
      number = members[static_cast<size_t>(index)].number();
    }
    v1::ExportModelRequest request;
    request.set_name(TrialName(study_id, number));
    request.set_untrained(options->untrained);
    request.set_batch(options->batch);
    HWNAS_ASSIGN_OR_RETURN(const Client::ExportedModel model,
                           client.ExportModel(request));
    const std::string file = options->file.empty()
                                 ? absl::StrCat(study_id, "-", number, ".onnx")
                                 : options->file;
    HWNAS_RETURN_IF_ERROR(WriteFileAtomically(file, model.onnx));
    *context->out << "trial " << number << " -> " << file << " ("
                  << model.onnx.size() << " bytes, "
                  << (model.trained ? "trained" : "random") << " weights)\n";
    return absl::OkStatus();
  });
}

}  // namespace hwnas::cli
