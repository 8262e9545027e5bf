// A table of text: a CSV file, plain or gzip, in memory.
//
// One header line, then rows of as many cells. Cells may be quoted as RFC 4180
// has it, but hold no line breaks. Lines end in LF or CRLF. What is wrong is
// said with its place: "cells.csv.gz:12:5: ...".
//
//   HWNAS_ASSIGN_OR_RETURN(DataTable table, DataTable::Load(path));
//   HWNAS_ASSIGN_OR_RETURN(int column, table.FindColumn("latency_ms"));
//   HWNAS_ASSIGN_OR_RETURN(double value, table.Number(row, column));
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace hwnas {

struct DataTableLimits {
  size_t max_file_bytes = size_t{256} << 20;
  size_t max_text_bytes = size_t{1} << 30;  // Unpacked; less than 4 GiB.
  int64_t max_rows = 10'000'000;
  int max_columns = 4096;
};

// Immutable, hence thread-safe.
class DataTable {
 public:
  // NOT_FOUND, PERMISSION_DENIED, RESOURCE_EXHAUSTED (too large) or
  // INVALID_ARGUMENT (not such a table).
  static absl::StatusOr<DataTable> Load(const std::string& path,
                                        const DataTableLimits& limits = {});
  // The same for a file's contents; `name` only appears in messages.
  static absl::StatusOr<DataTable> Parse(std::string name, std::string contents,
                                         const DataTableLimits& limits = {});

  DataTable(DataTable&&) = default;
  DataTable& operator=(DataTable&&) = default;

  const std::string& name() const { return name_; }
  // SHA-256 of the file as it lies on the disk.
  const std::string& sha256() const { return sha256_; }
  const std::vector<std::string>& columns() const { return columns_; }
  int64_t rows() const { return static_cast<int64_t>(line_begins_.size()); }

  // NOT_FOUND names the columns that there are.
  absl::StatusOr<int> FindColumn(absl::string_view column) const;

  absl::string_view Text(int64_t row, int column) const {
    const Cell& cell = cells_[row * columns_.size() + column];
    return absl::string_view(text_).substr(cell.begin, cell.size);
  }
  // NaN for an unknown value: an empty cell, "nan", "NaN" or "NA".
  // INVALID_ARGUMENT, with the place, for all else that is no finite number.
  absl::StatusOr<double> Number(int64_t row, int column) const;

  // "file:line:column" of a cell.
  std::string Where(int64_t row, int column) const;

 private:
  struct Cell {
    uint32_t begin;
    uint32_t size;
  };

  DataTable() = default;
  absl::Status ParseText(const DataTableLimits& limits);

  std::string name_;
  std::string sha256_;
  std::string text_;  // Of the whole file, quotes taken out.
  std::vector<std::string> columns_;
  absl::flat_hash_map<std::string, int> column_index_;
  std::vector<Cell> cells_;            // Row by row, without the header.
  std::vector<uint32_t> line_begins_;  // Of each row.
};

}  // namespace hwnas
