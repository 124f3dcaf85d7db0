"""Suppression, masks and the way back to the original image."""

import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from detkit.models.postprocess import batched_nms, decode_masks, mask_decoding
from detkit.models.postprocess import nms as nms_module
from detkit.models.postprocess.rescale import to_original


def random_detections(count: int, classes: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(1, count, 2, generator=generator) * 60
    sides = torch.rand(1, count, 2, generator=generator) * 40 + 5
    return torch.cat([corners, corners + sides], -1), torch.rand(1, count, classes, generator=generator)


def greedy(
    bboxes: torch.Tensor, scores: torch.Tensor, score_thr: float, iou_thr: float, agnostic: bool
) -> list[tuple[int, int]]:
    """(prior, label) of the survivors, best first, by comparing each candidate with all kept ones."""

    def iou(a: list[float], b: list[float]) -> float:
        w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
        inter = max(w, 0) * max(h, 0)
        return inter / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter)

    candidates = sorted(
        (-scores[p, c].item(), p, c)
        for p in range(len(scores))
        for c in range(scores.shape[1])
        if scores[p, c] > score_thr
    )
    kept: list[tuple[int, int]] = []
    for _, prior, label in candidates:
        rivals = [p for p, c in kept if agnostic or c == label]
        if all(iou(bboxes[prior].tolist(), bboxes[p].tolist()) <= iou_thr for p in rivals):
            kept.append((prior, label))
    return kept


def names(found) -> list[tuple[int, int]]:
    return list(zip(found.prior_idx.tolist(), found.labels.tolist(), strict=True))


@pytest.mark.parametrize('shape', [(0, 4), (5, 4)])
def test_nothing_to_suppress(shape):
    (found,) = batched_nms(torch.rand(1, shape[0], 4), torch.zeros(1, *shape))
    assert [len(field) for field in found] == [0, 0, 0, 0] and found.bboxes.shape == (0, 4)


@pytest.mark.parametrize('first', [1, 16, 1024])
@pytest.mark.parametrize('agnostic', [False, True])
def test_suppression_equals_the_plain_form(agnostic, first, monkeypatch):
    monkeypatch.setattr(nms_module, '_FIRST_CANDIDATES', first)
    bboxes, scores = random_detections(60)
    expected = greedy(bboxes[0], scores[0], 0.3, 0.4, agnostic)
    assert 10 < len(expected) < (scores > 0.3).sum()
    (found,) = batched_nms(bboxes, scores, 0.3, 0.4, max_per_img=1000, class_agnostic=agnostic)
    assert names(found) == expected
    assert torch.equal(found.bboxes, bboxes[0, found.prior_idx])
    assert torch.equal(found.scores, scores[0, found.prior_idx, found.labels])
    (few,) = batched_nms(bboxes, scores, 0.3, 0.4, max_per_img=7, class_agnostic=agnostic)
    assert names(few) == expected[:7]


@pytest.mark.parametrize('far', [float('inf'), float('-inf'), float('nan'), 3e38])
def test_a_box_of_no_use_changes_nothing_for_others(far):
    bboxes, scores = random_detections(60)
    (expected,) = batched_nms(bboxes, scores, 0.3, 0.4)
    bboxes = torch.cat([bboxes, torch.tensor([[[0, 0, far, 10]]])], 1)
    scores = torch.cat([scores, torch.tensor([[[0.0, 0.0, 0.0, 1.0]]])], 1)
    (found,) = batched_nms(bboxes, scores, 0.3, 0.4)
    assert names(found) == [(60, 3), *names(expected)]


def test_images_do_not_meet():
    parts = [random_detections(30, seed=seed) for seed in (1, 2)]
    together = batched_nms(torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts]), 0.5)
    for found, part in zip(together, parts, strict=True):
        assert names(found) == names(batched_nms(*part, 0.5)[0])


