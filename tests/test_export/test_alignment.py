"""Queries that two runs select in another order are compared with each other."""

import pytest
import torch

from detkit.export.alignment import aligned_queries


def decoded(seed: int = 0, name: str = 'bboxes') -> dict[str, torch.Tensor]:
    """Two images of six queries, of which the first four have objects in them."""
    rng = torch.Generator().manual_seed(seed)
    sides = 4 if name == 'bboxes' else 5
    scores = torch.rand(2, 6, 3, generator=rng) * 0.5 + 0.4
    scores[:, 4:] = 0.01
    masks = torch.rand(2, 6, 2, 2, generator=rng)
    return {name: torch.rand(2, 6, sides, generator=rng) * 64, 'scores': scores, 'mask_logits': masks}


@pytest.mark.parametrize('name', ['bboxes', 'rbboxes'])
def test_another_order_is_no_difference(name):
    expected = decoded(name=name)
    given = {key: value[:, [3, 5, 0, 2, 1, 4]] for key, value in expected.items()}
    first, second = aligned_queries(expected, given, (64, 64), 0.05)
    assert all(torch.equal(first[key], second[key]) for key in expected)
    assert first['scores'].shape == (1, 8, 3)  # the others have no object
    for image in range(2):
        found = expected[name][image, :4]
        assert {tuple(row.tolist()) for row in found} <= {tuple(row.tolist()) for row in first[name][0]}


def test_differences_remain():
    expected = decoded()
    given = {key: value.clone() for key, value in expected.items()}
    given['bboxes'][0, 1] += 20
    given['scores'][1, 5, 0] = 0.9  # found by one of the two alone
    given = {key: value.flip(1) for key, value in given.items()}
    first, second = aligned_queries(expected, given, (64, 64), 0.05)
    assert float((first['bboxes'] - second['bboxes']).abs().max()) == pytest.approx(20)
    assert first['scores'].shape[1] == 9 and float((first['scores'] - second['scores']).abs().max()) > 0.8


def test_nothing_found_and_values_that_are_no_numbers():
    expected = decoded()
    expected['scores'] = expected['scores'] * 0.01
    first, _ = aligned_queries(expected, expected, (64, 64), 0.05)
    assert first['scores'].shape[1] == 2  # the likeliest query of each image
    given = {key: value.clone() for key, value in expected.items()}
    given['bboxes'][0, int(expected['scores'][0].amax(-1).argmax())] = float('nan')
    _, second = aligned_queries(expected, given, (64, 64), 0.05)
    assert bool(second['bboxes'].isnan().any())
