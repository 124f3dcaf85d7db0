"""``passes_to``: what a module's own ``forward`` gives to which of its layers, found without running the network."""

from __future__ import annotations

import copy
import inspect

from torch import nn
from torch.fx import Graph, Node
from torch.fx.proxy import GraphAppendingTracer


def passes_to(module: nn.Module, first: str, second: str) -> bool:
    """Return whether a module calls ``second`` with the output of ``first``, and uses that nowhere else.

    Its ``forward`` is called with stand-ins for its inputs and its layers. Where that is impossible, as it asks for
    numbers or weights, the answer is False.

    Args:
        module: the module.
        first, second: names of its children.
    """
    nodes = _nodes(module)
    calls = {name: [node for node in nodes if node.target == name] for name in (first, second)}
    return (
        bool(calls[second])
        and all(node.args in [(call,) for call in calls[first]] and not node.kwargs for node in calls[second])
        and all(len(node.users) == 1 and next(iter(node.users)) in calls[second] for node in calls[first])
    )


def _nodes(module: nn.Module) -> list[Node]:
    """Return what a module's ``forward`` does, layers by their names; nothing where it cannot be followed."""
    graph = Graph()
    tracer = GraphAppendingTracer(graph)

    def stand_in(layer: nn.Module, name: str) -> nn.Module:
        same = copy.copy(layer)
        if type(layer).forward is nn.Module.forward:  # a container
            same._modules = {key: stand_in(child, f'{name}.{key}') for key, child in layer._modules.items()}
        else:
            same._parameters, same._buffers = {}, {}
            same.forward = lambda *args, **kwargs: tracer.create_proxy('call_module', name, args, kwargs)
        return same

    try:
        same = copy.copy(module)
        same._modules = {
            name: None if child is None else stand_in(child, name) for name, child in module._modules.items()
        }
        inputs = [
            tracer.create_proxy('placeholder', name, (), {})
            for name, parameter in inspect.signature(same.forward).parameters.items()
            if parameter.default is parameter.empty and parameter.kind == parameter.POSITIONAL_OR_KEYWORD
        ]
        graph.output(tracer.create_arg(same.forward(*inputs)))
    except Exception:  # of code that may do anything with what it is given
        return []
    return list(graph.nodes)
