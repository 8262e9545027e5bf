// With whom a study is shared.
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/controller/study/engine_harness.h"

namespace hwnas::controller {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

absl::StatusOr<v1::StudyAccess> Share(StudyEngine& engine,
                                      const std::vector<std::string>& users,
                                      const std::string& name = "studies/s") {
  v1::ShareStudyRequest request;
  request.set_name(name);
  request.mutable_users()->Assign(users.begin(), users.end());
  return engine.ShareStudy(request);
}

TEST(Sharing, ReplacesTheListAndSurvivesARestart) {
  EngineHarness h;
  v1::CreateStudyRequest request;
  request.set_study_id("s");
  request.set_user("alice");
  *request.mutable_spec() = ToySpec(3);
  ASSERT_TRUE(h.engine->CreateStudy(request).ok());
  EXPECT_THAT(h.engine->GetStudyAccess("s")->shared_with(), IsEmpty());

  const auto shared = Share(*h.engine, {"carol", "bob", "carol"});
  ASSERT_TRUE(shared.ok()) << shared.status();
  EXPECT_THAT(shared->shared_with(), ElementsAre("bob", "carol"));
  EXPECT_THAT(Share(*h.engine, {"*"})->shared_with(), ElementsAre("*"));

  h.Restart();
  const auto kept = h.engine->GetStudyAccess("s");
  ASSERT_TRUE(kept.ok()) << kept.status();
  EXPECT_EQ(kept->user(), "alice");
  EXPECT_THAT(kept->shared_with(), ElementsAre("*"));
  EXPECT_THAT(Share(*h.engine, {})->shared_with(), IsEmpty());
}

TEST(Sharing, WorksWhenTheStudyHasEnded) {
  EngineHarness h;
  v1::CreateStudyRequest request;
  request.set_study_id("s");
  *request.mutable_spec() = ToySpec(3);
  ASSERT_TRUE(h.engine->CreateStudy(request).ok());
  ASSERT_TRUE(h.engine->CancelStudy("s").ok());
  EXPECT_TRUE(Share(*h.engine, {"bob"}).ok());
  EXPECT_EQ(h.engine->GetStudy("s")->state(), v1::Study::CANCELLED);
}

TEST(Sharing, AUserHasSoManyStudiesThatHaveNotEnded) {
  EngineHarness h;
  h.max_user_studies = 2;
  h.Restart();
  const auto create = [&](const char* study, const char* user) {
    v1::CreateStudyRequest request;
    request.set_study_id(study);
    request.set_user(user);
    *request.mutable_spec() = ToySpec(3);
    return h.engine->CreateStudy(request).status();
  };
  EXPECT_TRUE(create("a", "alice").ok());
  EXPECT_TRUE(create("b", "alice").ok());
  const absl::Status third = create("c", "alice");
  EXPECT_EQ(third.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(third.message(),
            "user 'alice' has 2 studies that have not ended: expected at most "
            "2; cancel one, or see --max_user_studies of the controller");
  EXPECT_TRUE(create("a", "alice").ok());  // It is there already.
  EXPECT_TRUE(create("c", "bob").ok());
  ASSERT_TRUE(h.engine->CancelStudy("a").ok());
  h.Restart();
  EXPECT_TRUE(create("d", "alice").ok());
  EXPECT_FALSE(create("e", "alice").ok());
}

TEST(Sharing, RefusesWhatIsNoUser) {
  EngineHarness h;
  v1::CreateStudyRequest request;
  request.set_study_id("s");
  *request.mutable_spec() = ToySpec(3);
  ASSERT_TRUE(h.engine->CreateStudy(request).ok());
  for (const std::string& user : {std::string(), std::string("Bob"),
                                  std::string("**"), std::string(64, 'x')}) {
    EXPECT_EQ(Share(*h.engine, {user}).status().code(),
              absl::StatusCode::kInvalidArgument)
        << user;
  }
  EXPECT_EQ(
      Share(*h.engine, std::vector<std::string>(101, "bob")).status().code(),
      absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Share(*h.engine, {"bob"}, "studies/none").status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace hwnas::controller
