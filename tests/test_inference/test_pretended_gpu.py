"""Predictions of every task on a GPU that is not there are those on the CPU."""

import numpy as np
import pytest
import torch
from pretended_gpu import GPU, PretendedTensor, pretended_gpu
from small_models import write_images
from test_export.every_task import TASKS, build_task

from detkit.inference import Predictor

# The others differ from these in layers alone.
OFTEN = (
    *(
        'yolov8 det',
        'yolov8 seg',
        'yolov8 pose',
        'yolov8 obb',
        'yolov8 cls',
        'yolo26 det',
        'yoloworld det',
        'yolov5 det',
    ),
    *('detr panoptic', 'fcos det', 'rtdetr obb', 'deimv2 det', 'rfdetr seg'),
)


def test_tensors_of_both_devices_are_refused():
    with pretended_gpu():
        there = torch.zeros(3, 4, device='cuda')
        there[1] = 5
        there[:, 2:].add_(3)
        assert there.device == GPU and isinstance(there, PretendedTensor)
        assert (there * 2 + torch.tensor(1.0)).cpu().tolist()[1] == [11, 11, 17, 17]
        assert there.sum().item() == 38 and type(there.to('cpu', torch.int64)) is torch.Tensor
        with pytest.raises(RuntimeError, match='cuda:0 and cpu'):
            there + torch.ones(4)
        with pytest.raises(TypeError, match='NumPy'):
            np.asarray(there)


@pytest.mark.thorough
@pytest.mark.parametrize(
    'name', [name if name in OFTEN else pytest.param(name, marks=pytest.mark.slow) for name in TASKS]
)
def test_predictions_are_those_on_the_cpu(name, tmp_path):
    images = [str(path) for path in write_images(tmp_path, 3)]
    options = {} if name.endswith('cls') else dict(score_thr=0.01)
    expected = Predictor(model=build_task(name, 64), batch_size=2, **options).predict(images)
    with pretended_gpu():
        predictor = Predictor(model=build_task(name, 64).to('cuda'), batch_size=2, **options)
        assert next(predictor.model.parameters()).device == GPU
        given = predictor.predict(images)
    for one, other in zip(given, expected, strict=True):
        assert one.keys() == other.keys()
        for key in ('pred_instances', 'pred_panoptic', 'pred_scores'):
            if key in other:
                same(one.get(key), other.get(key))
    assert any(len(sample.pred_instances) for sample in expected if 'pred_instances' in sample) or 'cls' in name


def same(one: object, other: object) -> None:
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif hasattr(one, 'values'):
        for value, wanted in zip(one.values(), other.values(), strict=True):
            same(value, wanted)
    elif hasattr(one, 'to_bool'):
        assert np.array_equal(one.to_bool(), other.to_bool())
