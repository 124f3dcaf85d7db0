"""Coders: what is encoded comes back when decoded."""

import torch

from detkit.models.coders import DistancePointBBoxCoder


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
    strides = torch.full((50,), 8., dtype=torch.float64)
    distances = coder.encode(points, bboxes, strides)
    assert distances.shape == (50, 4) and (distances >= 0).all()
    torch.testing.assert_close(coder.decode(points, distances, strides), bboxes)
    torch.testing.assert_close(coder.encode(points, coder.decode(points, distances, strides), strides), distances)


def test_order_is_left_top_right_bottom():
    distances = DistancePointBBoxCoder().encode(torch.tensor([[16., 16.]]), torch.tensor([[8., 12., 32., 20.]]), 4.)
    assert distances.tolist() == [[2., 1., 4., 1.]]


def test_targets_stay_between_the_bins():
    points, bboxes = torch.tensor([[0., 0.]]), torch.tensor([[5., -100., 100., 3.]])
    torch.testing.assert_close(
        DistancePointBBoxCoder(reg_max=16).encode(points, bboxes), torch.tensor([[0., 14.99, 14.99, 3.]]))
    assert DistancePointBBoxCoder(reg_max=1).encode(points, bboxes).tolist() == [[0., 100., 100., 3.]]


def test_mean_of_a_distribution():
    coder = DistancePointBBoxCoder(reg_max=16)
    logits = torch.full((1, 4, 16), -1e4)
    logits[0, 0, 3] = 0.  # certain of 3
    logits[0, 1, [4, 5]] = 0.  # halfway between 4 and 5
    logits[0, 2] = 0.  # no idea
    logits[0, 3, 15] = 0.
    torch.testing.assert_close(coder.mean_distances(logits.flatten(1)), torch.tensor([[3., 4.5, 7.5, 15.]]))
    raw = torch.rand(2, 3, 4)
    assert DistancePointBBoxCoder(reg_max=1).mean_distances(raw) is raw
