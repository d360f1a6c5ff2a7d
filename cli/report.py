"""`farm report`: models, baselines and precisions side by side, in the tables that everybody publishes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.context import CommaSeparated, Pairs, flattened, json_option, opened
from cli.render import show_json, show_line, show_note, show_table, show_text
from farm.domain.errors import InvalidRequestError

if TYPE_CHECKING:
    from farm.domain.methods import Method
    from farm.domain.report import ModelReport, Wanted
    from farm.services.ports import Transaction


@dataclass(frozen=True)
class _Forms:
    """What the report is written as, and where to."""

    markdown: bool
    csv: bool
    json: bool
    html: Path | None
    png: Path | None

    @property
    def is_to_files(self) -> bool:
        """Whether it is not printed at all."""
        return bool(self.html or self.png) and not (self.markdown or self.csv or self.json)


@click.command(short_help="Compare engines and baselines of models, as tables, charts or a page.")
@click.argument("models", metavar="[MODEL]...", nargs=-1)
@click.option("--gpu", multiple=True, type=CommaSeparated(), help="Only of these device types: h200,cpu …")
@click.option("--toolchain", multiple=True, type=CommaSeparated(), help="Only of these: tensorrt@8.6,torch …")
@click.option("--precision", multiple=True, type=CommaSeparated(), help="Only of these: fp16,int8 …")
@click.option("--batch", multiple=True, type=CommaSeparated(), help="Only at these batch sizes: 1,8,32.")
@click.option("--since", help="Only what was measured since: 30d, 12h, 4w, or a date such as 2026-11-01.")
@click.option("--tag", type=Pairs(), help="Only what a submission with this tag asked for: NAME=VALUE.")
@click.option(
    "--method",
    "methods",
    multiple=True,
    type=CommaSeparated(),
    help="Only timed so: plain, cuda-graph, plain-compute … [default: the one way that most were timed by]",
)
@click.option(
    "--tainted", is_flag=True, help="Also figures that something disturbed, marked, where no other is."
)
@click.option(
    "--than",
    default="",
    metavar="WORD",
    help="What speed-ups are against: torch-amp, tensorrt:fp32, fp32, or an engine's number. "
    "[default: PyTorch where it was measured, else the slowest]",
)
@click.option(
    "--samples",
    multiple=True,
    type=CommaSeparated(),
    help="Also the runtime and FPS for so many inferences, computed from the throughput: 1000,10000.",
)
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page with charts.")
@click.option(
    "--png", type=click.Path(file_okay=False, path_type=Path), help="Write the charts to this folder."
)
@click.option("--markdown", "as_markdown", is_flag=True, help="Print Markdown.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, a row for each figure.")
@json_option
@click.pass_context
def report(
    ctx: click.Context,
    /,
    models: tuple[str, ...],
    html: Path | None,
    png: Path | None,
    as_markdown: bool,
    as_csv: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Put the engines and baselines of each MODEL side by side; of all models by default.

    Time per batch, throughput, speed-up, accuracy and build time, each with the engine and the run that it is from.

    \b
    farm report resnet50 --gpu h200
    farm report resnet50 --gpu h200,cpu --than torch-amp --html resnet50.html
    farm report unet --batch 1,4,8 --samples 1000,10000 --markdown
    """
    if as_markdown + as_csv + as_json > 1:
        raise InvalidRequestError("one of --markdown, --csv and --json can be printed at a time")
    samples = _numbers("--samples", given["samples"])
    farm = opened(ctx)
    with farm.database.reading() as transaction:
        reports = _read(transaction, models, given)
    _write(reports, samples, _Forms(as_markdown, as_csv, as_json, html, png))


def _read(transaction: Transaction, models: tuple[str, ...], given: dict[str, Any]) -> list[ModelReport]:
    from cli.report_filter import read_report_filter
    from farm.services.report import make_report, reported_names

    passes = read_report_filter(transaction, given)
    wanted = _wanted(transaction, given)
    return make_report(transaction, reported_names(transaction, models), wanted, passes, given["than"])


def _wanted(transaction: Transaction, given: dict[str, Any]) -> Wanted:
    from cli.moments import begin_of
    from farm.domain.report import Wanted

    return Wanted(
        methods=tuple(dict.fromkeys(way for word in flattened(given["methods"]) for way in _methods(word))),
        batches=_numbers("--batch", given["batch"]),
        since=begin_of(given["since"], transaction.now()) if given["since"] else None,
        with_tainted=given["tainted"],
    )


def _methods(word: str) -> tuple[Method, ...]:
    """The ways of timing that a word means: one, or those of a set such as `trtexec-11`."""
    from farm.domain.methods import METHOD_WORDS, SETS, Method

    try:
        return SETS.get(word) or (Method.from_name(word),)
    except ValueError as error:
        raise InvalidRequestError(
            str(error), hint=f"There are {', '.join(METHOD_WORDS)}, with -s4 or -flushed behind."
        ) from error


def _numbers(option: str, given: tuple[tuple[str, ...], ...]) -> tuple[int, ...]:
    words = flattened(given)
    if not all(word.isdecimal() and int(word) for word in words):
        raise InvalidRequestError(f"{option} takes whole numbers from 1 on, such as 1,8,32")
    return tuple(dict.fromkeys(map(int, words)))


def _write(reports: list[ModelReport], samples: tuple[int, ...], forms: _Forms) -> None:
    from cli.report_files import write_charts, write_page

    if reports and forms.html:
        write_page(forms.html, reports, samples)
        show_note(f"page written to {forms.html}")
    if reports and forms.png:
        count = len(write_charts(forms.png, reports))
        show_note(f"{count} charts written to {forms.png}")
    if forms.json:
        from cli.report_documents import document

        show_json(document(reports, samples))
    elif forms.csv:
        from cli.report_documents import csv_text

        show_text(csv_text(reports, samples))
    elif forms.markdown:
        from cli.report_markdown import markdown

        show_text(markdown(reports, samples))
    elif not forms.is_to_files or not reports:
        _show(reports, samples)


def _show(reports: list[ModelReport], samples: tuple[int, ...]) -> None:
    from cli.report_notes import notes_of
    from cli.report_tables import tables_of

    if not reports:
        show_note("No filed engine matches; `farm engines` lists all.")
    for found in reports:
        for table in tables_of(found, samples):
            if not table.rows:
                continue
            show_line(f"{found.name}: {table.title}")
            show_line(table.note)
            show_table(table.columns, [[cell.text for cell in row] for row in table.rows])
            show_line()
        for note in notes_of(found):
            show_line(note)
