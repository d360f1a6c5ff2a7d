"""Which submodule runs: so that what goes wrong in a model is told with its module path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable


class ModuleTrail:
    """Follows a model's forward by hooks on every submodule.

    A module that raises does not leave the trail, so its path stays readable after the error.

    Args:
        model: the root; hooks are removed when the context ends.
        on_leave: called with the path of every module that returns, innermost first.
    """

    def __init__(self, model: Any, on_leave: Callable[[str], None] = lambda _path: None) -> None:
        self._model = model
        self._on_leave = on_leave
        self._handles: list[Any] = []
        self._stack: list[str] = []

    def __enter__(self) -> Self:
        """Sets the hooks."""
        for path, module in self._model.named_modules():
            try:
                self._handles += [
                    module.register_forward_pre_hook(self._entering(path)),
                    module.register_forward_hook(self._leaving(path)),
                ]
            except RuntimeError:
                # A part in TorchScript runs outside Python, and takes no hooks.
                continue
        return self

    def __exit__(self, *_: object) -> None:
        """Removes the hooks; the path stays."""
        for handle in self._handles:
            handle.remove()

    @property
    def path(self) -> str:
        """Of the innermost module that has not returned; empty for the model itself."""
        return self._stack[-1] if self._stack else ""

    def _entering(self, path: str) -> Callable[..., None]:
        def enter(*_: object) -> None:
            self._stack.append(path)

        return enter

    def _leaving(self, path: str) -> Callable[..., None]:
        def leave(*_: object) -> None:
            # Modules that raised, and whose error somebody caught, are still on top.
            while self._stack and self._stack.pop() != path:
                pass
            self._on_leave(path)

        return leave


def in_module(path: str, model: Any) -> str:
    """`in encoder.layer.3`, or the class of the model where it is the model itself."""
    return f"in {path}" if path else f"in the model itself ({type(model).__name__})"
