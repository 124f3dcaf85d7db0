"""Small heads and models, and a batch for any of them, for the tests of contracts."""

import torch

from detkit.registry import HEADS
from detkit.structures.gt_batch import GtBatch

CHANNELS, STRIDES, SIZE = (8, 12, 16), (8, 16, 32), 64
# Arguments of a small head.
SMALL = {
    'DETRHead': dict(
        num_queries=4, transformer=dict(type='DETRTransformer', embed_dims=32, num_heads=8, feedforward_dims=16)
    ),
    'YOLOv8PoseHead': dict(keypoint_shape=(3, 3)),
}
SMALL['YOLO26PoseHead'] = SMALL['YOLOv8PoseHead']
SMALL['DETRSegmentHead'] = SMALL['DETRHead']
# Also of decoders, of which any may be in these heads.
SMALL_DECODER = dict(embed_dims=16, num_heads=2, num_layers=2, num_points=2, feedforward_dims=16)
SMALL['RFDETRHead'] = dict(num_queries=6, num_groups=3, decoder=dict(type='LiteDecoder', **SMALL_DECODER))
SMALL['RTDETRHead'] = dict(num_queries=6, num_denoising=4, decoder=dict(type='DeformableDecoder', **SMALL_DECODER))
SMALL['DFINEHead'] = dict(num_queries=6, num_denoising=4, decoder=dict(type='DistributionDecoder', **SMALL_DECODER))
for family in ('RFDETR', 'RTDETR', 'DFINE'):
    SMALL[f'{family}SegmentHead'] = SMALL[f'{family}OBBHead'] = SMALL[f'{family}Head']
SMALL['RetinaHead'] = SMALL['FCOSHead'] = dict(feat_channels=16, num_convs=1)
SMALL['RPNHead'] = dict(feat_channels=16)
SMALL['TwoStageHead'] = dict(
    feat_channels=16,
    rpn_head=dict(type='RPNHead', proposals=dict(nms_pre=50, max_per_img=20)),
    bbox_head=dict(type='BBoxRoIHead', fc_channels=16),
)
NUM_CLASSES = 3


def texts_of(part) -> dict:
    """The embeddings of the classes, where a neck or a head needs them."""
    return dict(texts=torch.rand(NUM_CLASSES, 512)) if getattr(part, 'needs_texts', False) else {}


def own_names(registry) -> list[str]:
    """The names of detkit's own components, in alphabetical order."""
    return sorted(name for name in registry.names() if registry.get(name).__module__.startswith('detkit.'))


def batch(counts: tuple[int, ...] = (2, 0)) -> GtBatch:
    """Objects that have everything that any head learns."""
    most, images = max(counts), len(counts)
    valid = torch.arange(most) < torch.tensor(counts).unsqueeze(1)
    bboxes = torch.tensor([[4.0, 6.0, 40.0, 30.0], [20.0, 10.0, 60.0, 58.0]])[:most].expand(images, -1, -1)
    bboxes = bboxes * valid.unsqueeze(-1)
    centres, sides = (bboxes[..., :2] + bboxes[..., 2:]) / 2, bboxes[..., 2:] - bboxes[..., :2]
    masks = torch.zeros(images, SIZE // 4, SIZE // 4, dtype=torch.uint8)
    if most:
        masks[0, 2:7, 1:10] = 1
    return GtBatch(
        labels=torch.where(valid, torch.arange(most) % NUM_CLASSES, -1),
        bboxes=bboxes,
        valid=valid,
        flat_index=valid.flatten().nonzero().squeeze(1),
        img_shapes=torch.tensor([[SIZE, SIZE]] * images),
        masks=masks,
        keypoints=torch.cat([centres, torch.ones_like(centres[..., :1])], -1).unsqueeze(2).repeat(1, 1, 3, 1),
        rbboxes=torch.cat([centres, sides, torch.full_like(sides[..., :1], 0.2)], -1),
        class_labels=torch.zeros(images, dtype=torch.int64),
    )


def head_config(name: str, **parts) -> dict:
    return {**dict(type=name, num_classes=NUM_CLASSES), **SMALL.get(name, {}), **parts}


def build_head(name: str, **parts):
    torch.manual_seed(0)
    config = head_config(name, in_channels=CHANNELS, **parts)
    return HEADS.build(config if 'Classify' in name or name == 'DETRHead' else dict(config, strides=STRIDES))


def model_config(head: dict) -> dict:
    backbone = dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.125)
    return {'model': dict(type='SingleStageDetector', backbone=backbone, head=head)}
