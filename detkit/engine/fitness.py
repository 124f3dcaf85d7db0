"""One number that says how good a validation was."""

from collections.abc import Mapping

# Accuracies of a classifier, which count alike.
_ACCURACIES = ('top1', 'top5')
# Share of average precision at IoU .5, of the mean over .5 … .95, and of panoptic quality.
_WEIGHTS = {'mAP50': 0.1, 'mAP': 0.9, 'PQ': 1.0}


def fitness(metrics: Mapping[str, float], key: str = 'fitness') -> float | None:
    """How good a validation was, greater is better.

    For detection ``.1 mAP50 + .9 mAP``, summed over boxes, masks and what else has an average precision, and
    panoptic quality added where there is one; for classification the mean of top-1 and top-5 accuracy.

    Args:
        metrics: what a validation returned, such as ``{'coco/bbox_mAP': .5, 'coco/bbox_mAP50': .7, …}``.
        key: 'fitness' for that, or the name of a metric, such as 'accuracy/top1'; 'mAP' and 'mAP50' stand for the sum
            of all such figures ('coco/bbox_mAP', 'coco/segm_mAP').

    Returns:
        None when the metrics hold nothing to judge by. COCO's -1 (no object to find) counts as 0.
    """
    if key in metrics:
        return float(metrics[key])
    weights = {'fitness': _WEIGHTS}.get(key, {key: 1.0} if key in _WEIGHTS else {})
    parts = [
        weight * max(float(value), 0.0)
        for name, value in metrics.items()
        for suffix, weight in weights.items()
        if _figure(name) == suffix
    ]
    if parts or key != 'fitness':
        return sum(parts) if parts else None
    accuracies = [float(value) for name, value in metrics.items() if name.rsplit('/', 1)[-1] in _ACCURACIES]
    return sum(accuracies) / len(accuracies) if accuracies else None


def _figure(name: str) -> str:
    """'mAP' of 'coco/bbox_mAP'; but 'things_PQ' is a part of 'PQ', which has it already."""
    last = name.rpartition('/')[2]
    return last if last.endswith('PQ') else last.rsplit('_', 1)[-1]
