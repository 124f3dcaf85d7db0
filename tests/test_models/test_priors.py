"""Point priors: cell centres in pixels, level by level, kept by size."""

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from detkit.models.priors import AnchorPriorGenerator, PointPriorGenerator
from detkit.models.priors.prior_generator import corner_points


def test_points_are_cell_centres():
    points, strides = PointPriorGenerator((8, 16))([(2, 3), (1, 2)])
    assert points.tolist() == [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12], [8, 8], [24, 8]]
    assert strides.tolist() == [8] * 6 + [16] * 2


def test_offset_and_dtype():
    points, strides = PointPriorGenerator((4,), offset=0.0)([(1, 2)], dtype=torch.float64)
    assert points.tolist() == [[0, 0], [4, 0]]
    assert points.dtype == strides.dtype == torch.float64


def test_a_size_is_made_once():
    generator = PointPriorGenerator((8,))
    first = generator([(4, 4)])
    assert generator([torch.Size((4, 4))]) is first
    assert generator([(4, 4)], dtype=torch.float64) is not first


def test_the_cache_is_bounded():
    generator = PointPriorGenerator((8,))
    for height in range(1, 2 * generator.MAX_CACHED):
        assert generator([(height, 1)]).points.shape == (height, 2)
    assert len(generator._cache) == generator.MAX_CACHED


def test_threads_share_a_cache_that_is_full():
    class Generator(PointPriorGenerator):
        MAX_CACHED = 2

    generator = Generator((8,))
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            heights = [1 + number % 5 for number in range(2000)]
            found = list(pool.map(lambda height: len(generator([(height, 1)]).points), heights))
    finally:
        sys.setswitchinterval(interval)
    assert found == heights and len(generator._cache) <= 2


def test_what_inference_made_serves_training():
    generator = PointPriorGenerator((8,))
    with torch.inference_mode():
        points = generator([(2, 2)]).points
    weight = torch.ones(2, requires_grad=True)
    (points * weight).sum().backward()
    assert weight.grad.tolist() == [32, 32]


def test_number_of_levels_is_checked():
    with pytest.raises(ValueError, match=r'1 maps for strides \(8, 16\)'):
        PointPriorGenerator((8, 16))([(2, 2)])


def test_anchors_stand_on_every_cell():
    generator = AnchorPriorGenerator([[(10, 13), (16, 30)], [(3, 4), (5.5, 6)]], (8, 16))
    fine, coarse = generator([(2, 2), (1, 1)])
    assert fine.points.tolist() == [[x, y] for y in (4, 12) for x in (4, 12) for _ in range(2)]
    assert fine.sizes_wh.tolist() == [[10, 13], [16, 30]] * 4
    assert (fine.stride, fine.map_size, fine.shapes_wh.tolist()) == (8, (2, 2), [[10, 13], [16, 30]])
    assert coarse.points.tolist() == [[8, 8]] * 2 and coarse.sizes_wh.tolist() == [[3, 4], [5.5, 6]]
    assert generator.num_shapes == 2
    assert generator([(2, 2), (1, 1)])[0] is fine
    with pytest.raises(ValueError, match=r'AnchorPriorGenerator: 1 maps for strides \(8, 16\)'):
        generator([(2, 2)])


@pytest.mark.parametrize('side', [1056, 1066])
def test_corners_keep_their_stride_where_an_input_is_no_multiple_of_it(side):
    strides = (4, 8, 16, 32, 64)
    sizes = [(-(-side // stride),) * 2 for stride in strides]
    levels = corner_points(sizes, strides, 'cpu', torch.float32)
    cells = [level[1, 0].item() for level in levels]
    assert cells[:4] == [4, 8, 16, 32]
    assert cells[4] == {1056: 62, 1066: 62}[side]  # 17 cells over 1056 and 1068 pixels, as torchvision has them
    assert all(level[-1].max() < side for level in levels)
