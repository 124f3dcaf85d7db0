"""``Plan``: what is exported, after all that was asked for has been found possible."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

from torch import nn

from detkit.export.format import ExportFormat, all_formats, find_format
from detkit.export.settings import DYNAMIC, MAX_INPUT, ExportSettings
from detkit.inference.prediction_options import THRESHOLDS
from detkit.inference.preparation import Preparation
from detkit.inference.steps import input_size
from detkit.models.detectors.base_detector import BaseDetector
from detkit.models.heads.base_head import BaseHead
from detkit.utils.errors import ConfigError, MissingPackageError

_LARGEST_SIDE = 8192


@dataclass(frozen=True)
class Suppression:
    """A suppression in the graph, whose results are ``max_per_img`` rows an image and a count.

    Attributes:
        score_thr, iou_thr, max_per_img, class_agnostic: see ``batched_nms``.
    """

    score_thr: float = 0.25
    iou_thr: float = 0.7
    max_per_img: int = 300
    class_agnostic: bool = False


@dataclass(frozen=True)
class Plan:
    """The settings of an export, after all has been decided and found possible.

    Attributes:
        format: the format.
        batch_size: images of the example, or of every call.
        size: (h, w) of the example, or of every call.
        dynamic: what may differ, of ``DYNAMIC``.
        half, int8, opset, input_type: see ``ExportSettings``.
        suppression: what is put into the graph; None for a plain head.
        divisor: sides of images are multiples of it.
        needs_img_shapes: whether the graph takes ``img_shapes``.
    """

    format: ExportFormat
    batch_size: int
    size: tuple[int, int]
    dynamic: tuple[str, ...]
    half: bool
    opset: int
    input_type: str
    suppression: Suppression | None
    divisor: int
    checked_batches: tuple[int, ...] = field(default=())
    int8: bool = False
    needs_img_shapes: bool = False

    @property
    def precision(self) -> str:
        """Its precision: 'float32', 'half' or 'int8'."""
        return 'int8' if self.int8 else 'half' if self.half else 'float32'


def make_plan(model: nn.Module, settings: ExportSettings) -> Plan:
    """Decide what is exported.

    Args:
        model: a detector as ``init_detector`` returns it.
        settings: what is asked for.

    Raises:
        ConfigError: this model cannot be exported so; says why, and what can be.
        MissingPackageError: a package that the format needs is not installed.
    """
    fmt = find_format(settings.format)
    _check_model(model)
    config = model.info.config
    _check_inputs(model, settings, fmt)
    dynamic = settings.varying
    if dynamic is None:
        dynamic = DYNAMIC if model.needs_img_shapes and 'size' in fmt.dynamic else ()
    _check_dynamic(dynamic, fmt, model)
    divisor = _divisor(model)
    size = input_sides(settings.img_size, input_size(config, model.classifies))
    # A network of one size must take the images as a prediction pads them.
    padding = 1 if 'size' in dynamic else Preparation(config, max(size), model.classifies, size).size_divisor
    _check_multiples(settings.img_size, size, math.lcm(divisor, padding))
    if size[0] * size[1] * settings.batch_size > MAX_INPUT:
        raise ConfigError(
            f'{settings.batch_size} images of {size[0]} x {size[1]} are more than {MAX_INPUT:,} pixels: export a '
            'smaller batch_size or img_size'
        )
    if settings.half and not fmt.half:
        raise ConfigError(f'{fmt.name} files are written in float32 only: leave out half, or {_formats_with("half")}')
    if settings.half and fmt.half_graph and not model.head.HALF_GRAPH:
        raise ConfigError(
            f'{type(model.head).__name__} computes in float32 only: leave out half, or export to openvino, whose '
            'weights may be in half precision'
        )
    _check_int8(settings, fmt)
    suppression = _suppression(model, settings, fmt) if settings.nms else None
    _check_thresholds_unused(settings)
    if settings.text_embeddings is not None:
        raise ConfigError('text_embeddings is the file of the embeddings of classes, which are missing: give classes')
    fmt.check_plan(settings)
    fmt.require(to_write=True)
    if settings.int8:
        _require_nncf()
    batches = tuple(dict.fromkeys((1, max(settings.batch_size, 2)))) if 'batch' in dynamic else (settings.batch_size,)
    return Plan(
        fmt,
        settings.batch_size if 'batch' not in dynamic else max(settings.batch_size, 2),
        size,
        tuple(name for name in DYNAMIC if name in dynamic),
        settings.half,
        settings.opset,
        settings.input_type or fmt.input_types[0],
        suppression,
        divisor,
        batches,
        settings.int8,
        model.needs_img_shapes,
    )


def _check_model(model: nn.Module) -> None:
    """Raise ``ConfigError`` for a model with parts that cannot be exported."""
    if not isinstance(model, BaseDetector):
        raise ConfigError(
            f'{type(model).__name__} cannot be exported, as it is no BaseDetector; of an exported file, export the '
            'checkpoint that it was made from'
        )
    head, preprocessor = model.head, model.data_preprocessor
    if getattr(head, 'NO_EXPORT', ''):
        raise ConfigError(f'{type(head).__name__} cannot be exported: {head.NO_EXPORT}')
    own = getattr(type(head), 'decode', None)
    if own is None or own is BaseHead.decode or getattr(type(head), 'results', None) is BaseHead.results:
        raise ConfigError(
            f'{type(head).__name__} cannot be exported: it writes predict, but neither decode nor results. Split its '
            'predict into the two, see DecodingHead in detkit.protocols'
        )
    if not hasattr(preprocessor, 'normalize'):
        raise ConfigError(
            f'{type(preprocessor).__name__} cannot be exported: it has no method normalize(images, img_shapes), which '
            'DetDataPreprocessor has'
        )
    if model.info.config.get('model') is None:
        raise ConfigError('the model has no config, which its file must hold; load it by init_detector')


def _check_inputs(model: nn.Module, settings: ExportSettings, fmt: ExportFormat) -> None:
    if model.needs_img_shapes and not fmt.img_shapes:
        raise ConfigError(f'{fmt.name} cannot hold {type(model.head).__name__}: {_formats_with("img_shapes")}')
    if model.head.SELECTS and not fmt.selects:
        raise ConfigError(f'{fmt.name} cannot hold {type(model.head).__name__}: {_formats_with("selects")}')
    if model.head.RANKS and not fmt.ranks:
        raise ConfigError(f'{fmt.name} cannot hold {type(model.head).__name__}: {_formats_with("ranks")}')
    if fmt.one_image and settings.batch_size > 1:
        raise ConfigError(f'{fmt.name} files take one image at a time: leave out batch_size')
    if settings.input_type not in (None, *fmt.input_types):
        raise ConfigError(
            f'{fmt.name} files take images as {" or ".join(fmt.input_types)}: leave out input_type, or export to '
            'another format'
        )


def _check_dynamic(dynamic: Sequence[str], fmt: ExportFormat, model: nn.Module) -> None:
    if 'size' in dynamic and model.classifies:
        raise ConfigError("a classifier's images have one size, to which its pipeline cuts them; use dynamic batch")
    missing = [name for name in dynamic if name not in fmt.dynamic]
    if missing:
        raise ConfigError(
            f'{fmt.name} files take one {missing[0]} only, which is fixed at export: leave out dynamic {missing[0]}, '
            f'or {_formats_with("dynamic")}'
        )


def _check_int8(settings: ExportSettings, fmt: ExportFormat) -> None:
    if not settings.int8:
        if settings.calibration is not None:
            raise ConfigError('calibration gives the pictures that int8 is calibrated with: ask for int8 too')
        return
    if not fmt.int8:
        raise ConfigError(f'{fmt.name} files are not written in int8: leave out int8, or {_formats_with("int8")}')
    for name in ('half', 'nms'):
        if getattr(settings, name):
            raise ConfigError(f'int8 and {name} do not go together: leave one of them out')
    if not settings.calibration:
        raise ConfigError(
            'int8 needs pictures that show which values the network computes: give a folder of the training images by '
            'calibration (--calibration FOLDER)'
        )


def _require_nncf() -> None:
    if importlib.util.find_spec('nncf') is None:
        raise MissingPackageError('int8 needs nncf: pip install nncf')


def _divisor(model: nn.Module) -> int:
    """Return what the sides of the images must be multiples of."""
    strides = getattr(model.head, 'strides', ())
    return int(max(strides)) if model.head.has_whole_cells and strides else 1


def input_sides(given: int | Sequence[int] | None, default: int) -> tuple[int, int]:
    """Return (h, w) of a size that is one side or both; None stands for ``default``.

    Raises:
        ConfigError: it is neither, or a side is too small or too large.
    """
    size = default if given is None else given
    sides = list(size) if isinstance(size, Iterable) and not isinstance(size, str) else [size]
    sides = sides * 2 if len(sides) == 1 else sides
    whole = all(isinstance(side, Integral) and not isinstance(side, bool) for side in sides)
    if len(sides) != 2 or not whole or not all(32 <= side <= _LARGEST_SIDE for side in sides):
        stated = f'{given!r}' if given is not None else f"{default!r} (the config's)"
        raise ConfigError(f'img_size is {stated}, but must be a side or (h, w) from 32 to {_LARGEST_SIDE} pixels')
    return int(sides[0]), int(sides[1])


def _check_multiples(given: int | Sequence[int] | None, size: tuple[int, int], divisor: int) -> None:
    if any(side % divisor for side in size):
        whole = ' '.join(str(-(-side // divisor) * divisor) for side in size)
        stated = given if given is not None else f"{max(size)} (the config's)"
        raise ConfigError(f'img_size is {stated}, but the network takes multiples of {divisor}: {whole}')


def _check_count(name: str, value: Any, most: int) -> None:
    if type(value) is not int or not 1 <= value <= most:
        raise ConfigError(f'{name} is {value!r}, but must be a whole number from 1 to {most}')


def _suppression(model: nn.Module, settings: ExportSettings, fmt: ExportFormat) -> Suppression:
    head, title = model.head, type(model.head).__name__
    if model.classifies:
        raise ConfigError('a classifier has nothing to suppress: leave out nms')
    if head.SUPPRESSION is None:
        raise ConfigError(
            f'{title} does not say how its predictions are suppressed (its SUPPRESSION is None): leave out nms, and '
            'suppress them where the file is used'
        )
    if 'no_object_scores' in _decoded_names(head):
        raise ConfigError('panoptic segments are merged from the masks of all queries: leave out nms')
    if not fmt.nms:
        raise ConfigError(f'{fmt.name} files hold a plain head only: leave out nms, or {_formats_with("nms")}')
    test_cfg = head.test_cfg
    if head.SUPPRESSION == 'prob_iou' and (test_cfg.get('greedy') or test_cfg.get('overlap', 'prob_iou') != 'prob_iou'):
        raise ConfigError(
            f'{title}: with test_cfg greedy=True or overlap="iou" boxes are compared one after another, which no graph '
            'holds: leave out nms, or these'
        )
    given = {name: getattr(settings, name) for name in THRESHOLDS}
    values: dict[str, Any] = {
        **THRESHOLDS,
        **{k: v for k, v in (model.info.config.get('predict_cfg') or {}).items() if k in THRESHOLDS},
        **{name: value for name, value in given.items() if value is not None},
    }
    for name in ('score_thr', 'iou_thr'):
        if not isinstance(values[name], int | float) or not 0 <= values[name] <= 1:
            raise ConfigError(f'{name} is {values[name]!r}, but must be a number from 0 to 1')
    _check_count('max_per_img', values['max_per_img'], 10000)
    return Suppression(**values, class_agnostic=bool(settings.class_agnostic))


def _decoded_names(head: BaseHead) -> tuple[str, ...]:
    return ('no_object_scores',) if getattr(head, 'stuff_labels', None) is not None else ()


def _check_thresholds_unused(settings: ExportSettings) -> None:
    if settings.nms:
        return
    given = [name for name in THRESHOLDS if getattr(settings, name) is not None]
    given += ['class_agnostic'] if settings.class_agnostic else []
    if given:
        raise ConfigError(
            f'{given[0]} is that of a suppression in the graph, which only nms asks for; a plain head has all '
            'predictions, and takes thresholds in each call'
        )


def _formats_with(attribute: str) -> str:
    names = [fmt.name for fmt in all_formats() if getattr(fmt, attribute)]
    return f'export to {" or ".join(names)}'
