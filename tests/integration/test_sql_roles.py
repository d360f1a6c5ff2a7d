"""The SQL roles: what submitters, workers and readers may do on PostgreSQL, and what they may not."""

from __future__ import annotations

import shutil
import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from farm.bootstrap import open_farm
from farm.domain.calibration import Calibration
from farm.domain.errors import DatabaseUnavailableError
from farm.domain.identifiers import new_id
from farm.domain.jobs import AttemptState, JobState
from farm.services.canaries import file_canary
from farm.services.cancel import cancel_submission
from farm.services.progress import submission_progress
from farm.storage.database import SqlDatabase
from farm.storage.grants import GRANTS, READER, ROLES, SUBMITTER, WORKER, Rights, create_roles, missing_roles
from farm.storage.schema import check_schema, missing_sql_roles, upgrade
from farm.storage.tables import metadata
from tests.factories import a_canary
from tests.fake_toolchain.harness import LEASE_S, FarmOfTest, farm_of_test, settings_in, wait_until
from tests.fake_toolchain.toolchain import DESCRIPTION
from tests.services import PostgresServer
from workers.agent import RunningWorker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from farm.bootstrap import Farm
    from workers.interpreters import Interpreter

ANYTHING = ("INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")


@pytest.fixture
def logins(postgres_url: str) -> Iterator[dict[str, str]]:
    """Of a database with tables the URLs of a login for each role."""
    owner = SqlDatabase(postgres_url)
    upgrade(owner)
    names = {role: f"{role}_{new_id('x')[2:]}" for role in ROLES}
    with owner.engine.begin() as connection:
        for role, name in names.items():
            connection.execute(text(f'CREATE ROLE "{name}" LOGIN IN ROLE {role}'))
    yield {role: postgres_url.replace("postgres@", f"{name}@") for role, name in names.items()}
    with owner.engine.begin() as connection:
        for name in names.values():
            connection.execute(text(f'DROP ROLE "{name}"'))
    owner.close()


# Rights on paper.


def test_every_table_has_a_decision_and_every_decision_a_table() -> None:
    assert set(GRANTS) == set(metadata.tables), "farm/storage/grants.py says who may write what"
    for table, of_roles in GRANTS.items():
        assert set(of_roles) <= {SUBMITTER, WORKER}, "a reader only reads"
        for rights in of_roles.values():
            assert set(rights.update) <= set(metadata.tables[table].columns.keys()), table


@pytest.mark.parametrize("role", ROLES)
def test_the_database_gives_every_role_what_was_decided_and_nothing_else(
    postgres_url: str, logins: dict[str, str], role: str
) -> None:
    owner = SqlDatabase(postgres_url)
    wrong = []
    with owner.engine.connect() as connection:

        def may(function: str, *words: str) -> bool:
            marks = ", ".join(f":w{number}" for number in range(len(words) + 1))
            values = {f"w{number}": word for number, word in enumerate((role, *words))}
            return bool(connection.execute(text(f"SELECT {function}({marks})"), values).scalar_one())

        for table in metadata.sorted_tables:
            rights = GRANTS[table.name].get(role, Rights())
            wanted = {"INSERT": rights.insert, "DELETE": rights.delete, "SELECT": True}
            for privilege in ("SELECT", *ANYTHING):
                if may("has_table_privilege", table.name, privilege) != wanted.get(privilege, False):
                    wrong.append((table.name, privilege))
            for column in table.columns:
                if may("has_column_privilege", table.name, column.name, "UPDATE") != (
                    column.name in rights.update
                ):
                    wrong.append((table.name, column.name))
    owner.close()
    assert wrong == []


def test_what_a_later_release_takes_back_is_taken_back_by_its_upgrade(
    postgres_url: str, logins: dict[str, str]
) -> None:
    owner = SqlDatabase(postgres_url)
    with owner.engine.begin() as connection:
        connection.execute(text(f"GRANT ALL ON engines TO {SUBMITTER}"))
        connection.execute(text(f"GRANT UPDATE (spec) ON jobs TO {WORKER}"))
    upgrade(owner)
    query = text(
        f"SELECT has_table_privilege('{SUBMITTER}', 'engines', 'INSERT'),"
        f" has_column_privilege('{WORKER}', 'jobs', 'spec', 'UPDATE')"
    )
    with owner.engine.connect() as connection:
        assert tuple(connection.execute(query).one()) == (False, False)
    owner.close()


