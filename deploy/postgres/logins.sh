#!/bin/sh
# Makes a login for each role of the farm, when PostgreSQL starts on an empty volume.
#
# The roles themselves are the farm's (docs/operations.md); `farm db upgrade` gives them their rights.
set -eu

psql -v ON_ERROR_STOP=1 --no-psqlrc --quiet --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
\set submitter `cat "$SUBMITTER_PASSWORD_FILE"`
\set worker `cat "$WORKER_PASSWORD_FILE"`
\set reader `cat "$READER_PASSWORD_FILE"`
CREATE ROLE farm_submitter NOLOGIN;
CREATE ROLE farm_worker NOLOGIN;
CREATE ROLE farm_reader NOLOGIN;
CREATE ROLE submitter LOGIN IN ROLE farm_submitter PASSWORD :'submitter';
CREATE ROLE worker LOGIN IN ROLE farm_worker PASSWORD :'worker';
CREATE ROLE reader LOGIN IN ROLE farm_reader PASSWORD :'reader';
SQL
