#include "estimator/data_table.h"

#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "common/digest.h"
#include "common/files.h"
#include "common/status_macros.h"

namespace hwnas {
namespace {

constexpr absl::string_view kGzipMagic = "\x1f\x8b";
constexpr absl::string_view kByteOrderMark = "\xef\xbb\xbf";

std::string Shown(absl::string_view text) {
  constexpr size_t kShown = 60;
  return absl::StrCat("\"", absl::CHexEscape(text.substr(0, kShown)),
                      text.size() > kShown ? "..." : "", "\"");
}

absl::Status TooLarge(const std::string& name, size_t limit) {
  return absl::ResourceExhaustedError(absl::StrCat(
      name, " holds more than ", limit, " bytes: too large for a table"));
}

// Unpacks all members of a gzip file.
absl::StatusOr<std::string> Unpack(const std::string& name,
                                   absl::string_view packed, size_t limit) {
  z_stream stream = {};
  if (inflateInit2(&stream, 16 + MAX_WBITS) != Z_OK) {
    return absl::ResourceExhaustedError("no memory to unpack a table");
  }
  absl::Cleanup end = [&stream] { inflateEnd(&stream); };
  stream.next_in = reinterpret_cast<Bytef*>(
      const_cast<char*>(packed.data()));  // Not changed.
  stream.avail_in = static_cast<uInt>(packed.size());
  std::string text;
  size_t size = 0;
  for (;;) {
    if (text.size() - size < (1 << 16)) {
      text.resize(std::max<size_t>(2 * text.size(), 1 << 20));
    }
    const size_t room = text.size() - size;
    const uInt chunk = static_cast<uInt>(
        std::min<size_t>(room, std::numeric_limits<uInt>::max()));
    stream.next_out = reinterpret_cast<Bytef*>(text.data() + size);
    stream.avail_out = chunk;
    const int result = inflate(&stream, Z_NO_FLUSH);
    size += chunk - stream.avail_out;
    if (size > limit) return TooLarge(name, limit);
    if (result == Z_STREAM_END) {
      if (stream.avail_in == 0) break;
      if (inflateReset(&stream) != Z_OK) break;
    } else if (result != Z_OK) {
      return absl::InvalidArgumentError(
          absl::StrCat(name, " is damaged: ",
                       result == Z_BUF_ERROR   ? "it ends too early"
                       : stream.msg != nullptr ? stream.msg
                                               : "not a gzip file"));
    }
  }
  text.resize(size);
  return text;
}

}  // namespace

absl::StatusOr<DataTable> DataTable::Load(const std::string& path,
                                          const DataTableLimits& limits) {
  HWNAS_ASSIGN_OR_RETURN(std::string contents,
                         ReadFile(path, limits.max_file_bytes));
  return Parse(path, std::move(contents), limits);
}

absl::StatusOr<DataTable> DataTable::Parse(std::string name,
                                           std::string contents,
                                           const DataTableLimits& limits) {
  DataTable table;
  table.name_ = std::move(name);
  table.sha256_ = Sha256Hex(contents);
  if (absl::StartsWith(contents, kGzipMagic)) {
    HWNAS_ASSIGN_OR_RETURN(
        table.text_, Unpack(table.name_, contents, limits.max_text_bytes));
  } else {
    table.text_ = std::move(contents);
  }
  if (table.text_.size() > limits.max_text_bytes) {
    return TooLarge(table.name_, limits.max_text_bytes);
  }
  HWNAS_RETURN_IF_ERROR(table.ParseText(limits));
  return table;
}

absl::Status DataTable::ParseText(const DataTableLimits& limits) {
  size_t at =
      absl::StartsWith(text_, kByteOrderMark) ? kByteOrderMark.size() : 0;
  int64_t line = 0;
  std::vector<Cell> row;
  while (at < text_.size()) {
    ++line;
    const size_t line_begin = at;
    size_t line_end = text_.find('\n', at);
    const size_t next =
        line_end == std::string::npos ? text_.size() : line_end + 1;
    line_end = std::min(line_end, text_.size());
    if (line_end > at && text_[line_end - 1] == '\r') --line_end;
    const auto error = [&](size_t position, absl::string_view what) {
      return absl::InvalidArgumentError(absl::StrCat(
          name_, ":", line, ":", position - line_begin + 1, ": ", what));
    };

    row.clear();
    for (bool more = true; more;) {
      if (at < line_end && text_[at] == '"') {
        const size_t begin = ++at;
        size_t out = begin;  // Doubled quotes become one, in place.
        for (;; ++at, ++out) {
          if (at >= line_end) {
            return error(begin - 1, "the quoted cell does not end on its line");
          }
          if (text_[at] == '"') {
            if (at + 1 >= line_end || text_[at + 1] != '"') break;
            ++at;
          }
          text_[out] = text_[at];
        }
        ++at;
        if (at < line_end && text_[at] != ',') {
          return error(at, "expected a comma after the quoted cell");
        }
        row.push_back(
            {static_cast<uint32_t>(begin), static_cast<uint32_t>(out - begin)});
      } else {
        const size_t end = std::min(text_.find(',', at), line_end);
        row.push_back(
            {static_cast<uint32_t>(at), static_cast<uint32_t>(end - at)});
        at = end;
      }
      more = at < line_end;
      if (more) ++at;  // Past the comma.
      if (static_cast<int>(row.size()) > limits.max_columns) {
        return error(at, absl::StrCat("more than ", limits.max_columns,
                                      " cells in a line"));
      }
    }
    at = next;

    if (line == 1) {
      for (const Cell& cell : row) {
        std::string column = text_.substr(cell.begin, cell.size);
        if (column.empty()) return error(cell.begin, "a column has no name");
        if (!column_index_.emplace(column, columns_.size()).second) {
          return error(cell.begin, absl::StrCat("column ", Shown(column),
                                                " is there twice"));
        }
        columns_.push_back(std::move(column));
      }
      continue;
    }
    if (row.size() != columns_.size()) {
      return error(line_begin,
                   absl::StrCat("expected ", columns_.size(),
                                " cells, one for each column, found ",
                                row.size() == 1 && row[0].size == 0
                                    ? std::string("an empty line")
                                    : absl::StrCat(row.size())));
    }
    if (rows() >= limits.max_rows) {
      return absl::ResourceExhaustedError(
          absl::StrCat(name_, " holds more than ", limits.max_rows, " rows"));
    }
    cells_.insert(cells_.end(), row.begin(), row.end());
    line_begins_.push_back(static_cast<uint32_t>(line_begin));
  }
  if (rows() == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        name_, ":1:1: expected a line of column names and at least one row"));
  }
  return absl::OkStatus();
}

