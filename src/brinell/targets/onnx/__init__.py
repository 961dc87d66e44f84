"""ONNX models: run by onnxruntime, and read into a torch module for gradients and proofs."""

from brinell.targets.onnx.backend import OnnxBackend as OnnxBackend
