"""The schema: migrations up and down on both databases, held against the tables, and other versions refused."""

from __future__ import annotations

import multiprocessing
import re
from typing import TYPE_CHECKING, Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import CheckConstraint, inspect, text

from farm.domain.errors import DatabaseUnavailableError, SchemaVersionError
from farm.storage import schema
from farm.storage.database import SqlDatabase
from farm.storage.schema import HEAD, check_schema, current_revision, downgrade, is_blank, upgrade
from farm.storage.tables import metadata

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'farm.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def database(url: str) -> Iterator[SqlDatabase]:
    """An empty database, without tables."""
    database = SqlDatabase(url)
    yield database
    database.close()


def test_there_is_one_newest_migration_and_it_is_this_releases() -> None:
    scripts = ScriptDirectory.from_config(schema._alembic(SqlDatabase("sqlite:////nowhere")))
    assert scripts.get_heads() == [HEAD]
    assert [script.revision for script in scripts.walk_revisions()] == sorted(
        (script.revision for script in scripts.walk_revisions()), reverse=True
    ), "numbers that sort, for `check_schema` compares them"


def test_the_schema_goes_up_down_and_up_again(database: SqlDatabase) -> None:
    assert current_revision(database) is None
    upgrade(database)
    first = reflected(database)
    assert current_revision(database) == HEAD
    downgrade(database, "base")
    assert table_names(database) == {"alembic_version"}
    assert current_revision(database) is None
    upgrade(database)
    assert reflected(database) == first


def test_upgrading_what_is_up_to_date_changes_nothing(database: SqlDatabase) -> None:
    upgrade(database)
    before = reflected(database)
    upgrade(database)
    assert reflected(database) == before


def test_alembic_finds_no_difference_between_migrations_and_tables(database: SqlDatabase) -> None:
    upgrade(database)
    with database.engine.connect() as connection:
        # Alembic can not compare SQLite's defaults; the reflections below do.
        options = {"compare_type": True, "compare_server_default": connection.dialect.name != "sqlite"}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []


def test_the_migrated_schema_is_what_the_tables_would_make(
    database: SqlDatabase, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    upgrade(database)
    if database.engine.dialect.name == "sqlite":
        other_url = f"sqlite:///{tmp_path / 'made.db'}"
    else:
        other_url = request.getfixturevalue("postgres_server").createdb()
    made = SqlDatabase(other_url)
    with made.engine.begin() as connection:
        metadata.create_all(connection)
    found, wanted = reflected(database), reflected(made)
    made.close()
    found.pop("alembic_version")
    assert found == wanted


def test_every_check_of_the_tables_is_in_the_migrated_schema(database: SqlDatabase) -> None:
    upgrade(database)
    wanted = {
        (table.name, str(constraint.name))
        for table in metadata.sorted_tables
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint)
    }
    inspector = inspect(database.engine)
    found = {
        (table.name, str(check["name"]))
        for table in metadata.sorted_tables
        for check in inspector.get_check_constraints(table.name)
    }
    assert found == {(table, f"ck_{table}_{name.removeprefix(f'ck_{table}_')}") for table, name in wanted}
    assert len(found) > 10


def test_the_index_that_allows_one_live_job_per_key_leaves_out_what_has_ended(database: SqlDatabase) -> None:
    upgrade(database)
    with database.engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            query = "SELECT sql FROM sqlite_master WHERE name = 'uq_jobs_one_live_job_per_key'"
        else:
            query = "SELECT indexdef FROM pg_indexes WHERE indexname = 'uq_jobs_one_live_job_per_key'"
        made = connection.execute(text(query)).scalar_one()
    assert "UNIQUE" in made
    assert re.findall(r"'([A-Z]+)'", made.partition("WHERE")[2]) == ["QUEUED", "RUNNING"]


# Other versions.


def test_this_releases_schema_is_accepted(database: SqlDatabase) -> None:
    upgrade(database)
    check_schema(database)
    assert not is_blank(database)


def test_an_empty_database_is_refused_with_the_way_to_make_its_tables(database: SqlDatabase) -> None:
    assert is_blank(database)
    with pytest.raises(SchemaVersionError, match="has no tables yet") as caught:
        check_schema(database)
    assert "farm db upgrade" in caught.value.hint


def test_a_database_of_something_else_is_not_blank_and_is_refused(database: SqlDatabase) -> None:
    with database.engine.begin() as connection:
        connection.execute(text("CREATE TABLE invoices (id integer)"))
    assert not is_blank(database)
    with pytest.raises(SchemaVersionError, match="has no tables"):
        check_schema(database)


def oldest_compatible(database: SqlDatabase, revision: str) -> None:
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE schema_compatibility SET oldest = :oldest"), {"oldest": revision})


