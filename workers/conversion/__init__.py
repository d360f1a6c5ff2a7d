"""Typed conversion of ONNX models, with libraries of the field, in the farm's own interpreter."""
