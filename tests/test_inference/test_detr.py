"""Prediction by a config that resizes by the shorter side and pads a batch to its largest image."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import write_images

from detkit.config import load_config
from detkit.inference import Predictor
from detkit.inference.steps import input_size, prediction_steps

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


@pytest.fixture(scope='module')
def config():
    config = load_config(CONFIGS / 'detr' / 'det_r18_coco8.py', need_classes=False)
    config.model.head.transformer.update(embed_dims=32, num_heads=2, feedforward_dims=32)
    return config


def test_predicts_in_pixels_of_images_of_different_shapes(config, tmp_path):
    write_images(tmp_path / 'wide', 1, (60, 90))
    write_images(tmp_path / 'high', 1, (80, 50))
    sources = [tmp_path / 'wide' / '0.png', tmp_path / 'high' / '0.png']
    torch.manual_seed(0)
    predictor = Predictor(config, None, img_size=64, batch_size=2, score_thr=0.0, max_per_img=12)
    seen = []
    predictor.model.head.register_forward_pre_hook(lambda module, args: seen.append(args[1]))
    samples = predictor.predict(sources)
    assert [sample.img_shape for sample in samples] == [(64, 96), (102, 64)]
    assert [sample.ori_shape for sample in samples] == [(60, 90), (80, 50)]
    (padding,) = seen
    assert padding.shape == (2, 102, 96)
    assert not padding[0, :64].any() and padding[0, 64:].all()
    assert not padding[1, :, :64].any() and padding[1, :, 64:].all()
    for sample in samples:
        found = sample.pred_instances
        assert len(found) == 12 and (found.scores.diff() <= 0).all()
        height, width = sample.ori_shape
        assert found.bboxes.min() >= 0
        assert found.bboxes[:, 0::2].max() <= width and found.bboxes[:, 1::2].max() <= height
    one = np.zeros((60, 90, 3), np.uint8)
    alone = Predictor(model=predictor.model, img_size=64, score_thr=0.0, max_per_img=12).predict(one)
    assert len(alone) == 1 and seen[-1] is None  # nothing is padded


def test_tiles_and_augmentations(config, tmp_path):
    """The duplicates that a model without suppression leaves to others are removed."""
    write_images(tmp_path, 1, (60, 90))
    torch.manual_seed(0)
    predictor = Predictor(config, None, img_size=64, score_thr=0.0, max_per_img=12)
    (plain,) = predictor.predict(tmp_path)
    options = dict(model=predictor.model, img_size=64, score_thr=0.0, max_per_img=12, batch_size=3)
    (one,) = Predictor(tile=90, **options).predict(tmp_path)
    assert torch.equal(one.pred_instances.bboxes, plain.pred_instances.bboxes)
    for views in ({'tile': 40}, {'tta': True}, {'tile': 40, 'tta': ['plain', 'vflip'], 'tta_merge': 'wbf'}):
        (sample,) = Predictor(**views, **options).predict(tmp_path)
        found = sample.pred_instances
        assert 0 < len(found.scores) <= 12 and (found.scores.diff() <= 0).all()
        assert found.bboxes.min() >= 0 and found.bboxes[:, 2].max() <= 90 and found.bboxes[:, 3].max() <= 60


def test_sizes_follow_the_config(config):
    assert input_size(config, False) == 256
    steps = prediction_steps(config, 128, False)
    assert [step['type'] for step in steps] == ['LoadImageFromFile', 'ResizeShortestEdge', 'Render', 'PackInputs']
    assert steps[1]['size'] == 128 and steps[1]['max_size'] == 213
    yolo = load_config(CONFIGS / 'yolov8' / 'det_n_coco8.py', need_classes=False)
    assert input_size(yolo, False) == 640 and prediction_steps(yolo, 320, False)[1]['size'] == 320
    panoptic = dict(
        val_dataloader=dict(
            dataset=dict(
                pipeline=[
                    dict(type='LoadImageFromFile'),
                    dict(type='LoadSegments'),
                    dict(type='ResizeShortestEdge', size=800),
                ]
            )
        )
    )
    assert prediction_steps(panoptic, 400, False) == [
        dict(type='LoadImageFromFile'),
        dict(type='ResizeShortestEdge', size=400),
    ]
    assert input_size({}, False) == 640
