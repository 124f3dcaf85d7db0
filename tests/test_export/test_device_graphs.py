"""Operations that LiteRT and ExecuTorch lack are written with others, which give the same."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from detkit.export.formats.executorch import _drop_aliases
from detkit.export.formats.litert_graph import prepare

aten = torch.ops.aten


class Applied(nn.Module):
    def __init__(self, function, in_full_precision: bool) -> None:
        super().__init__()
        self.function, self.in_full_precision = function, in_full_precision

    def forward(self, x: Tensor) -> Tensor:
        if not self.in_full_precision:
            return self.function(x)
        with torch.autocast('cpu', enabled=False):  # which becomes a module of its own in the graph
            return self.function(x) + 1


def targets(module: fx.GraphModule) -> list:
    return [node.target for part in module.modules() if isinstance(part, fx.GraphModule) for node in part.graph.nodes]


@pytest.mark.parametrize('in_full_precision', [False, True], ids=['plain', 'block'])
@pytest.mark.parametrize(
    ('function', 'gone', 'used'),
    [
        (lambda x: x.topk(4, dim=-1).values, None, aten.gather.default),
        (lambda x: x.topk(3, dim=1).values, None, aten.gather.default),
        (lambda x: x.topk(4)[0] + x.topk(4)[1], None, aten.topk.default),
        (lambda x: sum(x.split([12], -1)), aten.split_with_sizes.default, None),
        (lambda x: sum(x.split(12, -1)), aten.split.Tensor, None),
        (lambda x: sum(x.split([6, 6], -1)), None, aten.split_with_sizes.default),
        (lambda x: F.interpolate(x, (2, 5)), aten.upsample_nearest2d.vec, aten.index_select.default),
        (lambda x: F.interpolate(x, (7, 5)), aten.upsample_nearest2d.vec, aten.index_select.default),
        (lambda x: F.interpolate(x, (14, 24)), None, aten.upsample_nearest2d.vec),
    ],
    ids=['topk', 'topk of dim 1', 'topk with indices', 'one of a list', 'one', 'two', 'smaller', 'narrower', 'larger'],
)
def test_results_stay_and_what_lacks_is_gone(function, gone, used, in_full_precision):
    x = torch.rand(2, 3, 7, 12, generator=torch.Generator().manual_seed(0))
    model = Applied(function, in_full_precision)
    module = torch.export.export(model, (x,)).module()
    assert gone is None or gone in targets(module)
    prepare(module)
    torch.testing.assert_close(module(x), model(x), rtol=0, atol=0)
    assert gone not in targets(module)
    assert used is None or used in targets(module)


def test_best_values_are_taken_by_their_index():
    module = torch.export.export(Applied(lambda x: x.topk(4).values, False), (torch.rand(3, 9),)).module()
    prepare(module)
    (taken,) = [node for node in module.graph.nodes if 'getitem' in node.name]
    assert taken.args[1] == 1


def test_what_is_the_very_same_tensor_has_no_copy():
    x = torch.rand(2, 3, 7, 12)

    def function(x: Tensor) -> Tensor:
        return x.contiguous(memory_format=torch.channels_last)[..., :7, :12] * 2

    module = torch.export.export(Applied(function, False), (x,)).module()
    assert aten.alias.default in targets(module)
    _drop_aliases(module)
    assert aten.alias.default not in targets(module)
    assert torch.equal(module(x), x * 2)
