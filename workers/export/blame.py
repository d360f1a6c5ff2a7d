"""What an exporter can not do, in one line with the module path that caused it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from farm.domain.errors import InvalidModelError
from workers.export.trail import in_module
from workers.export.user_code import first_line, own_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from workers.export.inputs import InputSpec

#: Under which the legacy exporter's wrapper holds the model; taken off every name afterwards.
SOURCE = "farm_source"
_LEGACY = "`--exporter legacy` traces the model and knows other operators."
_REWRITE = {
    "GuardOnDataDependentSymNode": (
        "control flow or a size depends on the values of a tensor",
        "Rewrite it with torch.where or torch.cond; `--exporter legacy` keeps only the branch that the sample takes.",
    ),
    "DynamicOutputShapeException": (
        "the shape of a tensor depends on the values of another",
        "Rewrite it with a fixed size (torch.topk, a mask); `--exporter legacy` may know the operator.",
    ),
    "DataDependentOutputException": (
        "the code takes a number out of a tensor",
        "Keep it a tensor; `--exporter legacy` keeps the sample's number as a constant.",
    ),
}


def own_path(path: str) -> str:
    """A module path without the legacy exporter's wrapper."""
    return path.removeprefix(SOURCE).removeprefix(".")


def not_capturable(error: Exception, path: str, model: Any) -> InvalidModelError:
    """Why `torch.export` can not follow the model."""
    kind = next((name for name in _REWRITE if name in {c.__name__ for c in type(error).__mro__}), "")
    why, hint = _REWRITE.get(kind, (f"{type(error).__name__}: {first_line(error)}", _LEGACY))
    return InvalidModelError(
        f"torch.export can not follow the model {in_module(path, model)}{_at(error)}: {why}", hint=hint
    )


def dimension_is_fixed(
    fixed: Mapping[str, str], specs: Sequence[InputSpec], model: Any, error: Exception
) -> InvalidModelError:
    """A dimension that was to stay dynamic, and became a constant."""
    symbol, path = next(iter(fixed.items()))
    size = next((int(n) for n in re.findall(r"constant \((\d+)\)", str(error))), None)
    spec = next(spec for spec in specs if symbol in dict(spec.dynamic).values())
    return InvalidModelError(
        f"dimension {symbol} of input {spec.name!r} can not stay dynamic: "
        f"the code {in_module(path, model)} fixes it{f' to {size}' if size is not None else ''}",
        hint=f"Write -1 or x.shape[…] there instead of a number, or leave {symbol} out of --dynamic.",
    )


def conversion_refused(
    error: Exception, model: Any, exporter: str, opset: int, trail: str = ""
) -> InvalidModelError:
    """Why an exporter writes no ONNX of the model."""
    operator, path = _culprit(error, model)
    with_opset = f" in opset {opset}" if opset else ""
    if not operator:
        where = in_module(own_path(trail), model)
        why = f"{type(error).__name__}: {first_line(error)}"
        return InvalidModelError(
            f"the {exporter} exporter fails {where}{_at(error)}: {why}",
            hint=_LEGACY if exporter == "dynamo" else "A newer opset, or the dynamo exporter, may do it.",
        )
    found = re.search(r"was added in version (\d+)", str(error))
    hint = (
        f"--opset {found[1]} has it."
        if found
        else "Rewrite that part with other operators"
        + (f"; {_LEGACY}" if exporter == "dynamo" else "; `--exporter dynamo` and a newer opset know more.")
    )
    return InvalidModelError(
        f"the {exporter} exporter has no ONNX for operator {operator}{with_opset}, used {in_module(path, model)}",
        hint=hint,
    )


def _at(error: BaseException) -> str:
    where = own_line(error)
    return f" ({where})" if where else ""


def _culprit(error: BaseException, model: Any) -> tuple[str, str]:
    """The operator and its module path; both exporters have the node at hand where they fail."""
    for node in _nodes_at_hand(error):
        stack = getattr(node, "meta", {}).get("nn_module_stack") if hasattr(node, "meta") else None
        if stack is not None:
            path = list(stack.values())[-1][0] if stack else ""
            return str(node.target).removesuffix(".default"), _plain(path)
        if hasattr(node, "scopeName"):
            return str(node.kind()), _scope_path(node.scopeName(), model)
    return "", ""


def _scope_path(scopes: str, model: Any) -> str:
    """The module path of the tracer's scopes, such as `a.Net::/b.Layer::layer.3/c.Attention::attention`.

    A scope has the module's own name, with its container's; parents that are never called are missing.
    """
    paths = [path for path, _ in model.named_modules()]
    found = ""
    for scope in scopes.split("/"):
        name = scope.rpartition("::")[2]
        below = [path for path in paths if path.startswith(found) and f".{path}".endswith(f".{name}")]
        if name and name != SOURCE and below:
            found = min(below, key=len)
    return found


def _nodes_at_hand(error: BaseException | None) -> Iterator[Any]:
    """Nodes in the frames of an error and of its causes, innermost first."""
    errors = []
    while error is not None:
        errors.append(error)
        error = error.__cause__ or error.__context__
    for cause in reversed(errors):
        frames = []
        trace = cause.__traceback__
        while trace is not None:
            frames.append(trace.tb_frame)
            trace = trace.tb_next
        for frame in reversed(frames):
            if not frame.f_globals.get("__name__", "").startswith("torch.onnx"):
                continue
            for name in ("node", "n"):
                value = frame.f_locals.get(name)
                if value is not None and (hasattr(value, "scopeName") or hasattr(value, "meta")):
                    yield value


def _plain(path: str) -> str:
    """`encoder.layer.3` of what torch.export keeps, such as `L['self'].encoder.layer[3]`."""
    path = re.sub(r"^L\['self'\]\.?", "", path)
    return re.sub(r"\[['\"]?(\w+)['\"]?\]", r".\1", path).removeprefix("_modules.").strip(".")
