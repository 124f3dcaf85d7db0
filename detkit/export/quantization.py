"""Int8 by post-training quantisation: pictures that calibrate it, and the layers that stay in float."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from detkit.export.check import batches
from detkit.export.detector import ExportedDetector
from detkit.export.format import whole_array
from detkit.export.plan import Plan
from detkit.inference import Predictor, SourceImage
from detkit.utils.errors import ConfigError, first_line
from detkit.utils.usage_data import import_silently, without_usage_data

# Fewer pictures than the first are refused, as they say nothing about the ranges of others; more than the last are
# not used.
LEAST_IMAGES, ADVISED_IMAGES, MOST_IMAGES = 4, 100, 300


@dataclass(frozen=True)
class Node:
    """An operation of a network's graph.

    Attributes:
        inputs: the names of the operations that it takes results of.
        is_layer: whether it is a convolution or a matrix product with weights.
        selects: whether it chooses the best of something, whose order a coarse score changes.
    """

    inputs: tuple[str, ...]
    is_layer: bool
    selects: bool = False


def float_nodes(nodes: Mapping[str, Node], outputs: Iterable[str]) -> list[str]:
    """Return the operations that stay in float: all behind the last layers with weights, and these layers themselves.

    The last layers give what boxes, scores and masks are decoded from. Offsets of boxes and logits of rare classes have
    wide ranges, of which 256 steps are too coarse, and coordinates in pixels need more than 256 values. Where queries
    are selected, so do the scores that select them and all behind the selection: every layer of a decoder computes new
    coordinates, and samples the maps there.

    Args:
        nodes: the operations by name.
        outputs: names of those that give the outputs.
    """
    selections = [name for name, node in nodes.items() if node.selects]
    todo, found = [*outputs, *selections], dict[str, None]()
    while todo:
        name = todo.pop()
        if name in found or name not in nodes:
            continue
        found[name] = None
        if not nodes[name].is_layer:
            todo += nodes[name].inputs
    users: dict[str, list[str]] = {}
    for name, node in nodes.items():
        for source in node.inputs:
            users.setdefault(source, []).append(name)
    todo, behind = selections, dict[str, None]()
    while todo:
        new = [name for name in users.get(todo.pop(), ()) if name not in behind]
        behind.update(dict.fromkeys(new))
        todo += new
    return list(found | behind)


def is_matrix(shape: Sequence[int]) -> bool:
    """Return whether weights have two axes at least, which the bins of distances have not."""
    return sum(side > 1 for side in shape) >= 2


def calibration_inputs(
    exported: ExportedDetector, plan: Plan, images: Sequence[SourceImage]
) -> Iterator[dict[str, Any]]:
    """Yield inputs of the graph as arrays by name, prepared as prediction does.

    Args:
        exported: the file in float32.
        plan: what is exported.
        images: the pictures.
    """
    predictor = Predictor(model=exported, img_size=max(plan.size) if exported.input_size is None else None)
    for batch in batches(predictor, images, plan.batch_size if 'batch' not in plan.dynamic else 1):
        values: dict[str, Tensor] = dict(
            images=exported.padded(batch['inputs']), img_shapes=batch['gt'].img_shapes.to(torch.int64)
        )
        yield {name: whole_array(values[name]) for name in exported.description.inputs}


def quantised(network: Any, inputs: Sequence[dict[str, Any]], kept: Collection[str]) -> Any:
    """Return a network of OpenVINO or ONNX with weights and activations in int8.

    Weights take half of the range of 8 bits. Processors without VNNI, as x86 with AVX2 alone, add two products of 8
    bits in 16 bits, which are too few for products of the whole range.

    Args:
        network: an ``openvino.Model`` or ``onnx.ModelProto``.
        inputs: what it is calibrated with.
        kept: names of the operations that stay in float.

    Raises:
        ConfigError: NNCF cannot quantise it.
    """
    nncf = import_silently('nncf')
    nncf.set_log_level('ERROR')
    try:
        with without_usage_data():
            return nncf.quantize(
                network,
                nncf.Dataset(inputs),
                preset=nncf.QuantizationPreset.MIXED,
                subset_size=len(inputs),
                ignored_scope=nncf.IgnoredScope(names=sorted(kept), validate=False),
                advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
            )
    except Exception as error:  # its errors have no common class of their own
        raise ConfigError(f'NNCF cannot quantise this network: {first_line(error)}') from error
