"""A handful of small pictures with keypoints, in every layout that the configs read."""

import json
from pathlib import Path

import cv2
import numpy as np

SIZE = 64
# Keypoints of the custom set: two values each, of two classes.
CUSTOM_SHAPE = (5, 2)
CUSTOM_FLIP = [0, 2, 1, 4, 3]


def write_tiny_pose(root: Path, count: int = 2) -> Path:
    """Write the layouts of COCO8-pose and COCO 2017 into ``root/pose``, a ``data.yaml`` into ``root/pose_custom``.

    Every picture shows two rectangles with keypoints on a grid inside, some of them unlabelled.
    """
    from detkit.structures.keypoints import COCO_KEYPOINTS, COCO_SKELETON

    rng = np.random.default_rng(0)
    category = dict(
        id=1, name='person', keypoints=list(COCO_KEYPOINTS), skeleton=[[i + 1, j + 1] for i, j in COCO_SKELETON]
    )
    for split in ('train', 'val'):
        images, annotations = [], []
        for number in range(count):
            name = f'{number:012d}'
            images.append(dict(id=number, file_name=f'{name}.jpg', height=SIZE, width=SIZE))
            image = rng.integers(90, 150, (SIZE, SIZE, 3), np.uint8)
            objects = []
            for grey in (20, 230):
                x, y = rng.integers(2, 30, 2)
                w, h = rng.integers(16, 30, 2)
                image[y : y + h, x : x + w] = grey
                points = np.concatenate([rng.uniform(0, 1, (17, 2)) * (w, h) + (x, y), rng.integers(0, 3, (17, 1))], 1)
                points[points[:, 2] == 0] = 0
                objects.append((np.array([x, y, w, h]), points))
                annotations.append(
                    dict(
                        id=len(annotations) + 1,
                        image_id=number,
                        category_id=1,
                        iscrowd=0,
                        area=int(w * h) // 2,
                        bbox=[int(x), int(y), int(w), int(h)],
                        keypoints=points.round(2).ravel().tolist(),
                        num_keypoints=int((points[:, 2] > 0).sum()),
                        segmentation=[],
                    )
                )
            _write(root / 'pose' / 'images' / split, name, image, [yolo_line(0, *entry) for entry in objects])
            _write(root / 'pose' / f'{split}2017', name, image)
            lines = [
                yolo_line(label, bbox, points[: CUSTOM_SHAPE[0], :2]) for label, (bbox, points) in enumerate(objects)
            ]
            _write(root / 'pose_custom' / 'images' / split, name, image, lines)
        content = dict(images=images, annotations=annotations, categories=[category])
        (root / 'pose' / 'annotations').mkdir(exist_ok=True)
        (root / 'pose' / 'annotations' / f'person_keypoints_{split}2017.json').write_text(json.dumps(content))
    (root / 'pose_custom' / 'data.yaml').write_text(
        f'train: images/train\nval: images/val\nnames: [cat, dog]\nkpt_shape: {list(CUSTOM_SHAPE)}\n'
        f'flip_idx: {CUSTOM_FLIP}\n'
    )
    return root


def yolo_line(label: int, bbox_xywh: np.ndarray, points: np.ndarray) -> str:
    """A label line; ``points (K, 2 | 3)`` in pixels."""
    x, y, w, h = bbox_xywh / SIZE
    values = points.astype(float)
    values[:, :2] /= SIZE
    return ' '.join([str(label), *(f'{value:.6f}' for value in (x + w / 2, y + h / 2, w, h, *values.ravel()))])


def _write(folder: Path, name: str, image: np.ndarray, lines: list[str] | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / f'{name}.jpg'), image)
    if lines is not None:
        labels = Path(str(folder).replace('/images/', '/labels/'))
        labels.mkdir(parents=True, exist_ok=True)
        (labels / f'{name}.txt').write_text('\n'.join(lines) + '\n')
