"""What nothing refers to any more, and engines that are given up, in SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, exists, select, text, update

from farm.domain.errors import ConflictError, DatabaseUnavailableError, InvalidRequestError, NotFoundError
from farm.domain.garbage import UNKNOWN_KIND
from farm.domain.jobs import JobState
from farm.storage.columns import DatabaseNow, storable_text
from farm.storage.references import referenced
from farm.storage.rows import insert_once
from farm.storage.sql_rights import OPERATOR
from farm.storage.tables import artifacts, cells, engines, jobs, submissions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection

    from farm.domain.digests import Digest
    from farm.domain.garbage import RetireQuery

#: Fewer digits of a digest name an engine by accident.
_LEAST_DIGITS = 6


class SqlGarbageRecords:
    """Implements `GarbageRecords`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def check_operator(self) -> None:
        """Refuses a login that is not the operator's.

        Asked, since no single right tells it: a worker, too, has to mark artifacts and hold duties.

        Raises:
            DatabaseUnavailableError: it is another's.
        """
        if self._connection.dialect.name != "postgresql":
            return
        query = text("SELECT has_column_privilege('engines', 'pinned_at', 'UPDATE')")
        if not self._connection.execute(query).scalar_one():
            raise DatabaseUnavailableError(
                "this login of the database may not collect garbage",
                hint=f"That is for {OPERATOR}. `farm gc --dry-run` is for everybody.",
            )

    def referenced(self) -> set[str]:
        """The digests of all artifacts that something refers to."""
        return referenced(self._connection)

    def kinds(self) -> dict[str, str]:
        """What every artifact is that was ever noted, by digest."""
        query = select(artifacts.c.sha256, artifacts.c.kind)
        return {row.sha256: row.kind for row in self._connection.execute(query)}

    def condemn(self, digests: Sequence[Digest]) -> set[str]:
        """Marks those of some artifacts as deleted that nothing refers to; these.

        Whoever notes one of them waits for this transaction, and revives it afterwards.
        """
        # In one order, and each row locked before it is looked at: a writer that has noted it has committed then.
        for digest in sorted(digests):
            insert_once(
                self._connection,
                artifacts,
                sha256=digest.sha256,
                size_bytes=digest.size_bytes,
                kind=UNKNOWN_KIND,
                created_at=DatabaseNow(),
            )
        names = sorted(digest.sha256 for digest in digests)
        locked = select(artifacts.c.sha256).where(artifacts.c.sha256.in_(names)).order_by(artifacts.c.sha256)
        # Those that somebody works with at this moment are left for the next collection.
        free = self._connection.execute(locked.with_for_update(skip_locked=True)).scalars().all()
        gone = set(free) - referenced(self._connection, free)
        self._connection.execute(
            update(artifacts).where(artifacts.c.sha256.in_(sorted(gone))).values(deleted_at=DatabaseNow())
        )
        return gone

    def retirable(self, query: RetireQuery) -> list[int]:
        """The numbers of engines that may be retired: no pinned one, and none that a live job needs."""
        found = self._connection.execute(
            select(engines.c.id, engines.c.spec_sha256).where(*self._conditions(query)).order_by(engines.c.id)
        ).all()
        if query.tag is None:
            return [row.id for row in found]
        name, value = query.tag
        tags: dict[str, list[bool]] = {}
        asked = select(cells.c.spec_sha256, submissions.c.tags).join(
            submissions, submissions.c.id == cells.c.submission_id
        )
        for row in self._connection.execute(asked):
            tags.setdefault(row.spec_sha256, []).append(row.tags.get(name) == value)
        return [row.id for row in found if row.spec_sha256 in tags and all(tags[row.spec_sha256])]

    def retire(self, engine_id: int) -> bool:
        """Gives up an engine's bytes; false if it was pinned, or is needed, by now."""
        # Locked first: a submission that is answered with it refers to its row, and so is seen afterwards.
        lock = select(engines.c.id).where(engines.c.id == engine_id).with_for_update()
        self._connection.execute(lock)
        done = self._connection.execute(
            update(engines)
            .where(engines.c.id == engine_id, *self._conditions(None))
            .values(retired_at=DatabaseNow())
        )
        return bool(done.rowcount)

    def engine_id(self, word: str) -> int:
        """The engine of a number, or of the first digits of its bytes' digest or its key.

        Raises:
            NotFoundError: there is none.
            InvalidRequestError: several begin like that.
        """
        word = storable_text(word.lower())
        hint = "`farm engines --json` shows the number, key and digest of each."
        conditions: list[ColumnElement[bool]] = []
        if word.isdecimal() and len(word) < 10:
            conditions.append(engines.c.id == int(word))
        if len(word) >= _LEAST_DIGITS:
            conditions.append(engines.c.artifact_sha256.startswith(word, autoescape=True))
            conditions.append(engines.c.spec_sha256.startswith(word, autoescape=True))
        for condition in conditions:
            found = self._connection.execute(select(engines.c.id).where(condition).limit(2)).scalars().all()
            if len(found) > 1:
                raise InvalidRequestError(f"several engines begin with {word!r}", hint=hint)
            if found:
                return int(found[0])
        raise NotFoundError(f"there is no engine {word!r}", hint=hint)

    def pin(self, engine_id: int, reason: str) -> None:
        """Keeps an engine whatever its age.

        Raises:
            ConflictError: it is retired already.
        """
        done = self._connection.execute(
            update(engines)
            .where(engines.c.id == engine_id, engines.c.retired_at.is_(None))
            .values(pinned_at=DatabaseNow(), pin_reason=reason)
        )
        if not done.rowcount:
            raise ConflictError(
                f"engine {engine_id} is retired, its bytes are gone",
                hint="Submit the model again: it is built anew.",
            )

    def unpin(self, engine_id: int) -> bool:
        """Lets an engine go when its time comes; false if it was not pinned."""
        done = self._connection.execute(
            update(engines)
            .where(engines.c.id == engine_id, engines.c.pinned_at.is_not(None))
            .values(pinned_at=None, pin_reason="")
        )
        return bool(done.rowcount)

    def _conditions(self, query: RetireQuery | None) -> list[ColumnElement[bool]]:
        live = exists().where(
            and_(
                jobs.c.spec_sha256 == engines.c.spec_sha256,
                jobs.c.state.in_([JobState.QUEUED.value, JobState.RUNNING.value]),
            )
        )
        found: list[Any] = [engines.c.retired_at.is_(None), engines.c.pinned_at.is_(None), ~live]
        if query is not None and query.filed_before is not None:
            found.append(engines.c.created_at < query.filed_before)
        return found
