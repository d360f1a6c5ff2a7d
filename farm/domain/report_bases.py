"""What the lines of a report are compared with: a baseline, a line that somebody names, or the slowest."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Sequence

from farm.domain.baselines import BASELINES
from farm.domain.errors import InvalidRequestError, NotFoundError
from farm.domain.medians import overall_ms
from farm.domain.precisions import PRECISIONS
from farm.domain.suggestions import did_you_mean

if TYPE_CHECKING:
    from farm.domain.report import Line, ModelReport

_FORMS = "Write a baseline (torch-amp), TOOLCHAIN, TOOLCHAIN:PRECISION (tensorrt@8.6:fp32), a precision, or an engine's number."


def with_bases(report: ModelReport, than: str = "") -> ModelReport:
    """The report with what its lines are compared with.

    One line that is meant is the base of all lines of its method, of whatever device. Several on different devices are
    each the base of their own device.

    Args:
        report: of one model.
        than: word for the base; empty for the first baseline of each device and method, or the slowest line.

    Raises:
        InvalidRequestError: several lines of one device and method are meant.
    """
    if not than:
        return replace(report, bases=_usual(report.lines))
    meant = [line for line in report.lines if line.figures and is_meant(line, than)]
    bases: dict[tuple[str, str], Line] = {}
    for line in meant:
        same = bases.setdefault((line.device, str(line.method)), line)
        if same is not line:
            numbers = [
                other.engine.id
                for other in meant
                if (other.device, other.method) == (line.device, line.method)
            ]
            raise InvalidRequestError(
                f"--than {than} means {len(numbers)} engines of {report.name} on {line.device}",
                hint=f"Name one by its number: {', '.join(map(str, numbers))}.",
            )
    for method in {str(line.method) for line in meant}:
        of_method = [line for (_, own), line in bases.items() if own == method]
        if len(of_method) == 1:
            devices = {line.device for line in report.lines}
            bases.update({(device, method): of_method[0] for device in devices})
    return replace(report, bases=bases)


def check_found(reports: Sequence[ModelReport], than: str) -> None:
    """Refuses a word that means no line at all.

    Raises:
        NotFoundError: the word means something that was not measured.
        InvalidRequestError: it means nothing.
    """
    if not than or any(report.bases for report in reports):
        return
    if any(is_meant(line, than) for report in reports for line in report.lines):
        raise NotFoundError(
            f"what --than {than} means was not timed by this method",
            hint="Name a method that it was timed by: --method plain.",
        )
    toolchains = {line.engine.spec.target.toolchain.name for report in reports for line in report.lines}
    known = (*BASELINES, *PRECISIONS, *sorted(toolchains))
    if than in known or than.isdigit():
        raise NotFoundError(f"no engine of this report is meant by --than {than}", hint=_FORMS)
    raise InvalidRequestError(f"--than {than} means nothing. {did_you_mean(than, known)}", hint=_FORMS)


def is_meant(line: Line, word: str) -> bool:
    """Whether a word means a line: a baseline, a toolchain and a precision, either alone, or an engine's number."""
    spec = line.engine.spec
    if word.isdigit():
        return line.engine.id == int(word)
    if word in BASELINES:
        return line.baseline == BASELINES[word]
    if word.lower() in PRECISIONS:
        return spec.precision == word.lower()
    toolchain, _, precision = word.partition(":")
    return spec.target.toolchain.matches(toolchain) and precision.lower() in ("", spec.precision)


def _usual(lines: Sequence[Line]) -> dict[tuple[str, str], Line]:
    groups: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        if line.figures:
            groups.setdefault((line.device, str(line.method)), []).append(line)
    return {key: _first_baseline(own) or _slowest(own) for key, own in groups.items()}


def _first_baseline(lines: Sequence[Line]) -> Line | None:
    """PyTorch as it is before all others, since most people come from there."""
    for baseline in BASELINES.values():
        for line in lines:
            if line.baseline == baseline:
                return line
    return None


def _slowest(lines: Sequence[Line]) -> Line:
    """By the geometric mean over the shapes that all have, or over its own where they share none."""
    shared = set.intersection(*(set(line.figures) for line in lines))

    def overall(line: Line) -> float:
        own = {
            n: line.figures[s].measurement.compute.median_ms
            for n, s in enumerate(sorted(shared) or line.figures)
        }
        return overall_ms(own)

    return max(lines, key=overall)
