// hwnas store backup, restore, export, import
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cli/commands.h"
#include "common/files.h"
#include "common/status_macros.h"
#include "store/artifact_store.h"
#include "store/journal_file.h"
#include "store/journal_store.h"
#include "store/leader_lease.h"
#include "store/sqlite_backup.h"
#include "store/store_folder.h"

namespace hwnas::cli {
namespace {

namespace fs = std::filesystem;

// Copies what is not there yet. What is deleted meanwhile is left out, and so
// is what is damaged, with a word.
absl::Status CopyArtifacts(const std::string& from, const std::string& to,
                           Context* context) {
  HWNAS_ASSIGN_OR_RETURN(
      const std::unique_ptr<ArtifactStore> source,
      OpenFolderArtifactStore({.folder = from, .shared = true}));
  HWNAS_ASSIGN_OR_RETURN(const std::unique_ptr<ArtifactStore> target,
                         OpenFolderArtifactStore({.folder = to}));
  HWNAS_ASSIGN_OR_RETURN(const std::vector<StoredArtifact> artifacts,
                         source->List());
  int64_t copied = 0;
  for (const StoredArtifact& artifact : artifacts) {
    const absl::StatusOr<std::string> data = source->Get(artifact.digest);
    if (absl::IsNotFound(data.status())) continue;
    if (absl::IsDataLoss(data.status())) {
      *context->err << "hwnas: left out: " << data.status().message() << "\n";
      continue;
    }
    HWNAS_RETURN_IF_ERROR(data.status());
    HWNAS_RETURN_IF_ERROR(target->Put(*data).status());
    ++copied;
  }
  *context->err << copied << " artifacts\n";
  return absl::OkStatus();
}

std::function<void(int64_t, int64_t)> ShowPages(Context* context) {
  return [context, shown = int64_t{-1}](int64_t done, int64_t total) mutable {
    const int64_t tenth = total == 0 ? 10 : 10 * done / total;
    if (tenth == shown) return;
    shown = tenth;
    *context->err << "journal: " << 10 * tenth << " %\n";
  };
}

OnTransfer ShowEvents(Context* context) {
  return [context](const TransferProgress& at) {
    *context->err << "study " << at.study_id << ": " << at.events
                  << " events\n";
  };
}

absl::Status Backup(const std::string& store, const std::string& folder,
                    Context* context) {
  const std::string partial = folder + ".partial";
  std::error_code error;
  for (const std::string& path : {folder, partial}) {
    if (fs::exists(path, error)) {
      return absl::AlreadyExistsError(absl::StrCat(
          path, " exists already: give another name or remove it"));
    }
  }
  HWNAS_RETURN_IF_ERROR(MakeDirectories(partial));
  const auto copy = [&]() -> absl::Status {
    HWNAS_RETURN_IF_ERROR(BackupSqliteJournal(
        JournalPath(store), JournalPath(partial), ShowPages(context)));
    // After the journal, so that all that it names and that still exists comes
    // along.
    return CopyArtifacts(ArtifactsPath(store), ArtifactsPath(partial), context);
  };
  if (absl::Status status = copy(); !status.ok()) {
    fs::remove_all(partial, error);
    return status;
  }
  fs::rename(partial, folder, error);
  if (error) {
    return absl::ErrnoToStatus(error.value(), absl::StrCat("write ", folder));
  }
  *context->out << store << " -> " << folder << "\n";
  return absl::OkStatus();
}

absl::Status Restore(const std::string& folder, const std::string& store,
                     Context* context) {
  std::error_code error;
  if (!fs::exists(JournalPath(folder), error)) {
    return absl::NotFoundError(absl::StrCat(
        folder, " is no backup: there is no ", JournalPath(folder)));
  }
  if (fs::exists(JournalPath(store), error)) {
    return absl::AlreadyExistsError(absl::StrCat(
        store, " holds studies already: restore into another folder"));
  }
  // SQLite would play them back over the backup.
  for (const absl::string_view suffix : kSqliteSuffixes) {
    const std::string beside = absl::StrCat(JournalPath(store), suffix);
    if (fs::exists(beside, error)) {
      return absl::AlreadyExistsError(
          absl::StrCat(beside,
                       " is left of another journal: restore into another "
                       "folder, or move it away"));
    }
  }
  HWNAS_RETURN_IF_ERROR(MakeDirectories(store));
  HWNAS_ASSIGN_OR_RETURN(const StoreFolderLock lock,
                         StoreFolderLock::Take(store));
  // The journal last: without it the store counts as empty.
  HWNAS_RETURN_IF_ERROR(
      CopyArtifacts(ArtifactsPath(folder), ArtifactsPath(store), context));
  HWNAS_RETURN_IF_ERROR(BackupSqliteJournal(
      JournalPath(folder), JournalPath(store), ShowPages(context)));
  *context->out << folder << " -> " << store << "\n";
  return absl::OkStatus();
}

// Where the journals are: SQLite in a folder, or PostgreSQL.
struct Place {
  std::string folder;
  std::string url_file;
};

void AddPlaceOptions(CLI::App* command, Place* place) {
  CLI::Option* folder = command->add_option("--store", place->folder,
                                            "Folder of a store with SQLite");
  command
      ->add_option("--store-url-file", place->url_file,
                   "File with the connection string of a store in PostgreSQL. "
                   "Without this and --store $HWNAS_STORE_URL")
      ->excludes(folder);
}

// Empty: SQLite in place.folder.
absl::StatusOr<std::string> UrlOf(const Place& place) {
  if (!place.folder.empty()) return "";
  HWNAS_ASSIGN_OR_RETURN(std::string url,
                         ReadStoreUrl("--store-url-file", place.url_file));
  if (url.empty()) {
    return absl::InvalidArgumentError(
        "no store: give --store DIR, or --store-url-file FILE for PostgreSQL");
  }
  return url;
}

absl::Status Export(const Place& place, std::vector<std::string> studies,
                    const std::string& file, Context* context) {
  HWNAS_ASSIGN_OR_RETURN(const std::string url, UrlOf(place));
  std::unique_ptr<JournalStore> store;
  if (url.empty()) {
    // Opening would create it.
    const std::string path = JournalPath(place.folder);
    std::error_code error;
    if (!fs::exists(path, error)) {
      return absl::NotFoundError(absl::StrCat("no journal ", path));
    }
    HWNAS_ASSIGN_OR_RETURN(store, OpenSqliteJournalStore({.path = path}));
  } else {
    HWNAS_ASSIGN_OR_RETURN(store, OpenPostgresJournalStore({.url = url}));
  }
  if (studies.empty()) {
    HWNAS_ASSIGN_OR_RETURN(studies, store->ListStudies());
  }
  for (std::string& study : studies) {
    if (absl::StartsWith(study, "studies/")) study = study.substr(8);
  }
  HWNAS_RETURN_IF_ERROR(
      ExportJournals(*store, studies, file, ShowEvents(context)));
  *context->out << studies.size() << " journals -> " << file << "\n";
  return absl::OkStatus();
}

absl::Status Import(const std::string& file, const Place& place,
                    Context* context) {
  HWNAS_ASSIGN_OR_RETURN(const std::string url, UrlOf(place));
  if (url.empty()) {
    HWNAS_RETURN_IF_ERROR(MakeDirectories(place.folder));
    HWNAS_ASSIGN_OR_RETURN(const StoreFolderLock lock,
                           StoreFolderLock::Take(place.folder));
    HWNAS_ASSIGN_OR_RETURN(
        const std::unique_ptr<JournalStore> store,
        OpenSqliteJournalStore({.path = JournalPath(place.folder)}));
    return ImportJournals(file, *store, ShowEvents(context));
  }
  // No controller may lead meanwhile: it would not see what we add.
  HWNAS_ASSIGN_OR_RETURN(const std::unique_ptr<LeaderLease> lease,
                         OpenPostgresLease({.url = url,
                                            .holder = "hwnas store import",
                                            .duration = absl::Minutes(10)}));
  const absl::StatusOr<int64_t> epoch = lease->TryAcquire();
  if (absl::IsAborted(epoch.status())) {
    return absl::FailedPreconditionError(
        absl::StrCat("the store is in use: ", epoch.status().message(),
                     "; stop its controllers first"));
  }
  HWNAS_RETURN_IF_ERROR(epoch.status());
  HWNAS_ASSIGN_OR_RETURN(
      const std::unique_ptr<JournalStore> store,
      OpenPostgresJournalStore({.url = url, .epoch = *epoch}));
  const absl::Status status = ImportJournals(
      file, *store,
      [&, show = ShowEvents(context)](const TransferProgress& at) {
        show(at);
        (void)lease->Renew();
      });
  (void)lease->Release();
  return status;
}

}  // namespace

void AddStoreCommand(CLI::App* app, Context* context) {
  struct Options {
    std::string from;
    std::string to;
    std::vector<std::string> studies;
    Place place;
  };
  CLI::App* store = app->add_subcommand(
      "store", "Back up, restore and move what a controller keeps");
  store->require_subcommand(1);
  SetExamples(store, {"hwnas store backup /var/lib/hwnas backup-monday",
                      "hwnas store restore backup-monday /var/lib/hwnas",
                      "hwnas store export studies.journals --store store",
                      "hwnas store import studies.journals --store-url-file "
                      "/etc/hwnas/store_url"});
  const auto add = [&](const std::string& name, const std::string& help) {
    return store->add_subcommand(name, help);
  };
  {
    auto options = std::make_shared<Options>();
    CLI::App* command = add(
        "backup", "Copy a store with SQLite, also while a controller uses it");
    command->add_option("store", options->from, "Folder of the store")
        ->required();
    command->add_option("folder", options->to, "New folder of the backup")
        ->required();
    SetExamples(command, {"hwnas store backup /var/lib/hwnas backup-monday"});
    SetAction(command, context,
              [=] { return Backup(options->from, options->to, context); });
  }
  {
    auto options = std::make_shared<Options>();
    CLI::App* command =
        add("restore", "Make a store with SQLite from a backup");
    command->add_option("folder", options->from, "Folder of the backup")
        ->required();
    command
        ->add_option("store", options->to,
                     "Folder of the store, without a journal")
        ->required();
    SetExamples(command, {"hwnas store restore backup-monday /var/lib/hwnas"});
    SetAction(command, context,
              [=] { return Restore(options->from, options->to, context); });
  }
  {
    auto options = std::make_shared<Options>();
    CLI::App* command =
        add("export",
            "Write the journals of studies to a file, without weights; also "
            "while a controller uses the store");
    command->add_option("file", options->to, "New file")->required();
    command->add_option("--study", options->studies,
                        "Only this study; may be given several times");
    AddPlaceOptions(command, &options->place);
    SetExamples(command, {"hwnas store export all.journals --store store",
                          "hwnas store export one.journals --store store "
                          "--study fashion-mnist"});
    SetAction(command, context, [=] {
      return Export(options->place, options->studies, options->to, context);
    });
  }
  {
    auto options = std::make_shared<Options>();
    CLI::App* command =
        add("import",
            "Add the studies of a file to a store that no controller uses");
    command->add_option("file", options->from, "File of hwnas store export")
        ->required();
    AddPlaceOptions(command, &options->place);
    SetExamples(command,
                {"hwnas store import all.journals --store store",
                 "hwnas store import all.journals --store-url-file url"});
    SetAction(command, context,
              [=] { return Import(options->from, options->place, context); });
  }
}

}  // namespace hwnas::cli
