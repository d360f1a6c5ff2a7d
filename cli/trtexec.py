"""`farm submit --trtexec "…"`: a line for trtexec as a request, or all that stands against it at once."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cli.trtexec_build_flags import BUILD_FLAGS
from cli.trtexec_draft import Draft
from cli.trtexec_flag import Answer, Flag
from cli.trtexec_model_flags import MODEL_FLAGS
from cli.trtexec_run_flags import RUN_FLAGS
from farm.domain.errors import InvalidSpecError
from farm.domain.suggestions import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Every flag of trtexec that is known, by name.
FLAGS: dict[str, Flag] = {**MODEL_FLAGS, **BUILD_FLAGS, **RUN_FLAGS}
#: As in a script whose line goes on in the next one; a shell would have taken it out, were it not quoted.
_CONTINUED = re.compile(r"(?<!\\)\\[ \t]*(?:\r?\n|\Z)")
#: Flags that stand for one profile, or one library, each time.
_REPEATED = (
    "--profile",
    "--minShapes",
    "--optShapes",
    "--maxShapes",
    "--staticPlugins",
    "--plugins",
    "--dynamicPlugins",
)


@dataclass(frozen=True)
class Translation:
    """What a line comes to.

    Attributes:
        document: the same request under the keys of a spec file.
        input_formats: types and formats of the inputs in their order; one stands for all.
        output_formats: the same of the outputs.
        notes: flags with which nothing had to be done, and why.
    """

    document: dict[str, Any]
    input_formats: tuple[str, ...] = ()
    output_formats: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def names_formats(self) -> bool:
        """Whether the model must be looked at for the names that the formats are of."""
        return bool(self.input_formats or self.output_formats)

    def io_formats(self, inputs: Sequence[str], outputs: Sequence[str]) -> dict[str, str]:
        """The types and formats by name.

        Raises:
            InvalidSpecError: there are as many neither as tensors nor as one.
        """
        return {
            **_by_name("--inputIOFormats", self.input_formats, inputs),
            **_by_name("--outputIOFormats", self.output_formats, outputs),
        }


def translate_line(line: str) -> Translation:
    """A request from a line for trtexec.

    Raises:
        InvalidSpecError: a flag is refused, unknown or wrong; all of them are listed.
    """
    try:
        words = shlex.split(_CONTINUED.sub(" ", line))
    except ValueError as error:
        raise InvalidSpecError(f"--trtexec can not be read: {error}") from None
    if words and words[0].rpartition("/")[2] == "trtexec":
        del words[0]
    draft = Draft()
    against: list[str] = []
    notes: list[str] = []
    for flag, value, said in _flags(words, against):
        if flag.answer is Answer.REFUSED:
            against.append(f"{flag.name}: {flag.says}")
        elif flag.answer is Answer.NEEDLESS:
            if flag.only and value not in flag.only:
                against.append(f"{said}: {flag.says}")
            else:
                notes.append(f"{flag.name}: {flag.says}")
        else:
            assert flag.translate is not None  # noqa: S101 - every translated flag has one (tested)
            try:
                flag.translate(draft, value)
            except InvalidSpecError as error:
                against.append(f"{said}: {error.message}")
    document = draft.finished(against)
    if against:
        raise InvalidSpecError(
            f"{len(against)} flag(s) of the trtexec line can not be taken. " + "; ".join(against),
            hint="Leave them out, or say it the farm's way. docs/trtexec.md has every flag.",
        )
    return Translation(document, draft.input_formats, draft.output_formats, tuple(notes))


def _flags(words: Sequence[str], against: list[str]) -> Iterator[tuple[Flag, str, str]]:
    """Each flag with its value and as it was written; what is none goes to the list."""
    seen: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        flag = FLAGS.get(name)
        if not name.startswith("-"):
            against.append(f"{word!r}: no flag (trtexec writes --flag=value, without a blank)")
        elif flag is None:
            against.append(f"{name}: no flag of trtexec 8.5 to 11.1. {did_you_mean(name, FLAGS)}")
        elif flag.answer is Answer.REFUSED:
            yield flag, value, word
        elif bool(equals) != flag.takes_value:
            against.append(f"{name}: {'a value is missing' if flag.takes_value else 'it takes no value'}")
        elif name in seen and name not in _REPEATED:
            if seen[name] != value:
                against.append(f"{name}: it is given twice, as {seen[name]!r} and as {value!r}")
        else:
            seen[name] = value
            yield flag, value, word


def _by_name(flag: str, formats: tuple[str, ...], names: Sequence[str]) -> dict[str, str]:
    if len(formats) not in (0, 1, len(names)):
        raise InvalidSpecError(
            f"{flag} has {len(formats)} formats for {len(names)} tensors ({', '.join(names)})",
            hint="Give one for each, in their order, or one for all.",
        )
    return dict(zip(names, formats * len(names) if len(formats) == 1 else formats, strict=False))


def flags_as_markdown() -> str:
    """The table of all flags in docs/trtexec.md."""
    lines = ["| flag | trtexec | | what becomes of it |", "|---|---|---|---|"]
    for name in sorted(FLAGS, key=str.lower):
        flag = FLAGS[name]
        only = f"with {_span(flag.only)} alone; else refused: " if flag.only else ""
        lines.append(f"| `{flag.written}` | {flag.releases} | {flag.answer.value} | {only}{flag.says} |")
    return "\n".join(lines) + "\n"


def _span(words: tuple[str, ...]) -> str:
    """`0` to `20` in place of every number between."""
    return f"`{words[0]}` to `{words[-1]}`" if len(words) > 9 else ", ".join(f"`{word}`" for word in words)
