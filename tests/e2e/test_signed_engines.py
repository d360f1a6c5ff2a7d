"""Signed engines at the command line: fetched with their manifests, verified anywhere, refused when altered."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.e2e import models
from tests.e2e.driver import FarmCommand, fast_spec

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services import PostgresServer, RedisServer


@pytest.fixture
def built(tmp_path: Path) -> FarmCommand:
    """A farm of one host with one engine."""
    farm = FarmCommand(tmp_path)
    path = models.save(models.dense(batch=1), tmp_path / "dense.onnx")
    farm.run("submit", path, "--spec", fast_spec(tmp_path), "--gpu", "cpu", "--local")
    return farm


def execute(farm: FarmCommand, statement: str) -> None:
    """What somebody does who can write to SQL."""
    with closing(sqlite3.connect(farm.home / "farm.db")) as connection, connection:
        assert connection.execute(statement).rowcount > 0


def test_what_is_fetched_is_verified_offline_with_the_farms_public_key(
    built: FarmCommand, tmp_path: Path
) -> None:
    engine, manifest, keys = (tmp_path / name for name in ("dense.engine", "dense.json", "farm.pub"))
    built.run("fetch", "dense", "--gpu", "cpu", "-o", engine, "--manifest", manifest)
    (key,) = built.json("keys", "list")
    assert key["counts"]
    keys.write_text(key["public_key"] + "\n")
    # Another host, with neither the farm's folder nor its database.
    elsewhere = FarmCommand(tmp_path / "elsewhere", {"FARM_TRUSTED_KEYS": str(keys)})
    assert "onnxruntime" in elsewhere.run("verify", engine, manifest).out
    found = elsewhere.json("verify", engine, manifest)
    assert found["verified"]
    assert found["key"] == json.loads(manifest.read_text())["manifest"]["key"]
    assert not elsewhere.home.exists()

    engine.write_bytes(engine.read_bytes() + b"!")
    assert "the manifest is for other bytes" in elsewhere.refused("verify", engine, manifest, code=7)
    engine.write_bytes(engine.read_bytes()[:-1])
    document = json.loads(manifest.read_text())
    document["manifest"]["precision"] = "fp16"
    manifest.write_text(json.dumps(document))
    assert "does not hold" in elsewhere.refused("verify", engine, manifest, code=7)
    manifest.write_text("no JSON")
    assert "not a signed manifest" in elsewhere.refused("verify", engine, manifest, code=7)


def test_an_engine_that_was_changed_in_sql_is_not_written(built: FarmCommand, tmp_path: Path) -> None:
    engine = tmp_path / "dense.engine"
    execute(built, "UPDATE engines SET manifest = replace(manifest, 'fp32', 'fp16')")
    said = built.refused("fetch", "dense", "--gpu", "cpu", "-o", engine, code=7)
    assert "does not hold" in said
    built.refused("fetch", "dense", "--gpu", "cpu", "--allow-unsigned", "-o", engine, code=7)
    assert not engine.exists()


def test_an_unsigned_engine_is_handed_out_only_to_who_says_so(built: FarmCommand, tmp_path: Path) -> None:
    engine = tmp_path / "dense.engine"
    execute(built, "UPDATE engines SET manifest = NULL, signature = '', signing_key = ''")
    said = built.refused("fetch", "dense", "--gpu", "cpu", "-o", engine, code=7)
    assert "before 0.2" in said
    assert "--allow-unsigned" in said
    assert not engine.exists()
    ended = built.run("fetch", "dense", "--gpu", "cpu", "--allow-unsigned", "-o", engine)
    assert "nobody has signed this engine" in ended.err
    assert engine.exists()


def test_what_a_revoked_key_signed_is_not_handed_out(built: FarmCommand, tmp_path: Path) -> None:
    (key,) = built.json("keys", "list")
    assert "revoked" in built.run("keys", "revoke", key["id"][:8]).out
    said = built.refused("fetch", "dense", "--gpu", "cpu", "-o", tmp_path / "dense.engine", code=7)
    assert "is revoked" in said
    assert "for good" in built.refused("keys", "trust", key["public_key"], code=4)
    assert not built.json("keys", "list")[0]["counts"]


def test_a_fleets_worker_starts_with_a_key_that_its_farm_trusts(
    tmp_path: Path, postgres_server: PostgresServer, redis_server: RedisServer
) -> None:
    url = postgres_server.createdb()
    key = tmp_path / "signing.key"
    fleet = FarmCommand(
        tmp_path,
        {
            "FARM_DATABASE_URL": url,
            "FARM_BROKER_URL": redis_server.url,
            "FARM_STORE": str(tmp_path / "store"),
        },
    )
    fleet.run("db", "upgrade")
    said = fleet.refused("worker", "--device", "cpu", code=2)
    assert "no key to sign engines with" in said
    assert "farm keys new" in said
    made = fleet.json("keys", "new", key)
    named = {"FARM_SIGNING_KEY": str(key)}
    said = fleet.refused("worker", "--device", "cpu", code=4, **named)
    assert f"farm keys trust {made['public_key']}" in said
    fleet.run("keys", "trust", made["public_key"], "--note", "gpu07")
    key.chmod(0o644)
    assert "may be read by others" in fleet.refused("worker", "--device", "cpu", code=2, **named)
    key.chmod(0o600)
    with fleet.up(command="worker", **named):
        assert len(fleet.json("workers")) == 1
    assert fleet.json("workers") == []
    postgres_server.dropdb(url)
