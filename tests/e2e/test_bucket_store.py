"""A farm whose artifacts are in a bucket, and garbage collection, as a user runs them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from farm.storage.bucket_upload import key_of
from tests.e2e import models
from tests.e2e.driver import FarmCommand, fast_spec
from tests.services import S3Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def s3_server() -> Iterator[S3Server]:
    """An S3 server for this module."""
    with S3Server() as server:
        yield server


@pytest.fixture
def bucket(s3_server: S3Server) -> str:
    """An empty bucket."""
    return s3_server.create_bucket()


@pytest.fixture
def bucket_farm(tmp_path: Path, s3_server: S3Server, bucket: str) -> FarmCommand:
    """A farm that does not exist yet, with its artifacts in a bucket."""
    store = {"FARM_STORE": f"s3://{bucket}/farm", "FARM_LEAST_GRACE_S": "1"}
    return FarmCommand(tmp_path, {**store, **s3_server.environment})


def _submit(farm: FarmCommand, *words: object) -> str:
    path = models.save(models.dense(batch=1), farm.folder / "dense.onnx")
    ended = farm.run("submit", path, "--spec", fast_spec(farm.folder), "--gpu", "cpu", *words)
    return ended.out


def test_a_submission_is_built_and_fetched_through_a_bucket(
    bucket_farm: FarmCommand, s3_server: S3Server, bucket: str
) -> None:
    farm = bucket_farm
    farm.run("db", "upgrade")
    with farm.up():
        _submit(farm, "--wait")
        fetched = farm.run("fetch", "dense", "-o", farm.folder / "dense.engine")
        assert "dense@1" in fetched.out
        assert f"✓ artifact store: s3://{bucket}/farm, writable" in farm.run("doctor", code=None).out
    (engine,) = farm.json("engines")
    sha256 = engine["digest"].split(":")[1].split("/")[0]
    assert (farm.folder / "dense.engine").stat().st_size == engine["size_bytes"]
    assert f"farm/{key_of(sha256)}" in s3_server.ask("GET", f"{bucket}?list-type=2")
    # Whatever was kept is in the bucket: the farm's folder has no store.
    assert not (farm.home / "artifacts").exists()
    for text in [
        path.read_text(errors="replace") for path in (farm.folder / "output").iterdir() if path.is_file()
    ]:
        assert s3_server.environment["AWS_SECRET_ACCESS_KEY"] not in text
        assert s3_server.environment["AWS_ACCESS_KEY_ID"] not in text


def test_a_bucket_that_is_not_there_is_said_before_anything_is_made(bucket_farm: FarmCommand) -> None:
    said = bucket_farm.refused("db", "upgrade", code=6, FARM_STORE="s3://no-such-bucket/farm")
    assert "s3://no-such-bucket/farm is missing" in said
    assert bucket_farm.json("db", "current")["current"] is None


def test_a_store_that_is_away_is_said_in_a_line(bucket_farm: FarmCommand) -> None:
    bucket_farm.run("db", "upgrade")
    # The port of nobody.
    said = bucket_farm.run("doctor", code=1, AWS_ENDPOINT_URL="http://127.0.0.1:9").out
    assert "✗ artifact store: the artifact store s3://" in said
    assert "AWS_ENDPOINT_URL" in said


def test_what_is_no_place_in_a_bucket_is_refused(bucket_farm: FarmCommand) -> None:
    said = bucket_farm.refused("engines", code=2, FARM_STORE="s3://Bad_Bucket")
    assert "can not be the name of a bucket" in said


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_what_nothing_refers_to_is_shown_and_then_removed(
    new_farm: FarmCommand, bucket_farm: FarmCommand, kind: str
) -> None:
    farm = bucket_farm if kind == "bucket" else new_farm
    farm.environment["FARM_LEAST_GRACE_S"] = "1"
    _submit(farm, "--local", "--tag", "purpose=trial")
    (engine,) = farm.json("engines")
    assert farm.json("gc", "--dry-run")["artifacts"] == []

    # An engine that somebody needs is pinned.
    assert "ships with 4.1" in farm.run("pin", engine["id"], "--reason", "ships with 4.1").out
    old = ("--engines", "--tag", "purpose=trial")
    assert farm.json("gc", "--dry-run", *old)["engines"] == []
    assert "is not pinned any more" in farm.run("unpin", engine["digest"].split(":")[1][:12]).out

    looked = farm.run("gc", "--dry-run", *old)
    assert "to be retired" in looked.out
    assert "Nothing was removed" in looked.err
    assert [e["id"] for e in farm.json("engines")] == [engine["id"]]
    done = farm.json("gc", "--yes", *old)
    assert [e["id"] for e in done["engines"]] == [engine["id"]]
    # Its bytes are younger than a day: a later collection takes them.
    assert (done["artifacts"], done["too_young"]) == ([], 1)
    assert farm.json("engines") == []
    said = farm.refused("fetch", "dense", "-o", farm.folder / "x", code=3)
    assert "was retired on" in said
    assert "`farm submit` builds it anew" in said
    assert farm.json("history", "dense", "--tainted")

    # By now it takes a second; the bucket's clock counts no less.
    again = farm.json("gc", "--yes", "--older-than", "1s")
    while not again["artifacts"]:
        again = farm.json("gc", "--yes", "--older-than", "1s")
    assert [item["digest"] for item in again["artifacts"]] == [engine["digest"]]
    assert again["freed_bytes"] >= engine["size_bytes"]

    _submit(farm, "--local")
    (revived,) = farm.json("engines")
    assert revived["id"] == engine["id"]
    farm.run("fetch", "dense", "-o", farm.folder / "dense.engine")


def test_a_request_for_collection_that_is_unclear_is_refused(new_farm: FarmCommand) -> None:
    _submit(new_farm, "--dry-run")
    assert "--dry-run or --yes" in new_farm.refused("gc", code=2)
    assert "--dry-run or --yes" in new_farm.refused("gc", "--yes", "--dry-run", code=2)
    assert "every engine" in new_farm.refused("gc", "--dry-run", "--engines", code=2)
    assert "--tag chooses engines" in new_farm.refused("gc", "--dry-run", "--tag", "a=b", code=2)
    assert "last 1h always stay" in new_farm.refused("gc", "--dry-run", "--older-than", "59m", code=2)
    assert "there is no engine '7'" in new_farm.refused("pin", "7", "--reason", "why", code=3)
    assert "--reason is empty" in new_farm.refused("pin", "7", "--reason", " ", code=2)
    ended = new_farm.run("gc", "--dry-run", "--older-than", "soon", code=2)
    assert "write 30d, 24h, 90m or 4w" in ended.err
    error = json.loads(new_farm.run("gc", "--json", code=2).err)
    assert error["exit_code"] == 2
