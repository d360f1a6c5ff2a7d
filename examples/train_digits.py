"""Train the demo's digit classifier and write `digits.onnx` and `digits.npz`.

    python -m venv /tmp/venv-digits
    /tmp/venv-digits/bin/pip install torch==2.13.0 scikit-learn onnx onnxscript onnxruntime
    /tmp/venv-digits/bin/python examples/train_digits.py farm/samples

A quarter of a minute on one CPU core. The data are scikit-learn's 1797 handwritten digits of 8 x 8
pixels, which come with the package; nothing is downloaded. A fifth is held out, stratified by
class, and takes no part in training or in any choice: the number of epochs is fixed. The script
prints the accuracy on that fifth as PyTorch and as ONNX Runtime compute it, and stops without
writing anything if the two differ or the accuracy is below 98 %. Everything is seeded and runs on
one thread, so the same versions on the same kind of CPU write the same bytes again.

The graph is made of Conv, Relu, MaxPool and one Flatten, with BatchNorm folded away. The head is
a convolution over the whole 2 x 2 map rather than a Gemm, since TensorRT-RTX has no FP32 Gemm for
compute capability 7.5. Opset 17, since TensorRT 8.6 reads no later one.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional

SEED = 20240817
EPOCHS = 60
BATCH = 64
PEAK_LEARNING_RATE = 0.01
SAMPLE_IMAGES = 64
LEAST_ACCURACY = 0.98
OPSET = 17

Images = NDArray[np.float32]
Labels = NDArray[np.int64]


class DigitClassifier(nn.Module):
    """(batch, 1, 8, 8) images to (batch, 10) unnormalised scores; 39 thousand parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_conv_block(1, 24),
            *_conv_block(24, 24),
            nn.MaxPool2d(2),
            *_conv_block(24, 48),
            *_conv_block(48, 48),
            nn.MaxPool2d(2),
        )
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Conv2d(48, 10, kernel_size=2)

    def forward(self, image: Tensor) -> Tensor:
        scores: Tensor = self.head(self.dropout(self.features(image)))
        return scores.flatten(1)


def _conv_block(channels_in: int, channels_out: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    ]


def load_split() -> tuple[Images, Labels, Images, Labels]:
    """Training images and labels, then the held-out ones; pixels scaled from 0..16 to 0..1."""
    digits = load_digits()
    images = (digits.images[:, None] / 16.0).astype(np.float32)
    labels = digits.target.astype(np.int64)
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, labels, test_size=0.2, stratify=labels, random_state=SEED
    )
    return train_images, train_labels, test_images, test_labels


def jitter(images: Tensor) -> Tensor:
    """Each image turned, scaled and shifted a little, at random."""
    count = len(images)
    angle = torch.empty(count).uniform_(-math.radians(10), math.radians(10))
    scale = torch.empty(count).uniform_(0.92, 1.08)
    shift = torch.empty(count, 2).uniform_(-0.1, 0.1)
    cosine, sine = scale * angle.cos(), scale * angle.sin()
    rows = [torch.stack([cosine, -sine, shift[:, 0]], 1), torch.stack([sine, cosine, shift[:, 1]], 1)]
    grid = functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def train(images: Images, labels: Labels) -> DigitClassifier:
    """A classifier trained for a fixed number of epochs on one thread, in evaluation mode."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    model = DigitClassifier()
    inputs, targets = torch.from_numpy(images), torch.from_numpy(labels)
    steps_per_epoch = len(inputs) // BATCH
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=PEAK_LEARNING_RATE, epochs=EPOCHS, steps_per_epoch=steps_per_epoch
    )
    for epoch in range(EPOCHS):
        order = torch.randperm(len(inputs))
        total = 0.0
        for step in range(steps_per_epoch):
            chosen = order[step * BATCH : (step + 1) * BATCH]
            scores = model(jitter(inputs[chosen]))
            loss = functional.cross_entropy(scores, targets[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            total += loss.item()
        if (epoch + 1) % 10 == 0:
            print(f"epoch {epoch + 1}/{EPOCHS}: training loss {total / steps_per_epoch:.4f}")
    return model.eval()


def export(model: DigitClassifier) -> bytes:
    """The model as checked ONNX bytes with a dynamic batch and its weights inline."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.onnx"
        torch.onnx.export(
            model,
            (torch.zeros(2, 1, 8, 8),),
            str(path),
            input_names=["image"],
            output_names=["scores"],
            dynamic_axes={"image": {0: "batch"}, "scores": {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )
        content = path.read_bytes()
    graph = onnx.load_from_string(content)
    onnx.checker.check_model(graph, full_check=True)
    operators = Counter(node.op_type for node in graph.graph.node)
    if unwanted := set(operators) - {"Conv", "Relu", "MaxPool", "Flatten"}:
        raise SystemExit(f"the exported graph has operators it should not have: {sorted(unwanted)}")
    print("graph:", ", ".join(f"{count} {name}" for name, count in operators.items()))
    return content


def top1(scores: NDArray[np.float32], labels: Labels) -> float:
    return float((scores.argmax(axis=1) == labels).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the demo's digit classifier.")
    parser.add_argument("folder", type=Path, help="where digits.onnx and digits.npz are written")
    folder: Path = parser.parse_args().folder

    train_images, train_labels, test_images, test_labels = load_split()
    print(f"{len(train_images)} images to train on, {len(test_images)} held out")
    model = train(train_images, train_labels)
    with torch.no_grad():
        expected = model(torch.from_numpy(test_images)).numpy()
    print(f"PyTorch top-1 on the held-out images: {top1(expected, test_labels):.4f}")

    content = export(model)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (scores,) = session.run(["scores"], {"image": test_images})
    accuracy = top1(scores, test_labels)
    print(f"ONNX Runtime top-1 on the held-out images: {accuracy:.4f}")
    print(f"largest difference from PyTorch: {np.abs(scores - expected).max():.2e}")
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)
    if accuracy < LEAST_ACCURACY:
        raise SystemExit(f"accuracy {accuracy:.4f} is below {LEAST_ACCURACY}; nothing written")

    folder.mkdir(parents=True, exist_ok=True)
    model_path, data_path = folder / "digits.onnx", folder / "digits.npz"
    model_path.write_bytes(content)
    sample_labels = test_labels[:SAMPLE_IMAGES]
    np.savez_compressed(data_path, image=test_images[:SAMPLE_IMAGES], labels=sample_labels)
    print(f"top-1 on the {SAMPLE_IMAGES} images kept: {top1(scores[:SAMPLE_IMAGES], sample_labels):.4f}")
    for path in (model_path, data_path):
        print(f"wrote {path}, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
