"""What the MODEL argument of a command is: an ONNX file, or PyTorch's own in one of three forms."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from pathlib import Path

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
