"""``Result``: the prediction on one image, in NumPy arrays."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.structures import InstanceData
from torch import Tensor

from detkit.config.words import no_attribute, options_of_call
from detkit.inference import result_exports
from detkit.inference.predictor import FIVE_BEST, ListedClasses
from detkit.inference.result_conversions import ConvertibleResult
from detkit.inference.source_image import SourceImage
from detkit.inference.video import VideoFrame
from detkit.models.detectors import ModelInfo
from detkit.structures.data_sample import DetDataSample, best_classes
from detkit.structures.masks import InstanceMasks
from detkit.structures.panoptic import PanopticSegments
from detkit.utils.call_options import number, takes
from detkit.utils.errors import ConfigError, DataError
from detkit.utils.pictures import write_picture
from detkit.utils.printable import shortened
from detkit.utils.tables import text_table
from detkit.visualization.drawing import draw_data_sample
from detkit.visualization.drawing_options import DrawingOptions

_check_margin = number(Real, 0)
# The fields of a result that hold a value for each object.
_FIELDS = ('labels', 'scores', 'bboxes', 'keypoints', 'keypoint_scores', 'rbboxes', 'masks')  # of data samples
_PER_OBJECT = ('labels', 'scores', 'bboxes', 'keypoints', 'rbboxes', 'instance_masks', 'track_ids')


@dataclass(frozen=True, eq=False, repr=False)
class Result(ConvertibleResult):
    """The prediction on one image: N objects, best first. All arrays are NumPy's, in pixels of the image.

    ``len`` counts the objects. An index, a slice, a list of indices or a boolean array chooses some of them, as in
    ``result[result.scores > 0.5]``; a loop goes over results of one object each. Of a classifier, the objects are the
    most probable classes, five at most; of a head that divides the whole image, its segments.

    Attributes:
        img_path: the image's path or address; 'image3' for one that was in memory, by its index in the source.
        img_shape: (h, w) of the image, None where it cannot be read.
        classes: names of all classes, by label.
        labels: ``(N,)`` int64.
        scores: ``(N,)`` float32.
        bboxes: ``(N, 4)`` float32 xyxy; None from a classifier.
        keypoints: ``(N, K, 3)`` float32, x, y and score; None without keypoints.
        rbboxes: ``(N, 5)`` float32 (cx, cy, w, h, angle in radians); None without rotated boxes.
        probs: ``(C,)`` float32, the probabilities of all classes, from a classifier; None from a detector.
        instance_masks: the masks as crops, which take little memory; they also give outlines and run lengths.
        error: a sentence on why the image could not be read, or None.
        frame: the number of a video's frame, from 0; None for an image.
        seconds: its time since the beginning of the video; None for an image.
        track_ids: ``(N,)`` int64, the number of each object's track, from 1; None where objects are not tracked.
        values: by name, ``(N, …)`` what a user's own head says of each object besides, such as depths.
    """

    img_path: str
    img_shape: tuple[int, int] | None
    classes: tuple[str, ...]
    labels: np.ndarray
    scores: np.ndarray
    bboxes: np.ndarray | None = None
    keypoints: np.ndarray | None = None
    rbboxes: np.ndarray | None = None
    probs: np.ndarray | None = None
    instance_masks: InstanceMasks | None = None
    error: str | None = None
    frame: int | None = None
    seconds: float | None = None
    track_ids: np.ndarray | None = None
    values: Mapping[str, np.ndarray] = field(default_factory=dict)

    _image: SourceImage | None = None
    _segments: PanopticSegments | None = None
    _keypoint_info: Mapping[str, Any] = field(default_factory=dict)
    _score_thr: float = 0.0

    @classmethod
    def of_sample(
        cls,
        image: SourceImage,
        sample: DetDataSample,
        info: ModelInfo,
        score_thr: float = 0.0,
        listed: ListedClasses = FIVE_BEST,
    ) -> Result:
        """Return the result of a data sample that a predictor made.

        Args:
            image: the image that was predicted on.
            sample: the prediction.
            info: the model's classes and keypoints.
            score_thr: classes of a classified image below it are not drawn.
            listed: which classes of a classified image the result lists.
        """
        shared = dict(img_path=image.name, classes=info.classes, _image=image, _keypoint_info=info.keypoints)
        if isinstance(image, VideoFrame):
            shared |= dict(frame=image.frame, seconds=image.seconds)
        if 'skipped' in sample:
            none = np.zeros(0, np.float32)
            bboxes = none.reshape(0, 4) if 'pred_instances' in sample else None
            return cls(
                img_shape=None, labels=none.astype(np.int64), scores=none, bboxes=bboxes, error=sample.skipped, **shared
            )
        shared['img_shape'] = tuple(sample.ori_shape)
        if 'pred_scores' in sample:
            labels, scores = best_classes(sample.pred_scores, listed.most)
            probs = _array(sample.pred_scores)
            # Classes that the option 'classes' left out have a score of 0.
            chosen = ((scores > 0) & (scores >= listed.min_prob)) | (np.arange(len(scores)) == 0)
            return cls(labels=labels[chosen], scores=scores[chosen], probs=probs, _score_thr=score_thr, **shared)
        segments = sample.get('pred_panoptic')
        found = sample.pred_instances if segments is None else segments.to_instances()
        keypoints = None
        if 'keypoints' in found:
            keypoints = np.concatenate([_array(found.keypoints), _array(found.keypoint_scores)[..., None]], 2)
        return cls(
            labels=_array(found.labels),
            scores=_array(found.scores),
            bboxes=_array(found.bboxes),
            keypoints=keypoints,
            rbboxes=_array(found.rbboxes) if 'rbboxes' in found else None,
            instance_masks=found.get('masks'),
            values={name: _array(value) for name, value in found.items() if name not in _FIELDS},
            _segments=segments,
            **shared,
        )

    def __getattr__(self, name: str) -> Any:
        raise no_attribute(self, name)  # only called where there is none

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int | slice | Sequence[int] | np.ndarray) -> Result:
        chosen = np.arange(len(self))[index if isinstance(index, slice) else self._chosen(index)]
        values = {name: getattr(self, name) for name in _PER_OBJECT}
        return replace(
            self,
            **{name: value[chosen] for name, value in values.items() if value is not None},
            values={name: value[chosen] for name, value in self.values.items()},
            _segments=None,
        )

    def _chosen(self, index: int | Sequence[int] | Sequence[bool] | np.ndarray) -> np.ndarray:
        """Return an index of objects as NumPy takes it, ``(n,)`` of whole numbers or ``(N,)`` bool.

        Raises:
            TypeError: it is none.
            IndexError: there are no such objects, or a boolean array is of another length.
        """
        try:
            chosen = np.asarray(index)
        except ValueError:  # lists of different lengths
            chosen = np.empty(0, object)
        if chosen.shape == (0,) and chosen.dtype != object:
            chosen = chosen.astype(int)
        elif chosen.ndim == 0 and chosen.dtype.kind in 'iu':
            chosen = chosen[None]
        if chosen.ndim != 1 or chosen.dtype.kind not in 'iub':
            by_name = f'; those of a class: result[[name == {index!r} for name in result.names]]'
            raise TypeError(
                'objects of a result are chosen by a whole number, a slice, a list of numbers or a boolean array such '
                f'as result.scores > 0.5, not by {shortened(repr(index))}'
                f'{by_name if isinstance(index, str) and index in self.classes else ""}'
            )
        if chosen.dtype == bool and len(chosen) != len(self):
            raise IndexError(f'a boolean array of {len(chosen)} values for a result with {len(self)} objects')
        outside = [] if chosen.dtype == bool else chosen[(chosen < -len(self)) | (chosen >= len(self))]
        if len(outside):
            raise IndexError(f'object {outside[0]} of a result with {len(self)}')
        return chosen

    def __iter__(self) -> Iterator[Result]:
        return (self[i] for i in range(len(self)))

    @property
    def names(self) -> list[str]:
        """The class names of the objects."""
        return [self.classes[label] for label in self.labels]

    @cached_property
    def masks(self) -> np.ndarray | None:
        """``(N, H, W)`` bool, a mask of the whole image for each object; None without masks."""
        return None if self.instance_masks is None else self.instance_masks.to_bool()

    @property
    def source(self) -> SourceImage | None:
        """The image's or frame's source; None where it is not known."""
        return self._image

    @property
    def img(self) -> np.ndarray:
        """The image, ``(H, W, 3)`` uint8 RGB; a file is decoded anew each time.

        Raises:
            DataError: it cannot be read.
        """
        if self._image is None:
            raise DataError(f'{self.img_path}: this result does not know its image')
        return self._image.read()

    @property
    def summary(self) -> str:
        """The objects in a few words: '2 person, 1 dog'; of a classified image 'rain 0.93, cloudy 0.05'."""
        if self.error is not None:
            return self.error
        if self.probs is not None and len(self):
            return ', '.join(f'{name} {score:.2f}' for name, score in zip(self.names[:3], self.scores, strict=False))
        return 'no tracks' if self.track_ids is not None and not len(self) else counted(self.names)

    @takes(DrawingOptions)
    def plot(self, img: np.ndarray | None = None, **options: Any) -> np.ndarray:
        """Return the image with what was found drawn on it, ``(H, W, 3)`` uint8 RGB.

        Args:
            img: what to draw on, of the image's size; the image itself by default.
            options: ``labels``, ``scores``, ``bboxes``, ``masks``, ``line_width`` and ``color_by``, see
                ``detkit.visualization.DrawingOptions``.

        Raises:
            TypeError: an option is unknown; the text names the right word.
            ConfigError: an option has a value that makes no sense.
            DataError: the image cannot be read.
        """
        drawing = options_of_call(DrawingOptions, options, 'the drawing of a result', ('img',))
        img = self.img if img is None else img
        if not len(self):
            return img.copy()
        sample = DetDataSample()
        if self.probs is not None:
            sample.pred_scores = np.zeros_like(self.probs)
            sample.pred_scores[self.labels] = self.scores
        elif self._segments is not None:
            sample.pred_panoptic = self._segments
        else:
            sample.pred_instances = InstanceData(bboxes=self.bboxes, labels=self.labels, scores=self.scores)
            if self.keypoints is not None:
                sample.pred_instances.keypoints = self.keypoints[..., :2]
                sample.pred_instances.keypoint_scores = self.keypoints[..., 2]
            if self.rbboxes is not None:
                sample.pred_instances.rbboxes = self.rbboxes
            if self.instance_masks is not None:
                sample.pred_instances.masks = self.instance_masks
            if self.track_ids is not None:
                sample.pred_instances.track_ids = self.track_ids
        return draw_data_sample(
            img,
            sample,
            'pred',
            self.classes,
            self._score_thr,
            keypoint_info=self._keypoint_info,
            options=drawing,
        )

    @takes(DrawingOptions)
    def save(self, path: str | os.PathLike, **options: Any) -> Path:
        """Write ``plot(**options)`` to a file, whose suffix says the format; its folder is made.

        Returns:
            Its path.

        Raises:
            DataError: the image cannot be read.
            ConfigError: there is no such format, or it is the image's own file.
            OSError: the file cannot be written.
        """
        path = Path(path)
        if not cv2.haveImageWriter(path.name if path.suffix else ''):
            raise ConfigError(f"pictures cannot be written as '{path}'; use a name that ends in .jpg or .png")
        write_picture(path, self.plot(**options), self.img_path)
        return path

    @takes(DrawingOptions)
    def show(self, **options: Any) -> None:
        """Show ``plot(**options)``: in a notebook below the cell, else in the system's program for pictures.

        Raises:
            DataError: the image cannot be read.
            ConfigError: there is no program that shows pictures.
        """
        result_exports.show(self.plot(**options), self.img_path)

    def crops(self, margin: float = 0.0, img: np.ndarray | None = None) -> list[np.ndarray]:
        """Return the part of the image in each box, ``(h, w, 3)`` uint8 RGB.

        Args:
            margin: how much of its width and height a box is enlarged by on each side.
            img: the image, where it is decoded already.

        Raises:
            ConfigError: the result is a classifier's, or the margin no number of at least 0.
            DataError: the image cannot be read.
        """
        _check_margin('margin', margin)
        if self.bboxes is None:
            raise ConfigError('a classifier finds no boxes that could be cut out')
        if not len(self):
            return []
        img = self.img if img is None else img
        grow = (self.bboxes[:, 2:] - self.bboxes[:, :2]) * margin
        limit = np.array(img.shape[1::-1])
        starts = np.floor(self.bboxes[:, :2] - grow).clip(0, limit - 1).astype(int)
        ends = np.maximum(np.ceil(self.bboxes[:, 2:] + grow).clip(0, limit).astype(int), starts + 1)
        return [img[y0:y1, x0:x1].copy() for (x0, y0), (x1, y1) in zip(starts, ends, strict=True)]

    def __repr__(self) -> str:
        return f'<Result {self.title}: {self.summary}>'

    @property
    def title(self) -> str:
        """The image's path; of a video with the frame and its time."""
        return self.img_path if self.frame is None else f'{self.img_path}, frame {self.frame} at {self.seconds:.2f} s'

    def __str__(self) -> str:
        size = '' if self.img_shape is None else f' ({self.img_shape[1]} x {self.img_shape[0]})'
        if not len(self):
            return f'{self.title}{size}: {self.summary}'
        hidden = {'img_path', 'label', 'frame', 'seconds'}
        rows = [{key: value for key, value in row.items() if key not in hidden} for row in self.rows()]
        rounded = {'score': '.2f', 'angle': '.3f'}
        cells = [
            [i, row.pop('name'), *(f'{value:{rounded.get(key, ".1f")}}' for key, value in row.items())]
            for i, row in enumerate([dict(row) for row in rows])
        ]
        columns = ['', 'name', *(key for key in rows[0] if key != 'name')]
        return f'{self.title}{size}\n{text_table(columns, cells, left=(1,))}'

    def _repr_png_(self) -> bytes | None:
        """Return what a notebook shows: the picture with what was found; the text where there is none."""
        if self.error is not None:
            return None
        return cv2.imencode('.png', self.plot()[..., ::-1])[1].tobytes()


def counted(names: Iterable[str], most: int = 10) -> str:
    """Return how often each name occurs, the most frequent ones first: '2 person, 1 dog'."""
    counts = Counter(names).most_common()
    rest = sum(count for _, count in counts[most:])
    words = [f'{count} {name}' for name, count in counts[:most]] + ([f'{rest} more'] if rest else [])
    return ', '.join(words) or 'nothing found'


def _array(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
