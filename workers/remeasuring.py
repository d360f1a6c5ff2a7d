"""Measures again what something disturbed, and keeps the better figures of every shape."""

from __future__ import annotations

import logging
import shutil
import zipfile
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from farm.domain.io_formats import IO_SCALES
from farm.domain.taints import in_words, passing_taints
from workers.child.timed_call import samples_name
from workers.confinement import is_own_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from farm.domain.benchmarks import Measurement
    from workers.child.requests import AttemptRequest, AttemptResult

_log = logging.getLogger(__name__)
#: How often a benchmark on a GPU is made again at most, where nobody says otherwise.
TIMES_ON_GPU = 2
#: A CPU is disturbed by the host's other work, which mostly goes on: making it again takes time and finds the same.
TIMES_ON_CPU = 0
#: Raw samples beyond this are no benchmark's.
_MOST_SAMPLES_BYTES = 1 << 30


@dataclass(frozen=True)
class Disturbed:
    """What a child measured and what was not kept as the attempt's own.

    Attributes:
        measurements: of the shapes that another child has measured better.
        samples_path: the raw samples of all that the child measured; none if there are none.
    """

    measurements: tuple[Measurement, ...]
    samples_path: Path | None


def measure_again(
    request: AttemptRequest,
    result: AttemptResult,
    *,
    times: int,
    is_cpu: bool,
    run: Callable[[AttemptRequest, str], AttemptResult | None],
) -> tuple[AttemptResult, tuple[Disturbed, ...]]:
    """Measures the shapes with passing taints again, until they are clean or it was tried often enough.

    Args:
        request: what the child was asked.
        result: what it answered, its measurements judged by who watched.
        times: how often at most.
        is_cpu: whether the device is the host's CPU.
        run: runs a request whose engine is there, given why; none if there is no time for it, or it failed.

    Returns:
        The result with the best figures of every shape: the clean ones, else those with fewest taints, the newest of
        equals. And what is not in it, oldest first.
    """
    rounds = _Rounds(request, result)
    for number in range(2, times + 2):
        shapes = rounds.disturbed(is_cpu=is_cpu)
        if not shapes:
            break
        again = rounds.request(shapes, number)
        why = in_words([t for m in rounds.kept() if _shape(m) in shapes for t in m.taints])
        rounds.begin_again()
        found = run(again, why)
        if found is None:
            break
        rounds.add(found.measurements, again.samples_path)
    return rounds.ended()


class _Rounds:
    """The children that measured, and which of them is best for every shape."""

    def __init__(self, request: AttemptRequest, result: AttemptResult) -> None:
        self._request = request
        self._result = result
        self._rounds: list[tuple[tuple[Measurement, ...], Path | None]] = [
            (result.measurements, request.samples_path)
        ]

    def kept(self) -> tuple[Measurement, ...]:
        """The best measurements of every shape, in the order of the first round."""
        best = self._best()
        order = dict.fromkeys(_shape(m) for m in self._result.measurements)
        return tuple(m for shape in order for m in self._of(best[shape], shape))

    def disturbed(self, *, is_cpu: bool) -> set[Any]:
        """The shapes whose best measurements have taints that may pass."""
        return {_shape(m) for m in self.kept() if passing_taints(m, is_cpu=is_cpu)}

    def request(self, shapes: set[Any], number: int) -> AttemptRequest:
        """Asks for some shapes of the engine that is there, and for nothing else."""
        request, build = self._request, self._result.build
        benchmark, samples = request.benchmark, request.samples_path
        return replace(
            request,
            build=None,
            series=None,
            is_verified=True,
            benchmark=benchmark and replace(benchmark, profile=False, nsys=False),
            profile_path=None,
            histogram_path=None,
            timed_calls=tuple(
                call for call in request.timed_calls if _key(call.batch, call.shapes) in shapes
            ),
            samples_path=samples and samples.with_name(f"{number}.{samples.name}"),
            io_scales=(build.details if build else {}).get(IO_SCALES) or request.io_scales,
        )

    def begin_again(self) -> None:
        """Makes room for the samples of what will be kept: those of the first round get a name of their own."""
        measurements, samples = self._rounds[0]
        if len(self._rounds) == 1 and samples is not None and samples == self._request.samples_path:
            own = samples.with_name(f"1.{samples.name}")
            if is_own_file(samples):
                samples.rename(own)
            self._rounds[0] = (measurements, own)

    def add(self, measurements: Sequence[Measurement], samples: Path | None) -> None:
        """Notes what another child has measured."""
        self._rounds.append((tuple(measurements), samples))

    def ended(self) -> tuple[AttemptResult, tuple[Disturbed, ...]]:
        """What is kept, its samples where the request wants them; and what is not."""
        best, kept = self._best(), self.kept()
        left = []
        for number, (measurements, samples) in enumerate(self._rounds):
            others = tuple(m for m in measurements if best.get(_shape(m)) != number)
            if others:
                left.append(Disturbed(others, samples if samples and is_own_file(samples) else None))
        self._place_samples(best)
        return replace(self._result, measurements=kept), tuple(left)

    def _best(self) -> dict[Any, int]:
        """For every shape the round with the fewest tainted measurements, then taints; the last of equals."""
        best: dict[Any, tuple[tuple[int, int], int]] = {}
        for number, (measurements, _) in enumerate(self._rounds):
            for shape in dict.fromkeys(map(_shape, measurements)):
                found = self._of(number, shape)
                tainted = sum(bool(m.taints) for m in found), sum(len(m.taints) for m in found)
                if shape not in best or tainted <= best[shape][0]:
                    best[shape] = (tainted, number)
        return {shape: number for shape, (_, number) in best.items()}

    def _of(self, number: int, shape: Any) -> list[Measurement]:
        return [m for m in self._rounds[number][0] if _shape(m) == shape]

    def _place_samples(self, best: dict[Any, int]) -> None:
        wanted, first = self._request.samples_path, self._rounds[0][1]
        if wanted is None or first is None or first == wanted:
            return
        entries = {
            samples_name(m): samples
            for number, (measurements, samples) in enumerate(self._rounds)
            for m in measurements
            if samples is not None and best.get(_shape(m)) == number
        }
        try:
            # Whatever a child left there is not written through.
            wanted.unlink(missing_ok=True)
            _put_together(entries, wanted)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            _log.warning("the raw samples of what was measured again are not kept: %s", error)
            with suppress(OSError):
                wanted.unlink(missing_ok=True)


def _put_together(entries: Mapping[str, Path], path: Path) -> None:
    """Writes a new file of arrays with arrays of others, without looking into them.

    Args:
        entries: the file of every array, by the array's name.
        path: where to.

    Raises:
        OSError: a file can not be read or written.
        KeyError: there is no such array.
        BadZipFile: a file holds something else.
        ValueError: there is too much of it.
    """
    size = 0
    with zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED) as target:
        for name, source_path in entries.items():
            if not is_own_file(source_path):
                raise ValueError(f"{source_path.name} is no file")
            with zipfile.ZipFile(source_path) as source:
                entry = source.getinfo(f"{name}.npy")
                size += entry.file_size
                if size > _MOST_SAMPLES_BYTES:
                    raise ValueError(f"more than {_MOST_SAMPLES_BYTES} bytes")
                with source.open(entry) as stream, target.open(entry.filename, "w") as copy:
                    shutil.copyfileobj(stream, copy)


def _shape(measurement: Measurement) -> tuple[Any, ...]:
    return _key(measurement.batch, measurement.shapes)


def _key(batch: int, shapes: Any) -> tuple[Any, ...]:
    return (batch, *sorted((name, tuple(shape)) for name, shape in shapes.items()))
