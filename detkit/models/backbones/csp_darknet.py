"""``CSPDarknet``: the backbone of YOLOv5, YOLOX, YOLOv8, YOLOv10, YOLO11 and YOLO26."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from detkit.registry import BACKBONES

from ..base_module import BaseModule
from ..layers import (
    Activation,
    ConvModule,
    build_block,
    build_downsample,
    per_position,
    scale_blocks,
    scale_channels,
)


@BACKBONES.register_module()
class CSPDarknet(BaseModule):
    """Backbone of a strided stem and stages of one strided convolution and one cross-stage-partial block each.

    ::

        image ── stem /2 ── stage 1 /4 ── stage 2 /8 ── stage 3 /16 ── stage 4 /32
        index      0            1             2              3              4

    The defaults are YOLOv8's (https://github.com/ultralytics/ultralytics, described in its documentation; no paper).
    YOLOv5's is ``stem_kernel_size=6, stage_blocks=(3, 6, 9, 3), block=dict(type='C3', shortcut=True)``; the Focus stem
    of its releases up to 5.0 is the same 6x6 convolution with its weights in another order. In these releases the block
    of the last stage followed the pyramid pooling: ``stage_blocks=(3, 9, 9, 0)``, ``neck=[SPP, LastBlock, PAN]``.
    YOLOX (arXiv:2107.08430) has these layers, too, in its smallest size with ``depthwise=True``.

    Args:
        deepen_factor: multiplies every stage's number of bottlenecks.
        widen_factor: multiplies every number of channels (then rounded up to a multiple of 8).
        max_channels: upper limit of the channels, before the factor.
        in_channels: channels of the image.
        stem_channels: channels of the stem, before the factor.
        stem_kernel_size: kernel of the stem's convolution.
        stem_padding: padding of the stem's convolution; by default the size is halved, and 1 more adds a pixel to it.
        stage_channels: channels of each stage, before the factor.
        stage_blocks: bottlenecks of each stage, before the factor; a stage of 0 consists of its convolution alone.
        block: config of the stages' block, built with ``in_channels, out_channels, num_blocks`` added, or a list of
            one for each stage; ``dict(type='C2f', shortcut=True)`` when left out.
        act: activation of every convolution, see ``ConvModule``; also passed to the block.
        out_indices: which of stem (0) and stages (1, 2, …) are returned; stages after the last of them aren't built.
        conv_channels: channels between the convolution and the block of each stage, before the factor;
            ``stage_channels`` when left out. YOLO11 widens maps in the blocks of its first two stages.
        depthwise: whether the strided convolutions of the stages are ``SeparableConv``s; the blocks have an argument of
            their own.
        downsample: config of the layer that halves the map at the start of a stage, built with ``in_channels`` and
            ``out_channels`` added, or a list of one for each stage; None, also in the list, for one 3x3 convolution.
            YOLOv10 has ``dict(type='SCDown')`` in its last two stages.
        init_cfg: mmengine's initialisation config, e.g. ``dict(type='Pretrained', checkpoint=…)``.

    Attributes:
        out_channels, out_strides: of the maps returned, fine to coarse.

    Shapes: ``(B, in_channels, H, W)`` to a tuple of ``(B, out_channels[i], H / out_strides[i], W / out_strides[i])``.
    """

    def __init__(
        self,
        deepen_factor: float = 1.0,
        widen_factor: float = 1.0,
        max_channels: int | None = 1024,
        in_channels: int = 3,
        stem_channels: int = 64,
        stem_kernel_size: int = 3,
        stem_padding: int | None = None,
        stage_channels: Sequence[int] = (128, 256, 512, 1024),
        stage_blocks: Sequence[int] = (3, 6, 6, 3),
        block: dict | Sequence[dict] | None = None,
        act: Activation = 'SiLU',
        out_indices: Sequence[int] = (2, 3, 4),
        conv_channels: Sequence[int] | None = None,
        depthwise: bool = False,
        downsample: dict | Sequence[dict | None] | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg)
        last = len(stage_blocks)
        conv_channels = stage_channels if conv_channels is None else conv_channels
        for name, given in (('stage_channels', stage_channels), ('conv_channels', conv_channels)):
            if len(given) != last:
                raise ValueError(f'CSPDarknet: {len(given)} {name} but {last} stage_blocks')
        blocks = per_position(block or dict(type='C2f', shortcut=True), last, 'CSPDarknet', 'block')
        downs = per_position(downsample, last, 'CSPDarknet', 'downsample')
        if not out_indices or list(out_indices) != sorted(set(out_indices) & set(range(last + 1))):
            raise ValueError(f'CSPDarknet: out_indices {tuple(out_indices)} must ascend within 0 (stem) … {last}')

        def scaled(channels: Sequence[int]) -> list[int]:
            return [scale_channels(c, widen_factor, max_channels) for c in channels]

        widths, inner_widths = scaled((stem_channels, *stage_channels)), scaled(conv_channels)

        # Half the kernel, less one for an even kernel: 3 -> 1 and 6 -> 2, so that both halve the size.
        if stem_padding is None:
            stem_padding = (stem_kernel_size - 1) // 2
        self.stem = ConvModule(in_channels, widths[0], stem_kernel_size, stride=2, padding=stem_padding, act=act)
        self.stages = nn.ModuleList()
        for index in range(out_indices[-1]):
            before, after = widths[index : index + 2]
            repeats = scale_blocks(stage_blocks[index], deepen_factor) if stage_blocks[index] else 0
            inner = inner_widths[index] if repeats else after
            stage = nn.Sequential(build_downsample(downs[index], before, inner, act, depthwise))
            if repeats:
                stage.append(build_block(blocks[index], inner, after, repeats, act))
            self.stages.append(stage)
        self.out_indices = tuple(out_indices)
        self.out_channels = tuple(widths[i] for i in self.out_indices)
        self.out_strides = tuple(2 ** (i + 1) for i in self.out_indices)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        outputs = []
        for index, layer in enumerate((self.stem, *self.stages)):
            x = layer(x)
            if index in self.out_indices:
                outputs.append(x)
        return tuple(outputs)
