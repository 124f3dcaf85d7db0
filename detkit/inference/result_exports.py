"""Results in the types of other packages, each of which is imported only when it is asked for."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageShow

from detkit.structures.rotated_bboxes import rbbox_corners
from detkit.utils.errors import ConfigError, MissingPackageError

if TYPE_CHECKING:
    from detkit.inference.result import Result


def show(picture: np.ndarray, title: str) -> None:
    """Show a picture ``(H, W, 3)`` uint8 RGB, see ``Result.show``."""
    image = Image.fromarray(picture)
    ipython = sys.modules.get('IPython')  # loaded already where this runs in a notebook
    if ipython is not None and getattr(ipython.get_ipython(), 'kernel', None) is not None:
        ipython.display.display(image)
    elif not ImageShow.show(image, title):
        raise ConfigError('there is no program here that shows pictures; write the picture to a file by save(path)')


def to_pandas(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Return a ``pandas.DataFrame`` of rows."""
    return import_package('pandas', 'to_pandas()').DataFrame(list(rows))


def to_supervision(result: Result) -> Any:
    """See ``Result.to_supervision``."""
    sv = import_package('supervision', 'to_supervision()')
    if result.bboxes is None:
        return sv.Classifications(class_id=result.labels, confidence=result.scores)
    data = {'class_name': np.array(result.names, dtype=str)}
    if result.rbboxes is not None:
        data['xyxyxyxy'] = rbbox_corners(result.rbboxes).astype(np.float32)
    return sv.Detections(
        xyxy=result.bboxes,
        mask=result.masks,
        confidence=result.scores,
        class_id=result.labels,
        tracker_id=result.track_ids,
        data=data,
    )


def to_supervision_keypoints(result: Result) -> Any:
    """See ``Result.to_supervision_keypoints``."""
    if result.keypoints is None:
        raise ConfigError('the model predicts no keypoints; to_supervision() takes its boxes and masks')
    sv = import_package('supervision', 'to_supervision_keypoints()')
    # The third argument is the keypoints' confidence in all releases, which differ in its name.
    return sv.KeyPoints(
        result.keypoints[..., :2],
        result.labels,
        result.keypoints[..., 2],
        data={'class_name': np.array(result.names, dtype=str)},
    )


def to_fiftyone(result: Result) -> Any:
    """See ``Result.to_fiftyone``."""
    fo = import_package('fiftyone', 'to_fiftyone()')
    labels = zip(result.names, result.scores.tolist(), strict=True)
    if result.bboxes is None:
        return next((fo.Classification(label=name, confidence=score) for name, score in labels), None)
    height, width = result.img_shape or (1, 1)
    if result.keypoints is not None:
        points = result.keypoints[..., :2] / (width, height)
        objects = [
            fo.Keypoint(label=name, points=[tuple(point) for point in own.tolist()], confidence=scores.tolist())
            for (name, _), own, scores in zip(labels, points, result.keypoints[..., 2], strict=True)
        ]
        return fo.Keypoints(keypoints=objects)
    if result.rbboxes is not None:
        corners = rbbox_corners(result.rbboxes) / (width, height)
        outlines = [
            fo.Polyline(
                label=name,
                confidence=score,
                points=[[tuple(point) for point in quad.tolist()]],
                closed=True,
                filled=True,
            )
            for (name, score), quad in zip(labels, corners, strict=True)
        ]
        return fo.Polylines(polylines=outlines)
    detections = []
    for i, (name, score) in enumerate(labels):
        x0, y0, x1, y1 = box = result.bboxes[i].astype(float)
        extra = {}
        if result.instance_masks is not None:  # FiftyOne stretches a mask over its box
            left, top = np.floor(box[:2]).astype(int)
            right, bottom = np.ceil(box[2:]).astype(int)
            extra['mask'] = result.instance_masks[i].to_bool()[0, top:bottom, left:right]
        place = [x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height]
        detections.append(fo.Detection(label=name, confidence=score, bounding_box=place, **extra))
    return fo.Detections(detections=detections)


def import_package(package: str, user: str) -> ModuleType:
    """Return a package that is imported when it is used.

    Args:
        package: its name, or that of a module in it.
        user: what needs it, for the error, such as 'to_pandas()'.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        name = package.partition('.')[0]
        raise MissingPackageError(
            f'{user} needs the package {name} ({error}); install it by pip install {name}'
        ) from error
