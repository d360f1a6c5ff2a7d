"""From PyTorch to ONNX: a module, a `.pt2` program or TorchScript becomes a checked file that `submit` takes.

The only part of the farm's own interpreter that imports torch, and it does so when a model is exported.
"""
