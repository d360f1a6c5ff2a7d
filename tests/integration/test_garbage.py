"""Garbage collection over SQLite and PostgreSQL: what goes, what stays, and what a racing writer may rely on."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, update

from farm.domain.errors import ConflictError, InvalidRequestError, NoEngineFitsError, NotFoundError
from farm.domain.garbage import RetireQuery
from farm.domain.models import ModelFile
from farm.domain.stored_references import KEPT_S, StoredReference
from farm.domain.user_metrics import UserMetric
from farm.domain.verification import VerificationSpec
from farm.domain.work import Cell, Disposition
from farm.services.fetch import FetchQuery, find_engine
from farm.services.garbage import check_grace, collect
from farm.storage import tables
from farm.storage.artifact_folder import ArtifactFolder
from farm.storage.database import SqlDatabase
from farm.storage.references import DOCUMENTS, NO_DIGESTS, document_columns, referring_columns
from farm.storage.schema import upgrade
from tests.behaviours.given import (
    given_a_farm,
    given_a_finished_job,
    given_a_model,
    given_a_queued_job,
    given_a_running_job,
)
from tests.factories import a_build_spec, a_device_type, a_digest, a_job_request, a_model, an_outcome

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from farm.domain.digests import Digest
    from farm.domain.filing import Engine
    from farm.domain.garbage import Sweep
    from farm.domain.work import ModelName
    from tests.services import PostgresServer

DAY = timedelta(days=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlDatabase]:
    """An empty database with its schema in place."""
    if request.param == "sqlite":
        made = SqlDatabase(f"sqlite:///{tmp_path / 'farm.db'}")
        upgrade(made)
        yield made
        made.close()
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    url = server.createdb()
    made = SqlDatabase(url)
    upgrade(made)
    yield made
    made.close()
    server.dropdb(url)


@pytest.fixture
def name(database: SqlDatabase) -> ModelName:
    """A farm with a worker and a model."""
    return given_a_farm(database)


@pytest.fixture
def store(tmp_path: Path) -> ArtifactFolder:
    """An empty store."""
    made = ArtifactFolder(tmp_path / "store")
    made.create()
    return made


def put_old(store: ArtifactFolder, content: str) -> Digest:
    """Keeps a text's bytes, and makes them two days old."""
    digest = store.put_bytes(content.encode())
    make_old(store, digest)
    return digest


def make_old(store: ArtifactFolder, digest: Digest) -> None:
    """Makes bytes two days old."""
    two_days_ago = (store.now() - 2 * DAY).timestamp()
    os.utime(store.path_of(digest), (two_days_ago, two_days_ago))


def removed(sweep: Sweep) -> set[Digest]:
    """What a collection has removed, or would."""
    return {item.stored.digest for item in sweep.artifacts}


def tag(database: SqlDatabase, name: ModelName, engine: Engine, **tags: str) -> None:
    """Somebody asked for an engine with these tags."""
    cell = Cell(0, engine.spec, Disposition.BUILT, engine.job_id, engine.id)
    with database.transaction() as transaction:
        transaction.jobs.add_submission(name=name, user="u", tags=tags, cells=[cell], request={})


def an_engine(database: SqlDatabase, store: ArtifactFolder, content: str, **spec: Any) -> Engine:
    """A filed engine whose bytes, samples and log are in the store, and old."""
    outcome = an_outcome(engine=content)
    for text in (content, f"samples of {content} (1, 8)", "log"):
        put_old(store, text)
    _, number = given_a_finished_job(database, a_build_spec(**spec), outcome=outcome)
    with database.reading() as transaction:
        return transaction.engines.get(number)


# What goes.


