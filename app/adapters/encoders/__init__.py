"""Encoders by engine: ONNX Runtime on a CPU, torch on a GPU."""
