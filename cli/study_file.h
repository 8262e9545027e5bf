// Study files: YAML that maps one to one onto hwnas.v1.StudyFile.
//
// The loader walks the YAML tree and the message side by side by reflection, so
// a field added to the proto can be written in a file at once. It reports
// everything that is wrong, not only the first error, each with its position;
// what the domain rejects (ValidateStudySpec) is placed by the field's path.
//
// Bounds: 1 MiB of text, 32 levels, no aliases.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "cli/diagnostic.h"
#include "hwnas/v1/study.pb.h"

namespace hwnas::cli {

inline constexpr size_t kMaxStudyFileBytes = size_t{1} << 20;

// Thread-compatible value.
class LoadedStudy {
 public:
  // Reads and checks `path`. Never fails: an unreadable file is an error in
  // errors().
  static LoadedStudy Load(const std::string& path);
  // The same for a text; `file_name` only appears in messages.
  static LoadedStudy Parse(const std::string& file_name, std::string text);

  bool ok() const { return errors_.empty(); }
  // As written, without defaults. Meaningful only if ok().
  const v1::StudyFile& file() const { return file_; }
  const std::string& id() const { return file_.metadata().name(); }
  const v1::StudySpec& spec() const { return file_.spec(); }
  const std::vector<Diagnostic>& errors() const { return errors_; }

  // Adds an error found later (e.g. a missing data set), at the position of
  // `field` or of the nearest field around it that the file has.
  void AddError(const std::string& field, std::string message);

  // All errors as text, or empty.
  std::string Render() const;

 private:
  friend class StudyFileReader;

  struct Location {
    int line = 0;
    int column = 0;
    int length = 1;
  };

  std::string file_name_;
  std::string text_;
  v1::StudyFile file_;
  std::map<std::string, Location> locations_;  // By field path.
  std::vector<Diagnostic> errors_;
};

}  // namespace hwnas::cli
