"""The SQL roles of a fleet on PostgreSQL: who may write what.

Three roles without a login: a person or a service gets a login that is a member of one. Whoever runs
`farm db upgrade` owns the tables and is the operator: drains, pins, garbage collection and signing keys are
the operator's. Every upgrade brings the rights in line with `GRANTS`, so a table or column of a later release
needs an entry here; a test asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from farm.storage.tables import metadata

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

SUBMITTER = "farm_submitter"
WORKER = "farm_worker"
READER = "farm_reader"
ROLES = (SUBMITTER, WORKER, READER)


@dataclass(frozen=True)
class Rights:
    """What a role may do to a table besides reading it.

    Attributes:
        insert: whether it may add rows.
        update: columns that it may change.
        delete: whether it may remove rows.
    """

    insert: bool = False
    update: tuple[str, ...] = ()
    delete: bool = False


_ADD = Rights(insert=True)
_FAILURE = (
    "failure_class",
    "failure_code",
    "failure_message",
    "failure_hint",
    "failure_phase",
    "failure_signature",
)

#: Of every table, what each role may do beyond SELECT, which all three may do on all tables.
GRANTS: Mapping[str, Mapping[str, Rights]] = {
    # What was asked for: the submitter's.
    "models": {SUBMITTER: _ADD},
    "model_names": {SUBMITTER: _ADD},
    "submissions": {SUBMITTER: Rights(insert=True, update=("withdrawn_at",))},
    # The worker queues the benchmark that a cell asked for beyond the build it shared, and points the cell to it.
    "cells": {
        SUBMITTER: Rights(insert=True, update=("job_id", "engine_id", "disposition")),
        WORKER: Rights(update=("job_id", "engine_id")),
    },
    "follow_ups": {
        SUBMITTER: Rights(insert=True, update=("job_id", "request"), delete=True),
        WORKER: Rights(delete=True),
    },
    # No role changes the spec of a job, its model or its target.
    "jobs": {
        SUBMITTER: Rights(
            insert=True,
            # Widened, cancelled while it waits, asked to stop, moved in the queue.
            update=(
                "has_follow_ups",
                "request",
                "priority",
                "queue_deadline_at",
                "user_name",
                "state",
                "finished_at",
                "cancel_requested_at",
            ),
        ),
        WORKER: Rights(
            insert=True,
            update=(
                "state",
                "attempts",
                "worker_id",
                "lease_until",
                "not_before",
                "queue_deadline_at",
                "announced_at",
                "avoid_device",
                "finished_at",
                "cancel_requested_at",
                *_FAILURE,
            ),
        ),
    },
    # What was made: the worker's. Nobody removes an engine, or changes a run or a measurement. A worker may put
    # a new engine in the place of one that was given up or that nobody signed: a signature says whose it is.
    # Bytes that were collected as garbage and come back are noted as there again.
    "artifacts": {
        SUBMITTER: Rights(insert=True, update=("deleted_at",)),
        WORKER: Rights(insert=True, update=("deleted_at",)),
    },
    "attempts": {
        WORKER: Rights(
            insert=True,
            update=(
                "state",
                "phase",
                "phase_fraction",
                "phase_message",
                "started_at",
                "built_at",
                "verified_at",
                "measured_at",
                "uploaded_at",
                "finished_at",
                "is_crash",
                "is_charged",
                "log_sha256",
                "seconds",
                "environment",
                "timing_cache",
                *_FAILURE,
            ),
        )
    },
    "log_chunks": {WORKER: Rights(insert=True, delete=True)},
    "engines": {
        WORKER: Rights(
            insert=True,
            update=(
                "artifact_sha256",
                "job_id",
                "attempt_id",
                "build_s",
                "precision_note",
                "device_memory_bytes",
                "layers",
                "details",
                "unverified_reason",
                "created_at",
                "manifest",
                "signature",
                "signing_key",
                "retired_at",
                "layers_sha256",
            ),
        )
    },
    "runs": {WORKER: Rights(insert=True, update=("suspect",))},
    "measurements": {WORKER: _ADD},
    "timing_caches": {
        WORKER: Rights(insert=True, update=("artifact_sha256", "updated_at", "lent", "merged", "saved_s"))
    },
    "calibration_caches": {WORKER: Rights(insert=True, update=("artifact_sha256", "created_at", "lent"))},
    "canaries": {WORKER: _ADD},
    "stored_references": {WORKER: Rights(insert=True, update=("artifact_sha256", "created_at"))},
    # Who works: the worker's.
    "device_types": {WORKER: _ADD},
    "devices": {
        WORKER: Rights(
            insert=True,
            update=(
                "device_type_id",
                "host",
                "position",
                "memory_mib",
                "driver_version",
                "last_seen_at",
                "suspect_since",
                "suspect_reason",
            ),
        )
    },
    "toolchains": {WORKER: Rights(insert=True, update=("description",))},
    "targets": {WORKER: _ADD},
    "workers": {WORKER: Rights(insert=True, update=("heartbeat_at", "leaving_at", "stopped_at", "died_at"))},
    "worker_targets": {WORKER: _ADD},
    # A worker that fails one job after another drains itself; only the operator lets it go on.
    "worker_drains": {WORKER: _ADD},
    "duties": {WORKER: Rights(insert=True, update=("holder", "lease_until"), delete=True)},
    "user_usage": {WORKER: Rights(insert=True, update=("device_s", "updated_at"))},
    # The operator's alone.
    "signing_keys": {},
    "schema_compatibility": {},
}

#: What to do where whoever migrates may not make roles: nothing that a later upgrade would not mend.
CREATE_ROLES = " ".join(f"CREATE ROLE {role} NOLOGIN;" for role in ROLES)


def missing_roles(connection: Connection) -> list[str]:
    """The roles that are not there; none on SQLite, which has no roles."""
    if connection.dialect.name != "postgresql":
        return []
    query = text("SELECT rolname FROM pg_roles WHERE rolname = ANY(:names)")
    found = set(connection.execute(query, {"names": list(ROLES)}).scalars())
    return [role for role in ROLES if role not in found]


def create_roles(connection: Connection) -> None:
    """Makes the roles that are not there, where that is allowed; roles are the cluster's, not the database's."""
    for role in missing_roles(connection):
        # Another database of the cluster may be upgraded at this moment: then its role is as good as ours.
        statement = f"""
            DO $$ BEGIN CREATE ROLE {role} NOLOGIN;
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN NULL;
                WHEN insufficient_privilege THEN
                    RAISE NOTICE 'no right to CREATE ROLE {role}: see farm doctor';
            END $$"""
        connection.execute(text(statement))


def apply_grants(connection: Connection) -> None:
    """Brings the rights of the roles that are there in line with `GRANTS`; for an upgrade's transaction.

    Rights that a role has on tables of others, and those of other roles, stay as they are.
    """
    if connection.dialect.name != "postgresql":
        return
    create_roles(connection)
    missing = missing_roles(connection)
    roles = [role for role in ROLES if role not in missing]
    inspector = inspect(connection)
    tables = {
        name: {column["name"] for column in inspector.get_columns(name)}
        for name in inspector.get_table_names()
        if name in GRANTS or name == "alembic_version"
    }
    schema = connection.execute(text("SELECT quote_ident(current_schema())")).scalar_one()
    for role in roles:
        statements = [f"GRANT USAGE ON SCHEMA {schema} TO {role}"]
        for table, columns in tables.items():
            statements += _statements(role, table, columns)
        for statement in statements:
            connection.execute(text(statement))


def _statements(role: str, table: str, columns: set[str]) -> list[str]:
    rights = GRANTS.get(table, {}).get(role, Rights())
    # Column rights are taken back with those of the table.
    statements = [f"REVOKE ALL ON {table} FROM {role}", f"GRANT SELECT ON {table} TO {role}"]
    if rights.insert:
        statements.append(f"GRANT INSERT ON {table} TO {role}")
        if table in _NUMBERED:
            statements.append(f"GRANT USAGE ON SEQUENCE {table}_id_seq TO {role}")
    if rights.delete:
        statements.append(f"GRANT DELETE ON {table} TO {role}")
    # A database on the way to this release's schema may not have all of them yet.
    updated = [column for column in rights.update if column in columns]
    if updated:
        statements.append(f"GRANT UPDATE ({', '.join(updated)}) ON {table} TO {role}")
    return statements


#: Tables whose key PostgreSQL counts up.
_NUMBERED = frozenset(
    table.name for table in metadata.sorted_tables if table.autoincrement_column is not None
)
