"""What the lines of a report are called: short, and no two of a model alike."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from cli.engine_remarks import remarks
from farm.domain.calibration import ALGORITHM_OPTION, ALGORITHMS, USUAL_ALGORITHM

if TYPE_CHECKING:
    from farm.domain.report import Line, ModelReport


def labels_of(report: ModelReport) -> dict[tuple[int, str], str]:
    """A label for every line of a model, by its key and in their order.

    `tensorrt 8.6.0 int8, calibrated (minmax)`: what all engines of a device and toolchain have in common is not in it, see
    `shared_remarks`; the device is in it only where there are several, and so is the method.
    """
    shared = _shared(report)
    several_devices = len({line.device for line in report.lines}) > 1
    several_methods = len({str(line.method) for line in report.lines}) > 1
    labels = []
    for line in report.lines:
        own = [word for word in _remarks(line) if word not in shared[_group(line)]]
        words = [f"{line.device}: " * several_devices + _what(line), *own]
        labels.append(", ".join(words + [str(line.method)] * several_methods))
    counts = Counter(labels)
    return {
        line.key: f"{label}, engine {line.engine.id}" if counts[label] > 1 else label
        for label, line in zip(labels, report.lines, strict=True)
    }


def shared_remarks(report: ModelReport) -> list[str]:
    """What all engines of a device and toolchain have in common, a text for each such pair that has anything."""
    lines = {_group(line): line for line in report.lines}
    several_devices = len({device for device, _ in lines}) > 1
    return [
        f"{lines[group].device + ', ' if several_devices else ''}{lines[group].engine.spec.target.toolchain}: "
        + ", ".join(words)
        for group, words in _shared(report).items()
        if words
    ]


def _what(line: Line) -> str:
    target = line.engine.spec.target
    # `torch 2.13.0 fp32` says as much as its word.
    if line.baseline is not None and line.baseline.word != target.toolchain.name:
        return f"{line.baseline.word} ({target.toolchain})"
    return f"{target.toolchain} {line.engine.spec.precision}"


def _remarks(line: Line) -> list[str]:
    spec = line.engine.spec
    words = [word for word in remarks(spec) if not word.startswith(f"{ALGORITHM_OPTION}=")]
    if spec.calibration is None:
        return words
    algorithm = spec.builder_config.get(ALGORITHM_OPTION, USUAL_ALGORITHM)
    name = next((word for word, known in ALGORITHMS.items() if known == algorithm), str(algorithm))
    return [word for word in words if not word.startswith("calibrated")] + [
        f"calibrated ({name}{', random samples' * spec.calibration.is_random})"
    ]


def _group(line: Line) -> tuple[str, str]:
    return line.device, line.engine.spec.target.toolchain.slug


def _shared(report: ModelReport) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = {}
    for line in report.lines:
        own = _remarks(line)
        found[_group(line)] = [word for word in found.get(_group(line), own) if word in own]
    return found