# What must not be.


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        *((READER, f"DELETE FROM {table}") for table in ("jobs", "submissions", "log_chunks", "engines")),  # noqa: S608
        (READER, "UPDATE jobs SET state = 'CANCELLED', finished_at = now()"),
        (READER, "INSERT INTO worker_drains VALUES ('gpu-1', 'no', 'me', now())"),
        (SUBMITTER, "INSERT INTO engines (spec_sha256) VALUES ('0')"),
        (SUBMITTER, "UPDATE engines SET artifact_sha256 = artifact_sha256"),
        (SUBMITTER, "UPDATE attempts SET state = 'SUCCEEDED'"),
        (SUBMITTER, "INSERT INTO runs (host) VALUES ('me')"),
        (SUBMITTER, "UPDATE measurements SET compute_median_ms = 0.001"),
        (SUBMITTER, "INSERT INTO signing_keys VALUES ('k', 'p', '', now())"),
        (SUBMITTER, "UPDATE workers SET stopped_at = now()"),
        (SUBMITTER, "UPDATE jobs SET spec = '{}'"),
        (SUBMITTER, "UPDATE jobs SET worker_id = 'me', lease_until = now()"),
        (SUBMITTER, "UPDATE user_usage SET device_s = 0"),
        (SUBMITTER, "DELETE FROM jobs"),
        (SUBMITTER, "UPDATE models SET files = '[]'"),
        (WORKER, "INSERT INTO submissions (id) VALUES ('s')"),
        (WORKER, "INSERT INTO models (sha256) VALUES ('0')"),
        (WORKER, "INSERT INTO model_names (name, version) VALUES ('resnet', 9)"),
        (WORKER, "UPDATE jobs SET spec = '{}'"),
        (WORKER, "UPDATE jobs SET priority = 9"),
        (WORKER, "UPDATE engines SET spec_sha256 = '0'"),
        (WORKER, "DELETE FROM engines"),
        (WORKER, "DELETE FROM attempts"),
        (WORKER, "INSERT INTO signing_keys VALUES ('k', 'p', '', now())"),
        (WORKER, "DELETE FROM worker_drains"),
        (WORKER, "UPDATE schema_compatibility SET oldest = '9999'"),
        *((role, "CREATE TABLE mine (id integer)") for role in ROLES),
        *((role, "DROP TABLE jobs") for role in ROLES),
        *((role, "UPDATE alembic_version SET version_num = '0001'") for role in ROLES),
    ],
)
def test_what_a_role_may_not_do_is_refused_by_the_database(
    logins: dict[str, str], role: str, statement: str
) -> None:
    database = SqlDatabase(logins[role])
    with pytest.raises(DatabaseUnavailableError) as caught, database.transaction() as transaction:
        transaction.connection.execute(text(statement))
    database.close()
    assert "permission denied" in caught.value.message or "must be owner" in caught.value.message


# What must work: the services themselves, each under the login of its role.


class Roles:
    """A farm, and what it is to each role."""

    def __init__(self, place: FarmOfTest, logins: dict[str, str]) -> None:
        self.place = place
        self.farms = {
            role: open_farm(replace(place.farm.settings, database_url=url)) for role, url in logins.items()
        }
        self.user = _Submitter(
            self.farms[SUBMITTER], place.fake, place.device, place.interpreters, place.model
        )

    @contextmanager
    def worker(self) -> Iterator[RunningWorker]:
        """A worker with its sweeper."""
        with RunningWorker(self.farms[WORKER], self.place.offer, self.place.interpreters) as worker:
            yield worker

    def reader(self) -> Farm:
        """For those who only look."""
        return self.farms[READER]


class _Submitter(FarmOfTest):
    def describe(self) -> None:
        """Only a worker may say what there is."""


