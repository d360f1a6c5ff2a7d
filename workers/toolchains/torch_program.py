"""An exported program of PyTorch, live on the GPU: what Torch-TensorRT compiled, or the program as it is."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Mapping

import numpy as np

from farm.domain.error_texts import first_line
from farm.domain.errors import BuildError, InvalidSpecError, OutOfMemoryError
from farm.domain.models import Tensor
from workers.toolchains.toolchain import IterationTimes, TimedSession

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

#: The file in a compiled program that says what its inputs and outputs are called.
TENSORS_FILE = "engine_farm_tensors.json"


def program_tensors(program: Any) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """The inputs and outputs of a program, in its order.

    Raises:
        InvalidSpecError: one is no tensor.
    """
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    signature = program.graph_signature
    inputs = tuple(_tensor(str(name), values.get(name)) for name in signature.user_inputs)
    return inputs, tuple(_tensor(str(name), values.get(name)) for name in signature.user_outputs)


def _tensor(name: str, value: Any) -> Tensor:
    if not hasattr(value, "shape"):
        raise InvalidSpecError(
            f"{name!r} of the program is no tensor", hint="Export it with that argument as a constant."
        )
    shape = tuple(size if isinstance(size, int) else -1 for size in value.shape)
    return Tensor(name, str(value.dtype).rpartition(".")[2], shape)


def tensors_as_json(tensors: Mapping[str, tuple[Tensor, ...]]) -> dict[str, Any]:
    """The document that travels in a compiled program."""
    return {kind: [tensor.as_json() for tensor in found] for kind, found in tensors.items()}


def nested(program: Any, flat: list[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments and keyword arguments of a program, from its inputs in order."""
    arguments, keywords = program.call_spec.in_spec.unflatten(flat)
    return tuple(arguments), dict(keywords)


def load_program(torch: Any, path: Path, device: str = "cuda") -> LoadedProgram:
    """Loads a compiled program.

    Args:
        torch: PyTorch's module; Torch-TensorRT has been imported, so that its engines are known.
        path: the program.
        device: where it runs.

    Raises:
        BuildError: these bytes are no program that this PyTorch reads.
    """
    told = {TENSORS_FILE: ""}
    try:
        with path.open("rb") as stream:
            program = torch.export.load(stream, extra_files=told)
    except Exception as error:
        raise BuildError(
            f"PyTorch {torch.__version__} can not load this as a compiled program: {first_line(error)}",
            hint="It runs with the releases of PyTorch, Torch-TensorRT and TensorRT that built it.",
        ) from error
    if not told[TENSORS_FILE]:
        raise BuildError("this is a program of PyTorch, and none that the farm compiled")
    document = json.loads(told[TENSORS_FILE])
    inputs, outputs = (
        tuple(Tensor(tensor["name"], tensor["dtype"], tuple(tensor["shape"])) for tensor in document[kind])
        for kind in ("inputs", "outputs")
    )
    return LoadedProgram(torch, program, inputs, outputs, device)


def open_program(path: Path) -> tuple[LoadedProgram, str]:
    """A program as `torch.export.save` wrote it, on the CPU, and which PyTorch runs it.

    Raises:
        BuildError: PyTorch is not installed here, or can not read it.
    """
    try:
        import torch
    except ImportError as error:
        raise BuildError(
            f"PyTorch is not installed here, so the program can not be run on the CPU: {error}"
        ) from error
    try:
        with path.open("rb") as stream:
            program = torch.export.load(stream)
    except Exception as error:
        raise BuildError(
            f"PyTorch {torch.__version__} can not read the program: {first_line(error)}"
        ) from error
    inputs, outputs = program_tensors(program)
    return LoadedProgram(torch, program, inputs, outputs, "cpu"), f"pytorch {torch.__version__} on the CPU"