absl::StatusOr<int> DataTable::FindColumn(absl::string_view column) const {
  const auto found = column_index_.find(std::string(column));
  if (found != column_index_.end()) return found->second;
  constexpr size_t kShown = 40;
  std::vector<std::string> some(
      columns_.begin(), columns_.begin() + std::min(kShown, columns_.size()));
  if (columns_.size() > kShown) some.push_back("...");
  return absl::NotFoundError(absl::StrCat(name_, " has no column ",
                                          Shown(column), ": it has ",
                                          absl::StrJoin(some, ", ")));
}

absl::StatusOr<double> DataTable::Number(int64_t row, int column) const {
  const absl::string_view text = Text(row, column);
  if (text.empty() || text == "nan" || text == "NaN" || text == "NA") {
    return std::numeric_limits<double>::quiet_NaN();
  }
  double value = 0;
  if (!absl::SimpleAtod(text, &value) || !std::isfinite(value)) {
    return absl::InvalidArgumentError(
        absl::StrCat(Where(row, column), ": expected a number in column ",
                     columns_[column], ", found ", Shown(text)));
  }
  return value;
}

std::string DataTable::Where(int64_t row, int column) const {
  // The first line is the header's.
  return absl::StrCat(
      name_, ":", row + 2, ":",
      cells_[row * columns_.size() + column].begin - line_begins_[row] + 1);
}

}  // namespace hwnas
