// hwnas validate FILE...
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/commands.h"
#include "cli/study_file.h"
#include "common/status_macros.h"
#include "google/protobuf/util/json_util.h"
#include "nas/space/space_factory.h"
#include "proto/convert/convert.h"

namespace hwnas::cli {
namespace {

// "10^4.2 architectures; each trial: screen, measure on x86_64, train".
std::string Summary(const v1::StudySpec& spec) {
  std::vector<std::string> stages;
  for (const StageKey& stage : StagesOf(spec)) {
    switch (stage.kind) {
      case v1::SCREEN:
        stages.push_back("screen");
        break;
      case v1::MEASURE:
        stages.push_back(absl::StrCat("measure on ", stage.device_class));
        break;
      case v1::TRAIN:
        stages.push_back("train");
        break;
      case v1::ASK:
        stages.push_back("ask the user's evaluator");
        break;
      default:
        break;
    }
  }
  std::string space_text;
  const absl::StatusOr<SpaceConfig> config = FromProto(spec.space());
  if (config.ok()) {
    const auto space = CreateSpace(*config);
    if (space.ok()) {
      const double log10_size = (*space)->Log10Size();
      space_text =
          log10_size < 9
              ? absl::StrFormat("%.0f architectures", std::pow(10, log10_size))
              : absl::StrFormat("10^%.1f architectures", log10_size);
      absl::StrAppend(&space_text, " of ", (*space)->decisions().size(),
                      " decisions; ");
    }
  }
  return absl::StrCat(space_text, spec.budget().trials(),
                      " trials, each: ", absl::StrJoin(stages, ", "));
}

}  // namespace

void AddValidateCommand(CLI::App* app, Context* context) {
  struct Options {
    std::vector<std::string> files;
    bool print_defaults = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app->add_subcommand(
      "validate", "Check study files; explain everything that is wrong");
  command->add_option("files", options->files, "Study files")->required();
  command->add_flag("--print-defaults", options->print_defaults,
                    "Print the specification with all defaults, as JSON");
  SetExamples(command, {"hwnas validate study.yaml",
                        "hwnas validate --print-defaults study.yaml",
                        "Nothing is started. Exit code 2 if a file is wrong."});
  SetAction(command, context, [=]() -> absl::Status {
    for (const std::string& path : options->files) {
      const LoadedStudy study = LoadedStudy::Load(path);
      if (!study.ok()) {
        *context->err << study.Render();
        context->exit_code = kExitBadInput;
        continue;
      }
      if (!options->print_defaults) {
        *context->out << path << ": valid. " << Summary(study.spec()) << "\n";
        continue;
      }
      v1::StudyFile resolved = study.file();
      *resolved.mutable_spec() = WithDefaults(study.spec());
      google::protobuf::util::JsonPrintOptions json;
      json.preserve_proto_field_names = true;
      json.add_whitespace = true;
      std::string text;
      if (!google::protobuf::util::MessageToJsonString(resolved, &text, json)
               .ok()) {
        return absl::InternalError("cannot print the specification");
      }
      *context->out << text;
    }
    return absl::OkStatus();
  });
}

}  // namespace hwnas::cli
