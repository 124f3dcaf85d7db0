"""Parameters, multiply-adds, memory and time of each module of a network."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from detkit.analysis.speed.paired_timing import synchronize
from detkit.engine.model_cost import count_parameters
from detkit.models.layers.fuse import fuse_conv_bn
from detkit.utils.errors import ConfigError, nearest
from detkit.utils.files import write_text
from detkit.utils.tables import text_table, write_csv

_WARMUP = 2
# Operators that torch does not count, and those of the same arguments that it does.
_COUNTED_AS = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: torch.ops.aten._scaled_dot_product_flash_attention,
}


@dataclass(frozen=True)
class ModuleCost:
    """The cost of one module with its submodules, for one image.

    Attributes:
        name: its name, for example 'backbone.stem'; empty for the whole network.
        kind: its class.
        depth: depth of its name, 0 for the network.
        parameters: numbers, each counted in every module that holds it.
        trainable: number of these that get gradients.
        macs: multiply-adds of convolutions, linear layers and matrix products.
        output_bytes: size of everything that its operators wrote, at the number format of the input; training keeps no
            more than this for the gradients.
        ms: median time of a pass as prediction runs it, batch normalisation folded into convolutions.
    """

    name: str
    kind: str
    depth: int
    parameters: int
    trainable: int
    macs: int
    output_bytes: int
    ms: float


def module_costs(model: nn.Module, img_size: int | tuple[int, int], rounds: int = 20) -> list[ModuleCost]:
    """Measure every module that is run or holds one that is, in the order of the model's definition.

    Args:
        model: a detector in evaluation mode whose batch normalisation is not folded; it will be.
        img_size: side of the square image, or (h, w).
        rounds: how often to time.
    """
    height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
    device = next(model.parameters()).device
    image = torch.zeros(1, 3, height, width, dtype=torch.uint8)
    inputs = model.data_preprocessor({'inputs': image}, training=False)['inputs']
    static = {
        name: (
            type(module).__name__,
            name.count('.') + bool(name),
            count_parameters(module),
            sum(param.numel() for param in module.parameters() if param.requires_grad),
        )
        for name, module in model.named_modules()
    }
    meter, fast_path = _Meter(), torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # one operator for a whole nn.MultiheadAttention, of no known count
    try:
        with torch.no_grad(), _module_hooks(model, meter.enter, meter.leave), meter:
            model(inputs, mode='tensor')
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    taken = _times(fuse_conv_bn(model), inputs, rounds, device)
    return [
        ModuleCost(name, *facts, meter.macs[name], meter.output_bytes[name], taken.get(name, 0.0))
        for name, facts in static.items()
        if name in meter.used
    ]


def _holders(name: str) -> list[str]:
    """Return a module's name and those of all modules that it is in: 'a.b' -> ['a.b', 'a', '']."""
    holders = [name]
    while name:
        name = name.rpartition('.')[0]
        holders.append(name)
    return holders


