"""``finish_results``: the last step of a prediction, for networks of PyTorch and of other runtimes."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from threading import Lock
from weakref import WeakSet

import torch
from mmengine.structures import InstanceData
from torch import Tensor, nn

from detkit.structures.data_sample import DetDataSample

from ..wiring import check_results

_log = logging.getLogger(__name__)
# The heads whose values were reported.
_reported: WeakSet[nn.Module] = WeakSet()
_reporting = Lock()


def finish_results(
    results: list[DetDataSample],
    preds: Mapping[str, Tensor | Sequence],
    data_samples: Sequence[DetDataSample],
    head: nn.Module,
    truth: str,
) -> list[DetDataSample]:
    """Return a head's results, whose values are finite, with the ground truth of the data samples.

    Predictions whose boxes or scores are infinite or not a number are left out, as those whose scores are not a number
    exceed no threshold; probabilities of classes that are not a number are all 0. A warning says so once for a head.

    Args:
        results: what the head returned.
        preds: what the results were made of.
        data_samples: of the images.
        head: the head.
        truth: the field of the ground truth that is copied where a data sample has it.

    Raises:
        ComponentError: see ``check_results``.
    """
    check_results(results, len(data_samples), head)
    left_out = _leave_out(results)
    doubtful = [bool(more) or is_empty for more, is_empty in zip(left_out, map(_is_empty, results), strict=True)]
    if any(doubtful) and head not in _reported and (any(left_out) or _holds_nan(list(preds.values()))):
        with _reporting:  # two threads may predict with one head
            is_first = head not in _reported
            _reported.add(head)
        if is_first:
            path = data_samples[doubtful.index(True)].get('img_path') or 'an image'
            _log.warning(
                'the network computes values that are infinite or not a number, for %s or others of its batch, and '
                'predictions with such are left out: predict without amp, or export in float32 again; if that changes '
                'nothing, the weights are of no use',
                path,
            )
    for result, sample in zip(results, data_samples, strict=True):
        if truth in sample:
            result.set_field(sample.get(truth), truth)
    return results


def _leave_out(results: Sequence[DetDataSample]) -> list[int]:
    """Leave out what is not finite; return how many predictions of each image, waiting for the device once."""
    flags = [_finite_rows(result) for result in results]
    counts = [0] * len(results)
    known = [flag for flag in flags if flag is not None]
    if known:
        numbers = iter(torch.stack([(~flag).sum() for flag in known]).tolist())
        counts = [0 if flag is None else next(numbers) for flag in flags]
    for result, flag, count in zip(results, flags, counts, strict=True):
        if count and flag.dim():
            result.pred_instances = result.pred_instances[flag]
        elif count:
            result.pred_scores = torch.zeros_like(result.pred_scores)
            result.pred_label = 0
    return counts


def _finite_rows(result: DetDataSample) -> Tensor | None:
    """Return which predictions are finite ``(N,)``, or for a classified image whether all is; None without any."""
    if isinstance(result.get('pred_scores'), Tensor):
        return result.pred_scores.isfinite().all()
    instances = result.get('pred_instances')
    fields = [instances.get(name) for name in ('scores', 'bboxes', 'rbboxes')] if _has_rows(instances) else []
    rows = [field.isfinite().reshape(len(field), -1).all(1) for field in fields if isinstance(field, Tensor)]
    return torch.stack(rows).all(0) if rows else None


def _is_empty(result: DetDataSample) -> bool:
    instances = result.get('pred_instances')
    return isinstance(instances, InstanceData) and not len(instances)


def _has_rows(instances: InstanceData | None) -> bool:
    return isinstance(instances, InstanceData) and len(instances) > 0


def _holds_nan(values: Tensor | Sequence) -> bool:
    """Return whether a tensor, or one of nested lists of tensors, holds NaN."""
    if isinstance(values, Tensor):
        return values.is_floating_point() and bool(values.isnan().any())
    return isinstance(values, list | tuple) and any(map(_holds_nan, values))
