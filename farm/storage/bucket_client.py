"""The connection to an S3-compatible store, and what it says when it fails, as the farm's own errors."""

from __future__ import annotations

import configparser
import re
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm.domain.errors import InvalidRequestError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from obstore.store import RetryConfig, S3Store

    from farm.domain.stores import BucketUrl

#: A store that is away for a moment, as at its own restart, is waited for so long.
PATIENCE_S = 20.0
_RETRIES = 12
#: Environment variables that obstore's client understands by another name; the first that is set wins.
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_PASSED_ON = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
)
_OF_INSTANCE = "169.254.169.254"


def s3_config(access: Mapping[str, str]) -> dict[str, str]:
    """The client's options that variables of the environment come to.

    Args:
        access: the variables `AWS_*`.

    Raises:
        InvalidRequestError: the file with the credentials can not be read, or has no such profile.
    """
    config = {name.lower(): access[name] for name in _PASSED_ON if access.get(name)}
    endpoint = next((access[name] for name in _ENDPOINTS if access.get(name)), "")
    if endpoint:
        config["aws_endpoint"] = endpoint
    config["aws_region"] = next((access[name] for name in _REGIONS if access.get(name)), "us-east-1")
    file = access.get("AWS_SHARED_CREDENTIALS_FILE")
    if file and "aws_access_key_id" not in config:
        config |= _from_file(Path(file).expanduser(), access.get("AWS_PROFILE") or "default")
    return config


def open_bucket(url: BucketUrl, access: Mapping[str, str], patience_s: float = PATIENCE_S) -> S3Store:
    """The client of a bucket; nothing is sent yet.

    Args:
        url: bucket and prefix.
        access: the variables `AWS_*`: credentials, endpoint, region.
        patience_s: how long a request is tried again while the store does not answer.

    Raises:
        InvalidRequestError: obstore is not installed, or the variables make no sense.
    """
    try:
        from obstore.store import S3Store
    except ImportError as error:
        raise InvalidRequestError(
            f"the artifact store {url} needs the package obstore, which is not installed",
            hint="pip install 'engine-farm[s3]'",
        ) from error
    config = s3_config(access)
    retries: RetryConfig = {
        "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=3), "base": 2},
        "max_retries": _RETRIES,
        "retry_timeout": timedelta(seconds=patience_s),
    }
    options: dict[str, Any] = {
        # Plain HTTP only where the operator wrote it into the endpoint.
        "allow_http": config.get("aws_endpoint", "").startswith("http://"),
        "connect_timeout": timedelta(seconds=5),
        # Of one request, which carries 8 MiB at most.
        "timeout": timedelta(seconds=120),
    }
    bundle = access.get("AWS_CA_BUNDLE")
    try:
        if bundle:
            options["root_certificate"] = Path(bundle).read_bytes()
        return S3Store(
            url.bucket,
            prefix=url.prefix or None,
            config=config,  # type: ignore[arg-type]
            client_options=options,  # type: ignore[arg-type]
            retry_config=retries,
        )
    except OSError as error:
        raise InvalidRequestError(f"AWS_CA_BUNDLE names {bundle}, which can not be read") from error
    except Exception as error:
        from obstore.exceptions import BaseError

        if not isinstance(error, (BaseError, ValueError)):
            raise
        # Its text repeats the options, and so the credentials.
        raise InvalidRequestError(
            f"the artifact store {url} can not be opened with these AWS_* variables",
            hint="Check AWS_ENDPOINT_URL (http:// or https://), AWS_REGION and AWS_VIRTUAL_HOSTED_STYLE_REQUEST.",
        ) from None


@contextmanager
def translated(url: BucketUrl) -> Iterator[None]:
    """Turns what the client says in the block into the farm's errors.

    A missing key stays a `FileNotFoundError`; only the caller knows what it means.

    Raises:
        StoreUnavailableError: no answer, no bucket, or no permission.
    """
    from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

    try:
        yield
    except (AlreadyExistsError, PreconditionError):
        raise
    except FileNotFoundError as error:
        if "NoSuchBucket" in str(error):
            raise no_bucket(url) from None
        raise
    except (BaseError, TimeoutError) as error:
        # Not `from error`: it repeats what the server sent, and that may name the access key.
        raise _unavailable(url, error) from None


def no_bucket(url: BucketUrl) -> StoreUnavailableError:
    """There is no such bucket, or nobody made a store in it."""
    return StoreUnavailableError(
        f"the artifact store {url} is missing: there is no such bucket, or no store was made in it",
        hint="Check FARM_STORE; `farm db upgrade` makes the store of a new farm in a bucket that is there.",
    )


def _unavailable(url: BucketUrl, error: Exception) -> StoreUnavailableError:
    said = str(error)
    code = re.search(r"<Code>(\w+)</Code>", said)
    status = re.search(r"status code: (\d{3}[\w ]*)|status: (\d{3})", said)
    what = (code and code[1]) or (status and (status[1] or status[2])) or ""
    if what == "NoSuchBucket":
        return no_bucket(url)
    if _OF_INSTANCE in said:
        return StoreUnavailableError(
            f"the artifact store {url} needs credentials, and there are none",
            hint="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SHARED_CREDENTIALS_FILE.",
        )
    if type(error).__name__ in ("PermissionDeniedError", "UnauthenticatedError") or what.startswith("40"):
        return StoreUnavailableError(
            f"the artifact store {url} refuses these credentials ({what or type(error).__name__})",
            hint="Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and what they may do with the bucket.",
        )
    return StoreUnavailableError(
        f"the artifact store {url} does not answer ({what or _why(said)})",
        hint="Is it up, and is AWS_ENDPOINT_URL right? Then try again: what was done so far is not lost.",
    )


def _why(said: str) -> str:
    """The kind of a failed connection, in a word of the client's."""
    for mark, words in (
        ("Connect", "no connection"),
        ("timed out", "timed out"),
        ("Timeout", "timed out"),
        ("certificate", "its certificate is not trusted"),
    ):
        if mark in said:
            return words
    return "the connection was lost"


def _from_file(path: Path, profile: str) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text())
    except (OSError, UnicodeDecodeError, configparser.Error):
        # Not chained: the parser's error shows the line.
        raise InvalidRequestError(
            f"AWS_SHARED_CREDENTIALS_FILE names {path}, which can not be read as such a file"
        ) from None
    if not parser.has_section(profile):
        raise InvalidRequestError(f"{path} has no profile [{profile}]", hint="AWS_PROFILE chooses one.")
    names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
    return {name: parser[profile][name] for name in names if parser[profile].get(name)}