def test_best_class_only():
    bboxes, scores = random_detections(30)
    (found,) = batched_nms(bboxes, scores, 0.9, 1.0, multi_label=False, max_per_img=1000)
    best = scores[0].max(1)
    assert sorted(found.prior_idx.tolist()) == (best.values > 0.9).nonzero().squeeze(1).tolist()
    assert torch.equal(found.labels, best.indices[found.prior_idx])
    assert (found.scores.diff() <= 0).all()


def test_wanted_classes_only():
    bboxes, scores = random_detections(30)
    (found,) = batched_nms(bboxes, scores, 0.3, 0.4, classes=[3, 1])
    (full,) = batched_nms(bboxes, scores, 0.3, 0.4)
    assert names(found) == [(prior, label) for prior, label in names(full) if label in (1, 3)]


def test_at_most_so_many_candidates():
    bboxes, scores = random_detections(30)
    (found,) = batched_nms(bboxes, scores, 0.0, 1.0, nms_pre=10)
    torch.testing.assert_close(found.scores, scores.flatten().topk(10).values)


# ---- boxes in the original image


def test_boxes_go_back_and_are_clipped():
    matrix = np.array([[0.5, 0.0, 10.0], [0.0, 0.5, 20.0], [0.0, 0.0, 1.0]])
    bboxes = torch.tensor([[10.0, 20.0, 60.0, 45.0], [0.0, 0.0, 500.0, 500.0]])
    expected = torch.tensor([[0.0, 0.0, 100.0, 50.0], [0.0, 0.0, 200.0, 100.0]])
    torch.testing.assert_close(to_original(bboxes, matrix, (100, 200)), expected)
    assert to_original(torch.zeros(0, 4), matrix, (100, 200)).shape == (0, 4)


