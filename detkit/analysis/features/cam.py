"""Class activation maps: the regions of an image that a prediction depends on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from detkit.utils.errors import ConfigError


def eigen_cam(activations: Tensor) -> Tensor:
    """Project a feature map on its first principal component, without gradients or classes (Eigen-CAM).

    Muhammad and Yeasin, https://arxiv.org/abs/2008.00299. The sign of the component is chosen so that its
    strongest values are positive.

    Args:
        activations: ``(C, h, w)``.

    Returns:
        ``(h, w)``, not negative.
    """
    matrix = activations.detach().flatten(1).T.double()  # (h * w, C)
    _, _, axes = torch.linalg.svd(matrix, full_matrices=False)
    projected = matrix @ axes[0]
    if (projected * matrix.norm(dim=1)).sum() < 0:
        projected = -projected
    return projected.clamp(min=0).view(activations.shape[1:]).float()


def grad_cam(activations: Tensor, gradients: Tensor) -> Tensor:
    """Sum the channels, each weighted by the mean gradient of the score with respect to it (Grad-CAM).

    Selvaraju et al., https://arxiv.org/abs/1610.02391.

    Args:
        activations, gradients: ``(C, h, w)``.

    Returns:
        ``(h, w)``, not negative.
    """
    weights = gradients.mean((1, 2), keepdim=True)
    return (weights * activations.detach()).sum(0).clamp(min=0)


def class_logits(preds: dict[str, Tensor | list[Tensor]], num_classes: int) -> tuple[Tensor, Tensor]:
    """Return the class logits of all N locations of the first image; N is 1 for a classifier.

    Args:
        preds: what the head returns; of two stages also ``region_logits (N, 1 + C)``, those of the regions that the
            second one looked at, background first.
        num_classes: C.

    Returns:
        Logits ``(N, num_classes)``, with objectness added if the head predicts it, and the probabilities.

    Raises:
        ConfigError: the head returns no known class logits, or found no region.
    """
    if 'region_logits' in preds:
        logits = preds['region_logits']
        if not len(logits):
            raise ConfigError('Grad-CAM needs a region that the first stage proposes, but there is none; use eigencam')
        return logits[:, 1:], logits.softmax(-1)[:, 1:]
    if 'anchor_preds' in preds:  # four numbers of the box, objectness, classes
        locations = torch.cat([_by_location(level[0], 5 + num_classes) for level in preds['anchor_preds']])
        classes, objectness = locations[:, 5:], locations[:, 4:5]
        return classes + objectness, classes.sigmoid() * objectness.sigmoid()
    logits = preds.get('cls_logits')
    if isinstance(logits, list | tuple):
        logits = torch.cat([_by_location(level[0], num_classes) for level in logits])
        if 'obj_logits' not in preds:
            return logits, logits.sigmoid()
        objectness = torch.cat([_by_location(level[0], 1) for level in preds['obj_logits']])
        return logits + objectness, logits.sigmoid() * objectness.sigmoid()
    if isinstance(logits, Tensor) and logits.dim() == 2:  # a classifier's (B, C)
        return logits[:1], logits[:1].softmax(-1)
    if isinstance(logits, Tensor) and logits.dim() == 4:  # a decoder's (L, B, Q, C + 1), of which the last layer counts
        return logits[-1, 0, :, :num_classes], logits[-1, 0].softmax(-1)[:, :num_classes]
    raise ConfigError(f'Grad-CAM needs class logits from the head, which gives {", ".join(preds)}; use eigencam')


def _by_location(values: Tensor, count: int) -> Tensor:
    """Reshape ``(A * count, h, w)`` to ``(A * h * w, count)``."""
    if len(values) % count:
        raise ConfigError(f'Grad-CAM needs {count} logits a location from the head, not {len(values)}; use eigencam')
    return values.unflatten(0, (-1, count)).movedim(1, -1).flatten(0, -2)


def class_score(logits: Tensor, probabilities: Tensor, label: int, score_thr: float) -> Tensor:
    """Sum the logits of a class at the locations that predict it, which is the score that Grad-CAM explains.

    Args:
        logits, probabilities: ``(N, C)``.
        label: the class.
        score_thr: least probability of a location that counts; the best one always does.
    """
    own = probabilities[:, label]
    return logits[(own >= score_thr) | (own == own.max()), label].sum()


def normalised(maps: list[Tensor], together: bool) -> list[np.ndarray]:
    """Scale maps to values from 0 to 1.

    Args:
        maps: not negative.
        together: whether to scale all maps by their common maximum, which keeps their proportions, or each by its own.
    """
    highest = max(float(cam.max()) for cam in maps)
    scales = [highest if together else float(cam.max()) for cam in maps]
    return [(cam / (scale or 1.0)).cpu().numpy() for cam, scale in zip(maps, scales, strict=True)]
