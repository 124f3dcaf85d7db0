"""Test-time augmentation: one prediction from those on several augmented copies of an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.structures import InstanceData

from detkit.models.postprocess.nms import moved_apart
from detkit.models.postprocess.rotated_nms import rotated_nms
from detkit.models.postprocess.torchvision_nms import nms
from detkit.structures.bboxes import pairwise_iou
from detkit.structures.masks import InstanceMasks
from detkit.structures.rotated_bboxes import normalize_rbboxes
from detkit.structures.rotated_iou import pairwise_rotated_iou


def fuse_predictions(
    copies: Sequence[InstanceData], method: str, iou_thr: float, class_agnostic: bool = False
) -> InstanceData:
    """Return the predictions of all copies of one image without duplicates, best first.

    Args:
        copies: the predictions on each copy, in pixels of the image itself, with the same fields.
        method: 'nms' keeps the best of the boxes that show one object. 'wbf', weighted box fusion (arXiv:1910.13302),
            averages them, weighted by their scores: boxes, rotated boxes and keypoints; the mask is made of the pixels
            that masks of more than half of the weight have; the score is the mean score, less by the share of the
            copies in which the object was not found.
        iou_thr: boxes of a class that overlap more show one object.
        class_agnostic: boxes of different classes may show one object.
    """
    found = InstanceData.cat(list(copies))
    found = found[found.scores.argsort(descending=True, stable=True)]
    if not len(found.scores):
        return found
    labels = torch.zeros_like(found.labels) if class_agnostic else found.labels
    if method == 'wbf':
        return _weighted(found, labels.numpy(), iou_thr, len(copies))
    if 'rbboxes' in found:
        return found[rotated_nms(found.rbboxes, labels, iou_thr)]
    return found[nms(moved_apart(found.bboxes, labels), found.scores, iou_thr)]


def _weighted(found: InstanceData, labels: np.ndarray, iou_thr: float, num_copies: int) -> InstanceData:
    """Return the fused objects; ``found`` is sorted by score."""
    groups = _clusters(found, labels, iou_thr)
    fused = found[torch.tensor([group[0] for group in groups])]
    for place, group in enumerate(groups):
        if len(group) > 1:
            _average(fused, place, found[torch.tensor(group)])
        found_in = min(len(group), num_copies) / num_copies
        fused.scores[place] = found.scores[group].mean() * found_in
    return fused[fused.scores.argsort(descending=True, stable=True)]


def _clusters(found: InstanceData, labels: np.ndarray, iou_thr: float) -> list[list[int]]:
    """Return the boxes of each object, the best first: a box joins the cluster whose fused box it overlaps most."""
    rotated = 'rbboxes' in found
    boxes = (found.rbboxes if rotated else found.bboxes).double()
    scores = found.scores.double()
    centres = torch.zeros_like(boxes)  # the fused boxes, one a cluster
    groups: list[list[int]] = []
    firsts = np.zeros(len(boxes), np.int64)
    for i in range(len(boxes)):
        number = len(groups)
        same = torch.from_numpy(labels[firsts[:number]] == labels[i])
        if rotated:
            overlaps = pairwise_rotated_iou(boxes[i : i + 1], centres[:number], same[None])[0]
        else:
            overlaps = torch.from_numpy(pairwise_iou(boxes[i : i + 1].numpy(), centres[:number].numpy()))[0] * same
        best = int(overlaps.argmax()) if number else -1
        if number and overlaps[best] > iou_thr:
            groups[best].append(i)
            centres[best] = _mean_boxes(boxes[groups[best]], scores[groups[best]])
        else:
            centres[number], firsts[number] = boxes[i], i
            groups.append([i])
    return groups


def _mean_boxes(boxes: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    """Return the mean of ``(N, 4)`` boxes or ``(N, 5)`` rotated boxes of one object, weighted by ``(N,)`` scores."""
    weights = (scores / scores.sum().clamp(min=1e-12))[:, None]
    if boxes.shape[1] == 4:
        return (boxes * weights).sum(0)
    # Each rectangle is written with the angle that is nearest to the first one's: a quarter turn exchanges its sides.
    quarters = ((boxes[:, 4] - boxes[0, 4]) / (np.pi / 2)).round()
    sides = torch.where((quarters % 2 == 1)[:, None], boxes[:, [3, 2]], boxes[:, [2, 3]])
    angles = boxes[:, 4:] - quarters[:, None] * (np.pi / 2)
    mean = (torch.cat([boxes[:, :2], sides, angles], 1) * weights).sum(0)
    return torch.from_numpy(normalize_rbboxes(mean[None].numpy()))[0]


def _average(fused: InstanceData, place: int, members: InstanceData) -> None:
    """Set the object at an index to the weighted mean of its members."""
    scores = members.scores.double()
    fused.bboxes[place] = _mean_boxes(members.bboxes.double(), scores)
    if 'rbboxes' in fused:
        fused.rbboxes[place] = _mean_boxes(members.rbboxes.double(), scores)
    if 'keypoints' in fused:
        weights = (scores[:, None] * members.keypoint_scores).clamp(min=1e-12)  # (N, K)
        weights = weights / weights.sum(0)
        fused.keypoints[place] = (members.keypoints * weights[..., None]).sum(0).to(fused.keypoints.dtype)
        share = scores / scores.sum().clamp(min=1e-12)
        fused.keypoint_scores[place] = (members.keypoint_scores * share[:, None]).sum(0).to(fused.scores.dtype)
    if 'masks' in fused:
        fused.masks.crops[place], fused.masks.offsets[place] = _majority(members.masks, scores.numpy())


def _majority(masks: InstanceMasks, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the crop and the offset of the mask that more than half of the weight votes for."""
    ends = np.array([offset + crop.shape[::-1] for offset, crop in zip(masks.offsets, masks.crops, strict=True)])
    origin = masks.offsets.min(0)
    width, height = ends.max(0) - origin
    votes = np.zeros((height, width), np.float32)
    for crop, weight, (x, y) in zip(masks.crops, weights, masks.offsets - origin, strict=True):
        votes[y : y + crop.shape[0], x : x + crop.shape[1]] += crop * np.float32(weight)
    return votes > weights.sum() / 2, origin
