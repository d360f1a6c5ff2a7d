"""What the MODEL argument of a command is: an ONNX file, or PyTorch's own in one of three forms."""

from __future__ import annotations

import ast
import enum
import re
from dataclasses import dataclass
from pathlib import Path

from farm.domain.errors import InvalidSpecError
from farm.domain.suggestions import did_you_mean

#: `package.module:factory`, `folder/file.py:factory`, or `folder/module:factory`, as a spec file has it that
#: lies elsewhere; what stands after the colon may have dots.
_FACTORY = re.compile(
    r"(?P<place>.+\.py|(?:.*/)?[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):(?P<attribute>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)"
)
_PROGRAM_ENDING = ".pt2"
_SCRIPT_ENDINGS = (".ts", ".pt", ".pth", ".torchscript")


class SourceKind(enum.Enum):
    """The forms that a PyTorch model comes in."""

    FACTORY = "factory"
    PROGRAM = "torch.export program"
    SCRIPT = "TorchScript"


@dataclass(frozen=True)
class Source:
    """A PyTorch model as a user names it.

    Attributes:
        kind: in which form it comes.
        text: as it was written.
        place: module (with the folder that it is looked for in, if any), `.py` file, or the file of a program.
        attribute: of a factory, what is looked up in the module; may have dots.
    """

    kind: SourceKind
    text: str
    place: str
    attribute: str = ""

    @property
    def name(self) -> str:
        """What the model is called unless somebody says otherwise: the factory's or the file's name."""
        return self.attribute.rpartition(".")[2] or Path(self.place).stem


def parse_source(text: str) -> Source | None:
    """The PyTorch model that a word means; none if it is none, such as `model.onnx`.

    A file of that name wins: `a:b` may be one.
    """
    path = Path(text)
    ending = path.suffix.lower()
    if ending == _PROGRAM_ENDING:
        return Source(SourceKind.PROGRAM, text, text)
    if ending in _SCRIPT_ENDINGS:
        return Source(SourceKind.SCRIPT, text, text)
    found = _FACTORY.fullmatch(text)
    if found is None or path.exists():
        return None
    return Source(SourceKind.FACTORY, text, found["place"], found["attribute"])


def check_place(source: Source) -> None:
    """Refuses a file that is not there, and a name that a source file can not have, before anything is imported.

    Raises:
        InvalidSpecError: so it is.
    """
    is_python = source.place.endswith(".py")
    if source.kind is SourceKind.FACTORY and not is_python:
        return
    path = Path(source.place)
    if not path.is_file():
        raise InvalidSpecError(f"{source.place}: no such file")
    if not is_python:
        return
    names = _top_level_names(path)
    first = source.attribute.partition(".")[0]
    if names is not None and first not in names:
        raise InvalidSpecError(f"{source.place} has no {first!r}", hint=did_you_mean(first, names))


def _top_level_names(path: Path) -> set[str] | None:
    """What a source file defines or imports by name; none if nobody can say without running it."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    return None if "*" in names or "__getattr__" in names else names