def test_old_bytes_that_nothing_refers_to_go(database: SqlDatabase, store: ArtifactFolder) -> None:
    unknown = put_old(store, "of a writer that died")
    noted = put_old(store, "inputs of a submission that failed")
    young = store.put_bytes(b"of a writer at work")
    with database.transaction() as transaction:
        transaction.engines.add_artifact(noted, "inputs")
    looked = collect(database, store, dry_run=True)
    assert removed(looked) == {unknown, noted}
    assert store.has(unknown)
    assert {item.kind for item in looked.artifacts} == {"unknown", "inputs"}
    assert (looked.freed_bytes, looked.too_young, looked.is_done) == (
        unknown.size_bytes + noted.size_bytes, 1, False,
    )  # fmt: skip

    done = collect(database, store)
    assert removed(done) == removed(looked)
    assert (done.freed_bytes, done.kept_artifacts, done.is_done) == (looked.freed_bytes, 1, True)
    assert [store.has(digest) for digest in (unknown, noted, young)] == [False, False, True]
    assert collect(database, store).artifacts == ()


def test_what_was_removed_is_marked_and_revived_by_whoever_files_it_again(
    database: SqlDatabase, store: ArtifactFolder
) -> None:
    digest = put_old(store, "engine")

    def deleted_at() -> Any:
        with database.engine.connect() as connection:
            query = select(tables.artifacts.c.deleted_at).where(tables.artifacts.c.sha256 == digest.sha256)
            return connection.execute(query).scalar_one()

    collect(database, store)
    assert deleted_at() is not None
    store.put_bytes(b"engine")
    with database.transaction() as transaction:
        transaction.engines.add_artifact(digest, "inputs")
    assert deleted_at() is None


def test_leftovers_of_killed_writers_go(database: SqlDatabase, store: ArtifactFolder) -> None:
    path = store.root / "incoming" / "tmphalf"
    path.write_bytes(b"half")
    os.utime(path, (0, 0))
    assert collect(database, store, dry_run=True).leftovers.count == 1
    assert path.exists()
    done = collect(database, store)
    assert (done.leftovers.count, done.freed_bytes) == (1, 4)
    assert not path.exists()


def test_the_age_that_protects_bytes_can_be_raised_and_not_lowered_below_an_hour(
    database: SqlDatabase, store: ArtifactFolder
) -> None:
    digest = put_old(store, "engine")
    assert collect(database, store, grace_s=7 * 86400).too_young == 1
    assert store.has(digest)
    assert check_grace(3600.0) == 3600.0
    with pytest.raises(InvalidRequestError, match="last 1h always stay"):
        check_grace(3599.0)


# What stays.


@pytest.mark.usefixtures("name")
def test_whatever_a_row_or_a_document_refers_to_stays(database: SqlDatabase, store: ArtifactFolder) -> None:
    engine = an_engine(database, store, "plan")
    kept = {engine.digest, *(run.samples for run in engine.runs), a_digest("log")}
    weights, graph = put_old(store, "weights"), put_old(store, "graph")
    model = replace(
        a_model("graph"), files=(ModelFile("graph.onnx", graph), ModelFile("weights.bin", weights))
    )
    given_a_model(database, model, "other")
    inputs = put_old(store, "inputs")
    metric = put_old(store, "metric")
    own = UserMetric("f1", "metrics.py", metric.sha256)
    request = a_job_request(verification=VerificationSpec(inputs_sha256=inputs.sha256, metrics=(own,)))
    given_a_queued_job(database, a_build_spec(salt="with inputs"), request)
    measured = put_old(store, "metric of a run")
    by_another = VerificationSpec(metrics=(own._replace(sha256=measured.sha256),))
    given_a_finished_job(database, a_build_spec(salt="with a metric"), a_job_request(verification=by_another))
    kept |= {weights, graph, inputs, metric, measured}
    put_old(store, "nothing's")
    assert removed(collect(database, store)) == {a_digest("nothing's")}
    assert all(store.has(digest) for digest in kept)


