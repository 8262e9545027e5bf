#include "common/digest.h"

#include "gtest/gtest.h"

namespace hwnas {
namespace {

TEST(Sha256Hex, MatchesTheStandardsExample) {  // FIPS 180-4, "abc".
  EXPECT_EQ(Sha256Hex("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(IsSha256Hex, RefusesOtherForms) {
  EXPECT_TRUE(IsSha256Hex(Sha256Hex("")));
  EXPECT_FALSE(IsSha256Hex("../../etc/passwd"));
  EXPECT_FALSE(IsSha256Hex(std::string(64, 'G')));
}

}  // namespace
}  // namespace hwnas
