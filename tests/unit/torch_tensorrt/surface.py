"""As much of Torch-TensorRT as building needs, with the parameters that `compile` and `save` have in real packages.

Read from the wheels of 2.11.0 and 2.14.0: names and defaults are theirs. What a stand-in compiles is the program itself.
"""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

#: Parameters of `torch_tensorrt.dynamo.compile` that both releases have, and the farm offers or uses.
_BOTH: dict[str, Any] = {
    "arg_inputs": None,
    "kwarg_inputs": None,
    "disable_tf32": False,
    "assume_dynamic_shape_support": False,
    "sparse_weights": False,
    "num_avg_timing_iters": 1,
    "workspace_size": 0,
    "truncate_double": False,
    "require_full_compilation": False,
    "min_block_size": 5,
    "max_aux_streams": None,
    "version_compatible": False,
    "optimization_level": None,
    "use_fast_partitioner": True,
    "enable_experimental_decompositions": False,
    "hardware_compatible": False,
    "use_fp32_acc": False,
    "strip_engine_weights": False,
    "immutable_weights": True,
    "enable_weight_streaming": False,
    "tiling_optimization_level": "none",
    "enable_autocast": False,
    "autocast_low_precision_type": None,
    "decompose_attention": False,
    "attn_bias_is_causal": True,
}
_OWN = {
    "2.11.0": {"enabled_precisions": {"f32"}, "use_explicit_typing": True},
    "2.14.0": {"fallback_data_dependent_ops": False, "use_complex_decomposition": False},
}


class TorchTensorRTModule:
    """What holds an engine in a compiled program."""


class Compiled:
    """A compiled program: one engine, or none."""

    def __init__(self, program: Any, engines: int = 1) -> None:
        self.program = program
        self._engines = engines

    def modules(self) -> list[Any]:
        return [self, *(TorchTensorRTModule() for _ in range(self._engines))]


class Surface:
    """The module `torch_tensorrt` of a release.

    Attributes:
        calls: arguments that `dynamo.compile` was called with.
        engines: how many engines a program comes to.
        refusal: what `compile` raises; none if it compiles.
    """

    tensorrt_package_name = "tensorrt"

    def __init__(self, version: str, torch: Any = None) -> None:
        self.__version__ = version
        self.calls: list[dict[str, Any]] = []
        self.engines = 1
        self.refusal: Exception | None = None
        self._torch = torch
        parameters = {**_BOTH, **_OWN[version]}

        def compile_program(exported_program: Any, inputs: Any = None, **arguments: Any) -> Compiled:
            assert set(arguments) <= set(parameters), set(arguments) - set(parameters)
            self.calls.append(arguments)
            if self.refusal is not None:
                raise self.refusal
            return Compiled(exported_program, self.engines)

        kind = inspect.Parameter.KEYWORD_ONLY
        compile_program.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [
                inspect.Parameter("exported_program", inspect.Parameter.POSITIONAL_OR_KEYWORD),
                *(inspect.Parameter(name, kind, default=default) for name, default in parameters.items()),
            ]
        )
        self.dynamo = SimpleNamespace(compile=compile_program)

    @staticmethod
    def Input(**given: Any) -> dict[str, Any]:  # noqa: N802 - its name
        """`torch_tensorrt.Input`: a shape, or three."""
        shapes = {"shape"} & set(given) or {"min_shape", "opt_shape", "max_shape"} & set(given)
        assert len(shapes) in (1, 3)
        return given

    def save(
        self,
        module: Any,
        file_path: str = "",
        *,
        extra_files: dict[str, str] | None = None,
        output_format: str = "exported_program",
        retrace: bool = True,
    ) -> None:
        """Saves the program as it is."""
        assert output_format == "exported_program"
        assert not retrace
        self._torch.export.save(module.program, file_path, extra_files=extra_files)