def test_boxes_of_a_mirrored_input():
    matrix = np.array([[-1.0, 0.0, 100.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    found = to_original(torch.tensor([[10.0, 20.0, 30.0, 40.0]]), matrix, (100, 100))
    torch.testing.assert_close(found, torch.tensor([[70.0, 20.0, 90.0, 40.0]]))


# ---- masks


def random_masks(count: int, proto_shape: tuple[int, int], ori_shape: tuple[int, int]) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    corners = np.sort(rng.random((count, 2, 2)), axis=1) * ori_shape[::-1]
    return rng.normal(size=(count, 6)), rng.normal(size=(6, *proto_shape)), corners.reshape(count, 4)


def test_no_masks():
    masks = decode_masks(np.zeros((0, 6)), np.zeros((6, 4, 4)), np.zeros((0, 4)), np.eye(3), (16, 16))
    assert len(masks) == 0 and masks.img_shape == (16, 16)


@pytest.mark.parametrize('scale', [0.5, 1.0, 1.25])
def test_masks_equal_whole_frames_enlarged(scale):
    ori_shape, proto_shape = (64, 80), (int(16 * scale), int(20 * scale))
    coeffs, protos, bboxes = random_masks(9, proto_shape, ori_shape)
    logits = torch.from_numpy(np.einsum('nd,dhw->nhw', coeffs, protos))
    frames = F.interpolate(logits[None], ori_shape, mode='bilinear', align_corners=False)[0].numpy() > 0
    y, x = np.mgrid[:64, :80]
    x0, y0, x1, y1 = (side[:, None, None] for side in bboxes.T)
    expected = frames & (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
    masks = decode_masks(coeffs, protos, bboxes, np.diag([scale, scale, 1.0]), ori_shape)
    assert expected.any() and np.array_equal(masks.to_bool(), expected)


def test_padding_is_not_read():
    coeffs, protos, bboxes = random_masks(5, (10, 10), (16, 24))
    inner = decode_masks(coeffs, protos[:, 3:7, 2:8], bboxes, np.eye(3), (16, 24))
    matrix = np.array([[1.0, 0.0, 8.0], [0.0, 1.0, 12.0], [0.0, 0.0, 1.0]])
    assert np.array_equal(decode_masks(coeffs, protos, bboxes, matrix, (16, 24)).to_bool(), inner.to_bool())


def test_masks_decided_at_the_inputs_pixels():
    coeffs, protos, bboxes = random_masks(5, (8, 8), (128, 128))
    matrix = np.diag([0.25, 0.25, 1.0])
    bboxes = bboxes.round()
    coarse = decode_masks(coeffs, protos, bboxes, matrix, (128, 128), retina_masks=False).to_bool()
    whole = np.tile([0.0, 0.0, 32.0, 32.0], (5, 1))
    small = decode_masks(coeffs, protos, whole, np.eye(3), (32, 32)).to_bool()
    expected = small.repeat(4, 1).repeat(4, 2)
    y, x = np.mgrid[:128, :128]
    x0, y0, x1, y1 = (side[:, None, None] for side in bboxes.T)
    expected &= (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
    assert np.array_equal(coarse, expected) and expected.any()
    fine = decode_masks(coeffs, protos, bboxes, matrix, (128, 128)).to_bool()
    assert 0 < (fine != coarse).mean() < 0.05


@pytest.mark.parametrize('retina_masks', [True, False])
def test_masks_chosen_before_they_are_computed(retina_masks):
    coeffs, protos, bboxes = random_masks(7, (8, 8), (64, 80))
    arguments = (coeffs, protos, bboxes, np.diag([0.4, 0.4, 1.0]), (64, 80), 4.0, retina_masks)
    full = decode_masks(*arguments).to_bool()
    assert full.any()
    chosen = np.array([6, 2, 2])
    early, pickled = decode_masks(*arguments)[chosen], pickle.loads(pickle.dumps(decode_masks(*arguments)))
    assert np.array_equal(early.to_bool(), full[chosen]) and np.array_equal(pickled.to_bool(), full)
    assert np.array_equal(decode_masks(*arguments)[:0].to_bool(), full[:0])


def test_flat_boxes_have_empty_masks():
    coeffs, protos, bboxes = random_masks(2, (4, 4), (16, 16))
    bboxes[0] = [3.2, 3.2, 3.2, 9.0]
    bboxes[1] = [0.0, 0.0, 16.0, 16.0]
    masks = decode_masks(coeffs, protos, bboxes, np.eye(3), (16, 16))
    assert masks.areas[0] == 0 < masks.areas[1]


def test_a_turned_input_has_no_masks():
    with pytest.raises(ValueError, match='scales and shifts'):
        decode_masks(
            np.zeros((1, 6)),
            np.zeros((6, 4, 4)),
            np.zeros((1, 4)),
            np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 16.0], [0.0, 0.0, 1.0]]),
            (16, 16),
        )


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_large_products_of_masks_are_those_of_numpy(dtype):
    rng = np.random.default_rng(0)
    for rows, inner, columns in ((640, 30, 480), (3, 5, 4), (700, 20, 1)):
        one, other = rng.normal(size=(rows, inner)).astype(dtype), rng.normal(size=(inner, columns)).astype(dtype)
        expected = one @ other
        out = np.empty_like(expected)
        for found in (mask_decoding._product(one, other), mask_decoding._product(one, other, out=out)):
            np.testing.assert_allclose(found, expected, atol=1e-5)
        np.testing.assert_allclose(out, expected, atol=1e-5)


@pytest.mark.parametrize('retina_masks', [True, False])
def test_masks_of_large_products_are_those_of_small_ones(monkeypatch, retina_masks):
    coeffs, protos, bboxes = random_masks(9, (8, 8), (640, 800))
    arguments = (coeffs, protos, bboxes, np.diag([0.04, 0.05, 1.0]), (640, 800), 4.0, retina_masks)
    large = decode_masks(*arguments).to_bool()
    monkeypatch.setattr(mask_decoding, '_UNSHARED_WORK', 1 << 60)
    assert large.any() and np.array_equal(decode_masks(*arguments).to_bool(), large)
