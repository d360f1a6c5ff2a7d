"""What was acknowledged stays so, even if nobody can be woken for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.submission import announce
from farm.bootstrap import make_farm, open_farm
from farm.storage.database import SqlDatabase
from tests.fake_toolchain.harness import settings_in
from tests.services import PostgresServer, RedisServer

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_database_that_goes_away_after_the_submission_was_filed_is_a_note_and_no_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with PostgresServer() as postgres, RedisServer() as broker:
        settings = settings_in(tmp_path, database_url=postgres.createdb(), broker_url=broker.url)
        make_farm(settings)
        farm = open_farm(settings)
        postgres.stop()
        announce(farm)
        assert isinstance(farm.database, SqlDatabase)
        farm.database.close()
    assert "What was submitted is safe" in capsys.readouterr().err
