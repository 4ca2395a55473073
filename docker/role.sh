#!/bin/sh
# Runs once, when the database is made: the application's role owns its database and nothing more. The superuser
# has no password afterwards, so it can log in only from within the container of the database.
set -eu
psql -v ON_ERROR_STOP=1 -v password="$POSTGRES_PASSWORD" -U "$POSTGRES_USER" -d "$POSTGRES_DB" <<'SQL'
CREATE ROLE ticketbook LOGIN PASSWORD :'password';
ALTER DATABASE :DBNAME OWNER TO ticketbook;
ALTER ROLE :USER PASSWORD NULL;
SQL
