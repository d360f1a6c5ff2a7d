"""Export a BERT-base encoder with dynamic batch and sequence length, its weights seeded and random.

    python examples/export_bert.py OUT_DIR [--layers 12] [--samples 64] [--length 128]

| model | inputs                                        | output         | parameters |
|-------|-----------------------------------------------|----------------|------------|
| bert  | input_ids NxS int64, attention_mask NxS int64 | pooled Nx768   | 109 M      |

Writes OUT_DIR/bert.onnx (compared with PyTorch at another batch and length than it was traced with), and beside it
bert-samples.npz to calibrate with and bert-inputs.npz to verify with: ids of the whole vocabulary, the last eighth of
every second row masked. Needs PyTorch, ONNX and ONNX Runtime; opset 17, as TensorRT 8.6 reads no later one.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

SEED = 20240817
OPSET = 17
VOCABULARY, WIDTH, HEADS, INNER, POSITIONS = 30522, 768, 12, 3072, 512


class Layer(nn.Module):
    """Attention and a feed-forward net, each with a residual and a LayerNorm after it."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.output = nn.Linear(WIDTH, WIDTH)
        self.attention_norm = nn.LayerNorm(WIDTH, eps=1e-12)
        self.inner, self.outer = nn.Linear(WIDTH, INNER), nn.Linear(INNER, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, eps=1e-12)

    def forward(self, tokens: Tensor, penalty: Tensor) -> Tensor:
        def heads(values: Tensor) -> Tensor:
            return values.view(values.shape[0], -1, HEADS, WIDTH // HEADS).transpose(1, 2)

        query, key, value = (heads(linear(tokens)) for linear in (self.query, self.key, self.value))
        scores = query @ key.transpose(-1, -2) / (WIDTH // HEADS) ** 0.5 + penalty
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).reshape(tokens.shape)
        tokens = self.attention_norm(tokens + self.output(mixed))
        out: Tensor = self.norm(tokens + self.outer(nn.functional.gelu(self.inner(tokens))))
        return out


class Encoder(nn.Module):
    """BERT without token types: embeddings, layers, and the pooled first token."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(POSITIONS, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, eps=1e-12)
        self.layers = nn.ModuleList(Layer() for _ in range(layers))
        self.pooler = nn.Linear(WIDTH, WIDTH)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        places = torch.arange(input_ids.shape[1], device=input_ids.device)
        tokens = self.norm(self.words(input_ids) + self.positions(places))
        # Within FP16's range, where -inf and the usual -3.4e38 are not.
        penalty = (1.0 - attention_mask[:, None, None, :].float()) * -10000.0
        for layer in self.layers:
            tokens = layer(tokens, penalty)
        pooled: Tensor = self.pooler(tokens[:, 0]).tanh()
        return pooled


def initialise(model: nn.Module) -> None:
    """BERT's own initial weights: normal with a deviation of 0.02, biases zero."""
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)


def batch(count: int, length: int, seed: int) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    mask = np.ones((count, length), dtype=np.int64)
    mask[1::2, length - length // 8 :] = 0
    return {"input_ids": draw.integers(0, VOCABULARY, (count, length)), "attention_mask": mask}


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="OUT_DIR")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--length", type=int, default=128)
    arguments = parser.parse_args()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(SEED)
    model = Encoder(arguments.layers)
    initialise(model)
    model.eval()
    path = folder / "bert.onnx"
    traced = {name: torch.from_numpy(array) for name, array in batch(2, 64, SEED).items()}
    axes = {0: "batch", 1: "length"}
    torch.onnx.export(
        model,
        tuple(traced.values()),
        str(path),
        input_names=list(traced),
        output_names=["pooled"],
        dynamic_axes={**dict.fromkeys(traced, axes), "pooled": {0: "batch"}},
        opset_version=OPSET,
        do_constant_folding=True,
        dynamo=False,
    )
    for what, count, seed in (("samples", arguments.samples, SEED + 300), ("inputs", 8, SEED + 400)):
        np.savez(folder / f"bert-{what}.npz", **batch(count, arguments.length, seed))
    tried = batch(3, 48, SEED + 200)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, tried)
    right = model(*map(torch.from_numpy, tried.values())).numpy()
    made = {
        "model": "bert",
        "path": str(path),
        "size_bytes": path.stat().st_size,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "difference_from_onnxruntime": float(np.abs(found - right).max()),
    }
    print(json.dumps(made))


if __name__ == "__main__":
    main()
