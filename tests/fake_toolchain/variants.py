# ruff: noqa: UP035 - it also runs under Python 3.10
"""Builds of one model that differ in their bytes, and some of them in what they do.

A variant is the model with a text in a field of the ONNX file that nobody computes with; of a field that comes
twice the last one counts.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Mapping

if TYPE_CHECKING:
    from pathlib import Path

    from workers.toolchains.toolchain import IterationTimes, LoadedEngine

#: `doc_string` of an ONNX model: field 6, a text.
_DOC_STRING = b"\x32"
#: How much longer an inference of a slow one takes, in seconds.
SLOW_S = 0.01
SLOW, WRONG, PLAIN = "slow variant", "wrong variant", "variant"
KINDS = (PLAIN, SLOW, WRONG)


def mark(engine_path: Path, kind: str, number: int) -> None:
    """Makes an engine a variant of what it was copied from."""
    text = f"{kind} {number}".encode()
    with engine_path.open("ab") as stream:
        stream.write(_DOC_STRING + bytes([len(text)]) + text)


def with_its_ways(engine: LoadedEngine, engine_path: Path) -> LoadedEngine:
    """The engine as its kind behaves."""
    end = engine_path.read_bytes()[-40:]
    if SLOW.encode() in end:
        return _Slow(engine)
    return _Wrong(engine) if WRONG.encode() in end else engine


class _Wrapped:
    """An engine that does what another one does."""

    def __init__(self, engine: LoadedEngine) -> None:
        self._engine = engine
        self.inputs, self.outputs = engine.inputs, engine.outputs

    def infer(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return self._engine.infer(inputs)

    def timed_sessions(self, inputs: Mapping[str, Any]) -> list[Any]:
        return list(self._engine.timed_sessions(inputs))

    def close(self) -> None:
        self._engine.close()


class _Slow(_Wrapped):
    def timed_sessions(self, inputs: Mapping[str, Any]) -> list[Any]:
        return [_SlowSession(session) for session in super().timed_sessions(inputs)]


class _Wrong(_Wrapped):
    def infer(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {name: -values for name, values in super().infer(inputs).items()}


class _SlowSession:
    is_graph = False
    has_transfers = False

    def __init__(self, session: Any) -> None:
        self._session = session

    def iterate(self) -> IterationTimes:
        time.sleep(SLOW_S)
        times = self._session.iterate()
        return times._replace(compute_ms=times.compute_ms + 1000 * SLOW_S)

    def burst(self, count: int) -> float:
        return float(self._session.burst(count)) + SLOW_S * count

    def close(self) -> None:
        self._session.close()
