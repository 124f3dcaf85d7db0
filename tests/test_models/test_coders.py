"""Coders: what is encoded comes back when decoded."""

import pytest
import torch

from detkit.models.coders import DistancePointBBoxCoder, YOLOv3BBoxCoder, YOLOv5BBoxCoder


def random_boxes(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(count, 2, generator=generator, dtype=torch.float64) * 100
    reach = torch.rand(count, 4, generator=generator, dtype=torch.float64) * 50
    return points, torch.cat([points - reach[:, :2], points + reach[:, 2:]], 1)


def test_no_boxes():
    coder = DistancePointBBoxCoder()
    assert coder.encode(torch.zeros(0, 2), torch.zeros(0, 4)).shape == (0, 4)
    assert coder.decode(torch.zeros(0, 2), torch.zeros(0, 4), torch.zeros(0)).shape == (0, 4)
    assert coder.mean_distances(torch.zeros(0, 64)).shape == (0, 4)


def test_round_trip():
    coder = DistancePointBBoxCoder(reg_max=16)
    points, bboxes = random_boxes(50)
    strides = torch.full((50,), 8.0, dtype=torch.float64)
    distances = coder.encode(points, bboxes, strides)
    assert distances.shape == (50, 4) and (distances >= 0).all()
    torch.testing.assert_close(coder.decode(points, distances, strides), bboxes)
    torch.testing.assert_close(coder.encode(points, coder.decode(points, distances, strides), strides), distances)


def test_order_is_left_top_right_bottom():
    distances = DistancePointBBoxCoder().encode(
        torch.tensor([[16.0, 16.0]]), torch.tensor([[8.0, 12.0, 32.0, 20.0]]), 4.0
    )
    assert distances.tolist() == [[2.0, 1.0, 4.0, 1.0]]


def test_targets_stay_between_the_bins():
    points, bboxes = torch.tensor([[0.0, 0.0]]), torch.tensor([[5.0, -100.0, 100.0, 3.0]])
    torch.testing.assert_close(
        DistancePointBBoxCoder(reg_max=16).encode(points, bboxes), torch.tensor([[0.0, 14.99, 14.99, 3.0]])
    )
    # Without bins there are no limits: the inverse gives the box of a point outside it, too.
    coder = DistancePointBBoxCoder(reg_max=1)
    assert coder.encode(points, bboxes).tolist() == [[-5.0, 100.0, 100.0, 3.0]]
    assert torch.equal(coder.decode(points, coder.encode(points, bboxes)), bboxes)


def test_mean_of_a_distribution():
    coder = DistancePointBBoxCoder(reg_max=16)
    logits = torch.full((1, 4, 16), -1e4)
    logits[0, 0, 3] = 0.0  # certain of 3
    logits[0, 1, [4, 5]] = 0.0  # halfway between 4 and 5
    logits[0, 2] = 0.0  # no idea
    logits[0, 3, 15] = 0.0
    torch.testing.assert_close(coder.mean_distances(logits.flatten(1)), torch.tensor([[3.0, 4.5, 7.5, 15.0]]))
    raw = torch.rand(2, 3, 4)
    assert DistancePointBBoxCoder(reg_max=1).mean_distances(raw) is raw


# ---- anchors


def anchor_grid(count: int, reach: float, most: float) -> tuple[torch.Tensor, ...]:
    """Centres of cells of 16 pixels, anchors, and boxes whose centres are up to ``reach`` cells away."""

    def draw(*shape):
        return torch.rand(*shape, generator=generator, dtype=torch.float64)

    generator = torch.Generator().manual_seed(0)
    points, sizes_wh = (torch.floor(draw(count, 2) * 20) + 0.5) * 16, draw(count, 2) * 100 + 5
    centres = points + (draw(count, 2) * 2 - 1) * reach * 16
    halves = sizes_wh * (draw(count, 2) * (most - 0.1) + 0.1) / 2
    return points, sizes_wh, torch.cat([centres - halves, centres + halves], 1)


@pytest.mark.parametrize('coder', [YOLOv3BBoxCoder(), YOLOv5BBoxCoder()])
def test_no_anchors(coder):
    assert coder.encode(torch.zeros(0, 2), torch.ones(0, 2), torch.zeros(0, 4)).shape == (0, 4)
    assert coder.decode(torch.zeros(0, 2), torch.ones(0, 2), torch.zeros(0, 4), torch.ones(0)).shape == (0, 4)


@pytest.mark.parametrize(('coder', 'reach', 'most'), [(YOLOv3BBoxCoder(), 0.49, 50.0), (YOLOv5BBoxCoder(), 0.99, 3.9)])
@pytest.mark.parametrize('strides', [16.0, torch.full((50,), 16.0, dtype=torch.float64)])
def test_round_trip_of_anchors(coder, reach, most, strides):
    points, sizes_wh, bboxes = anchor_grid(50, reach, most)
    raw = coder.encode(points, sizes_wh, bboxes, strides)
    assert raw.shape == (50, 4)
    torch.testing.assert_close(coder.decode(points, sizes_wh, raw, strides), bboxes)
    decoded = coder.decode(points, sizes_wh, raw / 2, strides)
    torch.testing.assert_close(coder.encode(points, sizes_wh, decoded, strides), raw / 2)


@pytest.mark.parametrize('coder', [YOLOv3BBoxCoder(), YOLOv5BBoxCoder()])
def test_zeros_mean_the_anchor(coder):
    found = coder.decode(torch.tensor([[24.0, 40.0]]), torch.tensor([[10.0, 20.0]]), torch.zeros(1, 4), 16.0)
    assert found.tolist() == [[19.0, 30.0, 29.0, 50.0]]


def test_what_the_numbers_mean():
    points, sizes_wh = torch.tensor([[24.0, 40.0]]), torch.tensor([[10.0, 20.0]])
    raw = torch.tensor([[3.0, -3.0, 1.0, -1.0]])
    s, e = 1 / (1 + torch.exp(torch.tensor(-3.0))).item(), torch.exp(torch.tensor(1.0)).item()
    x0, y0, x1, y1 = YOLOv3BBoxCoder().decode(points, sizes_wh, raw, 16.0)[0].tolist()
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((16 + 16 * s, 32 + 16 * (1 - s)))
    assert (x1 - x0, y1 - y0) == pytest.approx((10 * e, 20 / e))
    t = e / (1 + e)
    x0, y0, x1, y1 = YOLOv5BBoxCoder().decode(points, sizes_wh, raw, 16.0)[0].tolist()
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((16 + 16 * (2 * s - 0.5), 32 + 16 * (2 * (1 - s) - 0.5)))
    assert (x1 - x0, y1 - y0) == pytest.approx((40 * t**2, 80 * (1 - t) ** 2))


@pytest.mark.parametrize('coder', [YOLOv3BBoxCoder(), YOLOv5BBoxCoder()])
def test_what_cannot_be_told_becomes_the_nearest(coder):
    points, sizes_wh = torch.tensor([[24.0, 24.0]]), torch.tensor([[10.0, 10.0]])
    far = torch.tensor([[900.0, 24.0, 9e6, 24.0]])  # a centre far to the right, a width far too large, no height
    raw = coder.encode(points, sizes_wh, far, 16.0)
    assert raw.isfinite().all()
    x0, y0, x1, y1 = coder.decode(points, sizes_wh, raw, 16.0)[0].tolist()
    limit, reach = (1000, 32) if isinstance(coder, YOLOv3BBoxCoder) else (4, 40)
    assert (x1 - x0, y1 - y0) == (pytest.approx(10 * limit, rel=1e-3), pytest.approx(0, abs=1e-3))
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((reach, 24), rel=1e-3)


def test_limit_of_the_exponential():
    raw = torch.tensor([[0.0, 0.0, 200.0, 6.0]], requires_grad=True)
    bboxes = YOLOv3BBoxCoder(max_ratio=100.0).decode(torch.zeros(1, 2), torch.ones(1, 2), raw)
    assert (bboxes[:, 2:] - bboxes[:, :2]).tolist() == [[pytest.approx(100.0)] * 2]
    bboxes.sum().backward()
    assert raw.grad.isfinite().all()
    with pytest.raises(ValueError, match='max_ratio'):
        YOLOv3BBoxCoder(max_ratio=1.0)
