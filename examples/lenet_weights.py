"""Weights for `lenet_network.py`, and digits with the scores that numpy computes for them.

    python examples/lenet_weights.py FOLDER

writes `lenet.npz` (what a PyTorch state dict of LeNet has: names and shapes) and `digits28.npz` (64 handwritten digits
of scikit-learn's, four times as large; `labels`; and `outputs/scores`, which an engine is compared with, since there
is no ONNX to run on the CPU). The convolutions are seeded random ones; only the last layer is fitted, by least squares
on these very digits, so that each of them gets its label. Needs numpy alone.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[np.float32]]
Doubles = NDArray[np.float64]

SEED = 28
#: Keeps the fit from following rounding errors.
RIDGE = 1e-3


def random_weights() -> Arrays:
    """A state dict of LeNet as PyTorch names it: two convolutions, two dense layers."""
    rng = np.random.default_rng(SEED)

    def scaled(*shape: int) -> NDArray[np.float32]:
        return rng.normal(0, np.prod(shape[1:]) ** -0.5, shape).astype(np.float32)

    shapes = {"conv1": (20, 1, 5, 5), "conv2": (50, 20, 5, 5), "fc1": (500, 800), "fc2": (10, 500)}
    weights = {f"{name}.weight": scaled(*shape) for name, shape in shapes.items()}
    return weights | {
        f"{name}.bias": rng.normal(0, 0.1, shape[0]).astype(np.float32) for name, shape in shapes.items()
    }


def scores_of(weights: Arrays, images: NDArray[np.float32]) -> Doubles:
    """The network in numpy: (N, 1, 28, 28) to (N, 10), in float64."""
    return _features(weights, images) @ weights["fc2.weight"].astype(np.float64).T + weights["fc2.bias"]


def _features(weights: Arrays, images: NDArray[np.float32]) -> Doubles:
    value = images.astype(np.float64)
    for layer in ("conv1", "conv2"):
        value = _pool(_convolve(value, weights[f"{layer}.weight"], weights[f"{layer}.bias"]))
    flat = value.reshape(len(value), -1)
    return np.maximum(flat @ weights["fc1.weight"].astype(np.float64).T + weights["fc1.bias"], 0)


def _convolve(value: Doubles, kernel: NDArray[np.float32], bias: NDArray[np.float32]) -> Doubles:
    windows = np.lib.stride_tricks.sliding_window_view(value, kernel.shape[2:], axis=(2, 3))
    return (
        np.einsum("nchwij,ocij->nohw", windows, kernel.astype(np.float64), optimize=True)
        + bias[:, None, None]
    )


def _pool(value: Doubles) -> Doubles:
    n, c, h, w = value.shape
    return value.reshape(n, c, h // 2, 2, w // 2, 2).max(axis=(3, 5))


def digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The farm's 64 sample digits in 28 x 28, and their labels."""
    with np.load(Path(__file__).parents[1] / "farm" / "samples" / "digits.npz") as data:
        large = data["image"].repeat(3, axis=2).repeat(3, axis=3)
        return np.pad(large, ((0, 0), (0, 0), (2, 2), (2, 2))), data["labels"]


def lenet() -> tuple[Arrays, NDArray[np.float32], NDArray[np.int64], Doubles]:
    """Weights, images, labels, and the scores of the images."""
    weights = random_weights()
    images, labels = digits()
    features = _features(weights, images)
    wanted = np.eye(10)[labels] - weights["fc2.bias"]
    # By way of the 64 x 64 matrix of the samples: there are more features than samples.
    among = features @ features.T
    fitted = features.T @ np.linalg.solve(
        among + RIDGE * np.trace(among) / len(among) * np.eye(len(among)), wanted
    )
    weights["fc2.weight"] = fitted.T.astype(np.float32)
    return weights, images, labels, scores_of(weights, images)


def main(folder: Path) -> None:
    """Writes both files."""
    weights, images, labels, scores = lenet()
    np.savez(folder / "lenet.npz", **weights)
    outputs = {"outputs/scores": scores.astype(np.float32)}
    np.savez(folder / "digits28.npz", data=images, labels=labels, **outputs)
    print(f"{(scores.argmax(axis=1) == labels).mean():.1%} of the {len(labels)} digits get their label")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
