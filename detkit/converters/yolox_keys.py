"""The names of YOLOX's parameters: of its authors and of detkit."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from detkit.converters.common import KeyTable, Rows
from detkit.converters.yolov5 import focus_to_conv

STEM_WEIGHT = 'backbone.stem.conv.weight'
# The authors' names of it: of the stacked 2x2 pixels, and on Darknet-53.
FOCUS_WEIGHT = 'backbone.backbone.stem.conv.conv.weight'
DARKNET_WEIGHT = 'backbone.backbone.stem.0.conv.weight'


def _conv(theirs: str, ours: str) -> Rows:
    """Return the rows of a convolution that in the smallest size is a depthwise one and a 1x1."""
    return (f'{theirs}.dconv', f'{ours}.0'), (f'{theirs}.pconv', f'{ours}.1'), (theirs, ours)


def _csp(theirs: str, ours: str) -> Rows:
    return (
        (f'{theirs}.conv1', f'{ours}.main_conv'),
        (f'{theirs}.conv2', f'{ours}.side_conv'),
        (f'{theirs}.conv3', f'{ours}.out_conv'),
        (f'{theirs}.m.{{}}.conv1', f'{ours}.blocks.{{}}.conv1'),
        *_conv(f'{theirs}.m.{{}}.conv2', f'{ours}.blocks.{{}}.conv2'),
    )


def _spp(theirs: str, ours: str) -> Rows:
    return (f'{theirs}.conv1', f'{ours}.in_conv'), (f'{theirs}.conv2', f'{ours}.out_conv')


_HEAD: Rows = (
    ('head.stems.{}', 'head.stems.{}'),
    *_conv('head.cls_convs.{}.{}', 'head.cls_towers.{}.{}'),
    *_conv('head.reg_convs.{}.{}', 'head.bbox_towers.{}.{}'),
    ('head.cls_preds.{}', 'head.cls_convs.{}'),
    ('head.reg_preds.{}', 'head.bbox_convs.{}'),
    ('head.obj_preds.{}', 'head.obj_convs.{}'),
)
_DARKNET_STAGES = tuple((f'backbone.backbone.dark{number}', f'backbone.stages.{number - 1}') for number in range(2, 6))

# The key says whether the backbone is Darknet-53.
YOLOX_KEYS: dict[bool, KeyTable] = {
    False: KeyTable(
        (
            ('backbone.backbone.stem.conv', 'backbone.stem'),
            *(
                row
                for stage in range(4)
                for row in _conv(f'backbone.backbone.dark{stage + 2}.0', f'backbone.stages.{stage}.0')
            ),
            *(
                row
                for stage in range(3)
                for row in _csp(f'backbone.backbone.dark{stage + 2}.1', f'backbone.stages.{stage}.1')
            ),
            *_spp('backbone.backbone.dark5.1', 'neck.0'),
            *_csp('backbone.backbone.dark5.2', 'neck.1.block'),
            ('backbone.lateral_conv0', 'neck.2.reduce_convs.1'),
            ('backbone.reduce_conv1', 'neck.2.reduce_convs.0'),
            *_csp('backbone.C3_p4', 'neck.2.up_blocks.1'),
            *_csp('backbone.C3_p3', 'neck.2.up_blocks.0'),
            *_conv('backbone.bu_conv2', 'neck.2.down_convs.0'),
            *_conv('backbone.bu_conv1', 'neck.2.down_convs.1'),
            *_csp('backbone.C3_n3', 'neck.2.down_blocks.0'),
            *_csp('backbone.C3_n4', 'neck.2.down_blocks.1'),
            *_HEAD,
        )
    ),
    True: KeyTable(
        (
            ('backbone.backbone.stem.0', 'backbone.stem'),
            ('backbone.backbone.stem.1', 'backbone.stages.0.0'),
            ('backbone.backbone.stem.2.layer{}', 'backbone.stages.0.1.conv{}'),
            # The last stage ends with the neck's first convolutions.
            *((f'backbone.backbone.dark5.{place}', f'neck.0.sets.2.{place - 5}') for place in (5, 6, 8, 9)),
            *_spp('backbone.backbone.dark5.7', 'neck.0.sets.2.2'),
            *((f'{theirs}.{{}}.layer{{}}', f'{ours}.{{}}.conv{{}}') for theirs, ours in _DARKNET_STAGES),
            *((f'{theirs}.0', f'{ours}.0') for theirs, ours in _DARKNET_STAGES),
            ('backbone.out1_cbl', 'neck.0.up_convs.1'),
            ('backbone.out2_cbl', 'neck.0.up_convs.0'),
            ('backbone.out1.{}', 'neck.0.sets.1.{}'),
            ('backbone.out2.{}', 'neck.0.sets.0.{}'),
            *_HEAD,
        )
    ),
}


def is_darknet(names: Mapping[str, Tensor]) -> bool | None:
    """Return whether weights of the authors' layout are of YOLOX on Darknet-53; None where they are of no YOLOX."""
    if not any(name.startswith('head.obj_preds.') for name in names):
        return None
    return True if DARKNET_WEIGHT in names else False if FOCUS_WEIGHT in names else None


def stem_kernel(weight: Tensor) -> Tensor:
    """Return the kernel ``(N, 3, k, k)`` of detkit's first convolution for an authors' kernel.

    The authors' images are BGR, detkit's RGB. A kernel of 12 channels convolves stacked 2x2 pixels, which one of twice
    the size does on the pixels themselves, see ``focus_to_conv``.
    """
    return (focus_to_conv(weight) if weight.shape[1] == 12 else weight).flip(1)


def convert_state(state: Mapping[str, Tensor], darknet: bool) -> dict[str, Tensor]:
    """Return the authors' state dict under detkit's names, in detkit's form.

    Raises:
        KeyError: a name is unknown.
    """
    converted = YOLOX_KEYS[darknet].convert(state)
    return {**converted, STEM_WEIGHT: stem_kernel(converted[STEM_WEIGHT])}
