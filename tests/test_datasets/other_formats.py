"""Writers, for tests alone, of formats that detkit reads: each writes what its format can hold of a dataset."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask
from writer_helpers import rings_of

from detkit.structures.annotations import Annotations, Record


def images_in(dataset: Any, folder: Path) -> Iterator[tuple[str, Record, list[str]]]:
    """Yield file name, record and the objects' class names of each image; a link to it is put into ``folder``."""
    folder.mkdir(parents=True)
    for record in dataset.records:
        name = os.path.basename(record.img_path)
        (folder / name).symlink_to(os.path.abspath(record.img_path))
        yield name, record, [dataset.metainfo['classes'][label] for label in record.annotations.labels]


def bitmap(annotations: Annotations, i: int, shape: tuple[int, int]) -> np.ndarray:
    """``(h, w)`` bool: the object's RLE, else its rings drawn by pycocotools."""
    rle = (annotations.rles or [None] * len(annotations))[i]
    if rle is None:
        rings = [ring.astype(float).ravel().tolist() for ring in rings_of(annotations)[i]]
        rle = coco_mask.merge(coco_mask.frPyObjects(rings, *shape))
    return coco_mask.decode([rle])[..., 0] > 0


def needs_bitmap(annotations: Annotations, i: int, rings: int = 1) -> bool:
    """Whether an object is a bitmap, or has more rings than that."""
    return (annotations.rles or [None] * len(annotations))[i] is not None or len(rings_of(annotations)[i]) > rings


def write_labelme(dataset: Any, root: Path) -> None:
    for name, record, names in images_in(dataset, root):
        own, shapes = record.annotations, []
        for i, label in enumerate(names):
            common = dict(label=label, group_id=i, flags=dict(difficult=bool(own.ignored[i])))
            x0, y0, x1, y1 = own.bboxes[i].tolist()
            if needs_bitmap(own, i, 99):
                file, mask = io.BytesIO(), bitmap(own, i, record.ori_shape)
                Image.fromarray(mask).save(file, 'PNG')
                corners = [[0, 0], [mask.shape[1] - 1, mask.shape[0] - 1]]
                data = base64.b64encode(file.getvalue()).decode()
                shapes.append(dict(common, shape_type='mask', points=corners, mask=data))
            elif rings_of(own)[i]:
                shapes += [dict(common, shape_type='polygon', points=ring.tolist()) for ring in rings_of(own)[i]]
            else:
                shapes.append(dict(common, shape_type='rectangle', points=[[x1, y0], [x0, y1]]))
        h, w = record.ori_shape
        content = dict(version='5.5.0', shapes=shapes, imagePath=name, imageHeight=h, imageWidth=w, imageData=None)
        (root / f'{os.path.splitext(name)[0]}.json').write_text(json.dumps(content))


def write_cvat(dataset: Any, root: Path) -> None:
    top = ElementTree.Element('annotations')
    labels = ElementTree.SubElement(ElementTree.SubElement(ElementTree.SubElement(top, 'meta'), 'task'), 'labels')
    for name in dataset.metainfo['classes']:
        ElementTree.SubElement(ElementTree.SubElement(labels, 'label'), 'name').text = name
    for number, (name, record, names) in enumerate(images_in(dataset, root / 'images')):
        own, (h, w) = record.annotations, record.ori_shape
        image = ElementTree.SubElement(top, 'image', id=str(number), name=name, width=str(w), height=str(h))
        for i, label in enumerate(names):
            if needs_bitmap(own, i):
                flat = bitmap(own, i, (h, w)).ravel().astype(int)
                ends = np.flatnonzero(np.diff(flat)) + 1
                counts = np.diff([0, *ends, len(flat)]).tolist()
                rle = ', '.join(map(str, counts if not flat[0] else [0, *counts]))
                box = dict(left='0', top='0', width=str(w), height=str(h))
                ElementTree.SubElement(image, 'mask', label=label, rle=rle, **box)
            elif rings_of(own)[i]:
                points = ';'.join(f'{x!r},{y!r}' for x, y in rings_of(own)[i][0].tolist())
                ElementTree.SubElement(image, 'polygon', label=label, points=points)
            else:
                corners = dict(zip(('xtl', 'ytl', 'xbr', 'ybr'), map(repr, own.bboxes[i].tolist()), strict=True))
                ElementTree.SubElement(image, 'box', label=label, **corners)
    ElementTree.ElementTree(top).write(root / 'annotations.xml', encoding='utf-8')


