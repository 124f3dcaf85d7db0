"""``ConvertibleResult``: a result in other forms: plain Python, COCO's, YOLO's, tables, other packages' types."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from detkit.datasets.image_files import image_id_of
from detkit.evaluation.class_format import class_entry
from detkit.evaluation.coco_format import result_entries
from detkit.evaluation.rotated_format import rotated_fields
from detkit.inference import result_exports, result_files
from detkit.structures.masks import InstanceMasks
from detkit.utils.errors import ConfigError

if TYPE_CHECKING:
    import pandas


class ConvertibleResult:
    """The conversions of ``Result``, from the fields that it declares."""

    img_path: str
    img_shape: tuple[int, int] | None
    classes: tuple[str, ...]
    labels: np.ndarray
    scores: np.ndarray
    bboxes: np.ndarray | None
    keypoints: np.ndarray | None
    rbboxes: np.ndarray | None
    probs: np.ndarray | None
    instance_masks: InstanceMasks | None
    error: str | None
    frame: int | None
    seconds: float | None
    track_ids: np.ndarray | None
    values: Mapping[str, np.ndarray]
    names: list[str]
    _keypoint_info: Mapping[str, Any]

    def save_crops(self, folder: str | os.PathLike, stem: str | None = None, margin: float = 0.0) -> list[Path]:
        """Write ``crops(margin)`` as ``<folder>/<class>/<stem>_<index>.jpg``, and return the files.

        Args:
            folder: made if need be.
            stem: of the files' names; the image's by default. The index is the object's in the result.
            margin: see ``crops``.
        """
        return result_files.save_crops(self, folder, Path(self.img_path).stem if stem is None else stem, margin)

    def to_yolo(self, scores: bool = False) -> list[str]:
        """Return the lines of YOLO's label file, which ``YoloTxtDataset`` reads back.

        A line is a label and numbers that are divided by the image's size: ``cx cy w h``; of masks the outline (several
        parts are joined, holes are filled); of rotated boxes four corners; of keypoints ``cx cy w h`` and ``x y v`` of
        each, where v is 2 for a score of at least 0.5, else 1. Objects without an area are left out. From a classifier
        a line is a probability and a name.

        Args:
            scores: end each line with the score; v of a keypoint is its score. No reader of labels expects these.
        """
        return result_files.yolo_lines(self, scores)

    def save_yolo(self, path: str | os.PathLike, scores: bool = False) -> Path:
        """Write the lines of ``to_yolo(scores)`` to a file and return its path; its folder is made."""
        return result_files.save_yolo(self, path, scores)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain Python types, which ``json`` can write.

        The keys are ``img_path`` (of a video also ``frame`` and ``seconds``), ``img_shape``, ``error`` and ``objects``,
        a list of dicts with ``label``, ``name``, ``score`` and, where the model predicts them, ``bbox`` (xyxy),
        ``rbbox``, ``corners``, ``keypoints`` and ``segmentation`` (COCO's compressed run lengths), and ``track_id``
        where they are tracked, and ``values`` of a user's own head.
        """
        objects = [
            {'label': int(label), 'name': name, 'score': round(float(score), 6)}
            for label, name, score in zip(self.labels, self.names, self.scores, strict=True)
        ]
        for number, entry in enumerate(self._coco_entries() if self.bboxes is not None else ()):
            objects[number]['bbox'] = np.round(self.bboxes[number].astype(float), 3).tolist()
            objects[number] |= {
                key: entry[key] for key in ('rbbox', 'corners', 'segmentation', 'values') if key in entry
            }
            if self.keypoints is not None:
                objects[number]['keypoints'] = np.round(self.keypoints[number].astype(float), 3).tolist()
            if self.track_ids is not None:
                objects[number]['track_id'] = int(self.track_ids[number])
        shape = None if self.img_shape is None else list(self.img_shape)
        place = {'img_path': self.img_path, **self._place}
        return {**place, 'img_shape': shape, 'error': self.error, 'objects': objects}

    def to_json(self) -> str:
        """Return ``to_dict()`` as JSON."""
        return json.dumps(self.to_dict())

    def to_coco(
        self, img_id: int | str | None = None, category_ids: Sequence[int | str] | None = None
    ) -> list[dict[str, Any]]:
        """Return the objects as entries of COCO's results file, with ``file_name`` and ``category_name`` besides.

        Args:
            img_id: the dataset's id of the image; taken from the file's name by default, of a video the frame's number.
            category_ids: the dataset's category id of each label; the labels by default.

        Returns:
            An entry an object: of rotated boxes with ``rbbox`` and ``corners``; from a classifier one entry with its
            most probable classes in ``top5``; none for an image that could not be read.
        """
        if self.error is not None:
            return []
        if img_id is None:
            img_id = image_id_of(self.img_path) if self.frame is None else self.frame
        if self.probs is not None:
            entry = class_entry(self.img_path, img_id, self.labels, self.scores, self.classes)
            return [{**entry, **self._place}] if len(self) else []
        return [
            {'file_name': self.img_path, **self._place, **entry, 'category_name': name}
            for entry, name in zip(self._coco_entries(img_id, category_ids), self.names, strict=True)
        ]

    def _coco_entries(self, img_id: int | str = 0, category_ids: Sequence[int | str] | None = None) -> list[dict]:
        ids = range(len(self.classes)) if category_ids is None else category_ids
        if len(ids) < len(self.classes):
            raise ConfigError(
                f'category_ids has {len(ids)} ids, but the model has {len(self.classes)} classes; give one for each'
            )
        rles = None if self.instance_masks is None else self.instance_masks.to_rle()
        entries = result_entries(img_id, self.bboxes, self.labels, self.scores, rles, ids, self.keypoints)
        extra = [{}] * len(self) if self.rbboxes is None else rotated_fields(self.rbboxes)
        tracks = [{}] * len(self) if self.track_ids is None else [{'track_id': int(i)} for i in self.track_ids]
        values = [{'values': row} for row in self._values()] if self.values else [{}] * len(self)
        parts = zip(entries, extra, tracks, values, strict=True)
        return [{**entry, **own, **track, **more} for entry, own, track, more in parts]

    def _values(self) -> list[dict[str, Any]]:
        """Return the own values of each object as plain Python types; null where a number is not finite."""
        plain = {name: _plain(value) for name, value in self.values.items()}
        return [{name: column[i] for name, column in plain.items()} for i in range(len(self))]

    @property
    def _place(self) -> dict[str, Any]:
        """The frame and its time, of a video."""
        return {} if self.frame is None else {'frame': self.frame, 'seconds': round(self.seconds or 0.0, 6)}

    def to_supervision(self) -> Any:
        """Return supervision's ``Detections``, or ``Classifications`` from a classifier; needs that package."""
        return result_exports.to_supervision(self)

    def to_supervision_keypoints(self) -> Any:
        """Return supervision's ``KeyPoints``; needs that package.

        Raises:
            ConfigError: the model predicts no keypoints.
        """
        return result_exports.to_supervision_keypoints(self)

    def to_fiftyone(self) -> Any:
        """Return FiftyOne's label for the task; needs that package.

        It is ``Detections`` (with masks where there are some), ``Keypoints`` of a pose model, closed ``Polylines`` of
        rotated boxes, ``Classification`` from a classifier (None of an image that could not be read).
        """
        return result_exports.to_fiftyone(self)

    def to_pandas(self) -> pandas.DataFrame:
        """Return a table with a row an object; needs the package pandas."""
        return result_exports.to_pandas(self.rows())

    @property
    def columns(self) -> list[str]:
        """The columns of ``rows()``, also where there are none."""
        return ['img_path', *self._place, *self._columns()]

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of ``to_pandas``: path, label, name, score, and the numbers of boxes and rotated boxes.

        Keypoints have the columns ``<name>_x``, ``<name>_y`` and ``<name>_score``, own values their names, with the
        number of the element where an object has several.
        """
        columns = self._columns()
        return [
            {'img_path': self.img_path, **self._place, **{key: column[i] for key, column in columns.items()}}
            for i in range(len(self))
        ]

    def _columns(self) -> dict[str, list]:
        columns = {} if self.track_ids is None else {'track_id': self.track_ids.tolist()}
        columns |= {'label': self.labels.tolist(), 'name': self.names, 'score': self.scores.tolist()}
        tables = [(('x0', 'y0', 'x1', 'y1'), self.bboxes), (('cx', 'cy', 'w', 'h', 'angle'), self.rbboxes)]
        if self.keypoints is not None:
            names = self._keypoint_info.get('keypoint_names') or range(self.keypoints.shape[1])
            flat = [f'{name}_{part}' for name in names for part in ('x', 'y', 'score')]
            tables.append((flat, self.keypoints.reshape(len(self), len(flat))))
        for name, value in self.values.items():
            flat = value.reshape(len(self), -1) if len(self) else value.reshape(0, math.prod(value.shape[1:]))
            tables.append(([name] if value.ndim == 1 else [f'{name}_{i}' for i in range(flat.shape[1])], flat))
        for names, values in tables:
            if values is not None:
                columns |= {name: values[:, i].tolist() for i, name in enumerate(names)}
        return columns


def _plain(value: np.ndarray) -> list:
    """Return an array as lists of Python's numbers, None for those that are not finite, as JSON has none."""
    if value.dtype.kind != 'f':
        return value.tolist()
    rounded = np.round(value.astype(float), 6)
    return np.where(np.isfinite(rounded), rounded.astype(object), None).tolist()
