"""What a trtexec line comes to while its flags are read one by one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from farm.domain.precisions import PRECISIONS, canonical_precision
from farm.domain.shapes import parse_shapes

_KINDS = ("min", "opt", "max")


@dataclass
class Draft:
    """A request in the words of a spec file, as far as it is known.

    Attributes:
        document: keys of a spec file that a flag sets by itself.
        options: builder options.
        precisions: precision flags, in the order given.
        tf32: whether TF32 stays on, as by default.
        strongly_typed: whether the model's own types are to hold.
        profiles: texts of shapes by kind, per optimization profile.
        profile: the profile that shape flags are for at the moment.
        run_shapes: the shapes to measure at.
        input_formats: types and formats of inputs in their order; one stands for all.
        output_formats: the same of outputs.
    """

    document: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    precisions: list[str] = field(default_factory=list)
    tf32: bool = True
    strongly_typed: bool = False
    profiles: dict[int, dict[str, str]] = field(default_factory=dict)
    profile: int = 0
    run_shapes: str = ""
    input_formats: tuple[str, ...] = ()
    output_formats: tuple[str, ...] = ()

    def finished(self, against: list[str]) -> dict[str, Any]:
        """The spec file's document.

        Args:
            against: where to put what does not go together.
        """
        document = {**self.document, "precision": [self._precision(against)]}
        shapes = [self.profiles[at] for at in sorted(self.profiles)]
        if sorted(self.profiles) != list(range(len(shapes))):
            against.append(f"--profile: numbered from 0 on without a gap, not {sorted(self.profiles)}")
        batch = self._batch(shapes, against)
        if self.run_shapes and not shapes:
            shapes = [{"opt": self.run_shapes}]
        if batch:
            document["batch"] = [batch]
        for kind in _KINDS:
            texts = [profile[kind] for profile in shapes if kind in profile]
            if texts and len(texts) < len(shapes):
                against.append(f"--{kind}Shapes: given for some profiles and not for others")
            elif texts:
                document[f"{kind}_shapes"] = texts[0] if len(texts) == 1 else texts
        options = {**self.options, **({"strongly_typed": True} if self.strongly_typed else {})}
        return {**document, **({"set": options} if options else {})}

    def _precision(self, against: list[str]) -> str:
        if not self.precisions:
            return "tf32" if self.tf32 else "fp32"
        flags = ", ".join(f"--{word}" for word in self.precisions)
        if self.strongly_typed:
            against.append(
                f"--stronglyTyped: trtexec ignores {flags} beside it and keeps the model's types; leave one of them "
                "out (with --precision and --set strongly_typed=true the farm converts the model first)"
            )
        if not self.tf32:
            against.append(
                f"--noTF32: beside {flags} the farm leaves TF32 on for what stays in 32 bits, as trtexec does by "
                "default; leave it out, or ask for FP32 alone"
            )
        if "best" in self.precisions:
            return "best"
        word = canonical_precision("+".join(self.precisions))
        if word not in PRECISIONS:
            against.append(
                f"{flags}: no such set of precisions; the farm has {', '.join(PRECISIONS)}. Give one of them, or several "
                "as cells of one submission (--precision fp16,bf16)"
            )
        return word

    def _batch(self, profiles: list[dict[str, str]], against: list[str]) -> int:
        """The batch of `--shapes`; the rest of it must be what the engine is tuned for."""
        wanted = parse_shapes(self.run_shapes)
        tuned = [parse_shapes(profile.get("opt", "")) for profile in profiles]
        batches = {shape[0] for shape in wanted.values() if shape}
        fits = not tuned or any(
            all(name in opt and opt[name][1:] == shape[1:] for name, shape in wanted.items()) for opt in tuned
        )
        if not fits or len(batches) > 1:
            against.append(
                f"--shapes={self.run_shapes}: the farm measures at the opt shapes with other batches; "
                "make these the --optShapes, or give --batch"
            )
        return batches.pop() if batches else 0
