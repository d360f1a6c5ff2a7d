"""What nothing refers to any more, as the services need it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farm.domain.digests import Digest
    from farm.domain.garbage import RetireQuery


class GarbageRecords(Protocol):
    """What nothing refers to any more, and engines that are given up."""

    def check_operator(self) -> None:
        """Refuses whoever may not remove what others have filed. Raises DatabaseUnavailableError."""

    def referenced(self) -> set[str]:
        """The digests of all artifacts that something refers to."""

    def kinds(self) -> dict[str, str]:
        """What every artifact is that was ever noted, by digest."""

    def condemn(self, digests: Sequence[Digest]) -> set[str]:
        """Marks those of some artifacts as deleted that nothing refers to; these."""

    def retirable(self, query: RetireQuery) -> list[int]:
        """The numbers of engines that may be retired: no pinned one, and none that a live job needs."""

    def retire(self, engine_id: int) -> bool:
        """Gives up an engine's bytes; false if it was pinned, or is needed, by now."""

    def engine_id(self, word: str) -> int:
        """The engine of a number, or of a digest's first digits. Raises NotFoundError."""

    def pin(self, engine_id: int, reason: str) -> None:
        """Keeps an engine whatever its age. Raises ConflictError if it is retired."""

    def unpin(self, engine_id: int) -> bool:
        """Lets an engine go when its time comes; false if it was not pinned."""
