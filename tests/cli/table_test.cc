#include "cli/table.h"

#include "gmock/gmock.h"

namespace hwnas::cli {
namespace {

Table Sample() {
  Table table({{"name", "name"},
               {"value", "value [ms]", true},
               {"digest", "digest", false, false, true}});
  table.Add({"plain", Cell::Number(0.123456), "d1"}, {{"extra", {1, 2}}});
  table.Add({"a \"b\", c\nd", Cell("-", nullptr), "d2"});
  return table;
}

TEST(Table, AlignsColumnsAndHidesControlCharacters) {
  EXPECT_EQ(Sample().ToText(),
            "name           value [ms]\n"
            "plain              0.1235\n"
            "a \"b\", c\\x0ad           -\n");
}

TEST(Table, QuotesCsvAsRfc4180Asks) {
  EXPECT_EQ(Sample().ToCsv(),
            "name,value,digest\n"
            "plain,0.123456,d1\n"
            "\"a \"\"b\"\", c\nd\",,d2\n");
}

TEST(Table, PrintsJsonThatParsesBack) {
  const auto json = nlohmann::json::parse(Sample().Render(OutputFormat::kJson));
  ASSERT_EQ(json.size(), 2u);
  EXPECT_EQ(json[0]["value"], 0.123456);
  EXPECT_EQ(json[0]["extra"], (std::vector<int>{1, 2}));
  EXPECT_EQ(json[1]["name"], "a \"b\", c\nd");
  EXPECT_TRUE(json[1]["value"].is_null());
}

TEST(Table, PrintsBrokenUtf8AsJsonAllTheSame) {
  Table table(std::vector<Column>{{"name", "name"}});
  table.Add({std::string("a\xff")});
  EXPECT_TRUE(nlohmann::json::accept(table.Render(OutputFormat::kJson)));
}

TEST(Table, AnEmptyTableIsAnEmptyArrayOrJustAHeader) {
  Table table(std::vector<Column>{{"name", "name"}});
  EXPECT_EQ(table.Render(OutputFormat::kJson), "[]\n");
  EXPECT_EQ(table.Render(OutputFormat::kCsv), "name\n");
  EXPECT_EQ(table.Render(OutputFormat::kTable), "name\n");
}

TEST(Table, RejectsAnUnknownFormat) {
  EXPECT_THAT(std::string(ParseOutputFormat("xml").status().message()),
              ::testing::HasSubstr("expected table, json or csv"));
}

TEST(FormatNumber, KeepsSignificantDigitsAndDropsZeros) {
  EXPECT_EQ(FormatNumber(0), "0");
  EXPECT_EQ(FormatNumber(88.3), "88.3");
  EXPECT_EQ(FormatNumber(0.0123456), "0.01235");
  EXPECT_EQ(FormatNumber(1.0), "1");
  EXPECT_EQ(FormatNumber(123456), "123456");
  EXPECT_EQ(FormatNumber(-0.5), "-0.5");
  EXPECT_EQ(FormatNumber(1.5e-7), "1.5e-07");
  EXPECT_EQ(FormatNumber(std::nan("")), "-");
}

TEST(FormatSeconds, ChoosesTheUnit) {
  EXPECT_EQ(FormatSeconds(0.25), "250 ms");
  EXPECT_EQ(FormatSeconds(7.34), "7.3 s");
  EXPECT_EQ(FormatSeconds(59.97), "1 min 00 s");
  EXPECT_EQ(FormatSeconds(245), "4 min 05 s");
  EXPECT_EQ(FormatSeconds(7620), "2 h 07 min");
  EXPECT_EQ(FormatSeconds(273600), "3 d 04 h");
  EXPECT_EQ(FormatSeconds(-1), "-");
}

}  // namespace
}  // namespace hwnas::cli
