import numpy as np
import pytest
from test_analysis.results import CLASSES, class_precisions, random_results

from detkit.analysis.errors.bootstrap import (
    draw_counts,
    interval,
    mean_precision,
    precision_summaries,
)
from detkit.analysis.errors.matching import match
from detkit.utils.errors import ConfigError


def test_draws_are_repeatable_and_whole():
    counts = draw_counts(7, 50, seed=3)
    assert counts.shape == (50, 7) and (counts.sum(1) == 7).all() and counts.min() == 0
    np.testing.assert_array_equal(counts, draw_counts(7, 50, seed=3))
    assert (counts != draw_counts(7, 50, seed=4)).any()


def test_interval_of_a_mean_has_the_known_width():
    # The mean of n draws of variance s² has standard deviation s / sqrt(n); the 95 % interval spans 3.92 of them.
    values = np.random.default_rng(0).normal(10, 3, 400)
    counts = draw_counts(400, 4000)
    found = interval(values.mean(), counts @ values / 400)
    assert found.high - found.low == pytest.approx(3.92 * values.std() / 20, rel=0.05)
    assert found.low < values.mean() < found.high


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    counts = draw_counts(100, 400)
    hits = 0
    for _ in range(300):
        right = rng.random(100) < 0.7
        found = interval(right.mean(), counts @ right / 100, confidence=0.9)
        hits += found.low <= 0.7 <= found.high
    # Binomial with n = 300, p = .9: standard deviation .017.
    assert 0.83 < hits / 300 < 0.96


def test_pairing_takes_out_what_both_share():
    rng = np.random.default_rng(2)
    hard = rng.normal(0, 5, 200)
    ours, theirs = hard + 0.3 + rng.normal(0, 0.5, 200), hard + rng.normal(0, 0.5, 200)
    counts = draw_counts(200, 2000)
    ours_drawn, theirs_drawn = counts @ ours / 200, counts @ theirs / 200
    difference = interval((ours - theirs).mean(), ours_drawn - theirs_drawn)
    assert difference.excludes_zero
    assert difference.high - difference.low < (interval(0.0, ours_drawn).high - interval(0.0, ours_drawn).low) / 4


def test_of_two_equal_models_no_difference_is_claimed():
    results = match(random_results(num_images=30), CLASSES)
    counts = draw_counts(30, 20)
    drawn = mean_precision(class_precisions(results, counts)[:, :, 0], (1, 2))
    assert drawn.std() > 0
    same = interval(0.0, drawn - drawn)
    assert (same.low, same.high) == (0.0, 0.0) and not same.excludes_zero


def test_average_precision_varies_less_with_more_images():
    widths = []
    for num_images in (30, 120):
        matches = match(random_results(num_images=num_images), CLASSES)
        counts = draw_counts(num_images, 200)
        drawn = mean_precision(class_precisions(matches, counts)[:, :, 0], (1, 2))
        found = interval(float(mean_precision(class_precisions(matches)[:, :, 0], (1, 2))[0]), drawn)
        assert found.low < found.value < found.high
        widths.append(found.high - found.low)
    assert widths[1] == pytest.approx(widths[0] / 2, rel=0.4)


def test_summaries_are_means_of_the_precisions():
    matches, counts = match(random_results(num_images=9), CLASSES), draw_counts(9, 30)
    found, values = precision_summaries(matches, counts), class_precisions(matches, counts)
    assert np.isnan(found).any() and (np.isnan(found) == np.isnan(values[..., :2])).all()
    np.testing.assert_allclose(found, np.stack([values.mean(-1), values[..., 0]], -1))


def test_undefined_draws_are_left_out():
    found = interval(0.5, np.array([0.4, 0.6, np.nan]))
    assert 0.4 <= found.low <= found.high <= 0.6
    assert np.isnan(interval(0.5, np.array([np.nan])).low)


def test_errors():
    with pytest.raises(ConfigError, match='at least 2 images, found 1'):
        draw_counts(1, 10)
    with pytest.raises(ConfigError, match='at least 1 replicate'):
        draw_counts(5, 0)