@contextmanager
def _module_hooks(model: nn.Module, enter: Callable[[str], None], leave: Callable[[str], None]) -> Iterator[None]:
    """Call functions with a module's name before and after each run of it, within the context."""
    handles = []
    for name, module in model.named_modules():
        handles += [
            module.register_forward_pre_hook(lambda *arguments, name=name: enter(name)),
            module.register_forward_hook(lambda *arguments, name=name: leave(name)),
        ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Meter(TorchDispatchMode):
    """Counter of the operators' work, for all modules that are running.

    Attributes:
        running: names of the modules that are running, outermost first; ``enter`` and ``leave`` maintain it.
        macs, output_bytes: by module.
        used: names of the modules that ran or hold one that ran.
    """

    def __init__(self) -> None:
        super().__init__()
        self.running: list[str] = []
        self.used: set[str] = set()
        self.macs: Counter[str] = Counter()
        self.output_bytes: Counter[str] = Counter()

    def enter(self, name: str) -> None:
        self.running.append(name)
        self.used.update(_holders(name))

    def leave(self, name: str) -> None:
        self.running.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        operator = func._overloadpacket
        counter = flop_registry.get(_COUNTED_AS.get(operator, operator))
        macs = counter(*args, **kwargs, out_val=out) // 2 if counter is not None else 0
        # Views and results written over an input take no memory of their own.
        own = zip(func._schema.returns, out if isinstance(out, tuple) else (out,), strict=False)
        written = sum(_bytes(value) for returned, value in own if returned.alias_info is None)
        for name in {holder for running in self.running for holder in _holders(running)}:
            self.macs[name] += macs
            self.output_bytes[name] += written
        return out


def _bytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    return sum(map(_bytes, value)) if isinstance(value, list | tuple) else 0


def _times(model: nn.Module, inputs: Tensor, rounds: int, device: torch.device) -> dict[str, float]:
    """Return the median ms of each module; repeated runs of a module within a pass add up."""
    passes: dict[str, list[float]] = defaultdict(list)
    watches: Counter[str] = Counter()
    began: list[float] = []

    def start(name: str) -> None:
        synchronize(device)
        began.append(time.perf_counter())

    def stop(name: str) -> None:
        synchronize(device)
        watches[name] += time.perf_counter() - began.pop()

    with _module_hooks(model, start, stop), torch.inference_mode():
        for turn in range(_WARMUP + rounds):
            watches.clear()
            model(inputs, mode='tensor')
            for name, seconds in watches.items() if turn >= _WARMUP else ():
                passes[name].append(seconds * 1e3)
    medians = {name: float(np.median(values)) for name, values in passes.items()}
    # A list of modules is not run itself: it takes what its modules take.
    for name in sorted((name for name, _ in model.named_modules()), key=lambda name: -name.count('.')):
        if name not in medians:
            medians[name] = sum(value for other, value in medians.items() if other.rpartition('.')[0] == name and other)
    return medians


def select(costs: list[ModuleCost], depth: int | None = 2, under: str = '') -> list[ModuleCost]:
    """Select the modules down to a depth below one of them.

    Args:
        costs: the result of ``module_costs``.
        depth: levels below ``under``; None for all.
        under: a module's name.

    Raises:
        ConfigError: there is no such module.
    """
    names = [cost.name for cost in costs]
    if under not in names:
        raise ConfigError(f'the network has no module {under!r} that is run.{nearest(under, names)}')
    top = costs[names.index(under)]
    return [
        cost
        for cost in costs
        if (cost is top or not under or cost.name.startswith(under + '.'))
        and (depth is None or cost.depth - top.depth <= depth)
    ]


def costs_table(costs: list[ModuleCost]) -> str:
    """Return a table with a row for each module, indented by depth; shares are of the first module."""
    first, rows = costs[0], []
    for cost in costs:
        own = cost.name.rpartition('.')[2] if cost is not first else cost.name or 'network'
        rows.append(
            [
                '  ' * (cost.depth - first.depth) + own,
                cost.kind,
                f'{cost.parameters:,}',
                f'{cost.macs / 1e6:,.1f}',
                _share(cost.macs, first.macs),
                f'{cost.output_bytes / 2**20:.1f}',
                f'{cost.ms:.2f}',
                _share(cost.ms, first.ms),
            ]
        )
    return text_table(['module', 'class', 'parameters', 'MMACs', '', 'MiB out', 'ms', ''], rows, left=(0, 1))


def _share(value: float, whole: float) -> str:
    return f'{value / whole:.0%}' if whole else '-'


def write_costs(costs: list[ModuleCost], path: str | Path) -> None:
    """Write the costs as CSV or JSON, by the file's suffix."""
    rows = [asdict(cost) for cost in costs]
    if Path(path).suffix.lower() != '.csv':
        write_text(path, json.dumps(rows, indent=1) + '\n')
        return
    write_csv(path, list(rows[0]), [row.values() for row in rows])
