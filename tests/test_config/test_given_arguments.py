"""Arguments that the owner of a part adds are never missing, also where a user's class has no default for them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from detkit.config import load_config
from detkit.models.layers import SinePositionEncoding
from detkit.models.layers.csp import C2f
from detkit.protocols import PositionEncoding, QueryDecoder, TextBlock
from detkit.registry import DETECTORS, LAYERS
from detkit.utils.errors import ConfigError


@LAYERS.register_module()
class MeanDecoder(nn.Module, QueryDecoder):
    """Constructed as ``QueryDecoder`` says: the number of maps and whether boxes have an angle come from the head."""

    def __init__(self, num_levels: int, rotated: bool, embed_dims: int = 16) -> None:
        super().__init__()
        self.num_levels, self.embed_dims, self.num_layers = num_levels, embed_dims, 1
        self.fc = nn.Linear(embed_dims, 5 if rotated else 4)

    def forward(self, content, bboxes, memory, sizes, query_mask=None, num_groups=1) -> tuple[Tensor, Tensor]:
        content = content + memory.mean(1, keepdim=True)
        return content.unsqueeze(0), (bboxes + self.fc(content)).sigmoid().unsqueeze(0)


@LAYERS.register_module()
class PlainPositions(SinePositionEncoding, PositionEncoding):
    def __init__(self, embed_dims: int) -> None:
        super().__init__(embed_dims)


@LAYERS.register_module()
class TextlessBlock(C2f, TextBlock):
    def __init__(self, in_channels: int, out_channels: int, num_blocks: int, text_dims: int, act=None) -> None:
        super().__init__(in_channels, out_channels, num_blocks)

    def forward(self, x, texts=None):
        return super().forward(x)


def build(tmp_path, base: str, model: str, *options: str) -> nn.Module:
    config = tmp_path / 'mine.py'
    config.write_text(f"_base_ = 'detkit::{base}'\nmodel = dict({model})\n")
    cfg = load_config(config, list(options), need_classes=False)
    cfg.model.head.num_classes = 3
    return DETECTORS.build(cfg.model)


@pytest.mark.parametrize(
    'base, head',
    [
        ('rtdetr/obb_custom', ''),
        ('rtdetr/obb_custom', "_delete_=True, type='RFDETROBBHead', num_queries=10, num_groups=2, "),
    ],
)
def test_a_decoder_gets_levels_and_angles_from_its_head(tmp_path, base, head):
    decoder = f"head=dict({head}decoder=dict(_delete_=True, type='MeanDecoder'))"
    model = build(tmp_path, base, decoder, 'size=r18').eval()
    assert model.head.decoder.num_levels == 3
    with torch.no_grad():
        assert model(torch.rand(1, 3, 64, 64))['bbox_preds'].shape[-1] == 5


def test_a_position_encoding_gets_the_dims_of_the_vectors(tmp_path):
    positions = "head=dict(position_encoding=dict(_delete_=True, type='PlainPositions'))"
    model = build(tmp_path, 'detr/det_r18_coco8', positions)
    assert model.head.position_encoding.embed_dims == model.head.embed_dims


def test_a_block_gets_the_dims_of_texts(tmp_path):
    necks = "neck=[dict(type='SPP'), dict(type='TextPAN', block=dict(type='TextlessBlock'))]"
    build(tmp_path, 'yolo_world/det_custom', necks)


@pytest.mark.parametrize(
    'base, head, expected',
    [
        ('faster_rcnn/det_r18_coco8', 'bbox_head=dict(num_classes=3)', 'bbox_head.num_classes'),
        ('faster_rcnn/det_r18_coco8', 'rpn_head=dict(strides=[4, 8])', 'rpn_head.strides'),
        ('mask_rcnn/seg_r18_coco8', 'mask_head=dict(in_channels=[32] * 5)', 'mask_head.in_channels'),
        (
            'faster_rcnn/det_r18_coco8',
            'bbox_head=dict(roi_extractor=dict(strides=[4, 8]))',
            'bbox_head.roi_extractor.strides',
        ),
        (
            'retinanet/det_r18_coco8',
            "prior_generator=dict(type='SizeRatioAnchorGenerator', strides=[4])",
            'prior_generator.strides',
        ),
        (
            'fcos/det_r18_coco8',
            "prior_generator=dict(type='PointPriorGenerator', strides=[4])",
            'prior_generator.strides',
        ),
        ('keypoint_rcnn/pose_r18_coco8', 'keypoint_head=dict(keypoint_shape=(5, 3))', 'keypoint_head.keypoint_shape'),
    ],
)
def test_what_follows_from_the_head_cannot_be_given_otherwise(tmp_path, base, head, expected):
    (tmp_path / 'mine.py').write_text(f"_base_ = 'detkit::{base}'\nmodel = dict(head=dict({head}))\n")
    with pytest.raises(
        ConfigError, match=rf'mine.py:2: model.head.{expected}: .*follows from the head around it; leave'
    ):
        load_config(tmp_path / 'mine.py')
