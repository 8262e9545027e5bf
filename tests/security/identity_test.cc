#include "security/identity.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hwnas::security {
namespace {

TEST(Identity, SurvivesAsUri) {
  for (const Identity& identity :
       {Identity{Role::kAdmin, "root"},
        Identity{Role::kResearcher, "a.b@c_d-e"},
        Identity{Role::kViewer, "grafana"}, Identity{Role::kWorker, "gpu-3"},
        Identity{Role::kWorker, "slurm-*"}, Identity{Role::kAgent, "pi-7"},
        Identity{Role::kController, "main"}}) {
    const auto back = IdentityFromUri(ToUri(identity));
    ASSERT_TRUE(back.ok()) << ToUri(identity) << ": " << back.status();
    EXPECT_EQ(*back, identity);
  }
}

TEST(Identity, RefusesWhatIsNone) {
  for (const std::string& uri :
       {std::string(), std::string("http://user/alice?role=admin"),
        std::string("hwnas://user/alice"),
        std::string("hwnas://user/alice?role=worker"),
        std::string("hwnas://user/alice?role=root"),
        std::string("hwnas://user/?role=admin"),
        std::string("hwnas://user/a/b?role=admin"),
        std::string("hwnas://user/alice?role=admin&role=viewer"),
        std::string("hwnas://admin/alice"), std::string("hwnas://worker/"),
        std::string("hwnas://worker/../x"), std::string("hwnas://worker/*"),
        std::string("hwnas://worker/-*x"), std::string("hwnas://worker/a*"),
        std::string("hwnas://worker/UPPER"),
        std::string("hwnas://worker/a\0b", 18),
        "hwnas://worker/" + std::string(64, 'a'),
        std::string("hwnas://controller/main-*")}) {
    EXPECT_EQ(IdentityFromUri(uri).status().code(),
              absl::StatusCode::kInvalidArgument)
        << uri;
  }
}

TEST(Identity, CoversItsOwnIdsOnly) {
  const Identity one{Role::kWorker, "gpu-3"};
  EXPECT_TRUE(Covers(one, "gpu-3"));
  EXPECT_FALSE(Covers(one, "gpu-33"));
  EXPECT_FALSE(Covers(one, ""));
  const Identity group{Role::kAgent, "rack-*"};
  EXPECT_TRUE(Covers(group, "rack-7"));
  EXPECT_FALSE(Covers(group, "rack-"));
  EXPECT_FALSE(Covers(group, "rack"));
  EXPECT_FALSE(Covers(group, "racks-7"));
  EXPECT_FALSE(Covers({Role::kResearcher, "gpu-3"}, "gpu-3"));
}

}  // namespace
}  // namespace hwnas::security
