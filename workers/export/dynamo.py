"""PyTorch's exporter by `torch.export`: the usual one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workers.export.blame import conversion_refused, dimension_is_fixed, not_capturable
from workers.export.torch_import import quiet
from workers.export.trail import ModuleTrail

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.export.binding import ForwardBinding


def capture(torch: Any, model: Any, binding: ForwardBinding, tensors: Mapping[str, Any]) -> Any:
    """The model as an `ExportedProgram`.

    Raises:
        InvalidModelError: `torch.export` can not follow the model; names the submodule.
    """
    args, kwargs = binding.arguments(tensors)
    open_axes = {
        spec.name: dict.fromkeys(dict(spec.dynamic), torch.export.Dim.DYNAMIC) or None
        for spec in binding.specs
    }
    fixed: dict[str, str] = {}
    roots: dict[str, Any] = {}

    def grab(_model: Any, seen: tuple[Any, ...], by_name: dict[str, Any]) -> None:
        # The tensors that the trace runs with: their sizes tell when one turns into a constant.
        names = [spec.name for spec in binding.specs if spec.name not in by_name]
        roots.update(zip(names, seen, strict=False))
        roots.update(by_name)

    def look(path: str) -> None:
        for spec in binding.specs:
            for axis, symbol in spec.dynamic:
                tensor = roots.get(spec.name)
                if tensor is not None and symbol not in fixed and _is_constant(tensor.shape[axis]):
                    fixed[symbol] = path

    handle = model.register_forward_pre_hook(grab, with_kwargs=True)
    trail = ModuleTrail(model, look)
    try:
        with quiet(), torch.no_grad(), trail:
            return torch.export.export(
                model,
                args,
                kwargs,
                dynamic_shapes=binding.by_parameter(open_axes) if any(open_axes.values()) else None,
                strict=False,
            )
    except Exception as error:
        if fixed:
            raise dimension_is_fixed(fixed, binding.specs, model, error) from error
        raise not_capturable(error, trail.path, model) from error
    finally:
        handle.remove()


def convert(torch: Any, program: Any, model: Any, opset: int) -> Any:
    """The program as an ONNX model of onnx_ir.

    Raises:
        InvalidModelError: an operator has no counterpart in ONNX; names the submodule.
    """
    options = {"opset_version": opset} if opset else {}
    try:
        with quiet(), torch.no_grad():
            written = torch.onnx.export(program, dynamo=True, verbose=False, optimize=False, **options)
    except Exception as error:
        raise conversion_refused(error, model, "dynamo", opset) from error
    return written.model


def _is_constant(size: Any) -> bool:
    return isinstance(size, int) or bool(getattr(size.node.expr, "is_number", False))