def test_a_models_reference_stays_while_it_is_lent_and_can_be_filed_anew_when_it_is_gone(
    database: SqlDatabase, store: ArtifactFolder
) -> None:
    given_a_model(database, a_model(), "m")
    key, kept = a_digest("key").sha256, StoredReference(put_old(store, "reference"), "onnxruntime 1 fp32")
    with database.transaction() as transaction:
        transaction.references.file(key, a_model().digest.sha256, kept)
    assert not removed(collect(database, store))
    with database.transaction() as transaction:
        long_ago = transaction.now() - timedelta(seconds=KEPT_S + 60)
        transaction.connection.execute(update(tables.stored_references).values(created_at=long_ago))
    assert removed(collect(database, store)) == {kept.digest}
    new = StoredReference(put_old(store, "another"), kept.name)
    with database.transaction() as transaction:
        assert transaction.references.find(key) is None
        assert transaction.references.file(key, a_model().digest.sha256, new)
        assert transaction.references.find(key) == new
    assert not removed(collect(database, store))


def test_every_reference_is_known() -> None:
    """A new column with a digest must be looked at, or its artifacts go."""
    assert {f"{column.table.name}.{column.name}" for column in referring_columns()} >= {
        "engines.artifact_sha256", "runs.samples_sha256", "attempts.log_sha256", "timing_caches.artifact_sha256",
    }  # fmt: skip
    known = {column for column, _ in DOCUMENTS} | NO_DIGESTS
    undecided = [f"{c.table.name}.{c.name}" for c in document_columns() if c not in known]
    assert undecided == [], "does garbage collection have to look into these documents? see references.py"


def test_a_column_that_names_an_artifact_by_its_digest_has_a_foreign_key() -> None:
    referring = set(referring_columns())
    for table in tables.metadata.sorted_tables:
        for column in table.columns:
            if column.name in ("artifact_sha256", "samples_sha256", "log_sha256"):
                assert column in referring, f"{table.name}.{column.name}"


