// hwnas validate FILE...
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/commands.h"
#include "cli/local_data.h"
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
  std::vector<std::string> replayed;  // Device classes.
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
      case v1::REPLAY:
        if (stage.device_class.empty()) {
          if (!replayed.empty()) {
            stages.push_back(replayed.size() <= 3
                                 ? absl::StrCat("replay measurements on ",
                                                absl::StrJoin(replayed, ", "))
                                 : absl::StrCat("replay measurements on ",
                                                replayed.size(),
                                                " device classes"));
          }
          replayed.clear();
          stages.push_back("replay a training");
        } else {
          replayed.push_back(stage.device_class);
        }
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
    std::string tables;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app->add_subcommand(
      "validate", "Check study files; explain everything that is wrong");
  command->add_option("files", options->files, "Study files")->required();
  command->add_flag("--print-defaults", options->print_defaults,
                    "Print the specification with all defaults, as JSON");
  command->add_option("--tables", options->tables,
                      "Also check the tables of a study with replay, in this "
                      "folder");
  SetExamples(command, {"hwnas validate study.yaml",
                        "hwnas validate study.yaml --tables tables",
                        "hwnas validate --print-defaults study.yaml",
                        "Nothing is started. Exit code 2 if a file is wrong."});
  SetAction(command, context, [=]() -> absl::Status {
    for (const std::string& path : options->files) {
      LoadedStudy study = LoadedStudy::Load(path);
      std::unique_ptr<ReplayTable> table;
      if (!options->tables.empty()) {
        table = LoadLocalTables(&study, options->tables);
      }
      LoadLocalSources(&study, path);
      if (!study.ok()) {
        *context->err << study.Render();
        context->exit_code = kExitBadInput;
        continue;
      }
      if (!options->print_defaults) {
        *context->out << path << ": valid. " << Summary(study.spec());
        if (table != nullptr) {
          *context->out << "; the tables have " << table->file_rows()
                        << " rows of " << table->size()
                        << " different networks";
        }
        *context->out << "\n";
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
