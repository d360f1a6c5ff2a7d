"""What a toolchain says it can do: the answer to a probe, and the rules that follow from it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import Any, Mapping, Tuple

from farm.domain.errors import InvalidSpecError
from farm.domain.suggestions import did_you_mean
from farm.domain.targets import DeviceKind, DeviceType, ToolchainId

PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "int8", "int8+fp16", "fp8")
_SIZES = {"": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "kb": 10**3, "mb": 10**6, "gb": 10**9}


@dataclass(frozen=True)
class BuilderOption:
    """One option of a builder, named as the toolchain names it.

    Attributes:
        name: TensorRT's attribute name, such as `builder_optimization_level`; members of a group are
            written with a dot, such as `memory_pool_limits.WORKSPACE`.
        kind: `int`, `bool`, `bytes` (a size such as `4GiB`), `choice`, or `signed-set` (a set of
            `+NAME` and `-NAME`, relative to the toolchain's default).
        default: what the toolchain does when the option is not given, as a canonical value.
        choices: the words that a `choice` or `signed-set` may use.
        minimum: least value of an `int` or `bytes`.
        maximum: greatest value of an `int`.
        help: one line for people.
    """

    name: str
    kind: str
    default: Any = None
    choices: Tuple[str, ...] = ()
    minimum: int = 0
    maximum: int = 2**62
    help: str = ""

    def parse(self, value: Any) -> Any:
        """The canonical value of what a user wrote.

        Raises:
            InvalidSpecError: the value does not fit.
        """
        text = str(value).strip()
        if self.kind == "bool":
            if text.lower() not in ("true", "false", "1", "0", "on", "off", "yes", "no"):
                raise self._refusal(value, "write true or false")
            return text.lower() in ("true", "1", "on", "yes")
        if self.kind == "choice":
            if text.upper() not in self.choices:
                raise self._refusal(value, did_you_mean(text.upper(), self.choices))
            return text.upper()
        if self.kind == "signed-set":
            return self._parse_signed_set(value)
        number = _parse_number(text, allow_unit=self.kind == "bytes")
        if number is None or not self.minimum <= number <= self.maximum:
            span = f"{self.minimum} to {self.maximum}" if self.maximum < 2**62 else f"at least {self.minimum}"
            unit = ", with or without a unit such as GiB" if self.kind == "bytes" else ""
            raise self._refusal(value, f"a whole number, {span}{unit}")
        return number

    def _parse_signed_set(self, value: Any) -> list[str]:
        words = value if isinstance(value, (list, tuple)) else [w for w in str(value).split(",") if w.strip()]
        chosen: dict[str, str] = {}
        for raw in words:
            word = str(raw).strip().upper()
            sign, name = (word[0], word[1:]) if word[:1] in ("+", "-") else ("+", word)
            if name not in self.choices:
                raise self._refusal(raw, did_you_mean(name, self.choices))
            if chosen.setdefault(name, sign) != sign:
                raise self._refusal(value, f"{name} is both added and removed")
        return sorted(sign + name for name, sign in chosen.items())

    def _refusal(self, value: Any, why: str) -> InvalidSpecError:
        return InvalidSpecError(f"{self.name} can not be {value!r}: {why}")


@dataclass(frozen=True)
class ToolchainDescription:
    """The answer to a probe: what one installed toolchain is and can do.

    Attributes:
        id: name, exact version, variant.
        precisions: each known precision, with an empty text if the toolchain does it and else the
            reason why it does not.
        options: what its builder takes.
        serves: the kind of device that it builds for.
        compute_capabilities: for `COMPUTE_CAPABILITY`, the ones it targets; for `GPU`, the lowest
            and the highest that it supports.
        needs_device: whether building needs such a device in the host.
        precision_options: precision-specific notes, how each one is honoured, for people.
        max_opset: the newest ONNX operator set that its parser knows; 0 if not known.
        input_dtypes: element types that an input or output may have; empty if any.
    """

    id: ToolchainId
    precisions: Mapping[str, str]
    options: Tuple[BuilderOption, ...] = ()
    serves: DeviceKind = DeviceKind.GPU
    compute_capabilities: Tuple[str, ...] = ()
    needs_device: bool = True
    precision_notes: Mapping[str, str] = field(default_factory=dict)
    max_opset: int = 0

    def can_serve(self, device_type: DeviceType) -> bool:
        """Whether the toolchain builds for a type of device at all."""
        if device_type.kind is not self.serves:
            return False
        if self.serves is DeviceKind.COMPUTE_CAPABILITY:
            return device_type.compute_capability in self.compute_capabilities
        if self.serves is DeviceKind.GPU and self.compute_capabilities:
            low, high = map(_number_pair, (self.compute_capabilities[0], self.compute_capabilities[-1]))
            return low <= _number_pair(device_type.compute_capability) <= high
        return True

    def why_not(self, precision: str) -> str:
        """Why the toolchain can not build with a precision; empty if it can."""
        if precision not in PRECISIONS:
            return f"unknown precision {precision!r}. {did_you_mean(precision, PRECISIONS)}"
        return self.precisions.get(precision, f"{precision} is not supported yet by {self.id}")

    @property
    def supported_precisions(self) -> tuple[str, ...]:
        """The precisions that it can build with, in the farm's order."""
        return tuple(p for p in PRECISIONS if self.precisions.get(p, "no") == "")

    def normalise(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Canonical options: checked, and without those that say what is the default anyway.

        Dropping a value that equals the default gives the same key to a spec that spells it out
        and one that does not, and lets a later release of the farm learn new options without
        disowning every engine that is already filed (docs/engine-key.md).

        Raises:
            InvalidSpecError: an option or its value is unknown.
        """
        known = {option.name: option for option in self.options}
        chosen = {}
        for name, value in options.items():
            if name not in known:
                raise InvalidSpecError(
                    f"{self.id} has no builder option {name!r}", hint=did_you_mean(name, known)
                )
            parsed = known[name].parse(value)
            if parsed != known[name].default:
                chosen[name] = parsed
        return chosen

    def as_json(self) -> dict[str, Any]:
        """The form in JSON, for the probe's answer and for SQL."""
        return {
            **asdict(self),
            "id": self.id.as_json(),
            "serves": self.serves.value,
            "precisions": dict(self.precisions),
            "precision_notes": dict(self.precision_notes),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ToolchainDescription:
        """The inverse of `as_json`."""
        options = tuple(
            BuilderOption(**{**option, "choices": tuple(option["choices"])}) for option in value["options"]
        )
        return cls(
            **{
                **value,
                "id": ToolchainId.from_json(value["id"]),
                "serves": DeviceKind(value["serves"]),
                "options": options,
                "compute_capabilities": tuple(value["compute_capabilities"]),
            }
        )


def _parse_number(text: str, *, allow_unit: bool) -> int | None:
    found = re.fullmatch(r"(-?\d+)\s*([a-zA-Z]*)", text)
    if not found or (found[2] and not allow_unit):
        return None
    unit = _SIZES.get(found[2].lower())
    return None if unit is None else int(found[1]) * unit


def _number_pair(capability: str) -> tuple[int, int]:
    major, _, minor = capability.partition(".")
    return int(major or 0), int(minor or 0)
