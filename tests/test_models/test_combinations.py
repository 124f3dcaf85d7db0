"""Any part with any part: every backbone, neck and head trains together, channels and strides wired by themselves.

By default every two parts meet in some model, of heads that are alike any one; all models are slow.
"""

from itertools import cycle, product

import pytest
import torch
from coverings import every_pair, slow_unless

from detkit.registry import DETECTORS
from detkit.structures.gt_batch import GtBatch

# Small ones, of (about) the same widths.
BACKBONES = {
    'darknet': dict(type='Darknet', widen_factor=0.0625),
    'darknet_tiny': dict(type='Darknet', depth='tiny', widen_factor=0.125),
    'csp_v5': dict(
        type='CSPDarknet',
        deepen_factor=0.1,
        widen_factor=0.0625,
        stem_kernel_size=6,
        stage_blocks=(3, 6, 9, 3),
        block=dict(type='C3', shortcut=True),
    ),
    'csp_v8': dict(type='CSPDarknet', deepen_factor=0.1, widen_factor=0.0625),
    'csp_11': dict(
        type='CSPDarknet',
        deepen_factor=0.5,
        widen_factor=0.0625,
        stage_channels=(256, 512, 512, 1024),
        conv_channels=(128, 256, 512, 1024),
        stage_blocks=(2, 2, 2, 2),
        block=[dict(type='C3k2', expansion=0.25)] * 2 + [dict(type='C3k2', inner='c3k')] * 2,
    ),
    'csp_v10': dict(
        type='CSPDarknet',
        deepen_factor=0.1,
        widen_factor=0.0625,
        block=[dict(type='C2f', shortcut=True)] * 2 + [dict(type='C2fCIB')] * 2,
        downsample=[None, None, dict(type='SCDown'), dict(type='SCDown')],
    ),
    'resnet': dict(type='ResNet', depth=18, variant='d'),
    'hgnet': dict(type='HGNetV2', arch='B0', lab=True),
    'mobilenet': dict(type='MobileNetV3'),
    'vit': dict(type='WindowedViT', embed_dims=24, depth=4, num_heads=3, out_indices=(2, 4), global_blocks=(2,)),
}
# What comes before the neck: a transformer's maps have one stride.
BETWEEN = {'vit': [dict(type='MultiScaleProjector', out_channels=16, out_strides=(8, 16, 32), num_blocks=1)]}
NECKS = {
    'none': None,
    'spp': dict(type='SPP'),
    'pan': dict(type='PAN', deepen_factor=0.1),
    'spp_pan': [dict(type='SPP'), dict(type='PAN', deepen_factor=0.1, block=dict(type='C3'), reduce=True)],
    'attention_pan': [
        dict(type='LastBlock', num_blocks=1, block=dict(type='C2PSA')),
        dict(type='PAN', deepen_factor=0.1, block=dict(type='C3k2', inner='c3k'), last_block=dict(inner='attention')),
    ],
    'compact_pan': dict(
        type='PAN', deepen_factor=0.1, block=dict(type='C2fCIB', large_kernel=True), downsample=dict(type='SCDown')
    ),
    'yolov3': dict(type='YOLOv3Neck', spp=dict(type='SPP')),
    'lite': dict(type='LiteEncoder', out_channels=16, num_blocks=1),
    'hybrid': dict(type='HybridEncoder', out_channels=16, num_heads=2, feedforward_dims=16, num_blocks=1),
    'projector': dict(type='MultiScaleProjector', out_channels=16, num_blocks=1),
    'fpn': dict(type='FPN', out_channels=16),
    'text_pan': dict(type='TextPAN', deepen_factor=0.1, image_pooling=dict(embed_dims=16, num_heads=2)),
}
ANCHORS = {
    2: [[(8, 8), (16, 24)], [(40, 32), (60, 60)]],
    3: [[(8, 8), (16, 12)], [(24, 30), (40, 20)], [(40, 50), (60, 60)]],
}
DECODER = dict(embed_dims=16, num_heads=2, num_layers=2, feedforward_dims=16)
HEADS = {
    'yolov3': dict(type='YOLOv3Head'),
    'yolov5': dict(type='YOLOv5Head'),
    'yolov8': dict(type='YOLOv8Head'),
    'yolo26': dict(type='YOLO26Head'),
    'yolov10': dict(type='YOLOv10Head'),
    'yolo26_segment': dict(type='YOLO26SegmentHead', num_protos=4),
    'yolo26_pose': dict(type='YOLO26PoseHead', keypoint_shape=(3, 3)),
    'yolo26_obb': dict(type='YOLO26OBBHead'),
    'yolox': dict(type='YOLOXHead', depthwise=True),
    'world': dict(type='YOLOWorldHead'),
    'segment': dict(type='YOLOv8SegmentHead', num_protos=4),
    'pose': dict(type='YOLOv8PoseHead', keypoint_shape=(3, 3)),
    'obb': dict(type='YOLOv8OBBHead'),
    'rtdetr': dict(
        type='RTDETRHead', num_queries=8, num_denoising=2, decoder=dict(type='DeformableDecoder', **DECODER)
    ),
    'deimv2': dict(
        type='DFINEHead',
        num_queries=8,
        num_denoising=2,
        project_cells=False,
        edge_losses=False,
        unite_matches=False,
        decoder=dict(
            type='DistributionDecoder', **DECODER, act='SiLU', feedforward_act='SwiGLU', norm='RMS', gated=False
        ),
    ),
    'dfine_seg': dict(
        type='DFINESegmentHead', num_queries=8, num_denoising=2, decoder=dict(type='DistributionDecoder', **DECODER)
    ),
    'rtdetr_obb': dict(
        type='RTDETROBBHead', num_queries=8, num_denoising=2, decoder=dict(type='DeformableDecoder', **DECODER)
    ),
    'rfdetr': dict(type='RFDETRHead', num_queries=8, num_groups=2, decoder=dict(type='LiteDecoder', **DECODER)),
    'retina': dict(type='RetinaHead', feat_channels=16, num_convs=1, norm='gn'),
    'fcos': dict(type='FCOSHead', feat_channels=16, num_convs=1),
    'two_stage': dict(
        type='TwoStageHead',
        feat_channels=16,
        rpn_head=dict(type='RPNHead', proposals=dict(nms_pre=50, max_per_img=20)),
        bbox_head=dict(type='BBoxRoIHead', fc_channels=16),
        mask_head=dict(type='MaskRoIHead', num_convs=1, conv_channels=8),
        keypoint_head=dict(type='KeypointRoIHead', keypoint_shape=(3, 3), num_convs=1, conv_channels=8),
    ),
}
# Heads that are wired as another one: they add masks, keypoints or angles to its outputs, or have it twice.
ALIKE = ('yolov10', 'yolo26_segment', 'yolo26_pose', 'yolo26_obb', 'segment', 'pose', 'obb', 'rtdetr_obb')
SIZE = 64


