"""What sessions and engines can do beyond one inference at a time with its transfers; the others leave it out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterator, Mapping, Protocol, Sequence, runtime_checkable

from farm.domain.methods import Method

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from workers.toolchains.startup import StartupSteps
    from workers.toolchains.toolchain import TimedSession


@runtime_checkable
class IteratesMany(Protocol):
    """What a session can do that keeps the device busy from one iteration to the next; the others leave it out."""

    def iterate_many(self, count: int) -> NDArray[np.float64]:
        """Runs `count` inferences, the next one under way before the last one is waited for.

        Returns:
            h2d, compute and d2h of each in milliseconds, shape `(count, 3)`.
        """


@runtime_checkable
class HasMethod(Protocol):
    """What a session has that is timed in another way than plainly or as a CUDA graph, with transfers."""

    #: How it is timed, whatever was asked for.
    method: Method


def method_of(session: TimedSession) -> Method:
    """How a session is timed."""
    return session.method if isinstance(session, HasMethod) else Method(graph=session.is_graph)


@runtime_checkable
class TimesByMethod(Protocol):
    """What a loaded engine can do that can be timed in more ways than `timed_sessions` has; the others leave it out."""

    def sessions_by(
        self,
        inputs: Sequence[Mapping[str, NDArray[Any]]],
        methods: Sequence[Method],
        *,
        is_blocking: bool = False,
    ) -> Iterator[TimedSession]:
        """A session for each method, opened when it is asked for; the last one is closed by then.

        A method that can not be here gives way to the nearest that can, unless that is among the others: each
        session tells its own.

        Args:
            inputs: inputs of one shape, to be taken in turns where that can be done outside of what is timed.
            methods: the ways.
            is_blocking: whether the host sleeps while it waits for the device.
        """


@runtime_checkable
class TellsStartup(Protocol):
    """What a loaded engine has whose loading has steps, or whose device has memory of its own; the others leave it out."""

    #: The steps of its loading; the child adds the first inference.
    startup: StartupSteps
