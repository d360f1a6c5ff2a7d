"""The ports over a database, a folder of artifacts, and ONNX files."""
