#include "cli/table.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "cli/diagnostic.h"

namespace hwnas::cli {
namespace {

std::string CsvField(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  return absl::StrCat("\"", absl::StrReplaceAll(text, {{"\"", "\"\""}}), "\"");
}

std::string CsvValue(const nlohmann::ordered_json& value) {
  if (value.is_null()) return "";
  if (value.is_string()) return value.get<std::string>();
  return value.dump(-1, ' ', false,
                    nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace

absl::StatusOr<OutputFormat> ParseOutputFormat(absl::string_view text) {
  if (text == "table") return OutputFormat::kTable;
  if (text == "json") return OutputFormat::kJson;
  if (text == "csv") return OutputFormat::kCsv;
  return absl::InvalidArgumentError(absl::StrCat(
      "--output ", text, " is unknown: expected table, json or csv"));
}

Cell Cell::Integer(int64_t value) { return Cell(absl::StrCat(value), value); }

Cell Cell::Number(double value, int digits) {
  if (!std::isfinite(value)) return Cell("-", nullptr);
  return Cell(FormatNumber(value, digits), value);
}

Cell Cell::Flag(bool value, std::string if_true) {
  return Cell(value ? std::move(if_true) : "", value);
}

void Table::Add(std::vector<Cell> cells, nlohmann::ordered_json details) {
  cells.resize(columns_.size());
  rows_.push_back({std::move(cells), std::move(details)});
}

std::string Table::Render(OutputFormat format) const {
  switch (format) {
    case OutputFormat::kJson:
      return ToJson().dump(2, ' ', false,
                           nlohmann::ordered_json::error_handler_t::replace) +
             "\n";
    case OutputFormat::kCsv:
      return ToCsv();
    case OutputFormat::kTable:
      break;
  }
  return ToText();
}

std::string Table::ToText() const {
  std::vector<std::vector<std::string>> lines(rows_.size() + 1);
  std::vector<int> widths;
  std::vector<bool> right;
  for (size_t c = 0; c < columns_.size(); ++c) {
    if (columns_[c].data_only) continue;
    int width = DisplayWidth(columns_[c].header);
    lines[0].push_back(columns_[c].header);
    for (size_t r = 0; r < rows_.size(); ++r) {
      // Names and reasons come from outside.
      lines[r + 1].push_back(Printable(rows_[r].cells[c].text, 400));
      width = std::max(width, DisplayWidth(lines[r + 1].back()));
    }
    widths.push_back(width);
    right.push_back(columns_[c].right);
  }
  std::string out;
  for (const std::vector<std::string>& line : lines) {
    std::string text;
    for (size_t c = 0; c < line.size(); ++c) {
      const std::string padding(widths[c] - DisplayWidth(line[c]), ' ');
      if (c > 0) absl::StrAppend(&text, "  ");
      absl::StrAppend(&text, right[c] ? padding : "", line[c],
                      right[c] ? "" : padding);
    }
    text.erase(text.find_last_not_of(' ') + 1);
    absl::StrAppend(&out, text, "\n");
  }
  if (!note_.empty()) absl::StrAppend(&out, Printable(note_, 400), "\n");
  return out;
}

nlohmann::ordered_json Table::ToJson() const {
  auto array = nlohmann::ordered_json::array();
  for (const Row& row : rows_) {
    auto object = nlohmann::ordered_json::object();
    for (size_t c = 0; c < columns_.size(); ++c) {
      if (!columns_[c].table_only) {
        object[columns_[c].key] = row.cells[c].value;
      }
    }
    for (const auto& [key, value] : row.details.items()) object[key] = value;
    array.push_back(std::move(object));
  }
  return array;
}

std::string Table::ToCsv() const {
  std::string out;
  bool first = true;
  for (const Column& column : columns_) {
    if (column.table_only) continue;
    absl::StrAppend(&out, first ? "" : ",", CsvField(column.key));
    first = false;
  }
  out.push_back('\n');
  for (const Row& row : rows_) {
    first = true;
    for (size_t c = 0; c < columns_.size(); ++c) {
      if (columns_[c].table_only) continue;
      absl::StrAppend(&out, first ? "" : ",",
                      CsvField(CsvValue(row.cells[c].value)));
      first = false;
    }
    out.push_back('\n');
  }
  return out;
}

int DisplayWidth(absl::string_view text) {
  return static_cast<int>(std::count_if(
      text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string FormatNumber(double value, int digits) {
  if (!std::isfinite(value)) return "-";
  if (value == 0) return "0";
  const double magnitude = std::fabs(value);
  if (magnitude < 1e-4 || magnitude >= 1e9) {
    return absl::StrFormat("%.*g", digits, value);
  }
  // Integers keep all their digits.
  const int before = static_cast<int>(std::floor(std::log10(magnitude))) + 1;
  const int after = std::max(0, digits - before);
  std::string text = absl::StrFormat("%.*f", after, value);
  if (absl::StrContains(text, '.')) {
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
  }
  return text;
}

std::string FormatSeconds(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "-";
  if (seconds < 0.9995) return absl::StrFormat("%.0f ms", seconds * 1e3);
  if (seconds < 59.95) return absl::StrFormat("%.1f s", seconds);
  // Beyond any search; also keeps the conversion below defined.
  const int64_t s = std::llround(std::min(seconds, 1e12));
  if (s < 3600) return absl::StrFormat("%d min %02d s", s / 60, s % 60);
  if (s < 86400) {
    return absl::StrFormat("%d h %02d min", s / 3600, s % 3600 / 60);
  }
  return absl::StrFormat("%d d %02d h", s / 86400, s % 86400 / 3600);
}

}  // namespace hwnas::cli