def test_an_older_schema_is_refused_with_the_way_to_upgrade_it(database: SqlDatabase) -> None:
    upgrade(database)
    stamp(database, "0000")
    with pytest.raises(SchemaVersionError, match=f"0000, older than this release's {HEAD}") as caught:
        check_schema(database)
    assert "farm db upgrade" in caught.value.hint


def test_a_newer_schema_is_refused_with_the_advice_to_upgrade_the_farm(database: SqlDatabase) -> None:
    upgrade(database)
    stamp(database, "9999")
    oldest_compatible(database, "9999")
    with pytest.raises(SchemaVersionError, match=f"9999, newer than this release's {HEAD}") as caught:
        check_schema(database)
    assert "Upgrade engine-farm" in caught.value.hint


def test_a_newer_schema_that_only_adds_serves_this_release_until_it_is_upgraded(
    database: SqlDatabase,
) -> None:
    upgrade(database)
    stamp(database, "9999")
    oldest_compatible(database, HEAD)
    check_schema(database)


@pytest.mark.parametrize("move", [upgrade, lambda database: downgrade(database, "base")], ids=["up", "down"])
def test_a_schema_that_this_release_does_not_know_is_not_moved(database: SqlDatabase, move: Any) -> None:
    upgrade(database)
    stamp(database, "9999")
    with pytest.raises(SchemaVersionError, match="9999"):
        move(database)
    assert current_revision(database) == "9999"


def test_an_unknown_revision_is_refused_in_words(database: SqlDatabase) -> None:
    with pytest.raises(SchemaVersionError, match="0815"):
        upgrade(database, "0815")


# Two at once, and half of one.


def test_upgrades_of_several_processes_at_once_take_turns(url: str) -> None:
    gate = SPAWN.Barrier(4)
    results = SPAWN.Queue()
    processes = [SPAWN.Process(target=_upgrade_at, args=(url, gate, results)) for _ in range(4)]
    for process in processes:
        process.start()
    said = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    results.close()
    assert said == [HEAD] * 4


def _upgrade_at(url: str, gate: Any, results: Any) -> None:
    database = SqlDatabase(url)
    gate.wait()
    try:
        upgrade(database)
        results.put(current_revision(database))
    except BaseException as error:  # noqa: BLE001 - told to the test
        results.put(repr(error))
    finally:
        database.close()


def test_an_upgrade_waits_while_another_one_is_under_way(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = SqlDatabase(url), SqlDatabase(url, busy_s=0.2)
    with first.engine.connect() as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({0x454E4746})"))
        shorten_the_wait(monkeypatch)
        with pytest.raises(DatabaseUnavailableError, match="locked by another process for too long"):
            upgrade(second)
    upgrade(second)
    assert current_revision(second) == HEAD
    first.close()
    second.close()


def shorten_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shortens the ten seconds that an upgrade waits on PostgreSQL."""
    import sqlalchemy

    plain = sqlalchemy.text
    monkeypatch.setattr(sqlalchemy, "text", lambda statement: plain(statement.replace("'10s'", "'200ms'")))


def test_an_upgrade_that_fails_halfway_leaves_nothing_behind(
    database: SqlDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alembic.operations import Operations

    created: list[str] = []
    create_table = Operations.create_table

    def create_a_few(self: Any, name: str, *columns: Any, **options: Any) -> Any:
        if len(created) == 5:
            raise KeyboardInterrupt
        created.append(name)
        return create_table(self, name, *columns, **options)

    monkeypatch.setattr(Operations, "create_table", create_a_few)
    with pytest.raises(KeyboardInterrupt):
        upgrade(database)
    assert table_names(database) <= {"alembic_version"}
    monkeypatch.undo()
    upgrade(database)
    assert current_revision(database) == HEAD


def reflected(database: SqlDatabase) -> dict[str, Any]:
    """Everything that a database says of its tables, in an order of its own."""
    inspector = inspect(database.engine)
    found = {}
    for name in inspector.get_table_names():
        found[name] = {
            # A later migration adds at the end what belongs elsewhere.
            "columns": sorted(
                (column["name"], str(column["type"]), column["nullable"], column["default"])
                for column in inspector.get_columns(name)
            ),
            "key": inspector.get_pk_constraint(name),
            "foreign": in_order(inspector.get_foreign_keys(name)),
            "unique": in_order(inspector.get_unique_constraints(name)),
            "checks": in_order(inspector.get_check_constraints(name)),
            "indexes": in_order(inspector.get_indexes(name)),
        }
    return found


def in_order(items: Any) -> list[str]:
    """Things that have no order of their own."""
    return sorted(repr(plain(item)) for item in items)


def plain(value: Any) -> Any:
    """The same with the texts of conditions in place of objects."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in sorted(value.items())}
    return value if isinstance(value, (list, bool, type(None))) else str(value)


def table_names(database: SqlDatabase) -> set[str]:
    """The tables that there are."""
    return set(inspect(database.engine).get_table_names())


def stamp(database: SqlDatabase, revision: str) -> None:
    """Makes the database say that it is on another schema."""
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})
