#include "estimator/data_table.h"

#include <zlib.h>

#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/digest.h"
#include "common/files.h"
#include "common/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace hwnas {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

DataTable MustParse(const std::string& text) {
  absl::StatusOr<DataTable> table = DataTable::Parse("t.csv", text);
  EXPECT_TRUE(table.ok()) << table.status();
  return *std::move(table);
}

std::string ErrorOf(const std::string& text,
                    const DataTableLimits& limits = {}) {
  const absl::StatusOr<DataTable> table =
      DataTable::Parse("t.csv", text, limits);
  EXPECT_FALSE(table.ok());
  return std::string(table.status().message());
}

// One gzip member.
std::string Gzip(const std::string& text) {
  std::string out(compressBound(text.size()) + 64, '\0');
  z_stream stream = {};
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 8,
                         Z_DEFAULT_STRATEGY),
            Z_OK);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

TEST(DataTable, ReadsColumnsRowsAndNumbers) {
  const DataTable table = MustParse("a,b,name\n1,-2.5e3,x\n4,,y z\n");
  EXPECT_THAT(table.columns(), ElementsAre("a", "b", "name"));
  EXPECT_EQ(table.rows(), 2);
  EXPECT_EQ(table.Text(1, 2), "y z");
  EXPECT_EQ(*table.FindColumn("b"), 1);
  EXPECT_EQ(*table.Number(0, 1), -2500);
  EXPECT_TRUE(std::isnan(*table.Number(1, 1)));
  EXPECT_EQ(table.Where(1, 2), "t.csv:3:4");
}

TEST(DataTable, AcceptsOtherLineEndsQuotesAndAMark) {
  const DataTable table =
      MustParse("\xef\xbb\xbf\"a\",b\r\n\"x,\"\"y\"\"\",nan\r\nz,NA");
  EXPECT_THAT(table.columns(), ElementsAre("a", "b"));
  EXPECT_EQ(table.Text(0, 0), "x,\"y\"");
  EXPECT_TRUE(std::isnan(*table.Number(0, 1)));
  EXPECT_EQ(table.Text(1, 0), "z");
  EXPECT_TRUE(std::isnan(*table.Number(1, 1)));
}

TEST(DataTable, UnpacksGzip) {
  const std::string packed = Gzip("a,b\n1,2\n") + Gzip("3,4\n");
  const absl::StatusOr<DataTable> table = DataTable::Parse("t.csv.gz", packed);
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ(table->rows(), 2);
  EXPECT_EQ(table->Text(1, 1), "4");
  EXPECT_EQ(table->sha256(), Sha256Hex(packed));

  EXPECT_THAT(ErrorOf(packed.substr(0, 20)), HasSubstr("t.csv is damaged"));
  std::string broken = packed;
  broken[14] ^= 0x55;
  EXPECT_THAT(ErrorOf(broken), HasSubstr("t.csv is damaged"));
}

TEST(DataTable, SaysWhereAFileIsWrong) {
  EXPECT_THAT(ErrorOf(""), HasSubstr("at least one row"));
  EXPECT_THAT(ErrorOf("a,b\n"), HasSubstr("at least one row"));
  EXPECT_THAT(ErrorOf("a,b,a\n1,2,3\n"),
              HasSubstr("t.csv:1:5: column \"a\" is there twice"));
  EXPECT_THAT(ErrorOf("a,,b\n1,2,3\n"),
              HasSubstr("t.csv:1:3: a column has no name"));
  EXPECT_THAT(ErrorOf("a,b\n1,2\n1\n"),
              HasSubstr("t.csv:3:1: expected 2 cells, one for each column, "
                        "found 1"));
  EXPECT_THAT(ErrorOf("a,b\n\n1,2\n"), HasSubstr("found an empty line"));
  EXPECT_THAT(ErrorOf("a,b\n1,\"2\n3,4\n"),
              HasSubstr("t.csv:2:3: the quoted cell does not end"));
  EXPECT_THAT(ErrorOf("a,b\n\"1\"x,2\n"),
              HasSubstr("t.csv:2:4: expected a comma"));

  const DataTable table = MustParse("a,b\n1,2\n3,4 ms\n5,inf\n");
  EXPECT_EQ(table.Number(1, 1).status().message(),
            "t.csv:3:3: expected a number in column b, found \"4 ms\"");
  EXPECT_FALSE(table.Number(2, 1).ok());
  EXPECT_EQ(table.FindColumn("c").status().message(),
            "t.csv has no column \"c\": it has a, b");
}

TEST(DataTable, SurvivesDamagedBytes) {
  const std::string good =
      "a,b,\"c,d\"\r\n1,-2.5e3,\"x\"\"y\"\r\n4,,nan\r\n5,6,7\r\n";
  Rng rng(7);
  for (const std::string& whole : {good, Gzip(good)}) {
    for (int round = 0; round < 2000; ++round) {
      std::string text = whole;
      for (uint64_t i = rng.Below(6); i > 0; --i) {
        text[rng.Below(text.size())] = static_cast<char>(rng.Below(256));
      }
      text.resize(rng.Below(text.size() + 1));
      const absl::StatusOr<DataTable> table = DataTable::Parse("t", text);
      if (!table.ok()) continue;
      for (int64_t row = 0; row < table->rows(); ++row) {
        for (size_t column = 0; column < table->columns().size(); ++column) {
          const int at = static_cast<int>(column);
          EXPECT_LE(table->Text(row, at).size(), good.size());
          (void)table->Number(row, at);
          EXPECT_FALSE(table->Where(row, at).empty());
        }
      }
    }
  }
}

TEST(DataTable, StopsAtItsLimits) {
  const std::string bomb = Gzip("a\n" + std::string(1 << 20, '1') + "\n");
  EXPECT_LT(bomb.size(), 5000u);
  EXPECT_THAT(ErrorOf(bomb, {.max_text_bytes = 100'000}),
              HasSubstr("more than 100000 bytes"));
  EXPECT_THAT(ErrorOf("a\n1\n2\n3\n", {.max_rows = 2}),
              HasSubstr("more than 2 rows"));
  EXPECT_THAT(ErrorOf("a,b,c\n1,2,3\n", {.max_columns = 2}),
              HasSubstr("more than 2 cells"));
  const std::string path = absl::StrCat(::testing::TempDir(), "/limits.csv");
  ASSERT_TRUE(WriteFileAtomically(path, "a\n1\n2\n").ok());
  EXPECT_TRUE(DataTable::Load(path).ok());
  EXPECT_EQ(DataTable::Load(path, {.max_file_bytes = 3}).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(DataTable::Load(path + "x").status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace hwnas
