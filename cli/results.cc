#include "cli/results.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/trial_table.h"
#include "common/files.h"
#include "common/status_macros.h"

namespace hwnas::cli {

absl::StatusOr<ReportInput> FetchResults(Client* client,
                                         const std::string& study_name) {
  ReportInput results;
  HWNAS_ASSIGN_OR_RETURN(results.study, client->GetStudy(study_name));
  HWNAS_ASSIGN_OR_RETURN(results.front, client->GetFront(study_name));
  HWNAS_ASSIGN_OR_RETURN(results.trials, client->ListTrials(study_name));
  HWNAS_ASSIGN_OR_RETURN(results.executors,
                         client->ListExecutors(v1::EXECUTOR_KIND_UNSPECIFIED));
  return results;
}

absl::StatusOr<WrittenResults> WriteResults(Client* client, ReportInput results,
                                            const std::string& folder,
                                            const std::string& pick) {
  WrittenResults written;
  HWNAS_RETURN_IF_ERROR(MakeDirectories(folder));
  auto write = [&](const std::string& name,
                   const std::string& contents) -> absl::Status {
    HWNAS_RETURN_IF_ERROR(
        WriteFileAtomically(absl::StrCat(folder, "/", name), contents));
    written.files.push_back(name);
    return absl::OkStatus();
  };
  const v1::StudySpec& spec = results.study.spec();
  const std::vector<v1::Trial> members(results.front.trials().begin(),
                                       results.front.trials().end());
  const Table front = FrontTable(spec, members);
  const Table trials = TrialTable(spec, results.trials);
  HWNAS_RETURN_IF_ERROR(write("front.csv", front.Render(OutputFormat::kCsv)));
  HWNAS_RETURN_IF_ERROR(write("front.json", front.Render(OutputFormat::kJson)));
  HWNAS_RETURN_IF_ERROR(write("trials.csv", trials.Render(OutputFormat::kCsv)));
  HWNAS_RETURN_IF_ERROR(
      write("trials.json", trials.Render(OutputFormat::kJson)));
  if (!members.empty()) {
    HWNAS_ASSIGN_OR_RETURN(const int index, PickTrial(spec, members, pick));
    v1::ExportModelRequest request;
    request.set_name(members[static_cast<size_t>(index)].name());
    const absl::StatusOr<Client::ExportedModel> model =
        client->ExportModel(request);
    if (model.ok()) {
      HWNAS_RETURN_IF_ERROR(write("best.onnx", model->onnx));
      written.chosen_trial = members[static_cast<size_t>(index)].number();
      written.trained = model->trained;
      results.chosen_trial = written.chosen_trial;
    } else if (absl::IsFailedPrecondition(model.status())) {
      // A space without networks, only known from a table.
      written.why_no_model = std::string(model.status().message());
    } else {
      return model.status();
    }
  }
  HWNAS_RETURN_IF_ERROR(write("report.html", RenderReport(results)));
  return written;
}

}  // namespace hwnas::cli
