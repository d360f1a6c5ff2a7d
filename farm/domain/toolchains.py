"""What a toolchain says it can do: the answer to a probe, and the rules that follow from it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import Any, Collection, Mapping, Tuple

from farm.domain.errors import InvalidSpecError
from farm.domain.option_releases import where_it_is
from farm.domain.option_rules import check_together
from farm.domain.precisions import PRECISIONS
from farm.domain.suggestions import did_you_mean
from farm.domain.targets import DeviceKind, DeviceType, ToolchainId

_SIZES = {"": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "kb": 10**3, "mb": 10**6, "gb": 10**9}


@dataclass(frozen=True)
class BuilderOption:
    """One option of a builder, named as the toolchain names it.

    Attributes:
        name: TensorRT's attribute name, such as `builder_optimization_level`; members of a group are
            written with a dot, such as `memory_pool_limits.WORKSPACE`.
        kind: `int`, `bool`, `bytes` (a size such as `4GiB`), `choice`, `signed-set` (a set of
            `+NAME` and `-NAME`, relative to the toolchain's default), or `names` (a set of names of the model's).
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
        if self.kind == "names":
            return sorted({str(name).strip() for name in _words(value)})
        number = _parse_number(text, allow_unit=self.kind == "bytes")
        if number is None or not self.minimum <= number <= self.maximum:
            span = f"{self.minimum} to {self.maximum}" if self.maximum < 2**62 else f"at least {self.minimum}"
            unit = ", with or without a unit such as GiB" if self.kind == "bytes" else ""
            raise self._refusal(value, f"a whole number, {span}{unit}")
        return number

    def _parse_signed_set(self, value: Any) -> list[str]:
        chosen: dict[str, str] = {}
        for raw in _words(value):
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
        precision_notes: how each precision is honoured, for people.
        max_opset: the newest ONNX operator set that its parser knows; 0 if not known.
        is_deterministic: whether a rebuild gives the same bytes.
        model_formats: what it builds from (`farm.domain.model_formats`).
        io_formats: memory formats that inputs and outputs can be given (`farm.domain.io_formats`); none if it has none.
        io_types: element types that they can be given in place of the model's; none if they stay.
        takes_plugins: whether plugin libraries can be loaded before the model is parsed.
    """

    id: ToolchainId
    precisions: Mapping[str, str]
    options: Tuple[BuilderOption, ...] = ()
    serves: DeviceKind = DeviceKind.GPU
    compute_capabilities: Tuple[str, ...] = ()
    needs_device: bool = True
    precision_notes: Mapping[str, str] = field(default_factory=dict)
    max_opset: int = 0
    is_deterministic: bool = False
    model_formats: Tuple[str, ...] = ("onnx",)
    io_formats: Tuple[str, ...] = ()
    io_types: Tuple[str, ...] = ()
    takes_plugins: bool = False

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

    def why_not_plugins(self, plugins: Collection[str]) -> str:
        """Why plugin libraries can not be loaded; empty if they can, or there are none."""
        return f"{self.id} takes no plugin libraries" if plugins and not self.takes_plugins else ""

    def why_not_builds(self, builds: int) -> str:
        """Why a cell is not built several times, to keep the fastest engine; empty if it can be."""
        if builds > 1 and self.is_deterministic:
            return f"every build of {self.id.name} gives the same engine: there is no fastest of {builds}"
        return ""

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
            InvalidSpecError: an option or its value is unknown, or two do not go together.
        """
        known = {option.name: option for option in self.options}
        chosen = {}
        for name, value in options.items():
            if name not in known:
                raise self.no_option(name)
            try:
                parsed = known[name].parse(value)
            except InvalidSpecError as error:
                error.hint = self._where_a_word_is(name, value)
                raise
            if parsed != known[name].default:
                chosen[name] = parsed
        check_together(chosen)
        return chosen

    def no_option(self, name: str) -> InvalidSpecError:
        """The error for an option that this toolchain does not have: where it is to be had, or what is near."""
        where = where_it_is(self.id, name)
        near = did_you_mean(name, {option.name for option in self.options})
        return InvalidSpecError(f"{self.id} has no builder option {name!r}", hint=where or near)

    def _where_a_word_is(self, name: str, value: Any) -> str:
        """Which releases have the words of a value that are none here; empty if nobody knows them."""
        return " ".join(
            filter(None, (where_it_is(self.id, name, str(word).strip()) for word in _words(value)))
        )

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
                # What was filed before there were others tells of none.
                "model_formats": tuple(value.get("model_formats", ("onnx",))),
                "io_formats": tuple(value.get("io_formats", ())),
                "io_types": tuple(value.get("io_types", ())),
            }
        )


def _words(value: Any) -> list[Any]:
    """The members of a set as users write it: a list, or a text with commas."""
    if isinstance(value, (list, tuple)):
        return list(value)
    return [word for word in str(value).split(",") if word.strip()]


def _parse_number(text: str, *, allow_unit: bool) -> int | None:
    found = re.fullmatch(r"(-?\d+)\s*([a-zA-Z]*)", text)
    if not found or (found[2] and not allow_unit):
        return None
    unit = _SIZES.get(found[2].lower())
    return None if unit is None else int(found[1]) * unit


def _number_pair(capability: str) -> tuple[int, int]:
    major, _, minor = capability.partition(".")
    return int(major or 0), int(minor or 0)
