"""The formats of exported files, one file each: importing it registers the format."""

from . import aotinductor, executorch, litert, ncnn, onnx, openvino, torch_export, torchscript  # noqa: F401
