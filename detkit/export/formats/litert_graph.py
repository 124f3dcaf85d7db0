"""Operations of a graph that LiteRT's converter or interpreter lacks, written with those that it has."""

from __future__ import annotations

from operator import getitem

import torch
from torch import fx

_aten = torch.ops.aten


def prepare(module: fx.GraphModule) -> None:
    """Replace operations of a graph of ``torch.export``, in place, by others with the same results."""
    rules = {
        _aten.upsample_nearest2d.vec: _index_smaller,
        _aten.topk.default: _gather_best,
        _aten.split_with_sizes.default: _leave_whole,
        _aten.split.Tensor: _leave_whole,
    }
    for part in module.modules():  # blocks in full precision are modules of their own
        if not isinstance(part, fx.GraphModule):
            continue
        part.graph.eliminate_dead_code()
        for node in list(part.graph.nodes):
            if node.target in rules:
                rules[node.target](part, node)
        part.graph.eliminate_dead_code()
        part.recompile()


def _index_smaller(module: fx.GraphModule, node: fx.Node) -> None:
    """Let a reduction by nearest neighbour, as of DETR's padding masks, take pixels by their index.

    PyTorch takes the first pixel of those that become one, and LiteRT's own operation the middle one.
    """
    source = node.args[0]
    old_sizes, new_sizes = source.meta['val'].shape[-2:], node.meta['val'].shape[-2:]
    if any(new > old for old, new in zip(old_sizes, new_sizes, strict=True)):
        return
    value = source
    for dim, (old, new) in enumerate(zip(old_sizes, new_sizes, strict=True), 2):
        if new == old:
            continue
        name = f'{node.name}_index{dim}'
        taken = torch.nn.functional.interpolate(torch.arange(old, dtype=torch.float32).view(1, 1, -1), new)
        module.register_buffer(name, taken.flatten().to(torch.int64))
        with module.graph.inserting_before(node):
            value = module.graph.call_function(_aten.index_select.default, (value, dim, module.graph.get_attr(name)))
    node.replace_all_uses_with(value)


def _gather_best(module: fx.GraphModule, node: fx.Node) -> None:
    """Take the greatest values by their index; where values alone are wanted, the converter sorts, which none runs."""
    source, dim = node.args[0], node.args[2] if len(node.args) > 2 else -1
    values = [user for user in node.users if user.target is getitem and user.args[1] == 0]
    if len(values) < len(node.users):  # indices are used, too
        return
    with module.graph.inserting_after(node):
        indices = module.graph.call_function(getitem, (node, 1))
    with module.graph.inserting_after(indices):
        best = module.graph.call_function(_aten.gather.default, (source, dim, indices))
    for user in values:
        user.replace_all_uses_with(best)


def _leave_whole(module: fx.GraphModule, node: fx.Node) -> None:
    """Let what is split into one part be that part."""
    if len(node.meta['val']) == 1:
        for user in list(node.users):
            user.replace_all_uses_with(node.args[0])
