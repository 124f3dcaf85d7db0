"""Layers whose weights are read in place of a call: what a user put in their place is called."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from detkit import Detector
from detkit.models.heads import YOLOWorldHead
from detkit.models.layers import MaskDecoder, RepVGGBlock
from detkit.models.layers.cib import LargeKernelConv
from detkit.models.layers.fuse import fuse_conv_bn
from detkit.models.layers.packed import PackedConv2d
from detkit.models.layers.plain_layers import is_plain_layer, rows_of_table
from detkit.models.layers.position_encodings import LearnedPositionEncoding


class Adapter(nn.Module):
    """A layer around another one, as adapters of low rank are, whose weight is not what it computes with."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base

    @property
    def weight(self) -> Tensor:
        return self.base.weight

    @property
    def bias(self) -> Tensor:
        return self.base.bias

    def forward(self, x: Tensor) -> Tensor:
        return 2 * self.base(x)


class OwnConv(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class Half(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x / 2


def hooked(conv: nn.Module) -> nn.Module:
    conv.register_forward_hook(lambda layer, args, output: 2 * output)
    return conv


def randomised(model: nn.Module) -> nn.Module:
    """Return a model in evaluation mode whose weights and statistics are random."""
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5) if 'running_var' in name else tensor.normal_(0, 0.3)
    return model.eval()


def test_plain_layers_are_those_that_compute_with_their_weights():
    conv = nn.Conv2d(2, 3, 1)
    assert is_plain_layer(conv, nn.Conv2d) and is_plain_layer(PackedConv2d.of(conv), nn.Conv2d)
    for other in (Adapter(conv), OwnConv(2, 3, 1), hooked(nn.Conv2d(2, 3, 1)), nn.Linear(2, 3)):
        assert not is_plain_layer(other, nn.Conv2d)
    register_parametrization(conv, 'weight', Half())  # whose weight is the one that it computes with
    assert is_plain_layer(conv, nn.Conv2d)


def test_rows_of_a_table():
    table = nn.Embedding(5, 4)
    assert rows_of_table(table, 5) is table.weight
    assert torch.equal(rows_of_table(table, 3), table.weight[:3])
    assert torch.equal(rows_of_table(Adapter(table), 3), 2 * table.weight[:3])


@pytest.mark.parametrize('in_its_place', [Adapter, hooked])
def test_texts_are_folded_into_what_stands_for_the_last_convolution(in_its_place):
    head = randomised(YOLOWorldHead(3, in_channels=(8, 16), strides=(8, 16), text_dims=6))
    texts, feats = torch.randn(3, 6), [torch.randn(1, 8, 4, 4), torch.randn(1, 16, 2, 2)]
    plain = head(feats, texts=texts)['cls_logits']
    assert isinstance(head.folded(texts).embed_branches[0][-1], nn.Conv2d)
    head.embed_branches[0][-1] = in_its_place(head.embed_branches[0][-1])
    head.contrasts[1].norm = Adapter(head.contrasts[1].norm)
    called, folded = head(feats, texts=texts)['cls_logits'], head.folded(texts)(feats)['cls_logits']
    for before, one, other in zip(plain, called, folded, strict=True):
        assert not torch.allclose(before, one)
        torch.testing.assert_close(one, other)
    head.contrasts[0] = Adapter(head.contrasts[0])
    head.contrasts[0].forward = lambda cells, texts: 2 * head.contrasts[0].base(cells, texts)
    torch.testing.assert_close(head.folded(texts)(feats)['cls_logits'][0], 2 * called[0])


@pytest.mark.parametrize('in_its_place', [Adapter, hooked])
def test_the_first_convolution_of_masks_gets_its_whole_input(in_its_place):
    decoder = randomised(MaskDecoder(32, 8, (12, 6)))
    coarse, finer = torch.randn(2, 32, 3, 4), [torch.randn(2, 12, 6, 8), torch.randn(2, 6, 12, 16)]
    maps, image_idx, seen = torch.rand(3, 8, 3, 4), torch.tensor([0, 1, 1]), []
    plain = decoder(decoder.shared(coarse, finer), maps, image_idx)
    conv = decoder.convs[0]
    decoder.convs[0] = in_its_place(conv)
    decoder.norms[0].register_forward_pre_hook(lambda layer, args: seen.append(args[0]))
    masks = decoder(decoder.shared(coarse, finer), maps, image_idx)
    assert masks.shape == plain.shape
    expected = torch.conv2d(torch.cat((coarse[image_idx], maps), 1), conv.weight, conv.bias, padding=1)
    torch.testing.assert_close(seen[0], 2 * expected)


@pytest.mark.parametrize('kind', [RepVGGBlock, LargeKernelConv])
@pytest.mark.parametrize('in_its_place', [Adapter, hooked])
def test_branches_with_something_in_a_convolutions_place_are_not_merged(kind, in_its_place):
    block = randomised(kind(8))
    branch = getattr(block, block.small)
    branch.conv = in_its_place(nn.Conv2d(8, 8, 1))
    x = torch.randn(1, 8, 9, 9)
    expected = block(x)
    fuse_conv_bn(block)
    assert getattr(block, block.small) is not None
    torch.testing.assert_close(block(x), expected)


def test_hooks_of_a_branch_are_called_after_fusing():
    block, seen = randomised(RepVGGBlock(8)), []
    block.branch1.register_forward_hook(lambda layer, args, output: seen.append(output.shape))
    x = torch.randn(1, 8, 9, 9)
    expected = block(x)
    torch.testing.assert_close(fuse_conv_bn(block)(x), expected)
    assert len(seen) == 2


def test_tables_of_queries_and_positions_may_be_adapters():
    encoding, feats = LearnedPositionEncoding(8), torch.zeros(1, 3, 4, 5)
    plain = encoding(feats)
    encoding.row_embed, encoding.column_embed = Adapter(encoding.row_embed), Adapter(encoding.column_embed)
    torch.testing.assert_close(encoding(feats), 2 * plain)
    for config, table in (('detr/det_r18_coco8', 'query_embed'), ('rfdetr/det_tiny_coco8', 'query_embed')):
        model = Detector(config, device='cpu').model
        feats = model.extract_feat(torch.rand(1, 3, 64, 64))
        with torch.no_grad():
            plain = model.head(feats)['cls_logits']
            base = getattr(model.head, table)
            setattr(model.head, table, Adapter(base))
            adapted = model.head(feats)['cls_logits']
            base.weight *= 2
            setattr(model.head, table, base)
            assert not torch.equal(adapted, plain)
            torch.testing.assert_close(adapted, model.head(feats)['cls_logits'])
