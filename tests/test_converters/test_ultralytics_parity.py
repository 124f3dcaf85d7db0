"""A converted file finds what ultralytics 8.4.190 finds with it (tests/parity/record_ultralytics_pt.py says how)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from coverings import slow_unless
from parity.seeded import assert_matches, seeded_tensor
from parity.shapes import IMG_SHAPE
from ultralytics_files import read_recorded, seeded_tensors, write_pt

from detkit.converters.ultralytics import convert_ultralytics
from detkit.inference.model import init_detector

pytestmark = pytest.mark.no_cover

CONFIGS = Path(__file__).parents[2] / 'configs'


TASKS = ['det', 'seg', 'pose', 'obb', 'cls']
CASES = [
    *((family, task, size) for family in ('yolov8', 'yolo11') for task in TASKS for size in ('n', 'm')),
    *(('yolo26', task, 'n') for task in TASKS),
    ('yolo26', 'det', 'm'),
    *(('yolo26', task, 'm') for task in TASKS[1:]),
    ('yolov10', 'det', 'n'),
    ('yolov10', 'det', 'm'),
]


def found_table(task: str, sample) -> torch.Tensor:
    """In the form that was recorded."""
    if task == 'cls':
        return sample.pred_scores
    found = sample.pred_instances
    ends = [found.scores.unsqueeze(1), found.labels.unsqueeze(1)]
    if task == 'obb':
        rbboxes = found.rbboxes
        return torch.cat([rbboxes[:, :4], *ends, rbboxes[:, 4:]], 1)
    keypoints = [found.keypoints.flatten(1)] if task == 'pose' else []
    return torch.cat([found.bboxes, *ends, *keypoints], 1)


# Larger models of YOLOv8 have more of the same blocks, those of other families other ones.
@pytest.mark.default_cases(2)
@pytest.mark.parametrize(
    ('family', 'task', 'size'),
    [
        slow_unless(size == 'n' or (task == 'det' and family != 'yolov8'), family, task, size)
        for family, task, size in CASES
    ],
)
def test_detections_of_a_converted_file_equal_the_reference(tmp_path, family, task, size):
    recorded = read_recorded(family)
    name, seed = f'{task}_{size}', int(recorded['seed'])
    layout = recorded['layouts'][name]
    classes = tuple('abc')
    source = write_pt(tmp_path / 'in.pt', layout, task, seeded_tensors(layout, seed), scale=size, classes=classes)
    convert_ultralytics(source, tmp_path / 'out.pth', CONFIGS)
    model = init_detector(None, tmp_path / 'out.pth', device='cpu', fuse=False).double()
    assert model.info.classes == classes
    score_thr = float(recorded['score_thr'])
    model.head.test_cfg.update(
        score_thr=score_thr, **({} if family in ('yolo26', 'yolov10') and task != 'cls' else {'multi_label': False})
    )
    count = int(recorded['images'])
    with torch.no_grad():
        preds = model(seeded_tensor((count, 3, *IMG_SHAPE), 'image', seed))
    results = model.head.predict(preds, [dict(matrix=np.eye(3), ori_shape=IMG_SHAPE)] * count)
    for image, result in enumerate(results):
        table = found_table(task, result)
        assert len(table) == recorded[f'{name}.detections.{image}.count']
        assert_matches(table, recorded[f'{name}.detections.{image}'], 1e-6, f'image {image}')
