"""``MaskDecoder``: upsamples attention maps to masks, step by step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detkit.utils.errors import ConfigError

from .plain_layers import is_plain_layer
from .upsampling import upsample_nearest

# Groups of a normalisation, if there are as many channels.
_GROUPS = 8


class MaskDecoder(nn.Module):
    """Mask head of DETR (arXiv:2005.12872, figure 8).

    Between 3x3 convolutions with group normalisation the map is upsampled to the next finer map of the backbone, which
    is added.

    ::

        map (C) ──── 3x3 ──┐
        attention (H) 3x3 ─+─ norm ─ 3x3, C/2 ─ up ─+─ 3x3, C/4 ─ up ─+─ … ─ 3x3 ─ mask logits
                                   finer map, 1x1 ──┘  finest, 1x1 ───┘

    Terms that depend only on the image are computed once for each image (``shared``), the others for each object
    (``forward``): a convolution of the concatenated map and attention is the sum of a convolution of each. A layer in
    place of the first convolution, such as an adapter, gets the two concatenated.

    Args:
        embed_dims: C, channels of the coarsest map.
        num_heads: H, channels of the attention maps.
        in_channels: channels of the backbone's finer maps, coarse to fine.

    Raises:
        ConfigError: C is too small to be halved at every step, or channels cannot be put into groups.
    """

    def __init__(self, embed_dims: int, num_heads: int, in_channels: Sequence[int]) -> None:
        super().__init__()
        self.embed_dims = embed_dims
        steps = range(1, len(in_channels) + 2)
        widths = [embed_dims + num_heads, *(embed_dims >> step for step in steps)]
        for width in widths:
            if not width or width % min(_GROUPS, width):
                raise ConfigError(
                    f'MaskDecoder: embed_dims={embed_dims} and num_heads={num_heads} give layers of {widths} channels; '
                    f'each must be at least 1 and, from {_GROUPS} on, a multiple of {_GROUPS}'
                )
        self.convs = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1)
            for before, after in zip([widths[0], *widths[:-1]], widths, strict=True)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(min(_GROUPS, width), width) for width in widths)
        self.laterals = nn.ModuleList(
            nn.Conv2d(channels, width, 1) for channels, width in zip(in_channels, widths[1:-1], strict=True)
        )
        self.conv_mask = nn.Conv2d(widths[-1], 1, 3, padding=1)
        for conv in (*self.convs, *self.laterals, self.conv_mask):
            nn.init.kaiming_uniform_(conv.weight, a=1)
            nn.init.zeros_(conv.bias)

    def shared(self, coarse: Tensor, finer: Sequence[Tensor]) -> list[Tensor]:
        """Return the maps that all objects of an image share.

        Args:
            coarse: ``(B, C, h, w)``.
            finer: a ``(B, in_channels[i], h_i, w_i)`` map for each, coarse to fine.

        Returns:
            a ``(B, c, h, w)`` map for the first convolution, where it is not the module's own its input; and one for
            each step.
        """
        conv = self.convs[0]
        first = coarse
        if is_plain_layer(conv, nn.Conv2d):
            first = F.conv2d(coarse, conv.weight[:, : self.embed_dims], conv.bias, padding=1)
        return [first, *(lateral(feat) for lateral, feat in zip(self.laterals, finer, strict=True))]

    def forward(self, shared: Sequence[Tensor], maps: Tensor, image_idx: Tensor) -> Tensor:
        """Return the mask logits of N objects, as fine as the finest map.

        Args:
            shared: the output of ``shared``.
            maps: ``(N, H, h, w)``, attention maps of the objects.
            image_idx: ``(N,)`` int64, the image of each object.

        Returns:
            ``(N, h', w')``.
        """
        conv, coarse = self.convs[0], shared[0].index_select(0, image_idx)
        if is_plain_layer(conv, nn.Conv2d):
            x = F.conv2d(maps, conv.weight[:, self.embed_dims :], padding=1) + coarse
        else:
            x = conv(torch.cat((coarse, maps.to(coarse.dtype)), dim=1))
        x = self.norms[0](x).relu()
        x = self.norms[1](self.convs[1](x)).relu()
        for conv, norm, lateral in zip(self.convs[2:], self.norms[2:], shared[1:], strict=True):
            x = upsample_nearest(x, lateral.shape[-2:]) + lateral.index_select(0, image_idx)
            x = norm(conv(x)).relu()
        return self.conv_mask(x).squeeze(1)  # (N, 1, h', w') -> (N, h', w')
