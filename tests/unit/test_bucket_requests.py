"""Requests that the farm signs itself are signed as Amazon's own library does."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from farm.domain.stores import BucketUrl
from farm.storage.bucket_client import s3_config
from farm.storage.bucket_leftovers import BucketRequests

MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ACCESS = {"AWS_ACCESS_KEY_ID": "AKIAKEY", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-central-1"}


@pytest.mark.parametrize(
    "access",
    [
        {},
        {"AWS_SESSION_TOKEN": "a token"},
        {"AWS_ENDPOINT_URL": "https://s3.example.org:9000"},
        {"AWS_ENDPOINT_URL": "http://example.org/storage/"},
        {"AWS_ENDPOINT_URL": "https://bucket.example.org", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true"},
    ],
)
@pytest.mark.parametrize(
    ("method", "key", "query"),
    [
        ("GET", "", {"uploads": "", "prefix": "team a/ä/", "key-marker": "x/y"}),
        ("DELETE", "team a/aa/bb/engine", {"uploadId": "x+y/z==&"}),
    ],
)
def test_a_request_is_signed_as_amazons_own_library_signs_it(
    monkeypatch: pytest.MonkeyPatch, access: dict[str, str], method: str, key: str, query: dict[str, str]
) -> None:
    monkeypatch.setattr(auth, "get_current_datetime", lambda: MOMENT.replace(tzinfo=None))
    given = {**ACCESS, **access}
    requests = BucketRequests(BucketUrl("bucket"), s3_config(given), None)
    address = requests.address(key, query)
    theirs = AWSRequest(method=method, url=address, headers={})
    credentials = Credentials("AKIAKEY", "secret", access.get("AWS_SESSION_TOKEN"))
    auth.S3SigV4Auth(credentials, "s3", "eu-central-1").add_auth(theirs)
    assert requests.headers(method, address, MOMENT)["Authorization"] == theirs.headers["Authorization"]


@pytest.mark.parametrize(
    ("access", "address"),
    [
        ({}, "https://bucket.s3.eu-central-1.amazonaws.com/key"),
        ({"AWS_ENDPOINT_URL": "http://example.org:9000"}, "http://example.org:9000/bucket/key"),
        (
            {"AWS_ENDPOINT_URL_S3": "http://s3.org", "AWS_ENDPOINT_URL": "http://other"},
            "http://s3.org/bucket/key",
        ),
    ],
)
def test_the_address_follows_the_endpoint(access: dict[str, str], address: str) -> None:
    requests = BucketRequests(BucketUrl("bucket"), s3_config({**ACCESS, **access}), None)
    parts = urlsplit(requests.address("key", {"uploads": ""}))
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == address