def test_what_is_kept_again_between_look_and_removal_stays(
    database: SqlDatabase, store: ArtifactFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = put_old(store, "engine")
    remove = store.remove

    def overtaken(wanted: Digest, kept_before: Any) -> bool:
        store.put_bytes(b"engine")
        return remove(wanted, kept_before)

    monkeypatch.setattr(store, "remove", overtaken)
    assert collect(database, store).spared == 1
    assert store.has(digest)


def test_two_collections_exclude_each_other(
    database: SqlDatabase, store: ArtifactFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_old(store, "engine")
    remove = store.remove

    def another(wanted: Digest, kept_before: Any) -> bool:
        with pytest.raises(ConflictError, match="another garbage collection"):
            collect(database, store)
        return remove(wanted, kept_before)

    monkeypatch.setattr(store, "remove", another)
    assert len(collect(database, store).artifacts) == 1
    assert collect(database, store).artifacts == ()


# Engines that are given up.


def test_a_retired_engines_bytes_go_and_its_measurements_stay(
    database: SqlDatabase, store: ArtifactFolder, name: ModelName
) -> None:
    engine = an_engine(database, store, "plan")
    with database.reading() as transaction:
        query = RetireQuery(filed_before=transaction.now() + DAY)
    looked = collect(database, store, retire=query, dry_run=True)
    assert [e.id for e in looked.engines] == [engine.id]
    assert removed(looked) == {engine.digest}
    done = collect(database, store, retire=query)
    assert removed(done) == {engine.digest}
    assert store.has(engine.runs[0].samples or engine.digest)
    with database.reading() as transaction:
        assert transaction.engines.find(engine.spec) is None
        assert transaction.engines.engines() == []
        assert transaction.engines.get(engine.id).retired_at is not None
        assert transaction.engines.history(name=name.name, since=None, include_tainted=False)
        with pytest.raises(NoEngineFitsError, match="was retired on") as caught:
            find_engine(transaction, FetchQuery(name.name, device_types=(a_device_type(),)))
    assert "farm submit" in caught.value.hint


@pytest.mark.usefixtures("name")
def test_a_new_build_of_a_retired_key_revives_its_engine(
    database: SqlDatabase, store: ArtifactFolder
) -> None:
    engine = an_engine(database, store, "plan")
    with database.transaction() as transaction:
        assert transaction.garbage.retire(engine.id)
    collect(database, store)
    again = an_engine(database, store, "another plan")
    assert (again.id, again.retired_at, again.digest) == (engine.id, None, a_digest("another plan"))
    assert [run.id for run in again.runs][:-1] == [run.id for run in engine.runs]
    with database.reading() as transaction:
        found = transaction.engines.find(engine.spec)
    assert found == again
    assert removed(collect(database, store)) == set()


@pytest.mark.usefixtures("name")
def test_engines_are_retired_by_age(database: SqlDatabase, store: ArtifactFolder) -> None:
    old = an_engine(database, store, "old")
    with database.reading() as transaction:
        moment = transaction.now()
    an_engine(database, store, "new", salt="2")
    assert [e.id for e in collect(database, store, retire=RetireQuery(moment)).engines] == [old.id]


def test_engines_are_retired_by_tag_if_nobody_asked_for_them_without_it(
    database: SqlDatabase, store: ArtifactFolder, name: ModelName
) -> None:
    ours, shared, untagged = (an_engine(database, store, text, salt=text) for text in "abc")
    tag(database, name, ours, purpose="trial", team="vision")
    tag(database, name, shared, purpose="trial")
    tag(database, name, shared, purpose="release")
    tag(database, name, untagged)
    an_engine(database, store, "d", salt="that nobody asked for")
    query = RetireQuery(tag=("purpose", "trial"))
    assert [e.id for e in collect(database, store, retire=query).engines] == [ours.id]


@pytest.mark.usefixtures("name")
def test_a_pinned_engine_is_not_retired_until_it_is_unpinned(
    database: SqlDatabase, store: ArtifactFolder
) -> None:
    engine = an_engine(database, store, "plan")
    with database.transaction() as transaction:
        transaction.garbage.pin(engine.id, "ships with 4.1")
        assert transaction.engines.get(engine.id).pin_reason == "ships with 4.1"
        assert not transaction.garbage.retire(engine.id)
    assert collect(database, store, retire=RetireQuery()).engines == ()
    with database.transaction() as transaction:
        assert transaction.garbage.unpin(engine.id)
        assert not transaction.garbage.unpin(engine.id)
    assert len(collect(database, store, retire=RetireQuery()).engines) == 1
    with database.transaction() as transaction, pytest.raises(ConflictError, match="its bytes are gone"):
        transaction.garbage.pin(engine.id, "too late")


@pytest.mark.parametrize("given", [given_a_queued_job, given_a_running_job])
@pytest.mark.usefixtures("name")
def test_an_engine_that_a_live_job_needs_is_not_retired(
    database: SqlDatabase, store: ArtifactFolder, given: Any
) -> None:
    engine = an_engine(database, store, "plan")
    given(database, engine.spec)
    assert collect(database, store, retire=RetireQuery()).engines == ()
    assert store.has(engine.digest)


@pytest.mark.usefixtures("name")
def test_bytes_that_two_engines_share_stay_for_the_other(
    database: SqlDatabase, store: ArtifactFolder
) -> None:
    first, second = an_engine(database, store, "plan"), an_engine(database, store, "plan", salt="2")
    with database.transaction() as transaction:
        transaction.garbage.retire(first.id)
    assert first.digest == second.digest
    assert removed(collect(database, store)) == set()


@pytest.mark.usefixtures("name")
def test_an_engine_is_named_by_its_number_its_bytes_or_its_key(
    database: SqlDatabase, store: ArtifactFolder
) -> None:
    engine = an_engine(database, store, "plan")
    an_engine(database, store, "plan", salt="2")
    with database.reading() as transaction:
        number = transaction.garbage.engine_id
        assert number(str(engine.id)) == engine.id
        assert number(engine.spec.digest.sha256[:12].upper()) == engine.id
        with pytest.raises(InvalidRequestError, match="several engines"):
            number(engine.digest.short)
        for word in ("99", "abc", "f" * 12, "1_%", "9" * 30):
            with pytest.raises(NotFoundError, match="there is no engine"):
                number(word)
