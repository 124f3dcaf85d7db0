"""The weather classifier equals one made of YOLOv5 7.0.14's layers (tests/parity says how it was recorded)."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from parity.seeded import assert_matches, seeded_state, seeded_tensor

from detkit.registry import DETECTORS
from detkit.structures.gt_batch import GtBatch

RECORDED = Path(__file__).parents[1] / 'parity' / 'classify_yolov5.npz'
CONFIG = Path(__file__).parents[2] / 'configs' / '_base_' / 'models' / 'yolov5_cls.py'
LAYERS = {'main_conv': 'cv1', 'side_conv': 'cv2', 'out_conv': 'cv3', 'conv1': 'cv1', 'conv2': 'cv2', 'blocks': 'm'}


def reference_name(name: str) -> str:
    """What the recording calls a tensor of ours."""
    if name.startswith('head.'):
        return name.replace('head.hidden.0', '11').replace('head.fc_cls', '13')
    if name.startswith('neck.'):
        return name.replace('neck.0.in_conv', '9.cv1').replace('neck.0.out_conv', '9.cv2')
    if name.startswith('backbone.stem.'):
        return name.replace('backbone.stem', '0')
    stage, layer, rest = re.fullmatch(r'backbone\.stages\.(\d)\.(\d)\.(.+)', name).groups()
    return '.'.join([str(1 + 2 * int(stage) + int(layer)), *(LAYERS.get(part, part) for part in rest.split('.'))])


@pytest.fixture(scope='module')
def recorded():
    with np.load(RECORDED) as arrays:
        return dict(arrays)


def test_outputs_loss_and_gradients_equal_the_reference(recorded):
    cfg = Config.fromfile(CONFIG).model
    cfg.head.num_classes = 4
    model = DETECTORS.build(cfg).double()
    names = {name: reference_name(name) for name in model.state_dict()}
    state = seeded_state(
        {names[name]: tuple(value.shape) for name, value in model.state_dict().items()}, int(recorded['seed'])
    )
    model.load_state_dict({name: state[theirs] for name, theirs in names.items()})
    assert sum(param.numel() for param in model.parameters()) == recorded['parameters'] == 21_729_592

    image = seeded_tensor(tuple(recorded['shape']), 'image', int(recorded['seed']))
    model.eval()
    with torch.no_grad():
        assert_matches(model(image)['cls_logits'], recorded['eval.logits'], 1e-6)
    model.train()
    preds = model(image)
    assert_matches(preds['cls_logits'], recorded['train.logits'], 1e-6)
    count = len(image)
    gt = GtBatch(
        labels=torch.zeros(count, 0, dtype=torch.int64),
        bboxes=torch.zeros(count, 0, 4),
        valid=torch.zeros(count, 0, dtype=torch.bool),
        flat_index=torch.zeros(0, dtype=torch.int64),
        img_shapes=torch.full((count, 2), 224),
        class_labels=torch.from_numpy(recorded['labels']),
    )
    loss = model.head.loss(preds, gt)['loss_cls']
    assert loss.item() == pytest.approx(recorded['loss'].item(), rel=1e-6)
    loss.backward()
    gradients = {names[name]: param.grad for name, param in model.named_parameters()}
    assert {f'grad.{name}' for name in gradients} == {key for key in recorded if key.startswith('grad.')}
    for name, gradient in gradients.items():
        assert_matches(gradient, recorded[f'grad.{name}'], 1e-6, name)