def ground_truth(mask_stride: int) -> GtBatch:
    """Two images with one object each, with all that any head may ask for."""
    bboxes = torch.tensor([[[8.0, 8.0, 48.0, 40.0]], [[20.0, 12.0, 60.0, 60.0]]])
    x0, y0, x1, y1 = bboxes.unbind(-1)
    masks = torch.zeros(2, SIZE // mask_stride, SIZE // mask_stride, dtype=torch.uint8)
    masks[:, 2:5, 3:6] = 1
    keypoints = (
        torch.stack(((x0 + x1) / 2, (y0 + y1) / 2, torch.full_like(x0, 2.0)), -1).unsqueeze(2).repeat(1, 1, 3, 1)
    )
    return GtBatch(
        labels=torch.tensor([[0], [2]]),
        bboxes=bboxes,
        valid=torch.ones(2, 1, dtype=torch.bool),
        flat_index=torch.arange(2),
        img_shapes=torch.full((2, 2), SIZE),
        masks=masks,
        keypoints=keypoints,
        rbboxes=torch.stack(((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0, torch.full_like(x0, 0.2)), -1),
    )


def neck_of(backbone: str, neck: str) -> list[dict]:
    """The config of a neck behind a backbone."""
    own = NECKS[neck] or []
    between = [] if neck == 'lite' else BETWEEN.get(backbone, [])  # it takes the last map alone
    return between + (own if isinstance(own, list) else [own])


def build(backbone: str, neck: str, head: str) -> torch.nn.Module:
    cfg = dict(
        type='OpenVocabularyDetector' if neck == 'text_pan' or head == 'world' else 'SingleStageDetector',
        backbone=BACKBONES[backbone],
        neck=neck_of(backbone, neck),
        head=dict(HEADS[head], num_classes=3),
    )
    if head in ('yolov3', 'yolov5'):
        cfg['head']['anchors'] = ANCHORS[2 if backbone == 'darknet_tiny' or neck == 'lite' else 3]
    return DETECTORS.build(cfg)


def combinations() -> list:
    """Return all combinations, slow but for some by which every two parts meet, of ``ALIKE`` any with each other."""
    heads = [name for name in HEADS if name not in ALIKE]
    chosen = [param.values for param in every_pair(BACKBONES, NECKS, [*heads, 'alike', 'another']) if not param.marks]
    alike = cycle(ALIKE)
    chosen = {(*parts, head if head in HEADS else next(alike)) for *parts, head in chosen}
    return [slow_unless(parts in chosen, *parts) for parts in product(BACKBONES, NECKS, HEADS)]


@pytest.mark.default_cases(6)
@pytest.mark.parametrize('backbone, neck, head', combinations())
def test_a_step_of_training_and_a_prediction(backbone, neck, head):
    torch.manual_seed(0)
    model = build(backbone, neck, head)
    images = torch.rand(2, 3, SIZE, SIZE)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    losses = model(images, ground_truth(mask_stride=model.head.strides[0] // 2), mode='loss')
    total = sum(value for name, value in losses.items() if name.startswith('loss'))
    total.backward()
    assert torch.isfinite(total) and total > 0
    trained = {name: param for name, param in model.named_parameters() if param.requires_grad}
    assert [name for name, param in trained.items() if param.grad is None] == []
    assert all(param.grad.isfinite().all() for param in trained.values())
    assert next(p for p in model.backbone.parameters() if p.requires_grad).grad.any()
    optimizer.step()

    model.eval()
    metas = [dict(matrix=torch.eye(3), ori_shape=(SIZE, SIZE))] * 2
    with torch.no_grad():
        results = model.head.predict(model(images), metas)
    assert len(results) == 2 and all(len(result.pred_instances.bboxes.T) == 4 for result in results)