def encode_brush(mask: np.ndarray) -> list[int]:
    """The bytes of Label Studio's brushes: runs of one repeated byte outside, and of bytes one by one inside."""
    flat = mask.ravel().astype(int)
    ends = np.flatnonzero(np.diff(flat)) + 1
    bits = [f'{4 * len(flat):032b}{7:05b}' + '1111' * 4]
    for start, end in zip([0, *ends], [*ends, len(flat)], strict=True):
        for first in range(start, end, 1 << 14):  # pixels of four bytes, at most 1 << 16 of these
            count = min(end - first, 1 << 14)
            words = f'{0:024b}{255:08b}' * count if flat[start] else f'{0:08b}'
            bits.append(f'{1 - flat[start]}00{4 * count - 1:016b}{words}')
    return np.packbits(np.frombuffer(''.join(bits).encode(), np.uint8) - 48).tolist()


def write_label_studio(dataset: Any, root: Path) -> None:
    tasks = []
    for number, (name, record, names) in enumerate(images_in(dataset, root / 'images')):
        own, (h, w), results = record.annotations, record.ori_shape, []
        percent = 100 / np.array([w, h])
        for i, label in enumerate(names):
            if needs_bitmap(own, i):
                kind, value = 'brush', dict(format='rle', rle=encode_brush(bitmap(own, i, (h, w))))
            elif rings_of(own)[i]:
                kind, value = 'polygon', dict(points=(rings_of(own)[i][0].astype(float) * percent).tolist())
            else:
                x0, y0, x1, y1 = (own.bboxes[i].astype(float) * np.tile(percent, 2)).tolist()
                kind, value = 'rectangle', dict(x=x0, y=y0, width=x1 - x0, height=y1 - y0, rotation=0)
            entry = dict(id=f'r{i}', type=f'{kind}labels', value={**value, f'{kind}labels': [label]})
            results.append(dict(entry, original_width=w, original_height=h, image_rotation=0))
        annotation = dict(id=1, was_cancelled=False, result=results)
        tasks.append(dict(id=number, data=dict(image=f'/data/upload/1/0123abcd-{name}'), annotations=[annotation]))
    (root / 'export.json').write_text(json.dumps(tasks))


def write_lvis(dataset: Any, root: Path) -> None:
    images, annotations = [], []
    for name, record, _ in images_in(dataset, root / 'images/train2017'):
        (h, w), own = record.ori_shape, record.annotations
        url = f'http://images.cocodataset.org/train2017/{name}'
        images.append(dict(id=record.img_id, coco_url=url, height=h, width=w, neg_category_ids=[]))
        for i, label in enumerate(own.labels.tolist()):
            if own.ignored[i] or needs_bitmap(own, i, 99):
                continue  # LVIS has neither
            x0, y0, x1, y1 = own.bboxes[i].astype(float).tolist()
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=record.img_id,
                    category_id=label + 1,
                    bbox=[x0, y0, x1 - x0, y1 - y0],
                    area=float(own.areas[i]),
                    segmentation=[ring.astype(float).ravel().tolist() for ring in rings_of(own)[i]],
                )
            )
    names = enumerate(dataset.metainfo['classes'], 1)
    categories = [dict(id=i, name=name, synset=f'{name}.n.01', frequency='f') for i, name in names]
    (root / 'lvis.json').write_text(json.dumps(dict(images=images, annotations=annotations, categories=categories)))


