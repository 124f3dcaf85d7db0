"""Folders of images with YOLO label files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from detkit.datasets.base import DetDataset, check_choice
from detkit.datasets.flat_annotations import FlatAnnotations, FlatRecords
from detkit.datasets.formats.data_yaml import DataYaml, read_data_yaml
from detkit.datasets.formats.yolo_files import find_label_files
from detkit.datasets.formats.yolo_labels import (
    LabelTable,
    parse_corners,
    parse_keypoints,
    parse_labels,
    parse_outlines,
)
from detkit.datasets.formats.yolo_lines import Lines
from detkit.datasets.image_files import (
    each_once,
    image_id_of,
    list_images,
    read_image_sizes,
    read_list,
    unique_ids,
    unread_images,
    unreadable,
)
from detkit.datasets.skips import Skip, check_skips, list_skips
from detkit.registry import DATASETS
from detkit.structures.keypoints import check_shape
from detkit.structures.rotated_bboxes import corners_to_rbboxes
from detkit.utils.errors import DataError, working_folder
from detkit.utils.front_end import data_argument
from detkit.utils.text_files import check_plain, read_bytes

_LABELS = ('outline', 'pose', 'obb')

# The part of its box that a person covers, on average, in COCO. The similarity of keypoints, which COCO defines by an
# object's own area, is measured with it where only boxes are known.
_AREA_SHARE = 0.53


@DATASETS.register_module()
class YoloTxtDataset(DetDataset):
    """Images with one label file each: a line for each object, with coordinates divided by the image's size.

    The labels of ``.../images/train/a.jpg`` are in ``.../labels/train/a.txt`` (the last folder called ``images`` of the
    path counts), or beside the image where there is no such folder; see ``find_label_files``. An image without a label
    file shows no object. A line that breaks a rule is left out alone, and listed in ``skipped`` with its number and the
    reason; label files without an image, pictures of kinds that are not read and the like are in ``unused``.

    Args:
        images: folders of images, or text files that list images, relative to ``data_root``.
        data_yaml: a data yaml instead, which gives the folders and, where ``metainfo`` does not, the class names.
            ``data_root``, if set, replaces its ``path``, and the file itself may lie in it.
        split: the part of the data yaml: 'train', 'val' or 'test'.
        labels: the content of a line. 'outline': ``class cx cy w h`` or ``class x1 y1 x2 y2 ...`` (of lines with
            keypoints, which ``kpt_shape`` in the data yaml makes known, the box); 'pose':
            ``class cx cy w h x1 y1 [v1] x2 y2 [v2] ...`` (see ``yolo_pose_labels``); 'obb': ``class x1 y1 ... x4 y4``,
            the corners of a rotated box, some of which may lie outside the image (see ``yolo_obb_labels``).
        keypoint_shape: (K, D) where lines hold K keypoints of D values each, 2 or 3; of the data yaml (``kpt_shape``)
            by default. The keypoint entries of ``metainfo`` (``keypoint_names``, ``flip_pairs``, ``skeleton``,
            ``sigmas``) precede the data yaml's (``kpt_names``, ``flip_idx``).
        **kwargs: see ``DetDataset``.
    """

    def __init__(
        self,
        images: str | Sequence[str] = (),
        data_yaml: str | None = None,
        split: str = 'train',
        labels: str = 'outline',
        keypoint_shape: Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        check_choice('labels', labels, _LABELS)
        self.labels = labels
        self.keypoint_shape = None if keypoint_shape is None else check_shape(keypoint_shape, 'keypoint_shape')
        self.images = [images] if isinstance(images, str) else list(images)
        self.data_yaml = data_yaml
        self.split = split
        super().__init__(**kwargs)

    def place(self) -> str:
        return self.data_root or self.data_yaml or ', '.join(map(str, self.images))

    @classmethod
    def peek(cls, cfg: Mapping[str, Any]) -> dict[str, Any]:
        known = super().peek(cfg)
        if cfg.get('keypoint_shape'):
            known['keypoint_shape'] = tuple(cfg['keypoint_shape'])
        if not isinstance(cfg.get('data_yaml'), str):
            return known
        root = cfg.get('data_root') or ''
        paths = [path for path in (Path(cfg['data_yaml']), Path(root) / cfg['data_yaml']) if os.path.isfile(path)]
        if not paths and known.get('classes'):
            return known
        if not paths:
            place = f' in {str(root)!r}' if root else ''
            place += working_folder(root, cfg['data_yaml'])
            raise DataError(
                f'there is no data_yaml {cfg["data_yaml"]!r}{place}, from which the class names would be read; '
                f'give the file as {data_argument("data_yaml")}'
            )
        data = read_data_yaml(paths[0], root)
        if not data.classes and not known.get('classes'):
            raise DataError(f'the data yaml {str(paths[0])!r} has no key names, the list of the class names; add it')
        told = {'classes': data.classes}
        if cfg.get('labels') == 'pose':
            told |= {name: getattr(data, name) for name in ('keypoint_shape', 'flip_pairs', 'keypoint_names')}
        return {**{name: value for name, value in told.items() if value is not None}, **known}

    def load_records(self) -> FlatRecords:
        sources, root = self._find_sources()
        classes = self.metainfo.get('classes')
        if not classes:
            raise DataError(
                f'the classes of {self.place()!r} have no names: set '
                'metainfo=dict(classes=[...]) in the config of the dataset, or data_yaml to a file with names'
            )
        paths = self._list_images(sources, root)
        sizes = read_image_sizes(paths)
        for path, size in zip(paths, sizes, strict=True):
            if isinstance(size, OSError):
                self.skipped.append(unreadable(path, size))
        readable = [(path, size) for path, size in zip(paths, sizes, strict=True) if not isinstance(size, OSError)]
        label_files, texts = self._read_labels([path for path, _ in readable])
        images = [image for image, text in zip(readable, texts, strict=True) if text is not None]
        label_files = [file for file, text in zip(label_files, texts, strict=True) if text is not None]
        texts = [text for text in texts if text is not None]

        table = parse_labels(texts, None if self.single_class else len(classes), self._parser())
        self.skipped += [Skip(label_files[file], *rest) for file, *rest in table.skipped]
        self.unused += [Skip(label_files[file], *rest) for file, *rest in table.unused]
        num_entries = len(paths) + len(table.labels) + len(table.skipped)
        check_skips(self.skipped, num_entries, self.max_skipped, ', '.join(map(str, sources)))

        image_paths = [path for path, _ in images]
        shapes = np.array([shape for _, shape in images], np.int64).reshape(-1, 2)
        flat = _to_pixels(table, shapes)
        if self.labels == 'obb':
            flat = with_rbboxes(flat)
        ids = unique_ids(image_paths, list(map(image_id_of, image_paths)))
        return FlatRecords(image_paths, ids, shapes, flat)

    def _read_labels(self, image_paths: Sequence[str]) -> tuple[list[str], list[bytes | None]]:
        """Return each image's label file and its contents: '' and nothing without one, None where it is unreadable."""
        files = find_label_files(image_paths)
        self.unused += [Skip(stray, None, 'a label file that belongs to no image') for stray in files.strays]
        shared = 'an image whose labels are those of another image of its name'
        self.unused += list_skips(files.shared, lambda path: (path, None), shared)
        background = [path for path, file in zip(image_paths, files.of_images, strict=True) if file is None]
        reason = 'a label file that is missing: the image counts as background, without objects'
        self.unused += list_skips(background, lambda path: (path, None), reason)
        texts: list[bytes | None] = []
        for file in files.of_images:
            try:
                text = b'' if file is None else read_bytes(file, 'label file')
                check_plain(text, file or '', 'label file')
                texts.append(text)
            except DataError as error:  # without its labels an image would pass for background
                self.skipped.append(Skip(str(file), None, str(error), 'a label file that cannot be read'))
                texts.append(None)
        return [file or '' for file in files.of_images], texts

    def _parser(self) -> Callable[[Lines, int | None], LabelTable]:
        """Return the parser for this dataset's kind of lines."""
        if self.labels == 'obb':
            return parse_corners
        if self.labels == 'outline':
            return partial(parse_outlines, keypoint_shape=self.keypoint_shape)
        if self.keypoint_shape is None:
            place = f' in {self.data_yaml!r}' if self.data_yaml else ''
            raise DataError(
                "labels='pose' needs keypoint_shape=(number of keypoints, 2 or 3 values of each), or a data_yaml with "
                f'kpt_shape, and there is none{place}. If the labels have no keypoints, use a config for detection.'
            )
        self.describe_keypoints(self.keypoint_shape[0], self.place())
        return partial(parse_keypoints, keypoint_shape=self.keypoint_shape)

    def _find_sources(self) -> tuple[list[Path], Path]:
        """Return the folders and lists to read, and the folder that the paths in lists start from."""
        if self.data_yaml is None:
            if not self.images:
                raise DataError('YoloTxtDataset needs images (folders or lists of images) or data_yaml')
            return [Path(self.data_root) / item for item in self.images], Path(self.data_root)
        path = Path(self.data_yaml)
        if not os.path.isfile(path) and self.data_root:
            path = Path(self.data_root) / path
        data = read_data_yaml(path, self.data_root)
        self.unused += data.notes
        given = self.metainfo.get('classes')
        if not given and data.classes is not None:
            self.metainfo['classes'] = data.classes
        elif given and data.classes is not None and tuple(given) != data.classes and not self.single_class:
            raise DataError(
                f'{str(path)!r} names {len(data.classes)} classes ({", ".join(data.classes[:5])}, ...), but metainfo '
                f'names {len(given)} ({", ".join(given[:5])}, ...). Give them in one of the two places, or alike.'
            )
        self._take_keypoints(data, path)
        return data.sources(self.split), data.root

    def _take_keypoints(self, data: DataYaml, path: Path) -> None:
        if self.labels == 'obb' or data.keypoint_shape is None:
            return
        if self.keypoint_shape not in (None, data.keypoint_shape):
            raise DataError(
                f'{str(path)!r} says kpt_shape: {list(data.keypoint_shape)}, but keypoint_shape of the dataset is '
                f'{self.keypoint_shape}. Give it in one of the two places, or alike.'
            )
        self.keypoint_shape = data.keypoint_shape
        if self.labels != 'pose':
            return
        for name in ('flip_pairs', 'keypoint_names'):
            if self.metainfo.get(name) is None:
                self.metainfo[name] = getattr(data, name)

    def _list_images(self, sources: Sequence[Path], root: Path) -> list[str]:
        paths: list[str] = []
        for source in sources:
            if os.path.isfile(source):
                paths += read_list(source, root)
                continue
            try:
                paths += list_images(source)
            except DataError as error:
                key = f'images (relative to data_root={self.data_root!r})' if self.data_yaml is None else 'data_yaml'
                raise DataError(f'{error}. Correct {key} in the config of the dataset.') from error
            self.unused += unread_images(source)
        paths, repeats = each_once(paths)
        self.unused += repeats
        return paths


