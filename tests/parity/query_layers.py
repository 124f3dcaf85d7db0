"""What the parity tests of RT-DETR, D-FINE and DEIM share: the objects, a training pass, and comparisons of layers."""

import pytest
import torch
from parity.rtdetr_shapes import MAX_OBJECTS, draws, objects
from parity.seeded import assert_matches
from torch import Tensor, nn

from detkit.models.layers import denoising
from detkit.structures.gt_batch import GtBatch


def gt_batch(height: int, width: int) -> GtBatch:
    """Return the recorded objects on images of a size, in float64."""
    truth = objects()
    labels = torch.full((len(truth), MAX_OBJECTS), -1)
    bboxes = torch.zeros(len(truth), MAX_OBJECTS, 4, dtype=torch.float64)
    for image, (own, relative) in enumerate(truth):
        centres, halves = relative[:, :2], relative[:, 2:] / 2
        labels[image, : len(own)] = own
        corners = torch.cat([centres - halves, centres + halves], 1)
        bboxes[image, : len(own)] = corners * torch.tensor([width, height] * 2)
    valid = labels >= 0
    flat_index = valid.flatten().nonzero().squeeze(1)
    shapes = torch.tensor([[1, 1]] * len(truth))  # padding does not count
    return GtBatch(labels=labels, bboxes=bboxes, valid=valid, flat_index=flat_index, img_shapes=shapes)


def training_pass(model: nn.Module, images: Tensor, gt: GtBatch) -> dict[str, Tensor]:
    """Return the detached predictions with the recorded noise, after gradients of all losses were added up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(denoising, 'keyed_uniform', lambda shape, like: draws(shape[1]))
        preds = model.head(model.extract_feat(images), None, gt)
    sum(model.head.loss(preds, gt).values()).backward()
    return {key: value.detach() for key, value in preds.items()}


def assert_last_layer(preds: dict, recorded: dict, name: str, tolerance: float = 1e-6) -> None:
    """Compare the last layer of a decoder of distributions in evaluation."""
    for key in ('cls_logits', 'bbox_preds'):
        assert_matches(preds[key][-1], recorded[f'{name}.eval.{key}'], tolerance, key)
    assert_matches(preds['edge_logits'][-1].flatten(-2), recorded[f'{name}.eval.edge_logits'], tolerance, 'edge_logits')


def assert_every_layer(preds: dict, recorded: dict, name: str) -> None:
    """Compare all layers of a decoder of distributions in training, those of denoising queries included."""
    for key in ('cls_logits', 'bbox_preds', 'edge_logits'):
        layers = torch.cat([preds[f'dn_{key}'], preds[key]], dim=2)
        assert f'{name}.train.{key}.{len(layers)}' not in recorded
        for index, layer in enumerate(layers):
            layer = layer.flatten(-2) if key == 'edge_logits' else layer
            assert_matches(layer, recorded[f'{name}.train.{key}.{index}'], 1e-6, f'{key} of layer {index}')
    for key in ('pre_cls_logits', 'pre_bbox_preds'):
        layer = torch.cat([preds[f'dn_{key}'], preds[key]], dim=2)[0]
        assert_matches(layer, recorded[f'{name}.train.{key}'], 1e-6, key)


def losses_of_layers(layers: dict, denoised: dict, num_layers: int, names: dict[str, str]) -> dict[str, float]:
    """Return the losses of all layers by the names that the authors' criterion gives them.

    Args:
        layers, denoised: what ``layer_losses`` returns.
        num_layers: layers of the decoder.
        names: detkit's name of a loss -> theirs; what the head does not have is left out.
    """
    found = {}
    for own, short in names.items():
        if own in layers:
            endings = [*(f'_aux_{index}' for index in range(num_layers - 1)), '', '_pre', '_enc_0'][: len(layers[own])]
            found |= {f'{short}{end}': value.item() for end, value in zip(endings, layers[own], strict=True)}
            endings = [*(f'_dn_{index}' for index in range(num_layers)), '_dn_pre'][: len(denoised[own])]
            found |= {f'{short}{end}': value.item() for end, value in zip(endings, denoised[own], strict=True)}
    return found
