"""Uploads in parts that nobody completed: S3 keeps and bills their bytes until somebody ends them.

obstore has no call for them, so these requests are signed here, by the rules of
https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from farm.domain.errors import StoreUnavailableError
from farm.domain.stores import Leftovers
from farm.storage.bucket_client import s3_config

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from farm.domain.stores import BucketUrl

_EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
_TIMEOUT_S = 30.0
_NO_KEYS = (
    "uploads in parts were not looked at, for want of a fixed access key: "
    "give the bucket a lifecycle rule that ends incomplete ones"
)


@dataclass(frozen=True)
class _Upload:
    """An upload that was begun and not completed."""

    key: str
    id: str
    begun_at: datetime


def clear_uploads(
    url: BucketUrl, access: Mapping[str, str], begun_before: datetime, *, dry_run: bool
) -> Leftovers:
    """Ends the uploads below a prefix that were begun before a moment.

    Args:
        url: bucket and prefix.
        access: the variables `AWS_*`.
        begun_before: by the store's clock; a younger one may still be under way.
        dry_run: whether to count only.

    Raises:
        StoreUnavailableError: the store does not answer, or forbids it.
    """
    requests = BucketRequests(url, s3_config(access), access.get("AWS_CA_BUNDLE"))
    if not requests.has_keys:
        return Leftovers(note=_NO_KEYS)
    count = size_bytes = 0
    for upload in list(_uploads(requests, url)):
        if upload.begun_at >= begun_before:
            continue
        count += 1
        parts = requests.send("GET", upload.key, {"uploadId": upload.id})
        size_bytes += sum(map(int, re.findall(r"<Size>(\d+)</Size>", parts)))
        if not dry_run:
            requests.send("DELETE", upload.key, {"uploadId": upload.id})
    return Leftovers(count, size_bytes)


def _uploads(requests: BucketRequests, url: BucketUrl) -> Iterator[_Upload]:
    markers: dict[str, str] = {}
    while True:
        prefix = {"prefix": f"{url.prefix}/"} if url.prefix else {}
        page = requests.send("GET", "", {"uploads": "", **prefix, **markers})
        for found in re.findall(r"<Upload>(.*?)</Upload>", page, re.DOTALL):
            begun = datetime.fromisoformat(_text(found, "Initiated"))
            key = _text(found, "Key")
            if key.startswith(prefix.get("prefix", "")):
                yield _Upload(key, _text(found, "UploadId"), begun)
        if _text(page, "IsTruncated") != "true":
            return
        markers = {
            "key-marker": _text(page, "NextKeyMarker"),
            "upload-id-marker": _text(page, "NextUploadIdMarker"),
        }


def _text(document: str, element: str) -> str:
    found = re.search(rf"<{element}>([^<]*)</{element}>", document)
    return found[1] if found else ""


class BucketRequests:
    """Signed requests to one bucket."""

    def __init__(self, url: BucketUrl, config: Mapping[str, str], ca_bundle: str | None) -> None:
        self._url = url
        self._region = config["aws_region"]
        self._key = config.get("aws_access_key_id", "")
        self._secret = config.get("aws_secret_access_key", "")
        self._token = config.get("aws_session_token", "")
        endpoint = config.get("aws_endpoint", "")
        virtual = config.get("aws_virtual_hosted_style_request", "").lower() in ("1", "true")
        if not endpoint:
            endpoint, virtual = f"https://{url.bucket}.s3.{self._region}.amazonaws.com", True
        parts = urlsplit(endpoint)
        self._origin, self._host = f"{parts.scheme}://{parts.netloc}", parts.netloc
        self._root = parts.path.rstrip("/") + ("" if virtual else f"/{url.bucket}")
        self._context = ssl.create_default_context(cafile=ca_bundle) if parts.scheme == "https" else None

    @property
    def has_keys(self) -> bool:
        """Whether requests can be signed: a role's passing keys are known to obstore alone."""
        return bool(self._key and self._secret)

    def send(self, method: str, key: str, query: Mapping[str, str]) -> str:
        """The answer of the store.

        Raises:
            StoreUnavailableError: there is none, or the store forbids it.
        """
        address = self.address(key, query)
        headers = self.headers(method, address, self._server_time(address))
        request = urllib.request.Request(  # noqa: S310 - the operator's endpoint
            address, method=method, headers=headers
        )
        try:
            with urllib.request.urlopen(  # noqa: S310
                request, timeout=_TIMEOUT_S, context=self._context
            ) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404 and key:
                    return ""  # somebody else has completed or ended it
                code = _text(error.read(4096).decode(errors="replace"), "Code")
            raise self._failed(code or str(error.code)) from None
        except OSError as error:
            raise self._failed(type(error).__name__) from None

    def address(self, key: str, query: Mapping[str, str]) -> str:
        """The URL of a key, or of the bucket itself, in its canonical form."""
        path = quote(f"{self._root}/{key}" if key else self._root or "/", safe="/~")
        words = "&".join(f"{quote(k, safe='~')}={quote(v, safe='~')}" for k, v in sorted(query.items()))
        return f"{self._origin}{path}?{words}"

    def headers(self, method: str, address: str, moment: datetime) -> dict[str, str]:
        """The headers of a request without a body, signed."""
        parts = urlsplit(address)
        stamp = moment.strftime("%Y%m%dT%H%M%SZ")
        scope = f"{stamp[:8]}/{self._region}/s3/aws4_request"
        headers = {"host": self._host, "x-amz-content-sha256": _EMPTY_SHA256, "x-amz-date": stamp}
        if self._token:
            headers["x-amz-security-token"] = self._token
        names = ";".join(sorted(headers))
        lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
        canonical = "\n".join([method, parts.path, parts.query, lines, names, _EMPTY_SHA256])
        hashed = hashlib.sha256(canonical.encode()).hexdigest()
        key = f"AWS4{self._secret}".encode()
        for part in (stamp[:8], self._region, "s3", "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashed}".encode(), "sha256").hex()
        headers["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self._key}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
        # Set by whoever sends it.
        del headers["host"]
        return headers

    def _server_time(self, address: str) -> datetime:
        """The store's clock: a signature by a clock that is minutes off is refused."""
        request = urllib.request.Request(address.partition("?")[0], method="HEAD")  # noqa: S310
        try:
            with urllib.request.urlopen(  # noqa: S310
                request, timeout=_TIMEOUT_S, context=self._context
            ) as answer:
                date = answer.headers.get("Date")
        except urllib.error.HTTPError as error:
            with error:
                date = error.headers.get("Date")
        except OSError as error:
            raise self._failed(type(error).__name__) from None
        return parsedate_to_datetime(date).astimezone(UTC)

    def _failed(self, what: str) -> StoreUnavailableError:
        return StoreUnavailableError(
            f"the artifact store {self._url} did not tell its uploads in parts ({what})",
            hint="The access key needs s3:ListBucketMultipartUploads and s3:AbortMultipartUpload.",
        )
