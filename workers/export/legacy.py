"""PyTorch's older exporter, by tracing: for TorchScript, and for parsers that know older operator sets only."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from farm.domain.errors import InvalidSpecError
from workers.export.blame import SOURCE, conversion_refused, own_path
from workers.export.outputs import named_outputs
from workers.export.torch_import import quiet
from workers.export.trail import ModuleTrail, in_module
from workers.export.user_code import shown_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from workers.export.binding import Binding


def trace(
    torch: Any,
    model: Any,
    binding: Binding,
    tensors: Mapping[str, Any],
    *,
    output_names: Sequence[str],
    opset: int,
    path: Path,
) -> tuple[str, ...]:
    """Writes the ONNX file, and gives what the tracer warned of, with the module path.

    Raises:
        InvalidModelError: the model can not be traced, or has an operator without a counterpart.
    """
    is_script = isinstance(model, torch.jit.ScriptModule)
    wrapper = model if is_script else _wrapped(torch, model, binding)
    if is_script:
        _check_by_position(binding)
    names = [spec.name for spec in binding.specs]
    warned: dict[str, None] = {}
    trail = ModuleTrail(wrapper)
    had_fastpath = torch.backends.mha.get_fastpath_enabled()
    # Its one fused operator for a whole encoder layer has no counterpart in ONNX.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with quiet(), torch.no_grad(), warnings.catch_warnings(), trail:
            warnings.simplefilter("always", torch.jit.TracerWarning)

            def note(message: Any, category: type[Warning], filename: str, lineno: int, *_: Any) -> None:
                if issubclass(category, torch.jit.TracerWarning):
                    words = str(message).partition(".")[0]
                    where = in_module(own_path(trail.path), model)
                    warned[f"{shown_path(filename)}:{lineno} {where}: {words}"] = None

            warnings.showwarning = note  # type: ignore[assignment]
            torch.onnx.export(
                wrapper,
                tuple(tensors[name] for name in names),
                str(path),
                dynamo=False,
                opset_version=opset,
                input_names=names,
                output_names=list(output_names),
                dynamic_axes={spec.name: dict(spec.dynamic) for spec in binding.specs if spec.dynamic},
            )
    except Exception as error:
        raise conversion_refused(error, model, "legacy", opset, trail.path) from error
    finally:
        torch.backends.mha.set_fastpath_enabled(had_fastpath)
    return tuple(warned)


def _check_by_position(binding: Any) -> None:
    """TorchScript is written as it is, with its inputs in order and without gaps."""
    _, by_name = binding.arguments(dict.fromkeys(spec.name for spec in binding.specs))
    if by_name:
        raise InvalidSpecError(
            f"TorchScript takes inputs in order, and {', '.join(by_name)} come(s) after one that is left out",
            hint=f"In order: {', '.join(binding.positional)}.",
        )


def _wrapped(torch: Any, model: Any, binding: Binding) -> Any:
    """A module of tensors in and tensors out: the tracer knows neither dicts nor arguments by name."""
    names = [spec.name for spec in binding.specs]

    class Flat(torch.nn.Module):  # type: ignore[misc]
        """The model between two flat lists."""

        def __init__(self) -> None:
            super().__init__()
            setattr(self, SOURCE, model)

        def forward(self, *tensors: Any) -> Any:
            """All tensors of the outputs, in order."""
            found = binding.call(getattr(self, SOURCE), dict(zip(names, tensors, strict=True)))
            return tuple(named_outputs(torch, found, ()).values())

    return Flat().eval()
