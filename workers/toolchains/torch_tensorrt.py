"""Torch-TensorRT 2.11 and later: `.pt2` programs compiled for the GPU at hand, without ONNX between.

What TensorRT does not take of a program runs in PyTorch, so an engine is a program itself, with TensorRT engines in it.
docs/torch-tensorrt.md says what of this was ever run.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from farm.domain.error_texts import first_line, one_line
from farm.domain.errors import BuildError, InvalidModelError, InvalidSpecError, OutOfMemoryError
from farm.domain.model_formats import PT2
from farm.domain.targets import DeviceKind, ToolchainId
from farm.domain.toolchains import ToolchainDescription
from workers.toolchains.toolchain import BuildInput, BuildOutput, Progress
from workers.toolchains.torch_program import (
    TENSORS_FILE,
    LoadedProgram,
    load_program,
    nested,
    program_tensors,
    tensors_as_json,
)
from workers.toolchains.torch_tensorrt_options import (
    PRECISIONS_DONE,
    compile_parameters,
    options_of,
    precision_arguments,
    precisions_of,
    settings_of,
)

if TYPE_CHECKING:
    from pathlib import Path

    from farm.domain.models import Tensor

#: `save` takes extra files and `compile` has autocast (read from the packages of 2.8, 2.11, 2.13 and 2.14).
_OLDEST = (2, 11)
#: Modules that hold an engine, whichever runtime runs it.
_ENGINES = ("TorchTensorRTModule", "PythonTorchTensorRTModule")


def toolchain() -> TorchTensorRtToolchain:
    """Torch-TensorRT, as it is installed in this interpreter.

    Raises:
        ImportError: it is not installed, does not load, or is too old.
    """
    if find_spec("torch_tensorrt") is None:
        # Before PyTorch is imported for it, which takes seconds.
        raise ModuleNotFoundError("No module named 'torch_tensorrt'")
    try:
        import torch
        import torch_tensorrt
    except Exception as error:  # it raises a bare Exception without TensorRT, an AssertionError without a GPU
        raise ImportError(f"Torch-TensorRT is installed, but does not load: {one_line(error)}") from error
    module = TorchTensorRtToolchain(torch, torch_tensorrt)
    if module.describe().id.version_order[:2] < _OLDEST:
        raise ImportError(
            f"Torch-TensorRT {torch_tensorrt.__version__} is too old: 2.11 is the oldest that is known"
        )
    return module


class TorchTensorRtToolchain:
    """Torch-TensorRT behind the toolchain protocol.

    Args:
        torch: PyTorch's module.
        torch_tensorrt: the compiler's.
    """

    def __init__(self, torch: Any, torch_tensorrt: Any) -> None:
        self._torch = torch
        self._compiler = torch_tensorrt

    def describe(self) -> ToolchainDescription:
        """Name, exact version, and what this release can do."""
        parameters = compile_parameters(self._compiler)
        identity = ToolchainId("torch-tensorrt", _plain(self._compiler.__version__), self._variant())
        return ToolchainDescription(
            id=identity,
            precisions=precisions_of(identity),
            options=options_of(parameters),
            serves=DeviceKind.GPU,
            needs_device=True,
            precision_notes={
                name: _note(precision_arguments(parameters, name, lambda word: word))
                for name in PRECISIONS_DONE
            },
            model_formats=(PT2,),
        )

    def _variant(self) -> str:
        """What else an engine is specific to: PyTorch and TensorRT by their exact versions."""
        import tensorrt  # torch_tensorrt has put it, or TensorRT-RTX, under this name

        name = "rtx" if "rtx" in str(getattr(self._compiler, "tensorrt_package_name", "")) else "trt"
        return f"torch{_plain(self._torch.__version__)}-{name}{tensorrt.__version__}"

    def build(self, build: BuildInput, progress: Progress) -> BuildOutput:
        """Compiles on the visible GPU and writes a program with TensorRT engines in it.

        Raises:
            BuildError: the compiler refused; the message has its reason.
            InvalidModelError: the file is no program that this PyTorch reads.
            InvalidSpecError: the profile does not fit, or there are several.
            OutOfMemoryError: the device was too small.
        """
        torch = self._torch
        progress(None, "reading the program")
        try:
            program = torch.export.load(str(build.model_path))
        except Exception as error:
            raise InvalidModelError(
                f"PyTorch {torch.__version__} can not read the program: {first_line(error)}",
                hint="Programs are read by the PyTorch that wrote them, and mostly by later ones: export it again.",
            ) from error
        inputs, outputs = program_tensors(program)
        parameters = compile_parameters(self._compiler)
        chosen = precision_arguments(parameters, build.precision, lambda name: getattr(torch, name))
        arguments = {**settings_of(parameters, build.builder_config), **chosen}
        progress(None, "compiling")
        positional, named = nested(program, self._inputs(build, inputs))
        try:
            compiled = self._compiler.dynamo.compile(
                program, arg_inputs=list(positional), kwarg_inputs=named, **arguments
            )
        except Exception as error:
            raise self._failure(error, "could not compile the program") from error
        engines, others = _parts(compiled)
        if not engines:
            raise BuildError(
                f"Torch-TensorRT put nothing of the program into an engine: {others} operators would run in PyTorch",
                hint="Lower min_block_size. The log says which operators TensorRT does not take.",
            )
        progress(None, "writing")
        self._save(compiled, build.engine_path, {"inputs": inputs, "outputs": outputs})
        details = {"engines": engines, "operators_in_pytorch": others}
        return BuildOutput(precision_note=_note(chosen), details=details)

    def _inputs(self, build: BuildInput, inputs: tuple[Tensor, ...]) -> list[Any]:
        """What the compiler is to know of each input.

        Raises:
            InvalidSpecError: an input's shapes are not given, or there are several profiles.
        """
        if len(build.profiles) > 1:
            raise InvalidSpecError(
                "Torch-TensorRT takes one optimization profile, not several", hint="Submit each by itself."
            )
        ranges = build.profiles[0] if build.profiles else {}
        found = []
        for tensor in inputs:
            given: dict[str, Any] = {"dtype": getattr(self._torch, tensor.dtype), "name": tensor.name}
            if tensor.name in ranges:
                span = ranges[tensor.name]
                given |= {"min_shape": span.min, "opt_shape": span.opt, "max_shape": span.max}
            elif tensor.is_dynamic:
                raise InvalidSpecError(f"input {tensor} is dynamic and needs shapes")
            else:
                given["shape"] = tensor.shape
            found.append(self._compiler.Input(**given))
        return found

    def _save(self, compiled: Any, engine_path: Path, tensors: dict[str, Any]) -> None:
        # PyTorch grumbles at any other ending.
        fresh = engine_path.with_name(f"{engine_path.name}.pt2")
        try:
            self._compiler.save(
                compiled,
                str(fresh),
                # What it calls its outputs is its own affair, so the model's names travel along.
                extra_files={TENSORS_FILE: json.dumps(tensors_as_json(tensors))},
                output_format="exported_program",
                # As it is, with the shapes that it was compiled for: nothing is traced anew.
                retrace=False,
            )
        except Exception as error:
            raise self._failure(error, "could not save the compiled program") from error
        fresh.replace(engine_path)

    def _failure(self, error: Exception, doing: str) -> BuildError | OutOfMemoryError:
        name = f"Torch-TensorRT {self._compiler.__version__}"
        if isinstance(error, self._torch.cuda.OutOfMemoryError):
            return OutOfMemoryError(
                f"{name} {doing}: {first_line(error)}", hint="Lower workspace_size or the max shapes."
            )
        return BuildError(f"{name} {doing}: {type(error).__name__}: {first_line(error)}")

    def load(self, engine_path: Path) -> LoadedProgram:
        """Loads a compiled program onto the visible GPU.

        Raises:
            BuildError: these bytes are no program of this version.
        """
        return load_program(self._torch, engine_path)


def _parts(compiled: Any) -> tuple[int, int]:
    """How many engines are in a compiled program, and how many operators stayed outside them."""
    kinds = [type(module).__name__ for module in compiled.modules()]
    engines = sum(kind in _ENGINES for kind in kinds)
    # Those of the graphs between the engines; nothing in it calls an operator where all is in one engine.
    others = sum(
        node.op in ("call_function", "call_method") and "getitem" not in str(node.target)
        for module in compiled.modules()
        for node in (module.graph.nodes if hasattr(module, "graph") else ())
    )
    return engines, others


def _note(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in arguments.items())


def _plain(version: str) -> str:
    """A version without the build's own mark: `2.11.0` of `2.11.0+cu130`."""
    return version.partition("+")[0]
