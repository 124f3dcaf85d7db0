"""Anchors fitted to the shapes of objects."""

import numpy as np
import pytest
import torch

from detkit.analysis.data.anchors import AnchorSearch, split_by_level
from detkit.registry import ASSIGNERS

RATIO = ASSIGNERS.build(dict(type='YOLOv5AnchorAssigner', max_ratio=4.0))
IOU = ASSIGNERS.build(dict(type='YOLOv3AnchorAssigner', iou_thr=0.2))


def search_of(sizes_wh, assigner=RATIO, seed: int = 0) -> AnchorSearch:
    return AnchorSearch(np.array(sizes_wh, float), assigner.shape_quality, assigner.min_quality, seed)


def clusters(count: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Centres, and objects about them."""
    centres = np.array([(10, 20), (60, 50), (200, 90), (300, 400)], float)
    rng = np.random.default_rng(seed)
    return centres, centres[rng.integers(4, size=count)] * np.exp(rng.normal(0, 0.05, (count, 2)))


def test_qualities_by_hand():
    sizes, shapes = torch.tensor([[[8.0, 6.0]]]), torch.tensor([[4.0, 6.0], [8.0, 24.0], [80.0, 6.0]])
    assert RATIO.shape_quality(sizes, shapes).tolist() == [[0.5, 0.25, pytest.approx(0.1)]]
    assert IOU.shape_quality(sizes, shapes).tolist() == [[0.5, 0.25, pytest.approx(0.1)]]
    sizes = torch.tensor([[[8.0, 12.0]]])
    assert RATIO.shape_quality(sizes, shapes[:1]).item() == 0.5 and IOU.shape_quality(sizes, shapes[:1]).item() == 0.25


def test_fit_by_hand():
    # Four times as long does not fit any more; the last object is fitted by both.
    search = search_of([(10, 10), (40, 40), (39, 39), (20, 20)])
    fit = search.measure(np.array([(10, 10), (16, 20)]))
    assert fit.recall == 1 and fit.per_object == pytest.approx(7 / 4)
    assert fit.quality == pytest.approx((1 + 0.4 + 16 / 39 + 0.8) / 4)
    fit = search.measure(np.array([(10, 10)]))
    assert fit.recall == 3 / 4 and fit.quality == pytest.approx((1 + 10 / 39 + 0.5) / 4)
    assert search.measure(np.array([(10, 10), (30, 30), (500, 500)])).best_counts == (1, 3, 0)
    assert search.measure(np.array([(10, 10)])).best_counts == (3,)


@pytest.mark.parametrize('assigner', [RATIO, IOU], ids=['ratio', 'iou'])
def test_kmeans_finds_the_clusters(assigner):
    centres, sizes = clusters()
    search = search_of(sizes, assigner)
    found = search.kmeans(4)
    np.testing.assert_allclose(found[found.prod(1).argsort()], centres, rtol=0.03)
    assert search.measure(found).quality > 0.85


def test_evolution_never_does_worse_and_usually_better():
    _, sizes = clusters()
    search = search_of(sizes)
    start = np.array([(16, 16), (40, 90), (200, 200), (500, 200)], float)
    assert np.array_equal(search.evolve(start, 0), start)
    evolved = search.evolve(start, 200)
    assert search.measure(evolved).quality > search.measure(start).quality + 0.05


def test_the_seed_decides():
    _, sizes = clusters()
    first, again, other = (search_of(sizes, seed=seed).evolve(np.full((4, 2), 50.0), 30) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_many_objects_are_sampled_for_the_search_and_all_are_measured(monkeypatch):
    monkeypatch.setattr('detkit.analysis.data.anchors._MAX_OBJECTS', 100)
    centres, sizes = clusters()
    search = search_of(sizes)
    whole = search_of(sizes[:100])
    assert len(search._sample) == 100 == len(whole._sample)
    fit = search.measure(centres)
    expected = RATIO.shape_quality(torch.tensor(sizes).unsqueeze(1), torch.tensor(centres))
    assert fit.quality == pytest.approx(expected.amax(1).mean().item()) and fit.recall == 1
    assert sum(fit.best_counts) == 400


def test_fewer_objects_than_anchors():
    search = search_of([(10, 10), (30, 40)])
    found = search.kmeans(6)
    assert found.shape == (6, 2) and search.measure(found).quality == pytest.approx(1)


def test_levels_are_sorted_by_area():
    shapes = np.array([(100, 100), (10, 12.34), (50, 20), (30, 30.04)])
    assert split_by_level(shapes, 2) == [[(10, 12.3), (30, 30)], [(50, 20), (100, 100)]]
