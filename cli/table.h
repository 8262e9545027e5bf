// Rows under named columns, printed for people (table), programs (json) or
// spreadsheets (csv).
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace hwnas::cli {

enum class OutputFormat { kTable, kJson, kCsv };

// "table", "json" or "csv".
absl::StatusOr<OutputFormat> ParseOutputFormat(absl::string_view text);

// One value: what people read, and what programs read. null means absent.
struct Cell {
  Cell() = default;  // NOLINT(bugprone-exception-escape): no value is made.
  Cell(std::string text)  // NOLINT: a cell of text is just its text.
      : text(text), value(std::move(text)) {}
  Cell(const char* text) : Cell(std::string(text)) {}  // NOLINT
  Cell(std::string text, nlohmann::ordered_json value)
      : text(std::move(text)), value(std::move(value)) {}

  static Cell Integer(int64_t value);
  // `text` has `digits` significant digits; the value keeps all.
  static Cell Number(double value, int digits = 4);
  static Cell Flag(bool value, std::string if_true = "yes");

  std::string text;
  nlohmann::ordered_json value;
};

struct Column {
  std::string key;     // In JSON and CSV: "latency_ms@x86_64".
  std::string header;  // In the table: "latency_ms@x86_64 [ms]".
  bool right = false;  // Numbers.
  bool table_only = false;
  bool data_only = false;  // Not in the table: too wide for it.
};

struct Row {
  std::vector<Cell> cells;  // One for each column.
  // Members that JSON has beside the columns. An object.
  nlohmann::ordered_json details = nlohmann::ordered_json::object();
};

// Value. Thread-compatible.
class Table {
 public:
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  void Add(std::vector<Cell> cells,
           nlohmann::ordered_json details = nlohmann::ordered_json::object());

  // A line for people, below the table.
  void SetNote(std::string note) { note_ = std::move(note); }

  const std::vector<Column>& columns() const { return columns_; }
  const std::vector<Row>& rows() const { return rows_; }

  std::string Render(OutputFormat format) const;
  // Aligned columns with two blanks between them, then the note.
  std::string ToText() const;
  // An array of objects, one a row.
  nlohmann::ordered_json ToJson() const;
  // Quoted as RFC 4180 asks; lines end in LF.
  std::string ToCsv() const;

 private:
  std::vector<Column> columns_;
  std::vector<Row> rows_;
  std::string note_;
};

// Columns that a UTF-8 text takes on a terminal, one for each code point.
int DisplayWidth(absl::string_view text);

// 0.01234 -> "0.01234", 12345.6 -> "12346", 1e9 -> "1e+09"; `digits`
// significant ones, no trailing zeros.
std::string FormatNumber(double value, int digits = 4);

// "850 ms", "7.3 s", "4 min 05 s", "2 h 07 min", "3 d 04 h".
std::string FormatSeconds(double seconds);

}  // namespace hwnas::cli
