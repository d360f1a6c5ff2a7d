"""Builder options that add to and take from a set which a release of TensorRT has by default."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from farm.domain.toolchains import BuilderOption
from workers.toolchains.trt_log import spec_refusal
from workers.toolchains.trt_options_setting import Setting, member_of

if TYPE_CHECKING:
    from workers.toolchains.trt_log import TrtLog


def set_settings(trt: Any) -> list[Setting]:
    """The sets that a release has."""
    settings = [
        Setting(
            _signed(
                "tactic_sources",
                trt.TacticSource,
                "libraries to take tactics from (+) or not (-), relative to the release's default",
            ),
            _choose_tactic_sources,
        )
    ]
    if hasattr(trt, "PreviewFeature"):
        settings.append(
            Setting(
                _signed(
                    "preview_features",
                    trt.PreviewFeature,
                    "features that a release tries out, on (+) or off (-), relative to its default",
                ),
                _choose_preview_features,
            )
        )
    if hasattr(trt, "QuantizationFlag"):
        settings.append(
            Setting(
                _signed(
                    "quantization_flags",
                    trt.QuantizationFlag,
                    "CALIBRATE_BEFORE_FUSION: calibrate the network before layers are fused",
                ),
                _choose_quantization_flags,
            )
        )
    return settings


def _signed(name: str, enum: Any, meaning: str) -> BuilderOption:
    return BuilderOption(
        name, "signed-set", default=[], choices=tuple(sorted(enum.__members__)), help=meaning
    )


def _choose_tactic_sources(trt: Any, config: Any, signed: list[str], log: TrtLog) -> None:
    mask = config.get_tactic_sources()
    for word in signed:
        bit = 1 << int(member_of(trt.TacticSource, "tactic_sources", word[1:]))
        mask = mask | bit if word[0] == "+" else mask & ~bit
    if not config.set_tactic_sources(mask):
        raise spec_refusal(log, f"tactic_sources={','.join(signed)}")


def _choose_preview_features(trt: Any, config: Any, signed: list[str], log: TrtLog) -> None:
    for word in signed:
        feature = member_of(trt.PreviewFeature, "preview_features", word[1:])
        config.set_preview_feature(feature, word[0] == "+")
        if config.get_preview_feature(feature) != (word[0] == "+"):
            raise spec_refusal(log, f"preview_features={word}")


def _choose_quantization_flags(trt: Any, config: Any, signed: list[str], log: TrtLog) -> None:
    for word in signed:
        flag = member_of(trt.QuantizationFlag, "quantization_flags", word[1:])
        (config.set_quantization_flag if word[0] == "+" else config.clear_quantization_flag)(flag)
        if config.get_quantization_flag(flag) != (word[0] == "+"):
            raise spec_refusal(log, f"quantization_flags={word}")
