"""Which operator set and which exporter an export takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from farm.domain.errors import InvalidSpecError
from workers.export.request import Exporter
from workers.export.sources import SourceKind

if TYPE_CHECKING:
    from workers.export.request import ExportRequest

#: The oldest set that torch.onnx has dynamo implementations for.
OLDEST_DYNAMO = 18
#: What the dynamo exporter writes where nobody limits it: read by TensorRT 10.0 and later, ONNX Runtime 1.20.
USUAL_DYNAMO = 20
NEWEST_DYNAMO = 23
#: How far ONNX's version converter is asked to bring down what the dynamo exporter wrote.
OLDEST_CONVERTED = 15
#: The legacy exporter's range, and what it writes where nobody asks: read by TensorRT 8.5 and later.
OLDEST_LEGACY, NEWEST_LEGACY, USUAL_LEGACY = 9, 20, 17


@dataclass(frozen=True)
class Way:
    """One way to an ONNX file.

    Attributes:
        exporter: which one writes.
        opset: of the file.
        why: the reason, where it is not the usual way.
    """

    exporter: Exporter
    opset: int
    why: str = ""

    @property
    def written_opset(self) -> int:
        """What the exporter writes; a version converter does the rest."""
        return max(self.opset, OLDEST_DYNAMO) if self.exporter is Exporter.DYNAMO else self.opset

    def __str__(self) -> str:
        """`the legacy exporter, opset 17 (TorchScript has no other)`."""
        return f"the {self.exporter.value} exporter, opset {self.opset}{f' ({self.why})' if self.why else ''}"


def ways(request: ExportRequest) -> tuple[Way, ...]:
    """The ways to try, best first.

    Raises:
        InvalidSpecError: what is asked for contradicts itself.
    """
    limit = request.max_opset
    if request.opset and limit and request.opset > limit:
        raise InvalidSpecError(
            f"opset {request.opset} is newer than what {request.limited_by} reads, which is {limit}",
            hint=f"--opset {limit}, or leave it out.",
        )
    wanted = request.opset or limit
    is_script = request.source.kind is SourceKind.SCRIPT
    if is_script and request.exporter is Exporter.DYNAMO:
        raise InvalidSpecError(
            "the dynamo exporter takes no TorchScript", hint="Leave --exporter out, or name MODULE:FACTORY."
        )
    if request.source.kind is SourceKind.PROGRAM and request.exporter is Exporter.LEGACY:
        # Tracing a program would turn all that its export kept dynamic into constants.
        raise InvalidSpecError("the legacy exporter takes no .pt2 program", hint="Leave --exporter out.")
    if is_script:
        return (_legacy(request, wanted, "TorchScript has no other"),)
    if request.exporter is Exporter.LEGACY:
        return (_legacy(request, wanted, "asked for"),)
    if not wanted or wanted >= OLDEST_DYNAMO:
        return (_dynamo(request, wanted),)
    converted = Way(Exporter.DYNAMO, wanted, f"written in opset {OLDEST_DYNAMO}, converted to {wanted}")
    whose = f"{request.limited_by} reads opset {wanted}" if not request.opset else f"opset {wanted} is wanted"
    why = f"{whose}, and the dynamo exporter begins at {OLDEST_DYNAMO}"
    if request.exporter is Exporter.DYNAMO or request.source.kind is SourceKind.PROGRAM:
        if wanted < OLDEST_CONVERTED:
            raise InvalidSpecError(
                f"the dynamo exporter writes opset {OLDEST_CONVERTED} and later, not {wanted}",
                hint="MODULE:FACTORY with --exporter legacy knows older ones.",
            )
        return (converted,)
    first = _legacy(request, wanted, why)
    return (first, converted) if wanted >= OLDEST_CONVERTED else (first,)


def _legacy(request: ExportRequest, wanted: int, why: str) -> Way:
    opset = request.opset or min(USUAL_LEGACY, wanted or USUAL_LEGACY)
    if not OLDEST_LEGACY <= opset <= NEWEST_LEGACY:
        raise InvalidSpecError(
            f"the legacy exporter writes opset {OLDEST_LEGACY} to {NEWEST_LEGACY}, not {opset}",
            hint="The dynamo exporter writes newer ones.",
        )
    return Way(Exporter.LEGACY, opset, why)


def _dynamo(request: ExportRequest, wanted: int) -> Way:
    opset = request.opset or min(USUAL_DYNAMO, wanted or USUAL_DYNAMO)
    if opset > NEWEST_DYNAMO:
        raise InvalidSpecError(f"the dynamo exporter writes opset {NEWEST_DYNAMO} at most, not {opset}")
    return Way(Exporter.DYNAMO, opset)
