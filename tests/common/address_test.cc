#include "common/address.h"

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hwnas {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(Addresses, AreOfThisMachineIfAllOfThemAre) {
  bool loopback = false;
  EXPECT_TRUE(
      CheckAddresses("it", "127.0.0.1:1,localhost:2,[::1]:3", 1, &loopback)
          .ok());
  EXPECT_TRUE(loopback);
  EXPECT_TRUE(CheckAddresses("it", "127.0.0.1:1,ctl:7420", 1, &loopback).ok());
  EXPECT_FALSE(loopback);
}

TEST(Addresses, EachIsChecked) {
  bool loopback = false;
  for (const char* bad : {"", ",", "ctl:7420,", "ctl:7420,b", "a:1,b:65536",
                          "a:1, b:0", "a:1,::1:5"}) {
    EXPECT_THAT(CheckAddresses("it", bad, 1, &loopback).message(),
                HasSubstr("is not understood"))
        << bad;
  }
  std::string many = "a:1";
  for (int i = 0; i < 16; ++i) absl::StrAppend(&many, ",a:1");
  EXPECT_THAT(CheckAddresses("it", many, 1, &loopback).message(),
              HasSubstr("it has 17 addresses: expected at most 16"));
}

TEST(LookUp, GivesNumbers) {
  EXPECT_THAT(LookUp("127.0.0.1:7420"), ElementsAre("127.0.0.1:7420"));
  EXPECT_THAT(LookUp("[::1]:7420"), ElementsAre("[::1]:7420"));
  EXPECT_THAT(LookUp("localhost:80"),
              Contains(::testing::AnyOf("127.0.0.1:80", "[::1]:80")));
}

}  // namespace
}  // namespace hwnas
