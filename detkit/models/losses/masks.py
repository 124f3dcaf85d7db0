"""Losses of masks, over all pixels or, for prototypes, over the pixels inside boxes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from detkit.protocols import PixelMaskLoss, PrototypeMaskLoss
from detkit.registry import LOSSES
from detkit.structures.targets import BoxMasks, PrototypeMasks
from detkit.utils.ranks import shared_divisor

from .base_loss import BaseLoss


@LOSSES.register_module()
class MaskDiceLoss(BaseLoss, PixelMaskLoss):
    """One minus the Dice coefficient of probabilities p and targets t (V-Net, arXiv:1606.04797).

    DETR's smoothing makes it 1 - (2 Σ p t + 1) / (Σ p + Σ t + 1), which is 0 for an empty mask predicted as empty.

    Args:
        loss_weight: factor of the result.
    """

    def forward(
        self, pred: Tensor, target: Tensor, weight: Tensor | None = None, avg_factor: Tensor | float | None = None
    ) -> Tensor:
        """Return the loss, a scalar; arguments as in ``PixelMaskLoss``."""
        probabilities = pred.sigmoid()
        shared = (probabilities * target).sum(1)
        losses = 1 - (2 * shared + 1) / (probabilities.sum(1) + target.sum(1) + 1)
        return self.reduce(losses, weight, avg_factor)


@LOSSES.register_module()
class MaskFocalLoss(BaseLoss, PixelMaskLoss):
    """Focal loss (arXiv:1708.02002) of each pixel, averaged over a mask's pixels.

    With the predicted probability p of the target, a pixel's loss is alpha (1 - p)^gamma (-ln p), and
    1 - alpha in place of alpha on background.

    Args:
        loss_weight: factor of the result.
        alpha: weight of foreground, in [0, 1]; None gives both the weight 1.
        gamma: exponent, which reduces the loss of pixels that are already right.
    """

    def __init__(self, loss_weight: float = 1.0, alpha: float | None = 0.25, gamma: float = 2.0) -> None:
        super().__init__(loss_weight)
        if alpha is not None and not 0 <= alpha <= 1:
            raise ValueError(f'MaskFocalLoss: alpha must be in [0, 1], or None; found {alpha}')
        if gamma < 0:
            raise ValueError(f'MaskFocalLoss: gamma must be at least 0, found {gamma}')
        self.alpha = alpha
        self.gamma = gamma

    def forward(
        self, pred: Tensor, target: Tensor, weight: Tensor | None = None, avg_factor: Tensor | float | None = None
    ) -> Tensor:
        """Return the loss, a scalar; arguments as in ``PixelMaskLoss``."""
        # The probability of the signed logit is that of the wrong class.
        wrong = (pred * (1 - 2 * target)).sigmoid()  # 1 - p
        losses = F.binary_cross_entropy_with_logits(pred, target, reduction='none') * wrong**self.gamma
        if self.alpha is not None:
            losses = losses * (self.alpha * target + (1 - self.alpha) * (1 - target))
        return self.reduce(losses.mean(1), weight, avg_factor)


# Number of slots whose masks a GPU computes at a time.
_CHUNK = 256


@LOSSES.register_module()
class ProtoMaskLoss(BaseLoss, PrototypeMaskLoss):
    """Cross entropy of masks that are linear combinations of prototypes (YOLACT, arXiv:1904.02689).

    A positive's loss is the sum over the mask pixels inside its ground-truth box, divided by the box's area in mask
    pixels; the result is the mean over positives. Pixels outside the box are ignored; a CPU does not compute them.

    Args:
        loss_weight: factor of the result.
    """

    def forward(
        self,
        pred: PrototypeMasks,
        target: BoxMasks,
        weight: Tensor | None = None,
        avg_factor: Tensor | float | None = None,
    ) -> Tensor:
        """Return the loss, a scalar; arguments as in ``PrototypeMaskLoss``.

        Raises:
            ValueError: masks and prototypes differ in size.
        """
        mask_coeffs, mask_protos = pred
        bboxes, masks, gt_idx = target
        if masks.shape[-2:] != mask_protos.shape[-2:]:
            raise ValueError(
                f'ProtoMaskLoss: ground-truth masks are {tuple(masks.shape[-2:])} (h, w), prototypes '
                f"{tuple(mask_protos.shape[-2:])}; the pipeline must draw masks at the prototypes' stride"
            )
        areas = (bboxes[..., 2:] - bboxes[..., :2]).prod(-1)
        weight = torch.ones_like(areas) if weight is None else weight
        avg_factor = shared_divisor(weight.sum(), areas) if avg_factor is None else avg_factor
        weight = weight / areas.clamp(min=1e-6) / avg_factor
        total = _BoxMaskCrossEntropy.apply(mask_coeffs, mask_protos, bboxes, masks, gt_idx, weight)
        return self.loss_weight * total


class _BoxMaskCrossEntropy(torch.autograd.Function):
    """Weighted sum of cross entropies inside boxes, computed together with its gradients.

    Autograd would keep several tensors of every slot's mask until the backward pass. Here a group's logits live only
    while its share of loss and gradients is made.
    """

    @staticmethod
    def forward(ctx, mask_coeffs, mask_protos, bboxes, masks, gt_idx, weight):
        with_grads = any(ctx.needs_input_grad[:2])
        groups = _groups_by_box if mask_protos.device.type == 'cpu' else _groups_by_chunk
        # (B, D, h, w) -> (B, h, w, D): a pixel's prototypes side by side, as they are in channels_last memory
        protos = mask_protos.permute(0, 2, 3, 1)
        if with_grads:
            coeff_grads, proto_grads = torch.zeros_like(mask_coeffs), torch.zeros_like(protos)
        total = mask_protos.new_zeros(())
        for image, slots, window, targets, inside in groups(bboxes, masks, gt_idx, weight):
            pixels = protos[image][window].flatten(0, 1)  # (h', w', D) -> (P, D)
            coeffs, slot_weight = mask_coeffs[image, slots], weight[image, slots]
            logits = pixels @ coeffs.T  # (P, slots)
            losses = F.softplus(logits).sub_(targets * logits)
            if inside is not None:
                losses.mul_(inside)
            total += losses.sum(0) @ slot_weight
            if with_grads:
                grads = logits.sigmoid_().sub_(targets).mul_(slot_weight)
                if inside is not None:
                    grads.mul_(inside)
                coeff_grads[image, slots] = grads.T @ pixels
                patch = proto_grads[image][window]
                patch += (grads @ coeffs).view(patch.shape)
        if with_grads:
            ctx.save_for_backward(coeff_grads, proto_grads.permute(0, 3, 1, 2))
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_output):
        coeff_grads, proto_grads = ctx.saved_tensors
        return coeff_grads * grad_output, proto_grads * grad_output, None, None, None, None


# Slots of one image: the image, the slots, the window's (rows, columns), the targets ``(P, slots)`` or ``(P, 1)`` of
# the window's P pixels, and which of these are inside the box, ``(P, slots)`` or None for all.
_Group = tuple[int, Tensor | slice, tuple[slice, slice], Tensor, Tensor | None]


def _groups_by_box(bboxes: Tensor, masks: Tensor, gt_idx: Tensor, weight: Tensor) -> Iterator[_Group]:
    """Yield the slots of one box at a time with the box's pixels, for a CPU."""
    height, width = masks.shape[-2:]
    # Pixel j counts when x0 <= j < x1, hence a box's window is [ceil(x0), ceil(x1)).
    limits = bboxes.new_tensor([width, height, width, height])
    windows = bboxes.ceil().clamp(min=0).minimum(limits).long()
    for image in range(len(bboxes)):
        used = weight[image].nonzero().squeeze(1)
        boxes, order = gt_idx[image, used].sort(stable=True)
        boxes, counts = boxes.unique_consecutive(return_counts=True)
        for box, slots in zip(boxes.tolist(), used[order].split(counts.tolist()), strict=True):
            x0, y0, x1, y1 = windows[image, slots[0]].tolist()
            if x1 <= x0 or y1 <= y0:
                continue
            window = (slice(y0, y1), slice(x0, x1))
            target = masks[image][window] == box + 1 if masks.dim() == 3 else masks[image, box][window]
            yield image, slots, window, target.reshape(-1, 1).to(bboxes.dtype), None


def _groups_by_chunk(bboxes: Tensor, masks: Tensor, gt_idx: Tensor, weight: Tensor) -> Iterator[_Group]:
    """Yield chunks of slots with all pixels, for a GPU, which would have to synchronise to read the boxes."""
    height, width = masks.shape[-2:]
    everywhere = (slice(0, height), slice(0, width))
    x = torch.arange(width, device=bboxes.device, dtype=bboxes.dtype).repeat(height).unsqueeze(1)  # (P, 1)
    y = torch.arange(height, device=bboxes.device, dtype=bboxes.dtype).repeat_interleave(width).unsqueeze(1)
    for image in range(len(bboxes)):
        for start in range(0, bboxes.shape[1], _CHUNK):
            slots = slice(start, start + _CHUNK)
            x0, y0, x1, y1 = bboxes[image, slots].unbind(-1)
            inside = (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
            boxes = gt_idx[image, slots]
            if masks.dim() == 3:
                targets = masks[image].flatten().unsqueeze(1) == boxes + 1
            else:
                targets = masks[image].flatten(1).index_select(0, boxes).T  # (M, h, w) -> (P, slots)
            yield image, slots, everywhere, targets.to(bboxes.dtype), inside
