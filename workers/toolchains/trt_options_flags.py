"""Builder options that are flags of TensorRT's builder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from farm.domain.conversion import STRONGLY_TYPED_OPTION
from farm.domain.errors import InvalidSpecError
from farm.domain.toolchains import BuilderOption
from workers.toolchains.trt_log import spec_refusal
from workers.toolchains.trt_options_setting import Setting, applied_elsewhere

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workers.toolchains.trt_log import TrtLog

#: In the order in which they are set: EXCLUDE_LEAN_RUNTIME is taken after VERSION_COMPATIBLE only.
_FLAGS: Mapping[str, str] = {
    "refit": "whether the engine's weights can be replaced later; costs fusions that would fold them",
    "refit_identical": "whether the same weights can be put back later, as into a stripped plan",
    "strip_plan": "whether the plan leaves out the weights that can be put back; it runs once they are",
    "weight_streaming": "whether weights can stay in the host's memory while running; strongly typed networks only",
    "sparse_weights": "whether tactics for weights with 2:4 sparsity may be chosen, where the weights have it",
    "direct_io": "whether to refuse reformats at inputs and outputs with a format of their own (--io-formats)",
    "strict_nans": "whether 0*x, x-x and x/x are computed, so that NaN and infinity come through",
    "distributive_independence": "whether a result may not depend on how a batch is split",
    "version_compatible": "whether later releases of TensorRT load the engine; keeps to the lean runtime's operators",
    "exclude_lean_runtime": "whether a version-compatible plan leaves out the lean runtime",
    "gpu_fallback": "whether layers that DLA can not run go to the GPU",
    "disable_compilation_cache": "whether kernels compiled for the build stay out of the timing cache",
    "error_on_timing_cache_miss": "whether a tactic that the timing cache does not have fails the build",
}
_REFIT_INDIVIDUAL = "refit_individual"


def flag_settings(trt: Any) -> list[Setting]:
    """The flags that a release has."""
    settings = [
        Setting(BuilderOption(name, "bool", default=False, help=meaning), _applies(name))
        for name, meaning in _FLAGS.items()
        if name.upper() in trt.BuilderFlag.__members__
    ]
    if _REFIT_INDIVIDUAL.upper() in trt.BuilderFlag.__members__:
        settings.append(
            Setting(
                BuilderOption(
                    _REFIT_INDIVIDUAL,
                    "names",
                    default=[],
                    help="weights of the model that can be replaced later, by name; all others are folded as usual",
                ),
                _refit_individually,
            )
        )
    if "OBEY_PRECISION_CONSTRAINTS" in trt.BuilderFlag.__members__:
        settings.append(
            Setting(
                BuilderOption(
                    "precision_constraints",
                    "choice",
                    default="NONE",
                    choices=("NONE", "OBEY", "PREFER"),
                    help="whether types that layers are given must be kept (OBEY) or should be (PREFER)",
                ),
                _constrain,
            )
        )
    if _is_typed_by_choice(trt):
        settings.append(
            Setting(
                BuilderOption(
                    STRONGLY_TYPED_OPTION,
                    "bool",
                    default=False,
                    help="whether the network has the model's own types, converted to the precision before",
                ),
                # Of the network, and a network is made before its config (trt_network.create_network).
                applied_elsewhere,
            )
        )
    return settings


def mark_refittable_weights(network: Any, options: Mapping[str, Any], log: TrtLog) -> None:
    """Marks the weights that `refit_individual` names, once the network is there.

    Raises:
        InvalidSpecError: the network has no weights of that name.
    """
    missing = [
        name for name in options.get(_REFIT_INDIVIDUAL, ()) if not network.mark_weights_refittable(name)
    ]
    if missing:
        raise InvalidSpecError(
            f"{log.name} finds no weights {', '.join(missing)} in the model",
            hint="Names are those of the ONNX model's initializers, as Netron shows them.",
        )


def _applies(name: str) -> Any:
    def apply(trt: Any, config: Any, value: bool, log: TrtLog) -> None:
        if value:
            _set_flag(trt, config, name.upper(), f"{name}=true", log)

    return apply


def _refit_individually(trt: Any, config: Any, _names: list[str], log: TrtLog) -> None:
    _set_flag(trt, config, _REFIT_INDIVIDUAL.upper(), _REFIT_INDIVIDUAL, log)


def _constrain(trt: Any, config: Any, value: str, log: TrtLog) -> None:
    if value != "NONE":
        _set_flag(trt, config, f"{value}_PRECISION_CONSTRAINTS", f"precision_constraints={value}", log)


def _set_flag(trt: Any, config: Any, member: str, what: str, log: TrtLog) -> None:
    flag = trt.BuilderFlag.__members__[member]
    config.set_flag(flag)
    # A flag that is not taken raises nothing: it is logged.
    if not config.get_flag(flag):
        raise spec_refusal(log, what)


def _is_typed_by_choice(trt: Any) -> bool:
    """Of 10 alone: 8 can not, and from 11 on there is nothing else."""
    has_flags = "FP16" in trt.BuilderFlag.__members__
    return has_flags and hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")
