// The tables and functions of the store in PostgreSQL; docs/store.md describes
// them. Private to store/.
#pragma once

#include "absl/status/status.h"
#include "store/postgres_connection.h"

namespace hwnas {

// Creates the schema, or migrates an older one forward, in one transaction.
// FAILED_PRECONDITION for a newer one than this program knows.
absl::Status PreparePostgresSchema(PostgresConnection* connection);

}  // namespace hwnas
