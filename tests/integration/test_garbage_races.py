"""Writers and garbage collection at the same moment: nothing that SQL refers to is ever missing."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from farm.domain.digests import Digest
from farm.domain.models import ModelFile
from farm.services.garbage import collect
from farm.storage import artifact_folder, folder_removal
from farm.storage.artifact_folder import ArtifactFolder
from farm.storage.database import SqlDatabase
from farm.storage.references import referenced
from farm.storage.schema import upgrade
from farm.storage.tables import artifacts
from tests.factories import a_digest, a_model
from tests.interleaving import interleave, point

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farm.domain.stores import StoredArtifact
    from farm.storage.database import SqlTransaction
    from tests.services import PostgresServer

CONTENTS = ("a", "b")
GRACE_S = 3600.0


class PointedDatabase(SqlDatabase):
    """A database that lets another task go on before every transaction, but not within one."""

    @contextmanager
    def transaction(self) -> Iterator[SqlTransaction]:
        point()
        with super().transaction() as transaction:
            yield transaction

    @contextmanager
    def reading(self) -> Iterator[SqlTransaction]:
        point()
        with super().reading() as transaction:
            yield transaction


class PointedFolder(ArtifactFolder):
    """A folder that lets another task go on before every step of keeping and removing."""

    def listing(self) -> Iterator[StoredArtifact]:
        point()
        yield from super().listing()

    def has(self, digest: Digest) -> bool:
        point()
        return super().has(digest)

    def remove(self, digest: Digest, kept_before: Any) -> bool:
        point()
        return super().remove(digest, kept_before)


@contextmanager
def points_within_the_folder() -> Iterator[None]:
    """Lets another task go on between the steps that the file system does at once."""

    def stepwise(call: Any) -> Any:
        def stop_and_call(*arguments: Any, **named: Any) -> Any:
            point()
            return call(*arguments, **named)

        return stop_and_call

    with pytest.MonkeyPatch.context() as patch:
        own = SimpleNamespace(**{name: getattr(os, name) for name in dir(os) if not name.startswith("__")})
        own.link, own.utime = stepwise(os.link), stepwise(os.utime)
        patch.setattr(artifact_folder, "os", own)
        patch.setattr(folder_removal, "os", own)
        patch.setattr(folder_removal, "_decide", stepwise(folder_removal._decide))
        yield


def refer(database: SqlDatabase, digest: Digest, writer: str) -> None:
    """Files a model of these bytes."""
    model = replace(a_model(writer), files=(ModelFile("model.onnx", digest),))
    with database.transaction() as transaction:
        transaction.models.add(model)


def keep(store: ArtifactFolder, content: str, *, touches: bool) -> Digest:
    """Keeps bytes as `farm submit` does, or as a worker does."""
    digest = a_digest(content)
    if not (touches and store.touch(digest)):
        store.put_bytes(content.encode())
    return digest


def make_old(store: ArtifactFolder) -> None:
    """Makes all bytes two days old."""
    long_ago = (store.now() - timedelta(days=2)).timestamp()
    for item in list(store.listing()):
        os.utime(store.path_of(item.digest), (long_ago, long_ago))


def check(database: SqlDatabase, store: ArtifactFolder) -> set[str]:
    """Whatever SQL refers to is there, and not marked as deleted."""
    with database.engine.connect() as connection:
        wanted = referenced(connection)
        rows = {row.sha256: row for row in connection.execute(select(artifacts))}
    for sha256 in wanted:
        assert rows[sha256].deleted_at is None, f"{sha256[:8]} is marked as deleted"
        assert store.path_of(Digest(sha256, rows[sha256].size_bytes)).exists(), f"{sha256[:8]} is gone"
    return wanted


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the schema, to be copied."""
    path = tmp_path_factory.mktemp("template") / "farm.db"
    database = SqlDatabase(f"sqlite:///{path}")
    upgrade(database)
    database.close()
    return path


@settings(deadline=None, max_examples=150)
@given(
    choices=st.lists(st.integers(0, 5), max_size=80),
    writers=st.lists(st.tuples(st.sampled_from(CONTENTS), st.booleans()), min_size=1, max_size=3),
    is_there=st.booleans(),
)
def test_no_order_of_steps_loses_what_a_writer_has_filed(
    template: Path, choices: list[int], writers: list[tuple[str, bool]], is_there: bool
) -> None:
    with tempfile.TemporaryDirectory() as name, points_within_the_folder():
        folder = Path(name)
        shutil.copy(template, folder / "farm.db")
        database, store = PointedDatabase(f"sqlite:///{folder / 'farm.db'}"), PointedFolder(folder / "store")
        store.create()
        if is_there:
            for content in CONTENTS:
                store.put_bytes(content.encode())
            make_old(store)

        def write(number: int, content: str, touches: bool) -> None:
            digest = keep(store, content, touches=touches)
            point()
            refer(database, digest, f"writer {number}")

        tasks = [lambda: collect(database, store, grace_s=GRACE_S)]
        tasks += [
            lambda number=number, content=content, touches=touches: write(number, content, touches)  # type: ignore[misc]
            for number, (content, touches) in enumerate(writers)
        ]
        try:
            interleave(tasks, choices)
            assert check(database, store) >= {a_digest(c).sha256 for c, _ in writers}
        finally:
            database.close()


@pytest.mark.parametrize("seed", range(3))
def test_nor_does_any_on_postgresql_with_everybody_at_once(
    postgres_server: PostgresServer, tmp_path: Path, seed: int
) -> None:
    url = postgres_server.createdb()
    database, store = SqlDatabase(url), ArtifactFolder(tmp_path / "store")
    upgrade(database)
    store.create()
    is_over = threading.Event()

    def write(number: int) -> None:
        chance = random.Random(f"{seed} {number}")  # noqa: S311 - a history that can be repeated
        for turn in range(25):
            content = str(chance.randrange(40))
            digest = keep(store, content, touches=chance.random() < 0.5)
            if chance.random() < 0.7:
                refer(database, digest, f"writer {number}, turn {turn}")

    def clear() -> int:
        count = 0
        while not is_over.is_set():
            count += len(collect(database, store, grace_s=GRACE_S).artifacts)
        return count

    for number in range(40):
        store.put_bytes(str(number).encode())
    make_old(store)
    with ThreadPoolExecutor(6) as pool:
        clearing = pool.submit(clear)
        list(pool.map(write, range(4)))
        is_over.set()
        assert clearing.result() > 0
    check(database, store)
    database.close()
    postgres_server.dropdb(url)


def test_a_writer_in_mid_transaction_is_left_alone_or_waited_for(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    url = postgres_server.createdb()
    database, store = SqlDatabase(url), ArtifactFolder(tmp_path / "store")
    upgrade(database)
    store.create()
    digest = store.put_bytes(b"a")
    with database.transaction() as transaction:
        transaction.engines.add_artifact(digest, "model")
    # Its writer took longer than the grace period between keeping and filing: even then the row protects it.
    make_old(store)
    with database.transaction() as transaction:
        transaction.models.add(replace(a_model("writer"), files=(ModelFile("model.onnx", digest),)))
        assert collect(database, store, grace_s=GRACE_S).artifacts == ()
    assert check(database, store) == {digest.sha256}
    database.close()
    postgres_server.dropdb(url)
