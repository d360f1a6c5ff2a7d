"""Small PyTorch models: what exports, what does not, and what exports to something else."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Block(nn.Module):
    """A residual block as ResNet has it."""

    def __init__(self, before: int, after: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.down = nn.Conv2d(before, after, 1, stride) if stride != 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.down(x))


class ResNet(nn.Module):
    """Stem, two stages, a mean over the picture, and a dropout that eval mode switches off."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 7, 2, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
        )
        self.layers = nn.Sequential(Block(8, 8), Block(8, 16, 2))
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(16, 10)

    def forward(self, image: Tensor) -> Tensor:
        return self.fc(self.dropout(self.layers(self.stem(image)).mean((2, 3))))


def resnet() -> nn.Module:
    return ResNet()


class Volume(nn.Module):
    """A 3-D net with two outputs in a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv3d(1, 4, 3, padding=1)
        self.up = nn.ConvTranspose3d(4, 2, 2, 2)

    def forward(self, volume: Any) -> Any:
        x = nn.functional.max_pool3d(torch.relu(self.down(volume)), 2)
        return {"mask": self.up(x), "score": x.mean((2, 3, 4))}


class Encoder(nn.Module):
    """A small transformer encoder over token ids, with a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(100, 16)
        self.places = nn.Embedding(64, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, ids: Any, mask: Any) -> Any:
        x = self.words(ids) + self.places(torch.arange(ids.shape[1], device=ids.device))[None]
        x = self.encoder(x, src_key_padding_mask=mask == 0)
        return x, x[:, 0]


class Structured(nn.Module):
    """Parameters by name, a gap between them, and outputs in a nested structure."""

    def forward(self, first: Any, unused: Any = None, *, second: Any) -> Any:
        return {"sum": first + second, "parts": [first * 2, None, (second - 1,)]}


class Half(nn.Module):
    """Weights in float16."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 4).half()

    def forward(self, x: Any) -> Any:
        return self.fc(x)


class Branches(nn.Module):
    """Its branch depends on the data."""

    def forward(self, x: Any) -> Any:
        if x.sum() > 0:
            return x * 2
        return x - 1


class Unknown(nn.Module):
    """ONNX has no operator for it."""

    def forward(self, x: Any) -> Any:
        return torch.linalg.svdvals(x)


class FixedBatch(nn.Module):
    """Runs with batches of 2 alone, and says so by a number."""

    def forward(self, x: Any) -> Any:
        return x + torch.zeros(2, 1)


class Raises(nn.Module):
    """The user's own mistake."""

    def forward(self, x: Any) -> Any:
        raise ValueError("the user's own words\nand a second line")


class Noise(nn.Module):
    """Computes something else every time."""

    def forward(self, x: Any) -> Any:
        return x + torch.rand(x.shape)


class LimitedLength(nn.Module):
    """Takes lengths up to 8, and is exported at 8."""

    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Embedding(8, 4)

    def forward(self, x: Any) -> Any:
        return x + self.places(torch.arange(x.shape[1]))


class Numbers(nn.Module):
    """Returns what is no tensor."""

    def forward(self, x: Any) -> Any:
        return x, 3


def _within(part: nn.Module) -> nn.Module:
    """A model that has a part at `encoder.layer.1`."""
    model = nn.Module()
    model.encoder = nn.Module()
    model.encoder.layer = nn.Sequential(nn.Linear(8, 8), part)
    model.forward = lambda x: model.encoder.layer(x)  # type: ignore[method-assign]
    return model


def branches() -> nn.Module:
    return _within(Branches())


def unknown() -> nn.Module:
    return _within(Unknown())


def fixed_batch() -> nn.Module:
    return _within(FixedBatch())


def raises() -> nn.Module:
    return _within(Raises())


def noise() -> nn.Module:
    return _within(Noise())


def wide() -> nn.Module:
    """More weights than go into the graph's own file once a test lowers that limit."""
    return nn.Sequential(nn.Linear(8, 1000), nn.Linear(1000, 4))


def with_arguments(classes: int) -> nn.Module:
    return nn.Linear(8, classes)


def broken() -> nn.Module:
    raise KeyError("backbone")
