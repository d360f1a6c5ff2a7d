"""`farm submit --trtexec "…"`: the line as a wish, as if a spec file had said it."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli.context import settings_of
from cli.render import show_note
from cli.shape_options import PROFILES
from farm.domain.errors import InvalidRequestError, InvalidSpecError, UnsupportedTargetError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import click

    from cli.build_request import Wish

#: Mappings in which single values of the command line win, and the others stay.
_MERGED = ("set",)
#: Paths in it are relative to where the command runs.
_SOURCE = Path("--trtexec")


def with_trtexec(ctx: click.Context, wish: Wish, line: str, options: dict[str, Any]) -> Wish:
    """A wish with a trtexec line on top of it, and the options of the command line on top of both.

    Args:
        ctx: of the command.
        wish: of the spec file.
        line: for trtexec.
        options: of the command line, under the names of a spec file.

    Raises:
        InvalidSpecError: flags of the line are refused; all of them are listed.
    """
    from cli.spec_files import wish_of
    from cli.trtexec import translate_line

    translation = translate_line(line)
    for note in translation.notes:
        show_note(note)
    said = wish_of(translation.document, _SOURCE).overridden_by({})
    merged = {
        key: {**said.values[key], **options[key]}
        for key in _MERGED
        if key in said.values and options.get(key)
    }
    whole = wish.overridden_by(said.values).overridden_by({**options, **merged})
    if translation.names_formats and not options.get("io_formats"):
        from farm.storage.model_cache import ModelCache

        # trtexec gives formats by the order of the model's inputs and outputs.
        if whole.model_path().suffix != ".onnx":
            raise InvalidSpecError(
                "--inputIOFormats and --outputIOFormats go by the order of an ONNX file's inputs and outputs",
                hint="For other models name them: --io-formats input:fp16:chw.",
            )
        model = ModelCache(settings_of(ctx).home / "models").read(whole.model_path())
        formats = translation.io_formats(
            [tensor.name for tensor in model.inputs], [tensor.name for tensor in model.outputs]
        )
        checked = wish_of({"io_formats": formats}, _SOURCE).values
        whole = whole.overridden_by(checked)
    return whole


@contextmanager
def hints_for_trtexec(wish: Wish) -> Iterator[None]:
    """What to do about a refusal, for people who have a trtexec line, where trtexec does something unasked.

    Args:
        wish: with the line in it.

    Raises:
        InvalidRequestError: as it came, with another hint.
    """
    try:
        yield
    except InvalidRequestError as error:
        error.hint = _hint(wish, error) or error.hint
        raise


def _hint(wish: Wish, error: InvalidRequestError) -> str:
    values = wish.values
    if isinstance(error, UnsupportedTargetError) and values.get("precision") == ("tf32",):
        return "As with trtexec, TF32 is on unless the line says --noTF32: add that, or --precision fp32 beside the line."
    if not any(values.get(key) for key in (*PROFILES, "batch", "static")) and "needs shapes" in error.message:
        return (
            "trtexec would set what is dynamic to 1. The farm asks: --batch 1 beside the line says just that where only "
            "the batch is dynamic; else give --minShapes=…, --optShapes=… and --maxShapes=… in it."
        )
    return ""
