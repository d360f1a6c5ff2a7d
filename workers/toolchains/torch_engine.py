"""A PyTorch model, live on the GPU or the CPU: called as who uses it calls it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Sequence

import numpy as np

from farm.domain.error_texts import first_line
from farm.domain.errors import BuildError, InvalidSpecError, OutOfMemoryError
from farm.domain.methods import Method
from farm.domain.model_formats import PT2
from workers.toolchains.torch_precision import autocast_type, set_float32
from workers.toolchains.torch_sessions import session_by, sessions_by

if TYPE_CHECKING:
    from typing import Callable

    from numpy.typing import NDArray

    from workers.toolchains.toolchain import TimedSession
    from workers.toolchains.torch_file import Recipe, TorchFile

_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


class LoadedTorch:
    """A model with its inputs and outputs by name.

    Args:
        torch: PyTorch's module.
        file: what was read.
        recipe: how to run it.
        device: `cuda` or `cpu`.
        compiled: makes a faster callable of the module; none to call it as it is.
    """

    def __init__(
        self,
        torch: Any,
        file: TorchFile,
        recipe: Recipe,
        device: str,
        compiled: Callable[[Any], Any] | None = None,
    ) -> None:
        self._torch = torch
        self._recipe = recipe
        self.device = device
        self.inputs = file.inputs
        self.outputs = file.outputs
        self._layout: Any = torch.channels_last if recipe.options.get("channels_last") else None
        self._autocast = None if recipe.is_traced else autocast_type(torch, recipe.precision)
        model = module_on(torch, file, device)
        if self._layout is not None:
            model = model.to(memory_format=self._layout)
        self.module: Any = model
        self._model: Any = compiled(model) if compiled else model

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The outputs for some inputs, in the types that the model has them in.

        Raises:
            InvalidSpecError: an input is missing.
            BuildError: the model failed.
            OutOfMemoryError: the device has no room.
        """
        self.settle()
        leaves = self.leaves(self.run(self.on_device(self.on_host(inputs))))
        return {
            tensor.name: leaf.to("cpu", getattr(self._torch, _numpys(tensor.dtype))).numpy()
            for tensor, leaf in zip(self.outputs, leaves)
        }

    def on_host(self, inputs: Mapping[str, NDArray[Any]]) -> list[Any]:
        """The inputs as tensors in the host's memory, in the model's order.

        Raises:
            InvalidSpecError: one is missing.
        """
        found = []
        for tensor in self.inputs:
            if tensor.name not in inputs:
                raise InvalidSpecError(f"input {tensor} is missing")
            array = np.require(inputs[tensor.name], requirements=["C", "W"])
            found.append(self._torch.from_numpy(array).to(getattr(self._torch, tensor.dtype)))
        return found

    def on_device(self, tensors: list[Any]) -> list[Any]:
        """Copies where the model is, in the memory format that it wants."""
        moved = [tensor.to(self.device, copy=True) for tensor in tensors]
        if self._layout is None:
            return moved
        # PyTorch has this format for pictures alone.
        return [one.contiguous(memory_format=self._layout) if one.dim() == 4 else one for one in moved]

    def settle(self) -> None:
        """Sets what holds for the whole process, where several models may be live."""
        is_tuned = bool(self._recipe.options.get("cudnn_benchmark"))
        set_float32(self._torch, self._recipe.precision, cudnn_benchmark=is_tuned)

    def run(self, tensors: Sequence[Any]) -> Any:
        """What the model gives for inputs on its device, in order; does not wait for a GPU.

        Raises:
            BuildError: the model failed.
            OutOfMemoryError: the device has no room.
        """
        torch = self._torch
        try:
            with torch.inference_mode():
                if self._autocast is None:
                    return self._model(*tensors)
                with torch.autocast(self.device, dtype=self._autocast):
                    return self._model(*tensors)
        except Exception as error:
            raise failure_of(torch, error, "the model failed") from error

    def leaves(self, results: Any) -> list[Any]:
        """The tensors of what the model gave, in order."""
        found = self._torch.utils._pytree.tree_leaves(results)
        return [leaf for leaf in found if leaf is not None]

    def timed_sessions(self, inputs: Mapping[str, NDArray[Any]]) -> list[TimedSession]:
        """Plain launches, as whoever calls the model from Python has them."""
        return [session_by(self._torch, self, [inputs], Method())]

    def sessions_by(
        self,
        inputs: Sequence[Mapping[str, NDArray[Any]]],
        methods: Sequence[Method],
        *,
        is_blocking: bool = False,
    ) -> Iterator[TimedSession]:
        """With and without transfers, as far as a method asks for them."""
        return sessions_by(self._torch, self, inputs, methods, is_blocking=is_blocking)

    def close(self) -> None:
        """Lets the model go, and gives its memory back to the device."""
        self.module = self._model = None
        if self.device == "cuda":
            self._torch.cuda.empty_cache()


def module_on(torch: Any, file: TorchFile, device: str) -> Any:
    """The model as something to call, with its weights on a device."""
    if file.format != PT2:
        return file.model.to(device).eval()
    if device == "cpu":
        return _bare(torch, file.model)
    # It also moves what the program makes by itself, such as positions.
    from torch.export.passes import move_to_device_pass

    return _bare(torch, move_to_device_pass(file.model, device))


def _bare(torch: Any, program: Any) -> Any:
    """A program's module, tensors in and tensors out, without the checks of its inputs, which no user's module has.

    With checks and nested arguments a call takes 0.1 ms more (PyTorch 2.13), which is more than a small batch takes on
    a GPU; without them about what the user's own module takes.
    """
    takes_guards = "check_guards" in inspect.signature(program.module).parameters
    module = program.module(check_guards=False) if takes_guards else program.module()
    for hooks in (
        module._forward_pre_hooks,
        module._forward_pre_hooks_with_kwargs,
        module._forward_hooks,
        module._forward_hooks_with_kwargs,
        module._forward_hooks_always_called,
    ):
        hooks.clear()
    module.graph.set_codegen(torch.fx.graph.CodeGen())
    # Such as the counters of batch normalization, which nobody asks for once trained.
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


def failure_of(torch: Any, error: Exception, what: str) -> BuildError | OutOfMemoryError:
    """The farm's error for one of PyTorch's."""
    # A compiler's error is wrapped in one that says nothing but "the backend raised".
    error = getattr(error, "inner_exception", None) or error
    said = f"{what} in PyTorch {torch.__version__}: {type(error).__name__}: {first_line(error)}"
    if isinstance(error, torch.cuda.OutOfMemoryError) or any(
        words in str(error).lower() for words in _MEMORY
    ):
        return OutOfMemoryError(said, hint="Ask for smaller shapes or batches.")
    return BuildError(said)


def _numpys(dtype: str) -> str:
    """A type that numpy has: it lacks bfloat16."""
    return "float32" if dtype == "bfloat16" else dtype
