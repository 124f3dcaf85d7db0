"""``TextPAN``: a path aggregation network that is guided by texts."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from detkit.registry import NECKS
from detkit.utils.errors import ConfigError

from ..base_module import with_children
from ..layers import Activation, ImagePoolingAttention, TextC2f
from .pan import PAN


@NECKS.register_module()
class TextPAN(PAN):
    """``PAN`` whose blocks take the embeddings of texts (RepVL-PAN of YOLO-World, https://arxiv.org/abs/2401.17270).

    ::

        texts ─────┬──────────────── [image pooling attention] ──┐
                   ▼                            ▲                ▼
        feats ── blocks upwards ────────────────┴──────── blocks downwards ──►

    Args:
        in_channels, in_strides, out_channels, num_blocks, deepen_factor, act, init_cfg: see ``PAN``.
        block: config of the blocks, which follow ``TextBlock``; ``dict(type='TextC2f')`` when left out.
        text_dims: D, length of a text's embedding; wired from the detector's text encoder.
        image_pooling: arguments of ``ImagePoolingAttention``, through which the texts see the image before the blocks
            downwards take them, as in the first version of YOLO-World; None for none.
    """

    needs_texts = True

    def __init__(
        self,
        in_channels: Sequence[int],
        in_strides: Sequence[int] | None = None,
        out_channels: Sequence[int] | None = None,
        num_blocks: int = 3,
        deepen_factor: float = 1.0,
        block: dict | None = None,
        act: Activation = 'SiLU',
        text_dims: int = 512,
        image_pooling: dict | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        block = {'text_dims': text_dims, **(block or dict(type='TextC2f'))}
        super().__init__(
            in_channels, in_strides, out_channels, num_blocks, deepen_factor, block, act=act, init_cfg=init_cfg
        )
        self.text_dims = text_dims
        coarsest = in_channels[-1]
        self.image_pooling = (
            None
            if image_pooling is None
            else _pooling((*self.out_channels[:-1], coarsest), text_dims=text_dims, **image_pooling)
        )

    def forward(self, feats: tuple[Tensor, ...], texts: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return a map for each level; texts ``(T, D)``, None where they are folded into the blocks."""
        maps = self._up(list(feats), texts)
        if self.image_pooling is not None:
            texts = self.image_pooling(maps, texts)
        return self._down(maps, texts)

    def folded(self, texts: Tensor) -> TextPAN:
        """Return the neck for fixed texts ``(T, D)``, which takes none; it shares all other weights.

        A neck with image pooling is returned as it is, as its texts depend on the image.
        """
        blocks = [*self.up_blocks, *self.down_blocks]
        if self.image_pooling is not None or not all(isinstance(block, TextC2f) for block in blocks):
            return self
        groups = [nn.ModuleList(block.folded(texts) for block in group) for group in (self.up_blocks, self.down_blocks)]
        folded = with_children(self, up_blocks=groups[0], down_blocks=groups[1])
        folded.needs_texts = False
        return folded


def _pooling(in_channels: Sequence[int], **arguments) -> ImagePoolingAttention:
    try:
        return ImagePoolingAttention(in_channels, **arguments)
    except TypeError as error:
        raise ConfigError(f'TextPAN: image_pooling takes embed_dims and num_heads; {error}') from error
