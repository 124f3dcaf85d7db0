"""The formats of exported files, one file each: importing it registers the format."""

from . import aotinductor, coreml, executorch, litert, ncnn, onnx, openvino, tensorrt, torch_export, torchscript  # noqa: F401
