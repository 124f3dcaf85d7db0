"""Keyed dropout: masks that depend on the step and on the image's position in it alone."""

import pytest
import torch
from torch import nn

from detkit.models.layers import DETRTransformer, KeyedDropout, MultiHeadAttention
from detkit.models.layers.keyed_dropout import keyed_dropout


def masks(iteration: int = 0, first: int = 0, seed: int = 0, size: int = 4) -> torch.Tensor:
    """Return the kept elements of two layers, ``(2, size, 50, 20)``."""
    layer, x = KeyedDropout(0.3), torch.ones(size, 50, 20)
    with keyed_dropout(seed, iteration, first):
        return torch.stack([layer(x), layer(x)]) > 0


def test_a_part_of_the_batch_has_its_part_of_the_mask():
    whole = masks()
    assert torch.equal(torch.cat([masks(size=1), masks(first=1, size=3)], 1), whole)
    rows = [*whole[0], *whole[1], *masks(iteration=1)[0], *masks(seed=1)[0]]
    assert all(not torch.equal(a, b) for i, a in enumerate(rows) for b in rows[:i])
    state = torch.get_rng_state()
    assert torch.equal(masks(), whole) and torch.equal(torch.get_rng_state(), state)


def test_share_and_scale():
    x = torch.full((8, 100, 100), 2.0, requires_grad=True)
    with keyed_dropout(3, 1):
        y = KeyedDropout(0.3)(x)
    assert y.detach().unique().tolist() == [0, pytest.approx(2 / 0.7)]
    assert float((y == 0).float().mean()) == pytest.approx(0.3, abs=0.01)
    y.sum().backward()
    torch.testing.assert_close(x.grad, y.detach() / 2)


def test_elsewhere_it_is_the_usual_dropout():
    x, layer = torch.ones(3, 100), KeyedDropout(0.5)
    torch.manual_seed(0)
    expected = nn.functional.dropout(x, 0.5)
    torch.manual_seed(0)
    assert torch.equal(layer(x), expected)
    with keyed_dropout(0, 0):
        assert layer.eval()(x) is x and KeyedDropout(0)(x) is x
    with pytest.raises(ValueError, match=r'p must be in \[0, 1\), found 1'):
        KeyedDropout(1)


@pytest.mark.parametrize('masked', [True, False])
def test_attention_equals_the_fused_one_but_for_what_is_dropped(masked):
    torch.manual_seed(0)
    layer = MultiHeadAttention(16, 4, dropout=1e-9).double()  # drops nothing, in practice
    queries, keys = torch.randn(2, 5, 16).double(), torch.randn(2, 7, 16).double()
    key_mask = (torch.arange(7) < 4).expand(2, 1, 1, 7) if masked else None
    with keyed_dropout(0, 0):
        torch.testing.assert_close(layer(queries, keys, keys, key_mask), layer.eval()(queries, keys, keys, key_mask))


def test_images_of_a_transformer_are_independent_of_their_batch():
    torch.manual_seed(0)
    transformer = DETRTransformer(16, 4, 1, 2, 32, dropout=0.3).double()
    cells, positions, queries = (
        torch.randn(3, 6, 16).double(),
        torch.randn(1, 6, 16).double(),
        torch.randn(4, 16).double(),
    )

    def decoded(rows: slice, iteration: int = 0) -> torch.Tensor:
        with keyed_dropout(0, iteration, rows.start):
            return transformer(cells[rows], positions, queries).decoded

    parts = [decoded(slice(0, 1)), decoded(slice(1, 3))]
    torch.testing.assert_close(torch.cat(parts, 1), decoded(slice(0, 3)))
    assert not torch.allclose(decoded(slice(0, 3)), decoded(slice(0, 3), iteration=1))
