"""``ProtoMaskLoss``: binary cross entropy of prototype masks, each only inside its box."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detkit.registry import LOSSES

# Slots whose masks a GPU lays out at a time.
_CHUNK = 256


@LOSSES.register_module()
class ProtoMaskLoss(nn.Module):
    """Cross entropy of masks that are linear combinations of prototypes (YOLACT, arXiv:1904.02689).

    A positive's loss is the sum over the mask pixels inside its ground-truth box, divided by the box's area in mask
    pixels; the result is the mean over positives. Pixels outside the box count for nothing; a CPU works out none.

    Args:
        loss_weight: factor of the result.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(
        self, mask_coeffs: Tensor, mask_protos: Tensor, bboxes: Tensor, masks: Tensor, gt_idx: Tensor, valid: Tensor
    ) -> Tensor:
        """The loss, a scalar.

        Args:
            mask_coeffs: ``(B, S, D)``, of the S slots of every image.
            mask_protos: ``(B, D, h, w)``.
            bboxes: ``(B, S, 4)`` the slots' ground-truth boxes, xyxy in **mask pixels**.
            masks: ground truth, overlap index map ``(B, h, w)`` or ``(B, M, h, w)`` bool.
            gt_idx: ``(B, S)`` int64, which of the image's M boxes a slot learns.
            valid: ``(B, S)`` bool, False where a slot is empty.

        Raises:
            ValueError: masks and prototypes differ in size.
        """
        if masks.shape[-2:] != mask_protos.shape[-2:]:
            raise ValueError(
                f'ProtoMaskLoss: ground-truth masks are {tuple(masks.shape[-2:])} (h, w), prototypes '
                f"{tuple(mask_protos.shape[-2:])}; the pipeline must draw masks at the prototypes' stride"
            )
        areas = (bboxes[..., 2:] - bboxes[..., :2]).prod(-1)
        weight = valid / areas.clamp(min=1e-6) / valid.sum().clamp(min=1)
        total = _BoxMaskCrossEntropy.apply(mask_coeffs, mask_protos, bboxes, masks, gt_idx, weight)
        return self.loss_weight * total


class _BoxMaskCrossEntropy(torch.autograd.Function):
    """Weighted sum of cross entropies inside boxes, whose gradients are worked out along with it.

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


# A group of slots that share an image: the image, the slots, the window's (rows, columns), the targets ``(P, slots)``
# or ``(P, 1)`` for the window's P pixels, and which of those count, ``(P, slots)`` or None for all.
_Group = tuple[int, Tensor | slice, tuple[slice, slice], Tensor, Tensor | None]


def _groups_by_box(bboxes: Tensor, masks: Tensor, gt_idx: Tensor, weight: Tensor) -> Iterator[_Group]:
    """For a CPU: all slots of one box at a time, on the box's own pixels."""
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
    """For a GPU: chunks of slots on whole frames, as waiting to learn where the boxes lie costs more."""
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
