"""What is said when something is wrong with a bucket."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from farm.domain.digests import Digest
from farm.domain.errors import InvalidRequestError, StoreUnavailableError
from farm.domain.stores import BucketUrl
from farm.storage.artifact_bucket import ArtifactBucket
from tests.integration.artifact_bucket.buckets import a_store_on

if TYPE_CHECKING:
    from pathlib import Path

    from tests.services import S3Server


def test_a_bucket_that_is_not_there_is_named(s3_server: S3Server) -> None:
    store = ArtifactBucket(BucketUrl("no-such-bucket"), s3_server.environment)
    for call in (store.create, lambda: store.put_bytes(b"engine"), store.now, lambda: list(store.listing())):
        with pytest.raises(StoreUnavailableError, match="s3://no-such-bucket is missing"):
            call()


def test_a_prefix_without_a_store_is_not_made_by_accident(s3_server: S3Server, bucket: BucketUrl) -> None:
    mistyped = ArtifactBucket(BucketUrl(bucket.bucket, "artefacts"), s3_server.environment)
    with pytest.raises(StoreUnavailableError, match="artefacts is missing") as caught:
        mistyped.put_bytes(b"engine")
    assert "farm db upgrade" in caught.value.hint
    with pytest.raises(StoreUnavailableError, match="artefacts is missing"):
        list(mistyped.chunks(Digest("a" * 64, 1)))


def test_a_server_that_is_away_is_named_without_its_credentials(own_server: S3Server) -> None:
    store = a_store_on(own_server)
    own_server.stop()
    with pytest.raises(StoreUnavailableError, match="does not answer") as caught:
        store.put_bytes(b"engine")
    said = f"{caught.value.message} {caught.value.hint} {caught.value.__cause__}"
    assert "AWS_ENDPOINT_URL" in said
    assert own_server.environment["AWS_SECRET_ACCESS_KEY"] not in said
    assert own_server.environment["AWS_ACCESS_KEY_ID"] not in said


def test_a_file_with_the_credentials_will_do(s3_server: S3Server, bucket: BucketUrl, tmp_path: Path) -> None:
    environment = dict(s3_server.environment)
    key, secret = environment.pop("AWS_ACCESS_KEY_ID"), environment.pop("AWS_SECRET_ACCESS_KEY")
    file = tmp_path / "credentials"
    file.write_text(f"[farm]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
    environment |= {"AWS_SHARED_CREDENTIALS_FILE": str(file), "AWS_PROFILE": "farm"}
    store = ArtifactBucket(bucket, environment)
    store.create()
    assert store.has(store.put_bytes(b"engine"))
    with pytest.raises(InvalidRequestError, match=r"no profile \[other\]"):
        ArtifactBucket(bucket, {**environment, "AWS_PROFILE": "other"})
    file.write_text(f"{secret}\n")
    with pytest.raises(InvalidRequestError, match="can not be read") as caught:
        ArtifactBucket(bucket, environment)
    assert secret not in caught.value.message


def test_without_obstore_the_message_says_how_to_get_it(
    bucket: BucketUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("obstore", "obstore.store"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InvalidRequestError, match="needs the package obstore") as caught:
        ArtifactBucket(bucket, {})
    assert caught.value.hint == "pip install 'engine-farm[s3]'"


def test_a_key_that_the_store_does_not_know_is_refused_in_words(own_server: S3Server) -> None:
    store = a_store_on(own_server)
    # From here on the server asks who somebody is.
    own_server.ask("POST", "moto-api/reset-auth", b"0")
    for call in (lambda: store.put_bytes(b"engine"), store.now, lambda: list(store.listing())):
        with pytest.raises(StoreUnavailableError, match="refuses these credentials") as caught:
            call()
        said = f"{caught.value.message} {caught.value.hint}"
        assert "AWS_ACCESS_KEY_ID" in said
        assert own_server.environment["AWS_ACCESS_KEY_ID"] not in said
