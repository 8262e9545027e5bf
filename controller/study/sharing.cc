// Whose a study is, and with whom it is shared.
#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"
#include "controller/study/study_engine.h"
#include "proto/convert/resource_names.h"

namespace hwnas::controller {
namespace {

constexpr int kMaxSharedWith = 100;

v1::StudyAccess View(const StudyState& state) {
  v1::StudyAccess access;
  access.set_name(StudyName(state.study_id()));
  access.set_user(state.user());
  access.mutable_shared_with()->Assign(state.shared_with().begin(),
                                       state.shared_with().end());
  return access;
}

}  // namespace

absl::StatusOr<v1::StudyAccess> StudyEngine::GetStudyAccess(
    const std::string& study_id) {
  MutexLock lock(&mutex_);
  HWNAS_ASSIGN_OR_RETURN(Run * run, FindRun(study_id));
  return View(run->state);
}

absl::StatusOr<v1::StudyAccess> StudyEngine::ShareStudy(
    const v1::ShareStudyRequest& request) {
  HWNAS_ASSIGN_OR_RETURN(const std::string study_id,
                         ParseStudyName(request.name()));
  if (request.users_size() > kMaxSharedWith) {
    return absl::InvalidArgumentError(
        absl::StrCat("users holds ", request.users_size(),
                     ": expected at most ", kMaxSharedWith));
  }
  std::vector<std::string> users;
  for (int i = 0; i < request.users_size(); ++i) {
    const std::string& user = request.users(i);
    if (user.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("users[", i, "] is empty: expected a user or *"));
    }
    if (user != "*") {
      HWNAS_RETURN_IF_ERROR(CheckUser(absl::StrCat("users[", i, "]"), user));
    }
    users.push_back(user);
  }
  std::sort(users.begin(), users.end());
  users.erase(std::unique(users.begin(), users.end()), users.end());
  MutexLock lock(&mutex_);
  HWNAS_ASSIGN_OR_RETURN(Run * run, FindRun(study_id));
  if (users != run->state.shared_with()) {
    v1::JournalEvent event;
    event.mutable_study_shared()->mutable_users()->Assign(users.begin(),
                                                          users.end());
    HWNAS_RETURN_IF_ERROR(Commit(*run, {event}, 0, "study shared"));
  }
  return View(run->state);
}

}  // namespace hwnas::controller
