"""Class activation maps: which places of an image a prediction rests on."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from detkit.utils.errors import ConfigError

METHODS = ('gradcam', 'eigencam')


def eigen_cam(activations: Tensor) -> Tensor:
    """What most of a feature map agrees on: its projection on its first principal axis, without gradients or classes.

    Muhammad and Yeasin, https://arxiv.org/abs/2008.00299. An axis has no direction; the one is chosen in which the
    strongest places are positive.

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
    """Channels summed, each by the mean gradient of the score with respect to it.

    Selvaraju et al., https://arxiv.org/abs/1610.02391.

    Args:
        activations, gradients: ``(C, h, w)``.

    Returns:
        ``(h, w)``, not negative.
    """
    weights = gradients.mean((1, 2), keepdim=True)
    return (weights * activations.detach()).sum(0).clamp(min=0)


def class_logits(preds: dict[str, Tensor | list[Tensor]], num_classes: int) -> tuple[Tensor, Tensor]:
    """Of all N places that a network may predict at, for the first image; of a classifier 1.

    Returns:
        logits ``(N, num_classes)``, to which objectness is added where a head tells it apart, and the probabilities.

    Raises:
        ConfigError: the head gives no class logits that are known.
    """
    if 'anchor_preds' in preds:  # four numbers of the box, objectness, classes
        places = torch.cat([_by_place(level[0], 5 + num_classes) for level in preds['anchor_preds']])
        classes, objectness = places[:, 5:], places[:, 4:5]
        return classes + objectness, classes.sigmoid() * objectness.sigmoid()
    logits = preds.get('cls_logits')
    if isinstance(logits, list | tuple):
        logits = torch.cat([_by_place(level[0], num_classes) for level in logits])
        return logits, logits.sigmoid()
    if isinstance(logits, Tensor) and logits.dim() == 2:  # a classifier's (B, C)
        return logits[:1], logits[:1].softmax(-1)
    if isinstance(logits, Tensor) and logits.dim() == 4:  # a decoder's (L, B, Q, C + 1), of which the last layer counts
        return logits[-1, 0, :, :num_classes], logits[-1, 0].softmax(-1)[:, :num_classes]
    raise ConfigError(f'Grad-CAM needs class logits from the head, which gives {", ".join(preds)}; use eigencam')


def _by_place(values: Tensor, count: int) -> Tensor:
    """``(A * count, h, w)`` -> ``(A * h * w, count)``."""
    return values.unflatten(0, (-1, count)).movedim(1, -1).flatten(0, -2)


def class_score(logits: Tensor, probabilities: Tensor, label: int, score_thr: float) -> Tensor:
    """What Grad-CAM explains: the summed logits of a class at the places that predict it.

    Args:
        logits, probabilities: ``(N, C)``.
        label: the class.
        score_thr: places with a lower probability do not count, but the best one always does.
    """
    own = probabilities[:, label]
    return logits[(own >= score_thr) | (own == own.max()), label].sum()


def normalised(maps: list[Tensor], together: bool) -> list[np.ndarray]:
    """Values from 0 to 1.

    Args:
        maps: not negative.
        together: by the maximum of all of them, so that a map that matters little looks so; or each by its own.
    """
    highest = max(float(cam.max()) for cam in maps)
    scales = [highest if together else float(cam.max()) for cam in maps]
    return [(cam / (scale or 1.0)).cpu().numpy() for cam, scale in zip(maps, scales, strict=True)]
