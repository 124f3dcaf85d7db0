"""Results in files: YOLO's label files, tables and crops."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from detkit.datasets.formats.yolo_files import label_path
from detkit.datasets.writers.conversion_source import Tally
from detkit.datasets.writers.object_geometry import to_polygons
from detkit.datasets.writers.yolo_writer import label_values
from detkit.inference.result_exports import import_package
from detkit.structures.annotations import Annotations
from detkit.utils.call_options import check_flag
from detkit.utils.errors import ConfigError
from detkit.utils.files import replacing, write_text
from detkit.utils.pictures import write_picture
from detkit.utils.streams import AddRows

if TYPE_CHECKING:
    from detkit.inference.result import Result

# The least score of a keypoint that a label file calls visible.
_VISIBLE = 0.5
# Rows of a group of a Parquet file.
_ROW_GROUP = 1 << 16


def yolo_lines(result: Result, scores: bool = False) -> list[str]:
    """Return the lines of YOLO's label file, see ``Result.to_yolo``."""
    check_flag('scores', scores)
    if result.error is not None:
        return []
    if result.bboxes is None:
        return [f'{score:.6f} {name}' for name, score in zip(result.names, result.scores.tolist(), strict=True)]
    height, width = result.img_shape
    bboxes = result.bboxes.clip(0, [width, height, width, height])
    kept = (bboxes[:, 2:] > bboxes[:, :2]).all(1)
    result = result[kept]
    masks = result.instance_masks
    keypoints = None
    if result.keypoints is not None:
        visibility = np.where(result.keypoints[..., 2:] >= _VISIBLE, 2, 1)
        keypoints = np.concatenate([result.keypoints[..., :2], visibility], 2).astype(np.float32)
    annotations = Annotations(
        labels=result.labels,
        bboxes=bboxes[kept],
        polygons=None if masks is None else to_polygons(masks.to_polygons()),
        keypoints=keypoints,
        rbboxes=result.rbboxes,
    )
    labels = 'box'
    for name, values in (('outline', masks), ('pose', keypoints), ('obb', result.rbboxes)):
        labels = labels if values is None else name
    classes, rows = label_values(annotations, (height, width), labels, result.img_path, Tally())
    lines = []
    for index, (label, row) in enumerate(zip(classes.tolist(), rows, strict=True)):
        numbers = row.tolist()
        if scores and keypoints is not None:
            numbers[6::3] = np.round(result.keypoints[index, :, 2].astype(float), 6).tolist()
        if scores:
            numbers.append(round(float(result.scores[index]), 6))
        lines.append(' '.join([str(label), *(repr(value).removesuffix('.0') for value in numbers)]))
    return lines


def save_yolo(result: Result, path: str | os.PathLike, scores: bool = False) -> Path:
    """Write the lines of ``yolo_lines`` and return the path; its folder is made.

    Raises:
        ConfigError: there is the image's own label file of a dataset.
    """
    path, lines = Path(path), yolo_lines(result, scores)
    own = Path(label_path(result.img_path))
    if os.path.isfile(result.img_path) and path.is_file() and own.is_file() and path.samefile(own):
        raise ConfigError(
            f'{path} is the label file of {result.img_path}, which predictions would be written over; choose another '
            'folder, or move that file away'
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, ''.join(f'{line}\n' for line in lines))
    return path


def save_crops(
    result: Result, folder: str | os.PathLike, stem: str, margin: float = 0.0, img: np.ndarray | None = None
) -> list[Path]:
    """Write the part of the image in each box as ``<folder>/<class>/<stem>_<index>.jpg``, and return the files.

    Args:
        result: of a detector.
        folder: made if need be.
        stem: of the files' names, which the object's index in the result follows.
        margin: see ``Result.crops``.
        img: the image, where it is decoded already.
    """
    files = []
    for index, (name, crop) in enumerate(zip(result.names, result.crops(margin, img), strict=True)):
        files.append(Path(folder) / _folder_name(name) / f'{stem}_{index}.jpg')
        write_picture(files[-1], crop)
    return files


def _folder_name(name: str) -> str:
    """Return a class's name as the name of a folder."""
    return ''.join('_' if char in '/\\:*?"<>|' or ord(char) < 32 else char for char in name).strip(' .') or '_'


@contextmanager
def parquet_table(path: str | Path) -> Iterator[AddRows]:
    """Return a function that appends rows to a Parquet file, which appears, whole, when the block ends.

    Its columns are those of the first call.

    Raises:
        MissingPackageError: the package pyarrow is not installed.
        OSError: the file cannot be written.
    """
    pyarrow, parquet = (import_package(name, 'a Parquet file') for name in ('pyarrow', 'pyarrow.parquet'))
    types = {'img_path': pyarrow.string(), 'name': pyarrow.string(), 'label': pyarrow.int64()}
    waiting: list[Mapping[str, Any]] = []
    schemas: list[Any] = []
    writers: list[Any] = []
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:

        def write() -> None:
            schema = schemas[0]
            if not writers:
                writers.append(parquet.ParquetWriter(file, schema))
            columns = {name: [_as_text(row.get(name)) for row in waiting] for name in schema.names}
            writers[0].write_table(pyarrow.table(columns, schema=schema))
            waiting.clear()

        def extend(rows: Iterable[Mapping[str, Any]], names: Iterable[str]) -> None:
            if not schemas:
                schemas.append(pyarrow.schema([(name, types.get(name, pyarrow.float32())) for name in names]))
            waiting.extend(rows)
            if len(waiting) >= _ROW_GROUP:
                write()

        yield extend
        if schemas:
            write()
        if writers:
            writers[0].close()


def _as_text(value: Any) -> Any:
    """Return a value with what is no text in it, as in a file's name, escaped."""
    return value.encode('utf-8', 'backslashreplace').decode() if isinstance(value, str) else value
