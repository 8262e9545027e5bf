// hwnas share STUDY [USER...]
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "cli/commands.h"
#include "cli/diagnostic.h"
#include "common/status_macros.h"

namespace hwnas::cli {

void AddShareCommand(CLI::App* app, Context* context) {
  struct Options {
    std::string study;
    std::vector<std::string> users;
    bool everybody = false;
    bool nobody = false;
  };
  auto options = std::make_shared<Options>();
  CLI::App* command = app->add_subcommand(
      "share",
      "Let other researchers see and steer a study; without users, show who "
      "may");
  command->add_option("study", options->study, "Name of the study")->required();
  command->add_option("users", options->users,
                      "From now on these, and nobody else");
  auto* const everybody =
      command->add_flag("--everybody", options->everybody, "Every researcher");
  command->add_flag("--nobody", options->nobody, "Only its user, as at first")
      ->excludes(everybody);
  AddServerOption(command, context);
  SetExamples(command, {"hwnas share fashion-mnist bob carol",
                        "hwnas share fashion-mnist --everybody",
                        "hwnas share fashion-mnist"});
  SetAction(command, context, [=]() -> absl::Status {
    v1::ShareStudyRequest request;
    HWNAS_ASSIGN_OR_RETURN(*request.mutable_name(),
                           StudyNameFromUser(options->study));
    if (!options->users.empty() && (options->everybody || options->nobody)) {
      return absl::InvalidArgumentError(
          "expected users, --everybody or --nobody");
    }
    request.mutable_users()->Assign(options->users.begin(),
                                    options->users.end());
    if (options->everybody) request.add_users("*");
    Client client = context->MakeClient();
    const bool change = request.users_size() > 0 || options->nobody;
    HWNAS_ASSIGN_OR_RETURN(const v1::StudyAccess access,
                           change ? client.ShareStudy(request)
                                  : client.GetStudyAccess(request.name()));
    std::vector<std::string> others;
    for (const std::string& user : access.shared_with()) {
      others.push_back(user == "*" ? "every researcher" : Printable(user));
    }
    *context->out << access.name() << " is "
                  << (access.user().empty() ? "nobody in particular"
                                            : Printable(access.user()))
                  << "'s, shared with "
                  << (others.empty() ? "nobody" : absl::StrJoin(others, ", "))
                  << "\n";
    return absl::OkStatus();
  });
}

}  // namespace hwnas::cli
