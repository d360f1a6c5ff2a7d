"""`--baseline`: what engines are compared with, and the PyTorch model that some of it runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.context import CommaSeparated
from farm.domain.baselines import BASELINES, parse_baselines
from farm.domain.errors import InvalidSpecError
from farm.domain.model_formats import PT2, TORCHSCRIPT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cli.build_request import Wish
    from farm.bootstrap import Farm
    from farm.domain.baselines import Baseline
    from workers.export.sources import Source

#: In a wish: the file with the PyTorch model, which lives as long as the command.
PROGRAM = "program"
_SOURCES = "Submit it as MODULE:FACTORY or x.pt2 (all of them), or x.ts (torchscript)."


def baseline_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option that names baselines."""
    return click.option(
        "--baseline",
        "baselines",
        multiple=True,
        type=CommaSeparated(),
        help=f"Measure beside the engines what a user would use instead: {', '.join(BASELINES)}.",
    )(command)


def baselines_of(wish: Wish) -> tuple[Baseline, ...]:
    """The baselines of a wish.

    Raises:
        InvalidSpecError: a word is none.
    """
    return parse_baselines(wish.values.get("baseline", ()))


def program_name(wish: Wish, source: Source | None) -> str:
    """What the file is called that the baselines of a wish run; empty if none of them runs a PyTorch model.

    Args:
        wish: of the submission.
        source: the PyTorch model; none if the model is something else.

    Raises:
        InvalidSpecError: a baseline can not run what is submitted.
    """
    from workers.export.sources import SourceKind

    wanted = [baseline for baseline in baselines_of(wish) if baseline.runs_program]
    if not wanted:
        return ""
    name = Path(wish.model_path()).name
    if source is None:
        if Path(name).suffix == ".pt2":
            # As it is: it is the model itself.
            return ""
        raise InvalidSpecError(
            f"{wanted[0].word} runs a PyTorch model, and {name} is none",
            hint=f"{_SOURCES} ort-cpu runs ONNX files.",
        )
    if wish.values.get("static"):
        raise InvalidSpecError(
            f"--static fixes shapes in the ONNX file alone, and {wanted[0].word} would run the model without them",
            hint="Leave --static out, or export the model at those shapes.",
        )
    if source.kind is not SourceKind.SCRIPT:
        return "program.pt2"
    others = [baseline.word for baseline in wanted if baseline.toolchain != "torchscript"]
    if others:
        raise InvalidSpecError(
            f"{others[0]} runs a PyTorch program, and {source.text} is TorchScript: ask for torchscript",
            hint=_SOURCES,
        )
    return "program.ts"


def program_of(values: Mapping[str, Any]) -> tuple[Path | None, str, str]:
    """The file with the PyTorch model, its digest and its format; none and empty texts where there is none."""
    from farm.domain.digests import digest_of_file

    if not values.get(PROGRAM):
        return None, "", ""
    path = Path(values[PROGRAM])
    return path, digest_of_file(path).sha256, TORCHSCRIPT if path.suffix == ".ts" else PT2


def keep_program(farm: Farm, program: Path) -> None:
    """Stores the PyTorch model of a submission.

    Raises:
        StoreUnavailableError: the store can not be written.
    """
    digest = farm.store.put_file(program)
    with farm.database.transaction() as transaction:
        transaction.engines.add_artifact(digest, "program")
