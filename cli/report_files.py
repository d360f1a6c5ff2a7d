"""Writes a report's page and its charts as files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm.domain.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from farm.domain.report import ModelReport


def write_page(path: Path, reports: Sequence[ModelReport], samples: Sequence[int]) -> None:
    """Writes the page.

    Raises:
        ConflictError: matplotlib is not installed.
        InvalidRequestError: the file can not be written.
    """
    from cli.report_html import page

    _write(path, page(reports, samples).encode())


def write_charts(folder: Path, reports: Sequence[ModelReport]) -> list[Path]:
    """Writes every chart as `MODEL-VERSION-KIND.png`; these files.

    Raises:
        ConflictError: matplotlib is not installed.
        InvalidRequestError: a file can not be written.
    """
    from cli.report_drawing import settings

    with settings():
        charts = dict(_charts(reports))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidRequestError(f"{folder} can not be made: {error.strerror}") from error
    for name, content in charts.items():
        _write(folder / name, content)
    return [folder / name for name in charts]


def _charts(reports: Sequence[ModelReport]) -> Iterator[tuple[str, bytes]]:
    from cli.report_charts import charts_of
    from cli.report_drawing import add_legend, add_title, png_bytes
    from cli.report_panels import panels_of

    panels = [panel for report in reports for panel in panels_of(report)]
    slugs = [panel.slug for panel in panels]
    for at, panel in enumerate(panels):
        # Names of models may differ in what no file name should have.
        again = slugs[:at].count(panel.slug)
        slug = f"{panel.slug}-{again + 1}" if again else panel.slug
        labels = [panel.labels[line.key] for line in panel.report.lines]
        for chart in charts_of(panel):
            if not chart.has_names:
                add_legend(chart.drawing, labels)
            add_title(
                chart.drawing, ", ".join(filter(None, (str(panel.report.name), panel.name))), chart.title
            )
            yield f"{slug}-{chart.kind}.png", png_bytes(chart.drawing)


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise InvalidRequestError(f"{path} can not be written: {error.strerror}") from error
