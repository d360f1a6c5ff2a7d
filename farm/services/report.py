"""A report of models: reads engines with their runs, and puts them side by side."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from farm.domain.baselines import BASELINES
from farm.domain.methods import Method
from farm.domain.precisions import PRECISIONS
from farm.domain.report import ModelReport, figures_of, lines_of, usual_methods
from farm.domain.report_bases import check_found, with_bases

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from farm.domain.filing import Engine
    from farm.domain.report import Line, Wanted
    from farm.domain.work import ModelName
    from farm.services.ports import Transaction


def reported_names(transaction: Transaction, words: Sequence[str]) -> list[ModelName]:
    """The versions that words mean, or the newest version of every name, by name.

    Raises:
        NotFoundError: a word means none.
    """
    if words:
        found = [transaction.models.named(word) for word in words]
        return list({(name.name, name.version): name for name in found}.values())
    newest = {name.name: name for name in sorted(transaction.models.names(), key=lambda name: name.version)}
    return [newest[name] for name in sorted(newest)]


def keys_with_tag(transaction: Transaction, tag: tuple[str, str]) -> frozenset[str]:
    """The keys of everything that some submission with a tag asked for."""
    name, value = tag
    return frozenset(
        cell.spec.digest.sha256
        for submission in transaction.jobs.submissions(sys.maxsize)
        if submission.tags.get(name) == value
        for cell in submission.cells
    )


def make_report(
    transaction: Transaction,
    names: Sequence[ModelName],
    wanted: Wanted,
    passes: Callable[[Engine], bool],
    than: str = "",
) -> list[ModelReport]:
    """The engines of every model side by side; models without any are left out.

    Args:
        transaction: to read with.
        names: of the models.
        wanted: which figures.
        passes: which engines.
        than: what they are compared with, as `farm.domain.report_bases` has it.

    Raises:
        InvalidRequestError: `than` means nothing, or too much.
        NotFoundError: `than` means nothing that was measured.
    """
    slugs = {device_type: slug for slug, device_type in transaction.fleet.device_types().items()}
    of_model = {
        name: [
            engine for engine in transaction.engines.engines(model_sha256=name.model_sha256) if passes(engine)
        ]
        for name in names
    }
    reports = []
    for name, engines in of_model.items():
        figures = {engine.id: figures_of(engine, wanted) for engine in engines}
        methods = wanted.methods or usual_methods(figures.values()) or (Method(),)
        lines = [
            line
            for engine in engines
            if engine.own_runs
            for line in lines_of(
                engine,
                slugs[engine.spec.target.device_type],
                figures[engine.id],
                methods,
                with_tainted=wanted.with_tainted,
            )
        ]
        if engines:
            never_run = tuple(engine for engine in engines if not engine.own_runs)
            report = ModelReport(name, tuple(sorted(lines, key=_order)), never_run=never_run)
            reports.append(with_bases(report, than))
    check_found(reports, than)
    return reports


def _order(line: Line) -> tuple[object, ...]:
    """Baselines first, PyTorch before all, then as a person reads the parts of the key."""
    toolchain = line.engine.spec.target.toolchain
    words = list(BASELINES)
    return (
        words.index(line.baseline.word) if line.baseline else len(words),
        line.device,
        toolchain.name,
        toolchain.version_order,
        PRECISIONS.index(line.engine.spec.precision),
        line.engine.id,
        str(line.method),
    )
