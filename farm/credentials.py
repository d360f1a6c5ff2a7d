"""Secrets: from a URL or a file into the settings, and out of everything that is shown.

A secret that the settings have read is known to this module for as long as the process lives. Whatever leaves
the process as an error, a log line or a stack trace goes through `redacted`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from farm.domain.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: A shorter text is no secret that could be taken out of a sentence: `farm` stands in too many.
_SHORTEST = 6
#: A file with a secret holds one line; one that is larger was named by mistake.
_LARGEST_BYTES = 64 * 1024

_known: set[str] = set()


def secret_url(env: Mapping[str, str], name: str) -> str:
    """The URL that `name` holds, or the file that `name_FILE` names; with the password of `…_PASSWORD_FILE`.

    Args:
        env: the environment.
        name: such as `FARM_DATABASE_URL`.

    Returns:
        The URL; empty if neither is set.

    Raises:
        InvalidRequestError: a file can not be read, both are set, or the URL has no place for a password.
    """
    file = env.get(f"{name}_FILE") or ""
    if file and env.get(name):
        raise InvalidRequestError(f"{name} and {name}_FILE are both set", hint="Set one of the two.")
    url = _read_secret(f"{name}_FILE", file) if file else env.get(name) or ""
    password_variable = name.removesuffix("_URL") + "_PASSWORD_FILE"
    password_file = env.get(password_variable) or ""
    if password_file:
        url = _with_password(url, _read_secret(password_variable, password_file), password_variable)
    _remember(url)
    _check_url(name, url)
    return url


def redacted(text: str) -> str:
    """The text without any secret that this process knows."""
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def remember_secrets(secrets: Iterable[str]) -> None:
    """Notes secrets that are no part of a URL, so that nobody shows them."""
    _known.update(secret for secret in secrets if len(secret) >= _SHORTEST)


def _with_password(url: str, password: str, variable: str) -> str:
    found = re.fullmatch(r"([a-z][a-z0-9+.-]*://)(?:([^:@/?#]*)(?::[^@]*)?@)?([^@]+)", url)
    if not found or url.startswith("sqlite"):
        raise InvalidRequestError(
            f"{variable} is set, but there is no URL that could take a password",
            hint="Set the URL without the password beside it, such as postgresql+psycopg://farm@host/farm.",
        )
    scheme, user, rest = found.groups()
    return f"{scheme}{user or ''}:{quote(password, safe='')}@{rest}"


def _read_secret(variable: str, name: str) -> str:
    try:
        with Path(name).open("rb") as file:
            data = file.read(_LARGEST_BYTES + 1)
        text = data.decode().strip("\r\n \t")
    except OSError as error:
        raise InvalidRequestError(
            f"{variable} names {name}, which can not be read: {error.strerror}",
            hint="Check the path, and that this user may read it.",
        ) from error
    except UnicodeDecodeError:
        # The error would show the bytes.
        raise InvalidRequestError(f"{variable} names {name}, which is no text") from None
    if not text or len(data) > _LARGEST_BYTES or len(text.splitlines()) > 1:
        raise InvalidRequestError(f"{variable} names {name}, which does not hold one line")
    return text


def _remember(url: str) -> None:
    """Notes every form of a URL's password in which somebody could show it."""
    if "://" not in url or url.startswith("sqlite"):
        return
    found = re.match(r"[^:/]+://[^:@/]*:(.*)@", url)
    secrets = {found[1], unquote(found[1])} if found else set()
    secrets |= set(re.findall(r"[?&][a-z]*password=([^&]*)", url))
    secrets |= {repr(secret)[1:-1] for secret in secrets}
    _known.update(secret for secret in secrets if len(secret) >= _SHORTEST)


def _check_url(variable: str, url: str) -> None:
    """Refuses a URL whose password is taken apart by whoever reads it: its pieces would be shown as host or port.

    Raises:
        InvalidRequestError: a character of the password is not percent-encoded.
    """
    if "://" not in url or url.startswith("sqlite"):
        return
    user, at, _ = url.partition("://")[2].rpartition("@")
    # SQLAlchemy looks for the first @, everybody else for the first of the others.
    wrong = "@" if variable == "FARM_DATABASE_URL" else "/?#"
    if at and ":" in user and set(user) & set(wrong):
        raise InvalidRequestError(
            f"{variable} can not be understood: its password has a character that means something in a URL",
            hint=f"Percent-encode it, or leave the password to {variable.removesuffix('_URL')}_PASSWORD_FILE.",
        )
