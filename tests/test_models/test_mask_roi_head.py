"""Masks in regions: what is computed of many classes. That the numbers are torchvision's is tested beside it."""

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from detkit.models.heads import TwoStageHead
from detkit.models.roi_heads import MaskRoIHead


def test_masks_of_other_classes_are_not_computed():
    """Neither in training nor in prediction do operations grow with the number of classes."""
    counts, masks = [], []
    for num_classes in (3, 1203):
        head = MaskRoIHead(num_classes, in_channels=(8,), strides=(4,), num_convs=1, conv_channels=8)
        torch.manual_seed(0)
        for name, param in head.named_parameters():
            own = torch.randn(param[:4].shape if 'conv_mask' in name else param.shape)
            (param.data[:4] if 'conv_mask' in name else param.data).copy_(own)
        with FlopCounterMode(display=False) as counter:
            found = head.decode(
                [torch.rand(2, 8, 16, 16, generator=torch.Generator().manual_seed(1))],
                [torch.tensor([[0.0, 0.0, 40.0, 40.0]] * 3), torch.zeros(0, 4)],
                [torch.tensor([2, 0, 1]), torch.zeros(0, dtype=torch.long)],
            )
            sum(image.sum() for image in found).backward()
        counts.append(counter.get_total_flops())
        masks.append(found[0].detach())
        assert len(found[1]) == 0 and head.conv_mask.weight.grad[1:4].flatten(1).any(1).all()
    assert counts[0] == counts[1] > 0
    torch.testing.assert_close(*masks)
    assert not torch.equal(masks[0][0], masks[0][1])


def test_what_looks_at_the_predictor_or_stands_in_its_place_is_called():
    head = MaskRoIHead(3, in_channels=(8,), strides=(4,), num_convs=1, conv_channels=8)
    feats, bboxes = [torch.rand(1, 8, 16, 16)], [torch.tensor([[0.0, 0.0, 40.0, 40.0]] * 2)]
    labels = torch.tensor([2, 0])
    plain = head(feats, bboxes, labels)
    shapes = []
    handle = head.conv_mask.register_forward_hook(lambda layer, args, output: shapes.append(output.shape))
    torch.testing.assert_close(head(feats, bboxes, labels), plain)
    assert [shape[:2] for shape in shapes] == [(2, 4)]
    handle.remove()
    head.conv_mask = nn.Sequential(head.conv_mask, nn.Hardtanh(0, 1))  # as an adapter of low rank, no convolution
    torch.testing.assert_close(head(feats, bboxes, labels), plain.clamp(0, 1))


def test_masks_of_boxes_that_reach_into_the_padding_are_not_squeezed():
    """An image of 40 x 40 with 20 rows of padding above and below; the box lies half in those above."""
    matrix = np.array([[1.0, 0, 0], [0, 1, 20], [0, 0, 1]])
    probs = torch.zeros(2, 28, 28)
    probs[0, :14], probs[1, 14:] = 1, 1
    bboxes = torch.tensor([[10.0, 0, 30, 40]] * 2)
    decoded = dict(bboxes=[bboxes], scores=[torch.ones(2)], labels=[torch.zeros(2)], mask_probs=[probs])
    (sample,) = TwoStageHead.results(None, decoded, [dict(matrix=matrix, ori_shape=(40, 40))])
    assert sample.pred_instances.bboxes.tolist() == [[10, 0, 30, 20]] * 2
    above, below = sample.pred_instances.masks.to_bool()
    assert above[1:].sum() == 0 and below[1:20, 10:30].mean() > 0.9