def _to_pixels(table: LabelTable, shapes: np.ndarray) -> FlatAnnotations:
    images = table.files
    scale_wh = shapes[images][:, ::-1].astype(np.float64)  # (N, 2)
    has_ring = table.ring_sizes > 0
    areas, keypoints = np.full(len(images), np.nan), None
    if table.keypoints is not None:
        keypoints = np.concatenate([table.keypoints[..., :2] * scale_wh[:, None], table.keypoints[..., 2:]], 2)
        areas = (table.bboxes[:, 2:] - table.bboxes[:, :2]).prod(1) * scale_wh.prod(1) * _AREA_SHARE
    table.points *= np.repeat(scale_wh, table.ring_sizes, axis=0)  # in place: they are the bulk of a dataset
    return FlatAnnotations(
        images=images,
        labels=table.labels,
        bboxes=table.bboxes * np.tile(scale_wh, 2),
        ring_owners=np.flatnonzero(has_ring),
        ring_sizes=table.ring_sizes[has_ring],
        points=table.points,
        ignored=np.zeros(len(images), bool),
        areas=areas,
        keypoints=keypoints,
    )


def with_rbboxes(flat: FlatAnnotations) -> FlatAnnotations:
    """Replace outlines of four points each by rotated boxes, whose areas become the objects' areas."""
    rbboxes = corners_to_rbboxes(flat.points.reshape(-1, 4, 2))
    none = np.zeros(0, np.int64)
    return replace(
        flat,
        ring_owners=none,
        ring_sizes=none,
        points=np.zeros((0, 2)),
        rbboxes=rbboxes,
        areas=rbboxes[:, 2:4].astype(np.float64).prod(1),
    )
