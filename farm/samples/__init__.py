"""Models that come with the farm. The demo's sample: a small classifier of handwritten digits and held-out images to check it on.

`digits.onnx` takes `image`, float32 (batch, 1, 8, 8) with pixels in 0..1 and a dynamic batch, and
gives `scores`, (batch, 10). `digits.npz` holds 64 images that it never saw in training, as `image`,
and their classes as `labels`. `examples/train_digits.py` makes both. `canary.onnx` is what workers time to see
whether their device is what it was.
"""

from pathlib import Path

_HERE = Path(__file__).parent


def digits_model() -> Path:
    """The classifier, an ONNX file."""
    return _HERE / "digits.onnx"


def canary_model() -> Path:
    """The model that workers time again and again, an ONNX file; `examples/make_canary.py` makes it."""
    return _HERE / "canary.onnx"


def digits_data() -> Path:
    """Held-out images (`image`) and their classes (`labels`), a NumPy archive."""
    return _HERE / "digits.npz"
