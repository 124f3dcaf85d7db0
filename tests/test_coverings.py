"""The combinations that belong to the default suite."""

from itertools import combinations

import pytest
from coverings import cover, every_pair


def default_of(params: list) -> list[tuple]:
    return [param.values for param in params if not param.marks]


@pytest.mark.parametrize('sizes', [(3, 3, 3), (9, 10, 15), (15, 2, 4), (1, 5, 1)])
def test_every_two_values_meet(sizes):
    factors = [[f'{name}{number}' for number in range(size)] for name, size in zip('abc', sizes, strict=True)]
    params = every_pair(*factors)
    chosen = default_of(params)
    assert len(params) == sizes[0] * sizes[1] * sizes[2]
    assert len(chosen) == sizes[0] * sizes[1] * sizes[2] // min(sizes)
    for one, other in combinations(range(3), 2):
        met = {(values[one], values[other]) for values in chosen}
        assert len(met) == sizes[one] * sizes[other]


@pytest.mark.parametrize('sizes', [(4, 4), (2, 7), (7, 2)])
def test_of_two_factors_each_value_is_met(sizes):
    params = every_pair(range(sizes[0]), range(sizes[1]))
    assert len(params) == sizes[0] * sizes[1] and len(default_of(params)) == max(sizes)
    for factor in (0, 1):
        assert {values[factor] for values in default_of(params)} == set(range(sizes[factor]))


def test_few_cases_have_every_part():
    cases = ['ab', 'abc', 'cd', 'd', 'e', 'abde']
    assert cover(cases, set) == {0, 2, 4}
    assert cover(cases[::-1], set) == {0, 3}  # 'abde' and 'cd'
    assert cover([], set) == set()