class LoadedProgram:
    """A program with its inputs and outputs by name."""

    def __init__(
        self, torch: Any, program: Any, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], device: str
    ) -> None:
        self._torch = torch
        self._program: Any = program
        self._module: Any = program.module()
        self._device = device
        self.inputs = inputs
        self.outputs = outputs

    def infer(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """The outputs for some inputs.

        Raises:
            InvalidSpecError: an input is missing.
            BuildError: the program failed.
            OutOfMemoryError: the device has no room.
        """
        results = self.run([tensor.to(self._device) for tensor in self.as_tensors(inputs)])
        return {tensor.name: self._as_array(leaf) for tensor, leaf in zip(self.outputs, self.leaves(results))}

    def leaves(self, results: Any) -> list[Any]:
        """The output tensors in the program's order, however it nests them."""
        leaves: list[Any] = self._program.call_spec.out_spec.flatten_up_to(results)
        return leaves

    def as_tensors(self, inputs: Mapping[str, NDArray[Any]]) -> list[Any]:
        """The inputs in the program's order, in the host's memory.

        Raises:
            InvalidSpecError: one is missing.
        """
        found = []
        for tensor in self.inputs:
            if tensor.name not in inputs:
                raise InvalidSpecError(f"input {tensor} is missing")
            array = np.ascontiguousarray(inputs[tensor.name])
            found.append(self._torch.from_numpy(array).to(getattr(self._torch, tensor.dtype)))
        return found

    def run(self, tensors: list[Any]) -> Any:
        """What the program gives for inputs on the device; does not wait for it.

        Raises:
            BuildError: the program failed.
            OutOfMemoryError: the device has no room.
        """
        arguments, keywords = nested(self._program, tensors)
        try:
            with self._torch.inference_mode():
                return self._module(*arguments, **keywords)
        except Exception as error:
            said = first_line(error)
            if isinstance(error, self._torch.cuda.OutOfMemoryError):
                raise OutOfMemoryError(f"the compiled program has no room: {said}") from error
            raise BuildError(f"the compiled program failed: {said}") from error

    def timed_sessions(self, inputs: Mapping[str, NDArray[Any]]) -> list[TimedSession]:
        """One way: plain launches, as whoever calls the program from Python has them."""
        return [_TimedProgram(self._torch, self, self.as_tensors(inputs), self._device)]

    def close(self) -> None:
        """Lets the program go, and gives its memory back to the device."""
        self._module = self._program = None
        if self._device == "cuda":
            self._torch.cuda.empty_cache()

    def _as_array(self, leaf: Any) -> NDArray[Any]:
        """An output on the host; bfloat16, which numpy lacks, as float32."""
        tensor = leaf.detach().cpu()
        array: NDArray[Any] = (tensor.float() if tensor.dtype is self._torch.bfloat16 else tensor).numpy()
        return array


class _TimedProgram:
    """A program with its inputs in pinned memory, timed by CUDA events."""

    is_graph = False
    has_transfers = True

    def __init__(self, torch: Any, program: LoadedProgram, tensors: list[Any], device: str) -> None:
        self._torch = torch
        self._program = program
        self._host = [tensor.pin_memory() for tensor in tensors]
        self._inputs = [tensor.to(device) for tensor in self._host]
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(4)]

    def iterate(self) -> IterationTimes:
        """Inputs in, one run, outputs out, each between two events of the current stream."""
        begin, fed, done, end = self._events
        begin.record()
        for there, here in zip(self._inputs, self._host):
            there.copy_(here, non_blocking=True)
        fed.record()
        results = self._program.run(self._inputs)
        done.record()
        for leaf in self._program.leaves(results):
            leaf.to("cpu", non_blocking=True)
        end.record()
        end.synchronize()
        return IterationTimes(begin.elapsed_time(fed), fed.elapsed_time(done), done.elapsed_time(end))

    def burst(self, count: int) -> float:
        """Runs back to back, by the host's clock, until the last one is done."""
        self._torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(count):
            self._program.run(self._inputs)
        self._torch.cuda.synchronize()
        return time.perf_counter() - begin

    def close(self) -> None:
        """Gives the buffers back."""
        self._host = self._inputs = []
