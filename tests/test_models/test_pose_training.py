"""Learning poses of real people, for a few steps."""

import pytest
import torch
from yolov8_models import build_yolov8

from detkit.datasets import CocoDataset
from detkit.datasets.collate import collate


@pytest.mark.thorough
@pytest.mark.realdata
def test_losses_of_real_pictures_fall(real_data):
    root = real_data / 'coco-pose-mini'
    if not root.is_dir():
        pytest.skip(f'no {root}')
    data = CocoDataset(
        'annotations/person_keypoints_train2017.json',
        'train2017',
        keypoints=True,
        only_labelled=True,
        data_root=str(root),
        metainfo=dict(classes=('person',)),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(type='LetterBox', size=160),
            dict(type='Render'),
            dict(type='PackInputs'),
        ],
    )
    # People large enough to have keypoints apart at this size.
    sizes = [float(record.annotations.areas.max()) for record in data.records]
    chosen = sorted(range(len(data)), key=lambda i: -sizes[i])[:2]
    torch.manual_seed(0)
    model = build_yolov8('pose', 'n', 1).train()
    batch = model.data_preprocessor(collate([data[i] for i in chosen]), training=True)
    assert (batch['gt'].keypoints[..., 2] > 0).any()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    history = []
    for _ in range(25):
        losses = model(batch['inputs'], batch['gt'], mode='loss')
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        history.append({name: value.item() for name, value in losses.items()})
    for name in ('loss_box', 'loss_pose', 'loss_kobj', 'loss_dfl'):
        assert history[-1][name] < 0.8 * history[0][name], (name, history[0][name], history[-1][name])
