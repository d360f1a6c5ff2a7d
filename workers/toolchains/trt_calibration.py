"""INT8 calibration on TensorRT up to 10, by its own calibrators; the module `trt` is an argument.

From 11 on and in TensorRT-RTX there are none: there the same samples make Q/DQ scales.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from farm.domain.calibration import ALGORITHM_OPTION, USUAL_ALGORITHM
from farm.domain.models import Tensor
from farm.domain.profile_shapes import first_profile
from farm.domain.shapes import DYNAMIC
from farm.domain.toolchains import BuilderOption
from workers.toolchains.calibration_batches import batches_of, shape_of_batch
from workers.toolchains.cuda_arrays import dtype_name
from workers.toolchains.cuda_driver import DeviceBuffer, Gpu, cuda_errors
from workers.toolchains.toolchain import CALIBRATION_CACHE
from workers.toolchains.trt_calibration_cache import CalibrationCache
from workers.toolchains.trt_release import version_of

if TYPE_CHECKING:
    from typing import Mapping, Sequence

    from numpy.typing import NDArray

    from farm.domain.shapes import ShapeRange
    from workers.toolchains.toolchain import CalibrationInput, Progress

#: TensorRT's classes, by the name of the algorithm.
_CLASSES = {
    "ENTROPY_CALIBRATION_2": "IInt8EntropyCalibrator2",
    "MINMAX_CALIBRATION": "IInt8MinMaxCalibrator",
    "ENTROPY_CALIBRATION": "IInt8EntropyCalibrator",
    "LEGACY_CALIBRATION": "IInt8LegacyCalibrator",
}
#: Of `LEGACY_CALIBRATION`: the share of values that the range is to hold, and no cut beyond that.
_QUANTILE, _REGRESSION_CUTOFF = 0.9999, 1.0


def calibration_option(trt: Any) -> BuilderOption | None:
    """The builder option that names the calibrator; none where the release has no calibrators."""
    known = tuple(name for name, kind in _CLASSES.items() if hasattr(trt, kind))
    if not known:
        return None
    return BuilderOption(
        ALGORITHM_OPTION,
        "choice",
        default=USUAL_ALGORITHM,
        choices=tuple(sorted(known)),
        help="how ranges follow from the samples of an INT8 calibration; has no effect on other precisions",
    )


def set_calibrator(
    trt: Any,
    builder: Any,
    config: Any,
    network: Any,
    wanted: CalibrationInput,
    profiles: Sequence[Mapping[str, ShapeRange]],
    progress: Progress,
) -> Any:
    """Gives a config a calibrator over the samples, and the shapes that they come in.

    Returns:
        The calibrator, which must outlive the build.

    Raises:
        InvalidSpecError: the samples do not fit the model, or are fewer than a batch.
        DeviceUnavailableError: there is no GPU here.
        OutOfMemoryError: a batch does not fit on it.
    """
    inputs = [
        Tensor(tensor.name, dtype_name(tensor.dtype), tuple(tensor.shape))
        for tensor in map(network.get_input, range(network.num_inputs))
    ]
    profile = first_profile(profiles)
    shapes = {tensor.name: shape_of_batch(tensor, profile, wanted.batch) for tensor in inputs}
    batches = batches_of(inputs, shapes, wanted)
    cache = CalibrationCache.of(version_of(trt), wanted.algorithm, wanted.cache_in, wanted.cache_out)
    feed = Feed(Gpu(), batches, wanted.batch, progress)
    calibrator = _new_calibrator(trt, wanted.algorithm, feed, cache)
    config.int8_calibrator = calibrator
    if any(DYNAMIC in tensor.shape for tensor in inputs):
        # Without one TensorRT calibrates at the first profile's optimal shapes, whatever the samples' are.
        own = builder.create_optimization_profile()
        for tensor in inputs:
            own.set_shape(tensor.name, *[shapes[tensor.name]] * 3)
        config.set_calibration_profile(own)
    return calibrator


def calibration_details(calibrator: Any) -> dict[str, Any]:
    """What became of the cache, for the engine's details, once the build is done; nothing without a calibrator."""
    if calibrator is None:
        return {}
    return {CALIBRATION_CACHE: calibrator.cache.facts(calibrator.feed.fed)}


class Feed:
    """Batches of samples on the device, one after the other.

    Args:
        gpu: where they go.
        batches: an array per input each.
        batch: how many samples are in each.
        progress: told how many are through.
    """

    def __init__(
        self, gpu: Gpu, batches: list[dict[str, NDArray[Any]]], batch: int, progress: Progress
    ) -> None:
        self.batch = batch
        self._gpu = gpu
        self._batches = batches
        self._progress = progress
        #: How many batches went in.
        self.fed = 0
        self._device: dict[str, DeviceBuffer] = {}
        #: What went wrong in a callback, where TensorRT would lose it.
        self.error: Exception | None = None

    def advance(self, names: list[str]) -> list[int] | None:
        """Puts the next batch on the device; the addresses of the inputs in the order asked for, none at the end."""
        if self.fed == len(self._batches):
            return None
        arrays = self._batches[self.fed]
        self.fed += 1
        self._progress(None, f"calibrating, batch {self.fed} of {len(self._batches)}")
        try:
            for name in names:
                array = arrays[name]
                if name not in self._device:
                    self._device[name] = DeviceBuffer(self._gpu, array.nbytes)
                with cuda_errors(self._gpu.drv, "copying calibration samples"):
                    self._gpu.drv.memcpy_htod(self._device[name].address, array)
        except Exception as error:  # noqa: BLE001 - TensorRT's callback must not raise
            self.error = error
            return None
        return [self._device[name].address for name in names]

    def close(self) -> None:
        """Gives the device's memory back; the context stays for whoever comes after, until the process ends."""
        for buffer in self._device.values():
            buffer.close()
        self._device.clear()


def _new_calibrator(trt: Any, algorithm: str, feed: Feed, cache: CalibrationCache) -> Any:
    base = getattr(trt, _CLASSES[algorithm])

    class Calibrator(base):  # type: ignore[misc, valid-type]
        """TensorRT's calibrator over a feed."""

        def __init__(self) -> None:
            base.__init__(self)
            self.feed = feed
            self.cache = cache

        def get_batch_size(self) -> int:
            return feed.batch

        def get_batch(self, names: list[str]) -> list[int] | None:
            return feed.advance(names)

        def read_calibration_cache(self, *_length: int) -> bytes | None:
            # TensorRT reads the bytes after this has returned: `cache` holds them. A build that is begun again takes
            # what the first one measured: its samples are through.
            return cache.lent or cache.written

        def write_calibration_cache(self, *written: Any) -> None:
            cache.keep(written[0])

        # Of the legacy calibrator alone.
        def get_quantile(self) -> float:
            return _QUANTILE

        def get_regression_cutoff(self) -> float:
            return _REGRESSION_CUTOFF

        def read_histogram_cache(self, _length: int) -> None:
            """Nothing to begin with."""

        def write_histogram_cache(self, *_cache: Any) -> None:
            """Not kept."""

    return Calibrator()
