"""The in-memory stand-in for `SigningKeys`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from farm.domain.errors import InvalidRequestError, NotFoundError
from farm.domain.filing import SigningKey

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from tests.fakes.tables import Tables


class InMemorySigningKeys:
    """Implements `SigningKeys`."""

    def __init__(self, tables: Tables, now: Callable[[], datetime]) -> None:
        self._tables = tables
        self._now = now

    def add(self, key_id: str, public_key: str, note: str) -> bool:
        """False if it is there."""
        if key_id in self._tables.keys:
            return False
        self._tables.keys[key_id] = SigningKey(key_id, public_key, note, self._now())
        return True

    def all(self) -> list[SigningKey]:
        """Oldest first."""
        return sorted(self._tables.keys.values(), key=lambda key: (key.created_at, key.id))

    def revoke(self, prefix: str) -> str:
        """For good; the engines that it signed know of it."""
        found = [key for key in self._tables.keys.values() if prefix and key.id.startswith(prefix.lower())]
        if not found:
            raise NotFoundError(f"there is no signing key {prefix!r}")
        if len(found) > 1:
            raise InvalidRequestError(f"several signing keys begin with {prefix!r}")
        (key,) = found
        self._tables.keys[key.id] = replace(key, revoked_at=key.revoked_at or self._now())
        for engine in self._tables.engines.values():
            if engine.signed is not None and engine.signed.signing_key == key.id:
                self._tables.engines[engine.id] = replace(engine, is_key_revoked=True)
        return key.id
