"""The options of TensorRT's builder, by what a release offers, and how they are applied.

Options keep TensorRT's attribute names and enum names; a flag of the builder is called as its member of `BuilderFlag`, in
small letters. Names, never numbers: TensorRT renumbers its enums between releases. The module `trt` is an argument.
Which release has which is in `farm/domain/option_releases.py`, where what is missing is refused with its reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from farm.domain.errors import InvalidSpecError
from farm.domain.suggestions import did_you_mean
from workers.toolchains.trt_calibration import calibration_option
from workers.toolchains.trt_options_flags import flag_settings
from workers.toolchains.trt_options_sets import set_settings
from workers.toolchains.trt_options_setting import Setting, applied_elsewhere
from workers.toolchains.trt_options_values import value_settings

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from farm.domain.toolchains import BuilderOption
    from workers.toolchains.trt_log import TrtLog


def options_of(trt: Any, only: Collection[str] | None = None) -> tuple[BuilderOption, ...]:
    """The builder options that a release has.

    Args:
        trt: the module.
        only: names to offer, where a product has the attributes but they do nothing.
    """
    return tuple(setting.option for setting in _settings(trt, only))


def apply_options(
    trt: Any, config: Any, options: Mapping[str, Any], log: TrtLog, only: Collection[str] | None = None
) -> None:
    """Sets canonical options on a builder config.

    Raises:
        InvalidSpecError: an option is unknown here, or TensorRT does not take its value.
    """
    known = {setting.option.name: setting for setting in _settings(trt, only)}
    for name in options:
        if name not in known:
            raise InvalidSpecError(
                f"{log.name} has no builder option {name!r}", hint=did_you_mean(name, known)
            )
    # In the order of the settings, since some flags are taken after others only.
    for name, setting in known.items():
        if name in options:
            setting.apply(trt, config, options[name], log)


def _settings(trt: Any, only: Collection[str] | None) -> list[Setting]:
    offered = [*value_settings(trt), *set_settings(trt), *flag_settings(trt)]
    calibration = calibration_option(trt)
    if calibration is not None:
        # Chosen with the calibrator.
        offered.append(Setting(calibration, applied_elsewhere))
    return [setting for setting in offered if only is None or setting.option.name in only]
