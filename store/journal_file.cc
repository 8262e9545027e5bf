#include "store/journal_file.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/digest.h"
#include "common/status_macros.h"
#include "common/text.h"
#include "store/store_folder.h"

namespace hwnas {
namespace {

constexpr absl::string_view kMagic = "hwnas journals ";
constexpr int kFormat = 1;
// Larger than any event that gRPC could have brought.
constexpr size_t kMaxRecordBytes = size_t{128} << 20;

constexpr int kAppendEvents = 1024;
constexpr size_t kAppendBytes = size_t{4} << 20;
constexpr int64_t kProgressEvents = 50'000;

enum class Kind : char {
  kStudy = 'S',     // The id of a study, whose events follow.
  kEvent = 'E',     // A serialized JournalEvent.
  kStudyEnd = 'e',  // Digest of the study's events.
  kEnd = 'Z',       // Last in the file; empty.
};

struct Record {
  Kind kind = Kind::kEnd;
  std::string bytes;
};

// Of the events of a study: each digest covers the one before, the first the
// id.
class RunningDigest {
 public:
  explicit RunningDigest(absl::string_view study_id = "") : digest_(study_id) {}
  void Add(absl::string_view payload) {
    digest_ = Sha256Hex(absl::StrCat(digest_, payload));
  }
  const std::string& hex() const { return digest_; }

 private:
  std::string digest_;
};

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

class Writer {
 public:
  explicit Writer(std::string path)
      : path_(std::move(path)), file_(std::fopen(path_.c_str(), "wbe")) {}

  absl::Status Begin() {
    return file_ == nullptr ? Failed()
                            : WriteBytes(absl::StrCat(kMagic, kFormat, "\n"));
  }
  absl::Status Write(Kind kind, absl::string_view bytes) {
    std::string head(1, static_cast<char>(kind));
    for (int shift = 0; shift < 32; shift += 8) {
      head.push_back(static_cast<char>(bytes.size() >> shift));
    }
    HWNAS_RETURN_IF_ERROR(WriteBytes(head));
    return WriteBytes(bytes);
  }
  absl::Status Close() {
    return std::fclose(file_.release()) == 0 ? absl::OkStatus() : Failed();
  }

 private:
  absl::Status WriteBytes(absl::string_view bytes) {
    return std::fwrite(bytes.data(), 1, bytes.size(), file_.get()) ==
                   bytes.size()
               ? absl::OkStatus()
               : Failed();
  }
  absl::Status Failed() const {
    return absl::ErrnoToStatus(errno, absl::StrCat("write ", path_));
  }

  const std::string path_;
  File file_;
};

class Reader {
 public:
  static absl::StatusOr<Reader> Open(const std::string& path) {
    Reader reader(path);
    if (reader.file_ == nullptr) {
      return absl::ErrnoToStatus(errno, absl::StrCat("open ", path));
    }
    char line[64] = "";
    absl::string_view rest =
        std::fgets(line, sizeof(line), reader.file_.get()) == nullptr ? ""
                                                                      : line;
    int format = 0;
    if (!absl::ConsumePrefix(&rest, kMagic) ||
        !absl::ConsumeSuffix(&rest, "\n") || !absl::SimpleAtoi(rest, &format) ||
        format < 1) {
      return absl::InvalidArgumentError(absl::StrCat(
          path,
          " is no file of journals: expected one that hwnas store export "
          "has written"));
    }
    if (format > kFormat) {
      return absl::FailedPreconditionError(absl::StrCat(
          path, " has format ", format, " and this program knows up to ",
          kFormat, ": use the release that wrote it, or a newer one"));
    }
    return reader;
  }

