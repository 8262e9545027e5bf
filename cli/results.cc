#include "cli/results.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/trial_table.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "proto/convert/convert.h"

namespace hwnas::cli {

absl::StatusOr<ReportInput> FetchResults(Client* client,
                                         const std::string& study_name) {
  ReportInput results;
  HWNAS_ASSIGN_OR_RETURN(results.study, client->GetStudy(study_name));
  HWNAS_ASSIGN_OR_RETURN(results.front, client->GetFront(study_name));
  for (const std::string& device_class :
       ProblemFromProto(results.study.spec()).FrontDevices()) {
    HWNAS_ASSIGN_OR_RETURN(results.device_fronts.emplace_back(),
                           client->GetFront(study_name, device_class));
  }
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
  // front<suffix>.csv and .json, and best<suffix>.onnx of the chosen member.
  auto write_front = [&](const v1::Front& front, const std::string& suffix,
                         int64_t* chosen, bool* trained) -> absl::Status {
    const std::vector<v1::Trial> members(front.trials().begin(),
                                         front.trials().end());
    const Table table = FrontTable(spec, members);
    HWNAS_RETURN_IF_ERROR(write(absl::StrCat("front", suffix, ".csv"),
                                table.Render(OutputFormat::kCsv)));
    HWNAS_RETURN_IF_ERROR(write(absl::StrCat("front", suffix, ".json"),
                                table.Render(OutputFormat::kJson)));
    if (members.empty()) return absl::OkStatus();
    HWNAS_ASSIGN_OR_RETURN(
        const int index, PickTrial(spec, members, pick, front.device_class()));
    v1::ExportModelRequest request;
    request.set_name(members[static_cast<size_t>(index)].name());
    const absl::StatusOr<Client::ExportedModel> model =
        client->ExportModel(request);
    if (absl::IsFailedPrecondition(model.status())) {
      // A space without networks, only known from a table.
      written.why_no_model = std::string(model.status().message());
      return absl::OkStatus();
    }
    HWNAS_RETURN_IF_ERROR(model.status());
    HWNAS_RETURN_IF_ERROR(
        write(absl::StrCat("best", suffix, ".onnx"), model->onnx));
    *chosen = members[static_cast<size_t>(index)].number();
    *trained = model->trained;
    return absl::OkStatus();
  };
  HWNAS_RETURN_IF_ERROR(
      write_front(results.front, "", &written.chosen_trial, &written.trained));
  results.chosen_trial = written.chosen_trial;
  for (const v1::Front& front : results.device_fronts) {
    const std::string suffix = absl::StrCat("-", front.device_class());
    WrittenResults::OfDevice& device = written.of_devices.emplace_back();
    device.file = absl::StrCat("best", suffix, ".onnx");
    HWNAS_RETURN_IF_ERROR(
        write_front(front, suffix, &device.chosen_trial, &device.trained));
  }
  const Table trials = TrialTable(spec, results.trials);
  HWNAS_RETURN_IF_ERROR(write("trials.csv", trials.Render(OutputFormat::kCsv)));
  HWNAS_RETURN_IF_ERROR(
      write("trials.json", trials.Render(OutputFormat::kJson)));
  HWNAS_RETURN_IF_ERROR(write("report.html", RenderReport(results)));
  return written;
}

}  // namespace hwnas::cli
