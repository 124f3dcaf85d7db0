"""``PredictionOptions``: what a call may ask of a prediction, named in one place. It is imported without PyTorch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

from detkit.inference.view_options import ViewOptions
from detkit.utils.call_options import CallOptions, check_flag, number, option
from detkit.utils.errors import ConfigError

# The thresholds where neither the call nor the config's ``predict_cfg`` states them.
THRESHOLDS: Mapping[str, Any] = {'score_thr': 0.25, 'iou_thr': 0.7, 'max_per_img': 300}


@dataclass(frozen=True)
class ImageOptions(CallOptions):
    """The options of a prediction on images as they are.

    Attributes:
        score_thr: least score of a prediction; a classifier always gives its best class. This, ``iou_thr`` and
            ``max_per_img`` are by default those of the config's ``predict_cfg``, else 0.25, 0.7 and 300.
        iou_thr: of two predictions of a class that overlap more, the better one is kept.
        classes: names or labels of the only classes to report, kept as a tuple; None for all. Of an open-vocabulary
            model the names are the classes that it looks for, which need not be those of its training; a number among
            names is that of one of the model's classes.
        text_embeddings: a file with the embeddings of ``classes``, of an open-vocabulary model; by default the model's
            text encoder makes them. See ``detkit.models.text_encoders.read_embeddings``.
        max_per_img: most predictions an image; most classes of a classifier, 5 by default.
        class_agnostic: predictions suppress those of other classes too.
        retina_masks: masks at the image's resolution inside exact boxes (True), or as coarse as the network's (False);
            None for the config's.
        img_size: the longer side that images are scaled to (DETR, RetinaNet, FCOS, Faster, Mask and Keypoint R-CNN:
            the shorter one; a classifier: its input); the config's test size by default.
        batch_size: images, or views of one, at a time.
        amp: True, ``'bf16'`` or ``'fp16'`` for mixed precision.
        reduced_decoding: JPEGs of at least twice the input's size are decoded at a half, a quarter or an eighth of
            their size, which is faster and gives slightly different results; pixels of results are still the image's.
        gpu_decoding: JPEGs are decoded by the GPU that predicts, through torchvision; values of pixels differ by some
            grey levels from the CPU's, so that scores do slightly. Where that is not possible, a sentence says why.

    Raises:
        ConfigError: an option has a value that makes no sense.
    """

    score_thr: float | None = option(
        None, "lowest score of a prediction (default: the config's, 0.25)", number(Real, 0, 1), type=float
    )
    iou_thr: float | None = option(
        None,
        "IoU threshold of non-maximum suppression (default: the config's, 0.7)",
        number(Real, 0, 1),
        type=float,
    )
    classes: Iterable[str | int] | str | int | None = option(
        None,
        'report only these classes, by name or number; of an open-vocabulary model (YOLO-World): look for these',
        nargs='+',
        metavar='CLASS',
    )
    text_embeddings: str | None = option(
        None,
        "file (.npz, .safetensors) with the embeddings of --classes (default: the model's text encoder makes them)",
        type=str,
        metavar='FILE',
    )
    max_per_img: int | None = option(
        None, "most predictions of an image (default: the config's, 300)", number(Integral, 1), ['--max-det'], type=int
    )
    class_agnostic: bool = option(False, 'suppress predictions across classes too', check_flag, ['--agnostic-nms'])
    retina_masks: bool | None = option(
        None, "draw masks at the image's resolution, not at the network's (default: as the config says)", check_flag
    )
    img_size: int | None = option(
        None,
        "length the longer side is scaled to (default: the config's)",
        number(Integral, 32),
        type=int,
        metavar='PIXELS',
    )
    batch_size: int = option(1, 'images in a batch (default: 1)', number(Integral, 1), type=int)
    amp: bool | str = option(False, 'mixed precision: faster, slightly different results')
    reduced_decoding: bool = option(
        False,
        'decode JPEGs much larger than the input at a part of their size: faster, slightly different results',
        check_flag,
    )
    gpu_decoding: bool = option(
        False, 'decode JPEGs on the GPU that predicts: slightly different results (needs torchvision)', check_flag
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, 'classes', listed_classes(self.classes))


@dataclass(frozen=True)
class PredictionOptions(ViewOptions, ImageOptions):
    """The options of a prediction: arguments of ``Detector.__call__``, of ``Predictor`` and of ``detkit predict``.

    They are those of ``ImageOptions``, and those of ``ViewOptions`` behind them. A new option is a field of one of the
    two. All that predicts takes the options as ``**options``, and a predictor keeps them as ``options``.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reduced_decoding and self.views:
            raise ConfigError(
                'reduced_decoding decodes an image for one pass of the network, but tile and tta take several views of '
                'it: leave it out'
            )
        if self.reduced_decoding and self.gpu_decoding:
            raise ConfigError('reduced_decoding is done by the CPU, and gpu_decoding by the GPU: leave one of them out')

    def with_thresholds(self, predict_cfg: Mapping[str, Any]) -> PredictionOptions:
        """Return the options with the thresholds that are None taken from ``predict_cfg``, else from ``THRESHOLDS``.

        ``class_agnostic`` is True also where it is so there, as it is of an exported file that suppresses so.

        Raises:
            ConfigError: a threshold of the config makes no sense.
        """
        missing = [name for name in THRESHOLDS if getattr(self, name) is None]
        agnostic = self.class_agnostic or bool(predict_cfg.get('class_agnostic'))
        return replace(
            self, class_agnostic=agnostic, **{name: predict_cfg.get(name, THRESHOLDS[name]) for name in missing}
        )


def listed_classes(classes: Any) -> tuple[str | int, ...] | None:
    """Return the value of ``classes`` as a tuple of names and numbers; a set, which has no order, in that of the names.

    Raises:
        ConfigError: it is neither, or empty.
    """
    if classes is None:
        return None
    if hasattr(classes, 'tolist'):  # an array, a tensor, or a number of one
        classes = classes.tolist()
    if isinstance(classes, str | Integral):
        classes = [classes]
    if not isinstance(classes, Iterable) or isinstance(classes, Mapping | bytes):
        raise ConfigError(f'classes is {classes!r}, but must be names or numbers of classes, such as [0, "person"]')
    entries = tuple(sorted(classes, key=str) if isinstance(classes, set | frozenset) else classes)
    if not entries:
        raise ConfigError(
            'classes is empty, so that nothing could be found; leave it out, or give None, for all classes'
        )
    for index, entry in enumerate(entries):
        if not isinstance(entry, str | Integral) or isinstance(entry, bool):
            raise ConfigError(f'classes[{index}] is {entry!r}, but must be the name or the number of a class')
    return entries