  absl::StatusOr<Record> Next() {
    unsigned char head[5];
    if (std::fread(head, 1, sizeof(head), file_.get()) != sizeof(head)) {
      return Damaged("it ends too early");
    }
    size_t size = 0;
    for (int i = 4; i >= 1; --i) size = size << 8 | head[i];
    if (size > kMaxRecordBytes) {
      return Damaged(absl::StrCat("it has a record of ", size, " bytes"));
    }
    Record record{.kind = static_cast<Kind>(head[0])};
    // In pieces: a damaged size must not cost memory that no data stands for.
    while (record.bytes.size() < size) {
      const size_t at = record.bytes.size();
      record.bytes.resize(std::min(size, at + (size_t{1} << 20)));
      const size_t wanted = record.bytes.size() - at;
      if (std::fread(record.bytes.data() + at, 1, wanted, file_.get()) !=
          wanted) {
        return Damaged("it ends too early");
      }
    }
    return record;
  }

  absl::Status Damaged(absl::string_view how) const {
    return absl::DataLossError(
        absl::StrCat("file of journals ", path_, " is damaged: ", how));
  }

 private:
  explicit Reader(const std::string& path)
      : path_(path), file_(std::fopen(path.c_str(), "rbe")) {}

  std::string path_;
  File file_;
};

// Reads a file from its beginning to its end and checks it.
absl::Status ForEachEvent(
    const std::string& path,
    const std::function<absl::Status(const std::string& study_id,
                                     v1::JournalEvent&& event)>& visit,
    const std::function<absl::Status(const std::string& study_id)>& end) {
  HWNAS_ASSIGN_OR_RETURN(Reader reader, Reader::Open(path));
  std::string study_id;
  int64_t sequence = 0;
  RunningDigest digest;
  for (;;) {
    HWNAS_ASSIGN_OR_RETURN(const Record record, reader.Next());
    const bool in_study = !study_id.empty();
    if (record.kind == Kind::kStudy && !in_study) {
      // Stores cut or refuse what is no id, after others have been written.
      if (!IsShortName(record.bytes, "-~")) {
        return reader.Damaged("it has a study whose id is none");
      }
      study_id = record.bytes;
      sequence = 0;
      digest = RunningDigest(study_id);
    } else if (record.kind == Kind::kEvent && in_study) {
      digest.Add(record.bytes);
      v1::JournalEvent event;
      if (!event.ParseFromString(record.bytes) ||
          event.sequence() != ++sequence) {
        return reader.Damaged(absl::StrCat("event ", sequence, " of study ",
                                           study_id, " cannot be decoded"));
      }
      HWNAS_RETURN_IF_ERROR(visit(study_id, std::move(event)));
    } else if (record.kind == Kind::kStudyEnd && in_study) {
      if (record.bytes != digest.hex() || sequence == 0) {
        return reader.Damaged(absl::StrCat("the events of study ", study_id,
                                           " do not match their digest"));
      }
      HWNAS_RETURN_IF_ERROR(end(study_id));
      study_id.clear();
    } else if (record.kind == Kind::kEnd && !in_study) {
      return absl::OkStatus();
    } else {
      return reader.Damaged("its records are out of order");
    }
  }
}

absl::Status WriteStudy(JournalStore& store, TransferProgress* at,
                        Writer* writer, const OnTransfer& progress) {
  HWNAS_RETURN_IF_ERROR(writer->Write(Kind::kStudy, at->study_id));
  RunningDigest digest(at->study_id);
  HWNAS_RETURN_IF_ERROR(
      store.Read(at->study_id, 0, [&](v1::JournalEvent&& event) {
        const std::string payload = event.SerializeAsString();
        digest.Add(payload);
        if (++at->events % kProgressEvents == 0) progress(*at);
        return writer->Write(Kind::kEvent, payload);
      }));
  progress(*at);
  return writer->Write(Kind::kStudyEnd, digest.hex());
}

// How many events of a study a store has, and their digest.
struct Present {
  int64_t size = 0;
  RunningDigest digest;
};
absl::StatusOr<Present> PresentOf(JournalStore& store,
                                  const std::string& study_id) {
  Present present;
  const absl::Status status =
      store.Read(study_id, 0, [&](v1::JournalEvent&& event) {
        ++present.size;
        present.digest.Add(event.SerializeAsString());
        return absl::OkStatus();
      });
  if (!status.ok() && !absl::IsNotFound(status)) return status;
  return present;
}

// Checks the file and what the store has of its studies; returns how many
// events of each.
absl::StatusOr<std::map<std::string, int64_t>> CheckImport(
    const std::string& path, JournalStore& store) {
  std::map<std::string, int64_t> sizes;
  Present present;
  RunningDigest digest;
  const auto other_history = [](const std::string& study_id) {
    return absl::AlreadyExistsError(absl::StrCat(
        "study ", study_id,
        " exists there with another history: nothing was imported; export the "
        "studies that you want, or import into another store"));
  };
  HWNAS_RETURN_IF_ERROR(ForEachEvent(
      path,
      [&](const std::string& study_id,
          v1::JournalEvent&& event) -> absl::Status {
        if (event.sequence() == 1) {
          if (sizes.count(study_id)) {
            return absl::DataLossError(absl::StrCat(
                "file of journals ", path, " has study ", study_id, " twice"));
          }
          HWNAS_ASSIGN_OR_RETURN(present, PresentOf(store, study_id));
          sizes[study_id] = present.size;
          digest = RunningDigest();
        }
        if (event.sequence() > present.size) return absl::OkStatus();
        digest.Add(event.SerializeAsString());
        if (event.sequence() == present.size &&
            digest.hex() != present.digest.hex()) {
          return other_history(study_id);
        }
        return absl::OkStatus();
      },
      [&](const std::string& study_id) {
        // The store has more than the file.
        return digest.hex() == present.digest.hex() ? absl::OkStatus()
                                                    : other_history(study_id);
      }));
  return sizes;
}

}  // namespace

absl::Status ExportJournals(JournalStore& store,
                            absl::Span<const std::string> study_ids,
                            const std::string& path,
                            const OnTransfer& progress) {
  if (access(path.c_str(), F_OK) == 0) {
    return absl::AlreadyExistsError(
        absl::StrCat(path, " exists already: give another name or remove it"));
  }
  const std::string partial = path + ".partial";
  absl::Cleanup clean = [&partial] { unlink(partial.c_str()); };
  Writer writer(partial);
  HWNAS_RETURN_IF_ERROR(writer.Begin());
  TransferProgress at;
  for (const std::string& study_id : study_ids) {
    at = {.study_id = study_id, .study = at.study + 1};
    HWNAS_RETURN_IF_ERROR(WriteStudy(store, &at, &writer, progress));
  }
  HWNAS_RETURN_IF_ERROR(writer.Write(Kind::kEnd, ""));
  HWNAS_RETURN_IF_ERROR(writer.Close());
  return PublishFile(partial, path);
}

absl::Status ImportJournals(const std::string& path, JournalStore& store,
                            const OnTransfer& progress) {
  HWNAS_ASSIGN_OR_RETURN(const auto sizes, CheckImport(path, store));
  std::vector<v1::JournalEvent> events;
  size_t bytes = 0;
  TransferProgress at;
  const auto append = [&](const std::string& study_id) -> absl::Status {
    if (events.empty()) return absl::OkStatus();
    const int64_t size = events.front().sequence() - 1;
    HWNAS_RETURN_IF_ERROR(store.Append(study_id, size, absl::MakeSpan(events)));
    events.clear();
    bytes = 0;
    return absl::OkStatus();
  };
  return ForEachEvent(
      path,
      [&](const std::string& study_id,
          v1::JournalEvent&& event) -> absl::Status {
        if (event.sequence() == 1) {
          at = {.study_id = study_id, .study = at.study + 1};
        }
        at.events = event.sequence();
        if (at.events % kProgressEvents == 0) progress(at);
        if (event.sequence() <= sizes.at(study_id)) return absl::OkStatus();
        bytes += event.ByteSizeLong();
        events.push_back(std::move(event));
        return events.size() < kAppendEvents && bytes < kAppendBytes
                   ? absl::OkStatus()
                   : append(study_id);
      },
      [&](const std::string& study_id) {
        progress(at);
        return append(study_id);
      });
}

}  // namespace hwnas
