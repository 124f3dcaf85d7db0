"""Every head with every assigner, coder and loss: it trains a step, or the config check says why not."""

import pytest
import torch

import detkit.models  # noqa: F401 - registers the components
from detkit.config.check import check_config
from detkit.config.contracts import protocols_of
from detkit.registry import ASSIGNERS, CODERS, HEADS, LOSSES, MODEL_PARTS
from detkit.structures.gt_batch import GtBatch
from detkit.utils.errors import ConfigError

CHANNELS, STRIDES, SIZE = (8, 12, 16), (8, 16, 32), 64
# Arguments of a small head.
SMALL = {
    'DETRHead': dict(
        num_queries=4, transformer=dict(type='DETRTransformer', embed_dims=32, num_heads=8, feedforward_dims=16)
    ),
    'YOLOv8PoseHead': dict(keypoint_shape=(3, 3)),
}
SMALL['DETRSegmentHead'] = SMALL['DETRHead']
NUM_CLASSES = 3


def own_names(registry):
    return sorted(name for name in registry.names() if registry.get(name).__module__.startswith('detkit.'))


PLACES = [(head, key) for head in own_names(HEADS) for key in HEADS.get(head).takes]
PAIRS = [
    (head, key, part)
    for head, key in PLACES
    for part in own_names(ASSIGNERS if key == 'assigner' else CODERS if key == 'bbox_coder' else LOSSES)
]


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
    return dict(type=name, num_classes=NUM_CLASSES, **SMALL.get(name, {}), **parts)


def build_head(name: str, **parts):
    torch.manual_seed(0)
    config = head_config(name, in_channels=CHANNELS, **parts)
    return HEADS.build(config if 'Classify' in name or name == 'DETRHead' else dict(config, strides=STRIDES))


def step(head, gt: GtBatch) -> None:
    feats = [
        torch.randn(2, width, SIZE // stride, SIZE // stride) for width, stride in zip(CHANNELS, STRIDES, strict=True)
    ]
    losses = {name: value for name, value in head.loss(head(feats), gt).items() if name.startswith('loss_')}
    assert losses and all(value.ndim == 0 and value.isfinite() for value in losses.values())
    sum(losses.values()).backward()
    assert any(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


def model_config(head: dict) -> dict:
    backbone = dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.125)
    return {'model': dict(type='SingleStageDetector', backbone=backbone, head=head)}


@pytest.mark.parametrize(('head', 'key', 'part'), PAIRS)
def test_a_pair_trains_or_is_refused(head, key, part):
    wanted = HEADS.get(head).takes[key]
    registry = ASSIGNERS if key == 'assigner' else CODERS if key == 'bbox_coder' else LOSSES
    if wanted not in protocols_of(registry.get(part)):
        with pytest.raises(
            ConfigError, match=f'model.head.{key}.type: {head} takes as {key} a {wanted.__name__}.* but {part} is'
        ):
            check_config(model_config(head_config(head, **{key: dict(type=part)})))
        return
    check_config(model_config(head_config(head, **{key: dict(type=part)})))
    for counts in ((2, 0), (0, 0)):
        step(build_head(head, **{key: dict(type=part)}), batch(counts))


@pytest.mark.parametrize(('head', 'key'), PLACES)
def test_every_place_has_a_part_that_fits(head, key):
    wanted = HEADS.get(head).takes[key]
    parts = [MODEL_PARTS.get(part) for owner, name, part in PAIRS if (owner, name) == (head, key)]
    assert any(wanted in protocols_of(part) for part in parts)


def test_a_part_without_a_protocol_is_told_which_to_write():
    @LOSSES.register_module(force=True)
    class LossOfNoProtocol(torch.nn.Module):
        def forward(self, pred, target):
            return (pred - target).sum()

    head = head_config('YOLOv8Head', loss_bbox=dict(type='LossOfNoProtocol'))
    with pytest.raises(ConfigError, match=r'states no protocol.*write class LossOfNoProtocol\(..., BoxLoss\)'):
        check_config(model_config(head))
    LOSSES.module_dict.pop('LossOfNoProtocol')
