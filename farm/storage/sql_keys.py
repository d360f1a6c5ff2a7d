"""Public keys in SQL: who may vouch for engines, and who may no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select, update

from farm.domain.errors import InvalidRequestError, NotFoundError
from farm.domain.filing import SigningKey
from farm.storage.columns import DatabaseNow
from farm.storage.rows import insert_once
from farm.storage.tables import signing_keys

if TYPE_CHECKING:
    from sqlalchemy import Connection


class SqlSigningKeys:
    """Implements `SigningKeys`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, key_id: str, public_key: str, note: str) -> bool:
        """Trusts a key; false if it is there already, revoked or not."""
        return insert_once(
            self._connection,
            signing_keys,
            id=key_id,
            public_key=public_key,
            note=note,
            created_at=DatabaseNow(),
        )

    def all(self) -> list[SigningKey]:
        """Every key, the revoked ones too, oldest first."""
        query = select(signing_keys).order_by(signing_keys.c.created_at, signing_keys.c.id)
        return [SigningKey(**row._mapping) for row in self._connection.execute(query)]

    def revoke(self, prefix: str) -> str:
        """Makes a key count no more, for good; its whole id.

        Raises:
            NotFoundError: there is none.
            InvalidRequestError: several begin like that.
        """
        found = [key.id for key in self.all() if prefix and key.id.startswith(prefix.lower())]
        if not found:
            raise NotFoundError(f"there is no signing key {prefix!r}", hint="`farm keys list` has them all.")
        if len(found) > 1:
            raise InvalidRequestError(
                f"several signing keys begin with {prefix!r}", hint="Give more of the id."
            )
        (key_id,) = found
        self._connection.execute(
            update(signing_keys)
            .where(signing_keys.c.id == key_id, signing_keys.c.revoked_at.is_(None))
            .values(revoked_at=DatabaseNow())
        )
        return key_id