@pytest.fixture
def roles(tmp_path: Path, own: Interpreter, postgres_url: str, logins: dict[str, str]) -> Iterator[Roles]:
    """A farm whose database is on PostgreSQL."""
    settings = settings_in(tmp_path / "home", database_url=postgres_url)
    settings.store.mkdir(parents=True)
    with farm_of_test(tmp_path, own, settings=settings) as place:
        made = Roles(place, logins)
        yield made
        for farm in made.farms.values():
            assert isinstance(farm.database, SqlDatabase)
            farm.database.close()


def test_a_submitter_submits_a_worker_builds_and_a_reader_sees_engine_and_history(roles: Roles) -> None:
    with roles.worker():
        (job_id,) = roles.user.submit()
        roles.user.succeeded(job_id)
        # Shared, answered from the store, and measured anew.
        roles.user.submit()
        for changed in roles.user.submit(salt="other", priority=5):
            roles.user.succeeded(changed)
    with roles.reader().database.reading() as transaction:
        engines = transaction.engines.engines()
        history = transaction.engines.history(name="small", since=None, include_tainted=True)
        assert transaction.fleet.workers()[0].stopped_at is not None
        assert transaction.jobs.attempts(job_id)[0].log is not None
        submission = transaction.jobs.submissions(1)[0]
        assert submission_progress(transaction, submission.id).is_done
    assert len(engines) == 2
    assert len(history) >= 2
    assert b"".join(roles.reader().store.chunks(engines[0].digest))


def test_a_worker_files_what_it_calibrated_and_lends_it(roles: Roles) -> None:
    wishes = {"precisions": ("int8",), "calibration": Calibration(samples=8)}
    with roles.worker():
        for salt in ("", "again"):
            (job_id,) = roles.user.submit(salt=salt, **wishes)
            roles.user.succeeded(job_id)
    with roles.reader().database.reading() as transaction:
        (cache,) = transaction.calibration_caches.all()
    assert cache.lent == 1


def test_a_worker_files_references_and_is_lent_those_of_other_hosts(roles: Roles) -> None:
    kept = roles.farms[WORKER].settings.scratch / "references"

    def touched_at() -> Any:
        with roles.reader().database.reading() as transaction:
            return transaction.connection.execute(
                text("SELECT created_at FROM stored_references")
            ).scalar_one()

    with roles.worker():
        (job_id,) = roles.user.submit()
        roles.user.succeeded(job_id)
        (reference,) = kept.iterdir()
        filed_at, computed = touched_at(), (reference / "outputs.npz").read_bytes()
        # As on a host that has not computed it.
        shutil.rmtree(reference)
        (again,) = roles.user.submit(salt="again")
        roles.user.succeeded(again)
    (reference,) = kept.iterdir()
    assert (reference / "outputs.npz").read_bytes() == computed
    assert touched_at() > filed_at, "it was computed, and not fetched"


def test_a_worker_files_canaries_and_doubts_its_device_with_what_that_measured(roles: Roles) -> None:
    own, database = roles.place.device.uuid, roles.farms[WORKER].database
    canary = a_canary(device_uuid=own, toolchain=DESCRIPTION.id)
    with roles.worker():
        for _ in range(3):
            file_canary(database, canary)
        (job_id,) = roles.user.submit(batches=(1,))
        roles.user.succeeded(job_id)
        assert file_canary(database, replace(canary, median_ms=2.0)).flagged_runs == 1
    with roles.reader().database.reading() as transaction:
        assert set(transaction.canaries.suspects()) == {own}
    assert roles.user.engine(job_id).runs[-1].suspect
    assert file_canary(database, canary).is_trusted_again


def test_a_worker_puts_a_rebuilt_engine_in_the_place_of_the_filed_one(roles: Roles) -> None:
    roles.place.fake.does("variant")
    with roles.worker():
        for wishes in ({}, {"rebuild_by": "ada"}):
            (job_id,) = roles.user.submit(**wishes)
            roles.user.succeeded(job_id)
    (engine,) = roles.user.engines()
    assert engine.job_id == job_id
    assert engine.details["rebuild"]["by"] == "ada"


