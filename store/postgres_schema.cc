#include "store/postgres_schema.h"

#include <iterator>

#include "absl/strings/str_cat.h"
#include "common/status_macros.h"

namespace hwnas {
namespace {

// Step i brings the schema from version i to i + 1. Steps are never edited once
// released: append another.
constexpr const char* kMigrations[] = {
    // A row of `event` is an append, `sequence` the number of its first event:
    // of two that begin at one place only one can be inserted.
    //
    // The epoch is the key of `leader`, so that renewing a lease, which leaves
    // it alone, does not wait for appends, which lock it; taking over does.
    R"sql(
CREATE TABLE hwnas.event (
  study_id text COLLATE "C" NOT NULL,
  sequence bigint NOT NULL CHECK (sequence >= 1),
  count bigint NOT NULL CHECK (count >= 1),
  payload bytea NOT NULL,
  PRIMARY KEY (study_id, sequence)
);
BEGIN
  ALTER TABLE hwnas.event ALTER payload SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
  NULL;  -- A server built without it.
END;
CREATE TABLE hwnas.leader (
  epoch bigint PRIMARY KEY,
  holder text NOT NULL,
  session_pid bigint NOT NULL,
  session_start timestamptz NOT NULL,
  renewed timestamptz NOT NULL,
  expires timestamptz NOT NULL
);
INSERT INTO hwnas.leader VALUES
  (0, '', 0, '-infinity', '-infinity', '-infinity');

-- Appends payloads[i], which holds counts[i] events, to each studies[i] that has
-- sizes[i] events. Returns how many each had. leader_epoch 0: not fenced.
CREATE FUNCTION hwnas.append(leader_epoch bigint, studies text[],
                             sizes bigint[], counts bigint[], payloads bytea[])
RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
  had bigint[] := '{}';
  size bigint;
BEGIN
  IF leader_epoch > 0 THEN
    PERFORM 1 FROM hwnas.leader WHERE epoch = leader_epoch FOR KEY SHARE;
    IF NOT FOUND THEN
      RAISE EXCEPTION USING ERRCODE = 'HW001', MESSAGE = (
        SELECT format('epoch %s is over: %s leads with epoch %s', leader_epoch,
                      holder, epoch)
        FROM hwnas.leader);
    END IF;
  END IF;
  FOR i IN 1 .. cardinality(studies) LOOP
    SELECT sequence + count - 1 INTO size FROM hwnas.event
    WHERE study_id = studies[i] ORDER BY sequence DESC LIMIT 1;
    size := coalesce(size, 0);
    IF size = sizes[i] AND counts[i] > 0 THEN
      INSERT INTO hwnas.event
      VALUES (studies[i], size + 1, counts[i], payloads[i]);
    END IF;
    had := had || size;
  END LOOP;
  RETURN had;
END $$;
)sql",
};
constexpr int64_t kSchemaVersion = std::size(kMigrations);

absl::StatusOr<int64_t> VersionOf(PostgresConnection* connection) {
  HWNAS_ASSIGN_OR_RETURN(
      const PostgresRows table,
      connection->Query("SELECT count(*) FROM pg_catalog.pg_tables WHERE "
                        "schemaname = 'hwnas' AND tablename = "
                        "'schema_version'"));
  if (table.Int(0, 0) == 0) return 0;
  HWNAS_ASSIGN_OR_RETURN(
      const PostgresRows rows,
      connection->Query("SELECT version FROM hwnas.schema_version"));
  return rows.count() == 1 ? rows.Int(0, 0) : -1;
}

}  // namespace

absl::Status PreparePostgresSchema(PostgresConnection* connection) {
  HWNAS_ASSIGN_OR_RETURN(int64_t version, VersionOf(connection));
  if (version < 0 || version > kSchemaVersion) {
    return absl::FailedPreconditionError(absl::StrCat(
        connection->where(), " has schema version ", version,
        " and this program knows up to ", kSchemaVersion,
        ": it was written by a newer release of hwnas; use that one"));
  }
  if (version == kSchemaVersion) return absl::OkStatus();
  // Two programs that start at once take turns, and the second one finds that
  // nothing is left to do.
  std::string sql =
      "BEGIN;"
      "SELECT pg_advisory_xact_lock(1752657523);"  // "hwns"
      "CREATE SCHEMA IF NOT EXISTS hwnas;"
      "CREATE TABLE IF NOT EXISTS hwnas.schema_version (version bigint NOT "
      "NULL);"
      "INSERT INTO hwnas.schema_version SELECT 0 WHERE NOT EXISTS (SELECT FROM "
      "hwnas.schema_version);";
  for (int64_t step = version; step < kSchemaVersion; ++step) {
    absl::StrAppend(&sql,
                    "DO $migrate$ BEGIN IF (SELECT version FROM "
                    "hwnas.schema_version) = ",
                    step, " THEN ", kMigrations[step],
                    "UPDATE hwnas.schema_version SET version = ", step + 1,
                    "; END IF; END $migrate$;");
  }
  absl::StrAppend(&sql, "COMMIT;");
  return connection->Execute(sql);
}

}  // namespace hwnas
