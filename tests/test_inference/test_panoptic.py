"""Prediction with a head that divides images into segments, from the config of a panoptic dataset."""

import json

import cv2
import pytest
import torch
from tiny_panoptic import SHAPE

from detkit.config import load_config
from detkit.inference import Predictor, Result, find_images
from detkit.inference.to_folder import predict_to_folder
from detkit.models.detectors import ModelInfo
from detkit.registry import DETECTORS
from detkit.utils.errors import ConfigError


@pytest.fixture(scope='module')
def predictor(repo, tiny_data):
    options = dict(data_root=str(tiny_data / 'panoptic'), img_size=64, pretrained=None)
    cfg = load_config(repo / 'configs/detr/panoptic_coco.py', options)
    cfg.model.backbone.depth = 18
    cfg.model.head.num_queries = 8
    cfg.model.head.transformer.update(embed_dims=64, num_encoder_layers=1, num_decoder_layers=1, feedforward_dims=32)
    cfg.model.head.test_cfg.panoptic_score_thr = 0.0
    torch.manual_seed(0)
    model = DETECTORS.build(cfg.model).eval()
    torch.nn.init.constant_(model.head.fc_cls.bias[187], 3.0)
    torch.nn.init.constant_(model.head.fc_cls.bias[1], 2.5)
    model.info = ModelInfo(cfg, tuple(cfg.val_dataloader.dataset.metainfo.classes))
    return Predictor(model=model, score_thr=0.0)


def test_segments_are_written_and_drawn(predictor, tiny_data, tmp_path):
    """Pictures have no PNG of segments, which the test pipeline would read."""
    source = str(tiny_data / 'panoptic' / 'val2017')
    assert predict_to_folder(predictor, source, tmp_path) == 2
    entries = json.loads((tmp_path / 'predictions.json').read_text())
    samples = predictor.predict(source)
    assert len(entries) == sum(len(sample.pred_panoptic) for sample in samples) > 0
    for image, sample in zip(find_images(source), samples, strict=True):
        own = [entry for entry in entries if entry['file_name'] == sample.img_path]
        labels = sample.pred_panoptic.labels.tolist()
        result = Result.of_sample(image, sample, predictor.model.info)
        assert [entry['category_id'] for entry in own] == labels
        assert labels.count(187) <= 1  # stuff is one segment
        assert all(entry['segmentation']['size'] == list(SHAPE) for entry in own)
        assert f'{labels.count(labels[0])} {predictor.classes[labels[0]]}' in result.summary
        assert len(result) == len(labels) and result.masks.shape == (len(labels), *SHAPE)
        assert result.plot().shape == (*SHAPE, 3) and result[:1].plot().shape == (*SHAPE, 3)
    assert cv2.imread(str(tmp_path / '000000000001.jpg')).shape == (*SHAPE, 3)


@pytest.mark.parametrize('views', [{'tile': 32}, {'tta': ['plain', 0.8]}])
def test_segments_of_the_whole_image_are_not_merged(predictor, tiny_data, views):
    tiled = Predictor(model=predictor.model, **views)
    with pytest.raises(ConfigError, match='divides the whole image into segments'):
        tiled.predict(str(tiny_data / 'panoptic' / 'val2017'))
