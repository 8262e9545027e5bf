#include "cli/results.h"

#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cli/study_folder.h"
#include "cli/trial_table.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "google/protobuf/util/json_util.h"
#include "nlohmann/json.hpp"
#include "proto/convert/convert.h"
#include "proto/convert/resource_names.h"

namespace hwnas::cli {

using Json = nlohmann::json;

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
  std::error_code error;
  if (!std::filesystem::exists(folder + "/run.lock", error)) {
    v1::StudyFile study;
    study.set_api_version("hwnas/v1");
    study.set_kind("Study");
    HWNAS_ASSIGN_OR_RETURN(*study.mutable_metadata()->mutable_name(),
                           ParseStudyName(results.study.name()));
    *study.mutable_spec() = spec;
    HWNAS_RETURN_IF_ERROR(WriteStudyJson(folder, study));
    written.files.push_back("study.json");
  }
  return written;
}

absl::StatusOr<v1::StudySpec> ReadStudySpec(const std::string& folder) {
  HWNAS_ASSIGN_OR_RETURN(const std::string text,
                         ReadFile(folder + "/study.json", size_t{64} << 20));
  v1::StudyFile file;
  if (!google::protobuf::util::JsonStringToMessage(text, &file).ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat(folder, "/study.json is not what 'hwnas run' writes"));
  }
  return file.spec();
}

absl::StatusOr<std::vector<v1::Trial>> ReadTrials(const std::string& file) {
  HWNAS_ASSIGN_OR_RETURN(const std::string text,
                         ReadFile(file, size_t{1} << 30));
  const Json rows = Json::parse(text, nullptr, false);
  if (!rows.is_array()) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, " is not what 'hwnas run' writes"));
  }
  std::vector<v1::Trial> trials;
  try {
    for (const Json& row : rows) {
      v1::Trial& trial = trials.emplace_back();
      trial.set_number(row.at("trial").get<int64_t>());
      for (int state = 0; state < v1::Trial::State_ARRAYSIZE; ++state) {
        const auto candidate = static_cast<v1::Trial::State>(state);
        if (row.value("state", "") == TrialStateName(candidate)) {
          trial.set_state(candidate);
        }
      }
      if (row.contains("score") && row["score"].is_number()) {
        trial.set_score(row["score"].get<double>());
      }
      trial.mutable_architecture()->set_text(
          row.at("architecture").get<std::string>());
      for (const Json& choice : row.at("choices")) {
        trial.mutable_architecture()->add_choices(choice.get<int>());
      }
      for (const Json& m : row.at("measurements")) {
        v1::Measurement* measurement = trial.add_measurements();
        measurement->set_metric(m.at("metric").get<std::string>());
        measurement->set_value(m.at("value").get<double>());
        measurement->set_device_class(m.value("device_class", ""));
      }
    }
  } catch (const Json::exception& error) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, " is not what 'hwnas run' writes: ", error.what()));
  }
  return trials;
}

}  // namespace hwnas::cli
