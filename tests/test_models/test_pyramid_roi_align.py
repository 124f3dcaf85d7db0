"""RoIAlign from rows of all maps equals torchvision's operator, and so do its gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from detkit.models.roi_heads import BBoxRoIHead, RoIAlignExtractor, bbox_roi_head, pyramid_roi_align

STRIDES = (4, 8, 16, 32)


def maps(dtype: torch.dtype, channels: int = 3) -> list[Tensor]:
    """Return maps ``(2, C, h, w)`` of two images of 96 x 128 pixels."""
    torch.manual_seed(0)
    shapes = [(2, channels, 96 // stride, 128 // stride) for stride in STRIDES]
    layouts = [torch.channels_last, torch.contiguous_format] * 2
    return [
        torch.randn(shape).to(dtype).contiguous(memory_format=layout).requires_grad_()
        for shape, layout in zip(shapes, layouts, strict=True)
    ]


def regions(dtype: torch.dtype) -> list[Tensor]:
    """Return regions of all sizes: over the borders, beyond them, and without area."""
    rng = torch.Generator().manual_seed(1)
    centres = torch.rand(30, 2, generator=rng) * torch.tensor([128.0, 96.0])
    sides = torch.exp(torch.rand(30, 2, generator=rng) * 5 + 1)
    bboxes = torch.cat([centres - sides / 2, centres + sides / 2], 1)
    special = [(-90.0, -90, -60, -50), (120, 90, 400, 300), (5, 5, 5, 5), (0, 0, 128, 96), (127, 95, 128, 96)]
    return [torch.cat([bboxes[:11], torch.tensor(special)]).to(dtype), bboxes[11:].to(dtype)]


def both(extractor: RoIAlignExtractor, feats: list[Tensor], bboxes: list[Tensor], monkeypatch) -> list[list[Tensor]]:
    """Return the features of regions and the maps' gradients, of detkit and of torchvision's operator."""
    found = []
    for own in (True, False):
        with monkeypatch.context() as patch:
            if not own:
                patch.setattr(RoIAlignExtractor, '_sums_rows', lambda *args: False)
            features = extractor(feats, bboxes)
        weight = torch.linspace(-1, 1, features.numel(), dtype=torch.float64).view(features.shape)
        loss = (features.double() * weight).sum()
        grads = torch.autograd.grad(loss, feats[: len(extractor.strides)], allow_unused=True)
        found.append([features, *(torch.zeros_like(x) if g is None else g for g, x in zip(grads, feats, strict=False))])
    return found


@pytest.mark.parametrize('sampling_ratio', [1, 2, 3])
@pytest.mark.parametrize('strides', [STRIDES, STRIDES[:1]], ids=['levels', 'one'])
def test_equals_torchvision(strides, sampling_ratio, monkeypatch):
    monkeypatch.setattr(pyramid_roi_align, '_CHUNK', 4)
    extractor = RoIAlignExtractor(5, strides, sampling_ratio=sampling_ratio, canonical_size=56)
    own, other = both(extractor, maps(torch.float64), regions(torch.float64), monkeypatch)
    assert len(strides) == 1 or set(extractor.level_of(torch.cat(regions(torch.float64))).tolist()) == {0, 1, 2, 3}
    assert all(values.abs().sum() > 0 for values in own)
    for values, expected in zip(own, other, strict=True):
        torch.testing.assert_close(values, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(('dtype', 'bound'), [(torch.float32, 1e-5), (torch.bfloat16, 1.5e-2)], ids=['32', 'bf16'])
def test_other_types(dtype, bound, monkeypatch):
    own, other = both(
        RoIAlignExtractor(7, STRIDES, canonical_size=56), maps(dtype), regions(torch.float32), monkeypatch
    )
    assert own[0].dtype is dtype
    for values, expected in zip(own, other, strict=True):
        assert (values - expected).abs().max() <= bound * expected.abs().max()


def test_no_regions_and_maps_without_any():
    feats, extractor = maps(torch.float32), RoIAlignExtractor(7, STRIDES)
    assert extractor(feats, [torch.zeros(0, 4)] * 2).shape == (0, 3, 7, 7)
    features = extractor(feats, [torch.tensor([[0.0, 0, 20, 20]]), torch.zeros(0, 4)])
    features.sum().backward()
    assert feats[0].grad[0].abs().sum() > 0
    assert all(feat.grad is not None and not feat.grad.any() for feat in feats[1:])


def test_regions_that_are_no_numbers_give_none():
    feats = maps(torch.float32)
    bboxes = [torch.tensor([[float('nan')] * 4, [0.0, 0, 20, 20]]), torch.zeros(0, 4)]
    features = RoIAlignExtractor(7, STRIDES)(feats, bboxes)
    assert features[0].isnan().all() and features[1].isfinite().all()


def test_a_head_predicts_the_same_in_parts(monkeypatch):
    torch.manual_seed(0)
    head = BBoxRoIHead(4, in_channels=(3,) * 4, strides=STRIDES, fc_channels=8).eval()
    feats, bboxes = maps(torch.float32), regions(torch.float32)
    at_once = head(feats, bboxes)
    sizes = []
    monkeypatch.setattr(bbox_roi_head, '_CHUNK', 6)
    features = head.features
    monkeypatch.setattr(head, 'features', lambda *args: sizes.append(len(torch.cat(args[1]))) or features(*args))
    for own, expected in zip(head(feats, bboxes), at_once, strict=True):
        torch.testing.assert_close(own, expected)
    assert sizes == [6, 6, 4, 6, 6, 6, 1]
    assert len(head(feats, [own[:0] for own in bboxes])[0]) == 0