def test_a_submitter_cancels_what_waits_and_what_runs_and_tries_it_again(roles: Roles) -> None:
    roles.place.fake.does("wait", "build")
    with roles.worker():
        (running,) = roles.user.submit(salt="running")
        roles.place.fake.pid()
        (waiting,) = roles.user.submit(salt="waiting")
        database = roles.user.farm.database
        for job_id in (waiting, running):
            with database.transaction() as transaction:
                (submission,) = transaction.jobs.interested(job_id)
                cancel_submission(transaction, submission)
            assert roles.user.ended(job_id).state is JobState.CANCELLED
        roles.place.fake.go()
        with database.transaction() as transaction:
            again = transaction.jobs.requeue(waiting)
        roles.user.succeeded(again.id)


def test_a_worker_rescues_what_another_one_left_and_retries_what_crashed(roles: Roles) -> None:
    roles.place.describe()
    (job_id,) = roles.user.submit()
    with roles.farms[WORKER].database.transaction() as transaction:
        transaction.fleet._file_device(
            roles.place.device, transaction.fleet.device_type_id(roles.place.device.device_type)
        )
        claimed = transaction.jobs.claim(
            job_id, worker_id="w-silent", device=roles.place.device, lease_s=LEASE_S / 8
        )
        assert claimed is not None
        transaction.jobs.append_log(claimed[1], "half a line")
    with roles.worker():
        roles.user.succeeded(job_id)
    assert [a.state for a in roles.user.attempts(job_id)] == [AttemptState.LOST, AttemptState.SUCCEEDED]


def test_what_a_user_had_of_the_fleet_is_charged_by_a_worker(roles: Roles) -> None:
    with roles.worker():
        (job_id,) = roles.user.submit()
        roles.user.succeeded(job_id)

        def charged() -> Any:
            with roles.reader().database.reading() as transaction:
                query = text("SELECT device_s FROM user_usage")
                return transaction.connection.execute(query).scalars().all()

        wait_until(charged)


# Making them.


def test_roles_are_made_once_for_all_databases_of_a_cluster_that_are_upgraded_at_one_moment() -> None:
    with PostgresServer() as server:
        first, second = SqlDatabase(server.createdb()), SqlDatabase(server.createdb())
        ended = threading.Event()

        def upgrade_second() -> None:
            upgrade(second)
            ended.set()

        with first.engine.begin() as connection:
            create_roles(connection)
            thread = threading.Thread(target=upgrade_second)
            thread.start()
            # It waits for the roles, which nobody can see yet.
            with second.engine.connect() as looking:
                query = text(
                    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                    " AND query LIKE '%CREATE ROLE%'"
                )

                def is_waiting() -> bool:
                    found = bool(looking.execute(query).scalar_one())
                    # What the server's activity was is fixed at the first look of a transaction.
                    looking.rollback()
                    return found

                wait_until(is_waiting)
        thread.join()
        assert ended.is_set()
        with second.engine.connect() as connection:
            assert missing_roles(connection) == []
        first.close()
        second.close()


def test_without_the_right_to_make_roles_the_upgrade_goes_through_and_a_later_one_gives_the_rights() -> None:
    with PostgresServer() as server:
        url = server.createdb()
        name = url.rsplit("/", 1)[1]
        admin = SqlDatabase(url)
        with admin.engine.begin() as connection:
            connection.execute(text("CREATE ROLE plain LOGIN"))
            connection.execute(text(f"ALTER DATABASE {name} OWNER TO plain"))
            connection.execute(text("GRANT ALL ON SCHEMA public TO plain"))
        owner = SqlDatabase(url.replace("postgres@", "plain@"))
        upgrade(owner)
        check_schema(owner)
        assert missing_sql_roles(owner) == list(ROLES)
        with admin.engine.begin() as connection:
            for role in ROLES:
                connection.execute(text(f"CREATE ROLE {role} NOLOGIN"))
        upgrade(owner)
        assert missing_sql_roles(owner) == []
        with owner.engine.connect() as connection:
            query = text(f"SELECT has_table_privilege('{READER}', 'engines', 'SELECT')")
            assert connection.execute(query).scalar_one()
        owner.close()
        admin.close()


def test_sqlite_has_no_roles_and_misses_none(tmp_path: Path) -> None:
    database = SqlDatabase(f"sqlite:///{tmp_path / 'farm.db'}")
    upgrade(database)
    assert missing_sql_roles(database) == []
    database.close()
