"""``ExportSettings``: what an export is asked for, named in one place. It is imported without PyTorch."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from detkit.inference.prediction_options import listed_classes
from detkit.utils.call_options import CallOptions, check_flag, number, option
from detkit.utils.errors import ConfigError

DYNAMIC = ('batch', 'size')
INPUT_TYPES = ('uint8', 'float32')
# The names of a graph's inputs; the second one is there where padding matters.
INPUTS = ('images', 'img_shapes')
LARGEST_BATCH = 1024
# Most pixels of an input of fixed size.
MAX_INPUT = 1 << 28


def _check_dynamic(name: str, value: Any) -> None:
    words = (value,) if isinstance(value, str) else value
    if isinstance(value, bool):
        return
    unknown = [word for word in words if word not in DYNAMIC] if isinstance(words, Collection) else [value]
    if unknown:
        raise ConfigError(f"{name} is {unknown[0]!r}, but must be 'batch', 'size', both, True or False")


def _check_input_type(name: str, value: Any) -> None:
    if value is not None and value not in INPUT_TYPES:
        raise ConfigError(f'{name} is {value!r}, but must be {" or ".join(INPUT_TYPES)}')


@dataclass(frozen=True)
class ExportSettings(CallOptions):
    """The settings of an export: arguments of ``Detector.export`` and of ``detkit export``.

    Attributes:
        format: the name of a format, such as ``'onnx'``.
        batch_size: images at a time; with a dynamic batch the number that is checked.
        img_size: a side, or (h, w), of the network's input; the config's test size by default.
        dynamic: what may differ from call to call: ``'batch'``, ``'size'``, both, or True for both; False for nothing.
            By default nothing, or both with a network that takes the shapes of images (DETR, RetinaNet, FCOS).
        half: half precision.
        int8: weights and activations in 8 bits, by NNCF's post-training quantisation.
        calibration: files, folders or patterns of the pictures that int8 is calibrated with, 300 at most.
        nms: put suppression into the graph.
        score_thr, iou_thr, max_per_img, class_agnostic: of that suppression; by default as in prediction.
        classes: the classes of an open-vocabulary model, by name; by default those that it has.
        text_embeddings: a file with their embeddings, see ``detkit.models.text_encoders.read_embeddings``.
        opset: version of ONNX's operators.
        input_type: the type of the images' values from 0 to 255; the format's first one by default.
        tolerance: greatest difference of boxes in pixels; None for the format's.
        threads: CPU threads of the check; None for PyTorch's number.

    Raises:
        ConfigError: a setting has a value that makes no sense.
    """

    format: str = option(
        'onnx',
        'format of the file: onnx, openvino, torchscript, torch_export, aotinductor, coreml, executorch, litert, '
        'ncnn or tensorrt; coreml and tensorrt are not tested (default: onnx)',
        type=str,
    )
    batch_size: int = option(
        1, 'images at a time (default: 1)', number(Integral, 1, LARGEST_BATCH), ['--batch'], type=int
    )
    img_size: int | Sequence[int] | None = option(
        None, "side, or height and width, of the input (default: the config's)", type=int, nargs='+', metavar='PIXELS'
    )
    dynamic: bool | str | Collection[str] | None = option(
        None,
        'let the number of images, their size, or both differ from call to call (default: neither; both for DETR, '
        'RetinaNet and FCOS)',
        _check_dynamic,
        nargs='*',
        choices=[*DYNAMIC, 'none'],
    )
    half: bool = option(False, 'half precision', check_flag, ['--fp16'])
    int8: bool = option(False, 'quantise to 8 bits by NNCF, with pictures of --calibration', check_flag)
    calibration: str | Sequence[str] | None = option(
        None, 'pictures of the training data that --int8 is calibrated with', nargs='+', metavar='IMAGE'
    )
    nms: bool = option(False, 'put non-maximum suppression into the file', check_flag)
    score_thr: float | None = option(
        None, "lowest score that --nms keeps (default: the config's, 0.25)", number(Real, 0, 1), type=float
    )
    iou_thr: float | None = option(
        None, "IoU threshold of --nms (default: the config's, 0.7)", number(Real, 0, 1), type=float
    )
    max_per_img: int | None = option(
        None, "rows of an image with --nms (default: the config's, 300)", number(Integral, 1, 10000), type=int
    )
    class_agnostic: bool = option(False, 'let --nms suppress across classes too', check_flag)
    classes: Iterable[str] | str | None = option(
        None,
        'classes of an open-vocabulary model (YOLO-World), which the file keeps (default: those that it has)',
        nargs='+',
        metavar='CLASS',
    )
    text_embeddings: str | None = option(
        None,
        "file (.npz, .safetensors) with the embeddings of --classes (default: the model's text encoder makes them)",
        type=str,
        metavar='FILE',
    )
    opset: int = option(17, "version of ONNX's operators (default: 17)", number(Integral, 1), type=int)
    input_type: str | None = option(
        None,
        "type of the images' values (default: uint8, or float32 where the format has that alone)",
        _check_input_type,
        choices=INPUT_TYPES,
    )
    tolerance: float | None = option(
        None, "greatest difference of boxes in pixels (default: the format's)", number(Real, 0), type=float
    )
    threads: int | None = option(
        None, "CPU threads of the check (default: PyTorch's)", number(Integral, 1), type=int, metavar='N'
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, 'classes', listed_classes(self.classes))

    @property
    def varying(self) -> tuple[str, ...] | None:
        """The axes of ``DYNAMIC`` that may differ from call to call; None where ``dynamic`` leaves it open."""
        if self.dynamic is None:
            return None
        if isinstance(self.dynamic, bool):
            return DYNAMIC if self.dynamic else ()
        return (self.dynamic,) if isinstance(self.dynamic, str) else tuple(self.dynamic)
