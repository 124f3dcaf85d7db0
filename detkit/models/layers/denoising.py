"""``ContrastiveDenoising``: queries made of the ground truth with noise, from which a decoder learns to restore it."""

from __future__ import annotations

from math import pi
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .keyed_dropout import keyed_uniform
from .turned_boxes import logit, turn

# B images of at most M objects, D denoising queries: G groups, each of M positive and then M negative queries.

# Random numbers for each query: whether its label changes, its new label, how far and where to four sides move, and, of
# a box with an angle, how far and where to it turns.
_NUM_DRAWS = {4: 10, 5: 12}


class DenoisingQueries(NamedTuple):
    """Queries made of the ground truth.

    Attributes:
        content: ``(B, D, C)``, embedded labels.
        bboxes: ``(B, D, 4)`` cxcywh relative to the image, or 5 with an angle.
    """

    content: Tensor
    bboxes: Tensor


class ContrastiveDenoising(nn.Module):
    """Make queries of the objects' labels and boxes with noise (DINO, arXiv:2203.03605, section 3.3).

    Every object gives each group a positive query, whose sides move by less than half of the box's size, and a negative
    one, whose sides move by half of it to all of it; both may get another label. There are as many groups as
    ``num_queries`` holds for the image with the most objects of the batch, at least one. Of several processes each
    counts its own images: an object's loss is the mean over its groups, so that their number changes the noise alone.

    Args:
        num_classes: number of classes.
        embed_dims: C.
        num_queries: about how many positive queries an image has.
        label_noise: share of labels that are replaced by a random one, times 2.
        box_noise: factor of the sides' movement.
        angle_noise: boxes with an angle turn by less than half of this, in radians, in a positive query, and by half of
            it to all of it in a negative one; their sides move in their own directions.
    """

    def __init__(
        self,
        num_classes: int,
        embed_dims: int,
        num_queries: int = 100,
        label_noise: float = 0.5,
        box_noise: float = 1.0,
        angle_noise: float = pi / 6,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.num_queries = num_queries
        self.label_noise = label_noise
        self.box_noise = box_noise
        self.angle_noise = angle_noise
        # The last vector is that of padding, and stays 0.
        self.class_embed = nn.Embedding(num_classes + 1, embed_dims, padding_idx=num_classes)
        nn.init.normal_(self.class_embed.weight[:-1])

    def num_groups(self, max_instances: int) -> int:
        """Return G for a batch whose images have at most M objects."""
        return max(self.num_queries // max(max_instances, 1), 1)

    def forward(
        self, labels: Tensor, bboxes: Tensor, valid: Tensor, img_shapes: Tensor | None = None
    ) -> DenoisingQueries:
        """Return the queries of a batch.

        Args:
            labels: ``(B, M)`` int64.
            bboxes: ``(B, M, 4)`` cxcywh relative to the image, or 5 with an angle.
            valid: ``(B, M)`` bool, False where padded.
            img_shapes: ``(B, 2)`` (h, w), for boxes with an angle.
        """
        max_instances = labels.shape[1]
        copies = 2 * self.num_groups(max_instances)
        labels = labels.masked_fill(~valid, self.num_classes).repeat(1, copies)  # (B, M) -> (B, D)
        bboxes = bboxes.masked_fill(~valid.unsqueeze(-1), 0).repeat(1, copies, 1)  # (B, M, 4 or 5) -> (B, D, 4 or 5)
        valid = valid.repeat(1, copies)
        draws = keyed_uniform((*labels.shape, _NUM_DRAWS[bboxes.shape[-1]]), bboxes)
        changed = (draws[..., 0] < self.label_noise / 2) & valid
        labels = torch.where(changed, (draws[..., 1] * self.num_classes).long(), labels)
        positions = torch.arange(labels.shape[1], device=labels.device)
        negative = positions.remainder(2 * max(max_instances, 1)) >= max_instances  # (D,)
        magnitudes = draws[..., 2:6] + negative.unsqueeze(-1)
        signs = _signs(draws[..., 6:10])
        centres, halves = bboxes[..., :2], bboxes[..., 2:4] / 2
        moves = magnitudes * signs * halves.repeat(1, 1, 2) * self.box_noise  # of the left, top, right, bottom side
        if bboxes.shape[-1] == 5:
            low, high = moves.split(2, dim=-1)
            angles = bboxes[..., 4]
            shape = img_shapes.to(bboxes.dtype).unsqueeze(-1).unbind(1)  # (B, 1) each
            noisy = torch.cat((centres + turn((low + high) / 2, angles, shape), 2 * halves + high - low), dim=-1)
            turned = angles + (draws[..., 10] + negative) * _signs(draws[..., 11]) * self.angle_noise / 2
            noisy_bboxes = torch.cat((logit(noisy).sigmoid(), turned.unsqueeze(-1)), dim=-1)
        else:
            corners = torch.cat((centres - halves, centres + halves), dim=-1) + moves
            low, high = corners.clamp(0, 1).split(2, dim=-1)
            # Sides that have crossed make a size below 0, which becomes the least.
            noisy_bboxes = logit(torch.cat(((low + high) / 2, high - low), dim=-1)).sigmoid()
        return DenoisingQueries(self.class_embed(labels), noisy_bboxes)


def _signs(draws: Tensor) -> Tensor:
    """Return 1 or -1 for random numbers in [0, 1)."""
    return (draws < 0.5).to(draws.dtype) * 2 - 1


def denoising_mask(num_denoising: int, num_queries: int, group_size: int, device: torch.device) -> Tensor:
    """Return which queries an attention may look at, ``(D + Q, D + Q)`` bool, denoising queries first.

    Those of a group see each other and all Q queries; these see only each other.

    Args:
        num_denoising, num_queries: D and Q.
        group_size: queries of a group, 2 * M.
        device: that of the result.
    """
    positions = torch.arange(num_denoising + num_queries, device=device)
    matching = positions >= num_denoising
    group = torch.where(matching, -1, positions.div(max(group_size, 1), rounding_mode='floor'))
    return matching | (group.unsqueeze(1) == group)