def write_open_images(dataset: Any, root: Path) -> None:
    codes = {name: f'/m/0{number}' for number, name in enumerate(dataset.metainfo['classes'])}
    root.mkdir(parents=True)
    columns = 'ImageID Source LabelName Confidence XMin XMax YMin YMax IsGroupOf'.split()
    with open(root / 'boxes.csv', 'w', encoding='utf-8', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for name, record, names in images_in(dataset, root / 'train'):
            (h, w), own = record.ori_shape, record.annotations
            for i, label in enumerate(names):
                x0, y0, x1, y1 = (own.bboxes[i] / [w, h, w, h]).tolist()
                row = (os.path.splitext(name)[0], 'xclick', codes[label], 1, x0, x1, y0, y1, int(own.ignored[i]))
                writer.writerow(row)
    with open(root / 'class-descriptions-boxable.csv', 'w', encoding='utf-8', newline='') as file:
        csv.writer(file).writerows((code, name) for name, code in codes.items())


def write_crowdhuman(dataset: Any, root: Path) -> None:
    lines = []
    for name, record, _ in images_in(dataset, root / 'Images'):
        own, boxes = record.annotations, []
        for i in range(len(own)):
            x0, y0, x1, y1 = own.bboxes[i].astype(float).tolist()
            box = dict(tag='person', fbox=[x0, y0, x1 - x0, y1 - y0])
            boxes.append(dict(box, tag='mask', extra=dict(ignore=1)) if own.ignored[i] else box)
        lines.append(json.dumps(dict(ID=os.path.splitext(name)[0], gtboxes=boxes)))
    (root / 'annotation_train.odgt').write_text('\n'.join(lines) + '\n')


def write_cvat_skeletons(dataset: Any, root: Path) -> None:
    """One class, whose objects are skeletons of the labelled keypoints."""
    (label,), points = dataset.metainfo['classes'], dataset.metainfo['keypoint_names']
    top = ElementTree.Element('annotations')
    labels = ElementTree.SubElement(ElementTree.SubElement(ElementTree.SubElement(top, 'meta'), 'task'), 'labels')
    for name in (label, *points):
        entry = ElementTree.SubElement(labels, 'label')
        ElementTree.SubElement(entry, 'name').text = name
        ElementTree.SubElement(entry, 'type').text = 'skeleton' if name == label else 'points'
        if name != label:
            ElementTree.SubElement(entry, 'parent').text = label
    for number, (name, record, _) in enumerate(images_in(dataset, root / 'images')):
        h, w = record.ori_shape
        image = ElementTree.SubElement(top, 'image', id=str(number), name=name, width=str(w), height=str(h))
        for keypoints in labelled_keypoints(record.annotations):
            skeleton = ElementTree.SubElement(image, 'skeleton', label=label)
            for point, (x, y, visibility) in zip(points, keypoints.tolist(), strict=True):
                flags = dict(outside=str(int(visibility == 0)), occluded=str(int(visibility == 1)))
                ElementTree.SubElement(skeleton, 'points', label=point, points=f'{x!r},{y!r}', **flags)
    ElementTree.ElementTree(top).write(root / 'annotations.xml', encoding='utf-8')


def write_label_studio_keypoints(dataset: Any, root: Path) -> None:
    """One class, whose objects are rectangles with the labelled keypoints as their parts."""
    (label,), points = dataset.metainfo['classes'], dataset.metainfo['keypoint_names']
    tasks = []
    for number, (name, record, _) in enumerate(images_in(dataset, root / 'images')):
        own, (h, w), results = record.annotations, record.ori_shape, []
        size = dict(original_width=w, original_height=h, image_rotation=0)
        for i in np.flatnonzero(is_labelled(own)):
            x0, y0, x1, y1 = (own.bboxes[i].astype(float) * 100 / [w, h, w, h]).tolist()
            value = dict(x=x0, y=y0, width=x1 - x0, height=y1 - y0, rotation=0, rectanglelabels=[label])
            results.append(dict(id=f'r{i}', type='rectanglelabels', value=value, **size))
            for point, (x, y, visibility) in zip(points, own.keypoints[i].astype(float).tolist(), strict=True):
                if visibility:
                    value = dict(x=100 * x / w, y=100 * y / h, width=0.5, keypointlabels=[point])
                    entry = dict(id=f'r{i}-{point}', parentID=f'r{i}', type='keypointlabels', value=value)
                    results.append(dict(entry, **size))
        annotation = dict(id=1, was_cancelled=False, result=results)
        tasks.append(dict(id=number, data=dict(image=f'/data/upload/1/0123abcd-{name}'), annotations=[annotation]))
    (root / 'export.json').write_text(json.dumps(tasks))


def is_labelled(annotations: Annotations) -> np.ndarray:
    """``(N,)`` bool: the objects that are to be learnt and have a labelled keypoint."""
    return (annotations.keypoints[..., 2] > 0).any(1) & ~annotations.ignored


def labelled_keypoints(annotations: Annotations) -> np.ndarray:
    return annotations.keypoints[is_labelled(annotations)]
