"""The layers of ultralytics' models and the names of their parameters, by family and task."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from detkit.converters.common import KeyTable, Rows
from detkit.converters.model_file import Layer
from detkit.converters.pickled_model import Stages

# Returns the rows of a block, given its names on both sides.
_BlockRows = Callable[[str, str], Rows]

# Each layer's class and its input layers; -1 is the layer before.


def _stage_layers(block: str, count: int = 4) -> tuple[Layer, ...]:
    return (('Conv', -1), *(('Conv', -1), (block, -1)) * count)


def _neck_layers(block: str, coarsest: int, finer: Sequence[int] = (6, 4)) -> tuple[Layer, ...]:
    """Return the layers of the ``PAN`` behind layer ``coarsest``, which joins it with the layers ``finer``."""
    layers: list[Layer] = []
    for stage in finer:
        layers += [('Upsample', -1), ('Concat', [-1, stage]), (block, -1)]
    for step in reversed(range(len(finer))):
        layers += [('Conv', -1), ('Concat', [-1, coarsest + 3 * step]), (block, -1)]
    return tuple(layers)


YOLOV8_CLASSIFIER = (*_stage_layers('C2f'), ('Classify', -1))
YOLOV8_DETECTOR = (*_stage_layers('C2f'), ('SPPF', -1), *_neck_layers('C2f', 9))
YOLOV8_STAGES = Stages('model.0.conv.weight', block_layers=(2, 4, 6, 8), stage_blocks=(3, 6, 6, 3))
YOLOV8_P2_DETECTOR = (*_stage_layers('C2f'), ('SPPF', -1), *_neck_layers('C2f', 9, (6, 4, 2)))
YOLOV8_P6_DETECTOR = (*_stage_layers('C2f', 5), ('SPPF', -1), *_neck_layers('C2', 11, (8, 6, 4)))
_P6_STAGES = dict(
    block_layers=(2, 4, 6, 8, 10),
    convs=('model.1', 'model.3', 'model.5', 'model.7', 'model.9'),
    channels=(64, 128, 256, 512, 768, 1024),
)
YOLOV8_P6_STAGES = YOLOV8_STAGES._replace(stage_blocks=(3, 6, 6, 3, 3), **_P6_STAGES)
_WORLD_LAYERS = (*_stage_layers('C2f'), ('SPPF', -1), *_neck_layers('C2fAttn', 9))
WORLD_V2_DETECTOR = (*_WORLD_LAYERS[:16], ('Conv', 15), *_WORLD_LAYERS[17:])
WORLD_V1_DETECTOR = (*WORLD_V2_DETECTOR[:16], ('ImagePoolingAttn', [15, 12, 9]), *WORLD_V2_DETECTOR[16:])
# Convolutions without an activation.
WORLD_LINEAR = r'.*\.attn\.proj_conv'
YOLO11_CLASSIFIER = (*_stage_layers('C3k2'), ('C2PSA', -1), ('Classify', -1))
YOLO11_DETECTOR = (*_stage_layers('C3k2'), ('SPPF', -1), ('C2PSA', -1), *_neck_layers('C3k2', 10))
YOLO11_STAGES = Stages(
    'model.0.conv.weight', block_layers=(2, 4, 6, 8), stage_blocks=(2, 2, 2, 2), narrow_classifiers=True
)
YOLO26_P2_DETECTOR = (*_stage_layers('C3k2'), ('SPPF', -1), ('C2PSA', -1), *_neck_layers('C3k2', 10, (6, 4, 2)))
YOLO26_P6_DETECTOR = (*_stage_layers('C3k2', 5), ('SPPF', -1), ('C2PSA', -1), *_neck_layers('C3k2', 12, (8, 6, 4)))
YOLO26_P6_STAGES = YOLO11_STAGES._replace(stage_blocks=(2, 2, 2, 2, 2), **_P6_STAGES)
# Layers whose blocks are bottlenecks in the small sizes, and C3k in the others; all other blocks are C3k.
YOLO11_CHOICES = (2, 4, 13, 16, 19)
# Convolutions without an activation.
YOLO11_LINEAR = r'.*\.(attn\.(qkv|proj|pe)|ffn\.1)'

YOLOV10_DETECTOR: tuple[Layer, ...] = (
    ('Conv', -1), ('Conv', -1), ('C2f', -1), ('Conv', -1), ('C2f', -1), ('SCDown', -1), ('C2f', -1), ('SCDown', -1),
    ('C2f', -1), ('SPPF', -1), ('PSA', -1),
    *((('SCDown', -1) if number == 20 else layer) for number, layer in enumerate(_neck_layers('C2f', 10), 11)),
)  # fmt: skip
YOLOV10_STAGES = Stages(
    'model.0.conv.weight',
    block_layers=(2, 4, 6, 8),
    stage_blocks=(3, 6, 6, 3),
    convs=('model.1', 'model.3', 'model.5.cv1', 'model.7.cv1'),
)
# Layers whose block may be a C2fCIB, and their names in detkit's config.
YOLOV10_CHOICES = {6: 'stage3', 8: 'stage4', 13: 'up', 19: 'down', 22: 'last'}
# Convolutions without an activation.
YOLOV10_LINEAR = rf'{YOLO11_LINEAR}|model\.(5|7|20)\.cv2|.*\.cv1\.2\.conv1?'


# Names of parameters. A table serves all sizes, which differ in widths and repeats only.


def _c2f(theirs: str, ours: str) -> Rows:
    return (
        (f'{theirs}.cv1', f'{ours}.in_conv'),
        (f'{theirs}.cv2', f'{ours}.out_conv'),
        (f'{theirs}.m.{{}}.cv{{}}', f'{ours}.blocks.{{}}.conv{{}}'),
    )


_CONV_KEYS: Rows = (
    ('model.0', 'backbone.stem'),
    ('model.1', 'backbone.stages.0.0'),
    ('model.3', 'backbone.stages.1.0'),
    ('model.5', 'backbone.stages.2.0'),
    ('model.7', 'backbone.stages.3.0'),
)
_STAGE_KEYS: Rows = (
    *_CONV_KEYS,
    *_c2f('model.2', 'backbone.stages.0.1'),
    *_c2f('model.4', 'backbone.stages.1.1'),
    *_c2f('model.6', 'backbone.stages.2.1'),
    *_c2f('model.8', 'backbone.stages.3.1'),
)

_SPPF_KEYS: Rows = (('model.9.cv1', 'neck.0.in_conv'), ('model.9.cv2', 'neck.0.out_conv'))

_DETECTOR_KEYS: Rows = (
    *_STAGE_KEYS,
    *_SPPF_KEYS,
    ('model.16', 'neck.1.down_convs.0'),
    ('model.19', 'neck.1.down_convs.1'),
    *_c2f('model.12', 'neck.1.up_blocks.1'),
    *_c2f('model.15', 'neck.1.up_blocks.0'),
    *_c2f('model.18', 'neck.1.down_blocks.0'),
    *_c2f('model.21', 'neck.1.down_blocks.1'),
)

_DFL = r'model\.\d+\.dfl\.'  # the fixed weights of its integral, which detkit computes without parameters
_TASK_BRANCHES = {'seg': 'coeff_branches', 'pose': 'keypoint_branches', 'obb': 'angle_branches'}


def _head(task: str, layer: int) -> Rows:
    """Return the rows of a detection head."""
    rows = (
        (f'model.{layer}.cv2.{{}}.{{}}', 'head.bbox_branches.{}.{}'),
        (f'model.{layer}.cv3.{{}}.{{}}', 'head.cls_branches.{}.{}'),
    )
    if task in _TASK_BRANCHES:
        rows += ((f'model.{layer}.cv4.{{}}.{{}}', f'head.{_TASK_BRANCHES[task]}.{{}}.{{}}'),)
    if task == 'seg':
        rows += _prototypes(f'model.{layer}')
    return rows


def _prototypes(theirs: str) -> Rows:
    return (
        *((f'{theirs}.proto.cv{i}', f'head.proto.conv{i}') for i in (1, 2, 3)),
        (f'{theirs}.proto.upsample', 'head.proto.upsample'),
    )


YOLOV8_KEYS: dict[str, KeyTable] = {
    **{task: KeyTable((*_DETECTOR_KEYS, *_head(task, 22)), _DFL) for task in ('det', 'seg', 'pose', 'obb')},
    'cls': KeyTable((*_STAGE_KEYS, ('model.9.conv', 'head.conv'), ('model.9.linear', 'head.fc_cls'))),
}


def _c3k2(theirs: str, ours: str) -> Rows:
    """Return the rows of a block of ``C3k``."""
    inner, mine = f'{theirs}.m.{{}}', f'{ours}.blocks.{{}}'
    return (
        (f'{inner}.m.{{}}.cv{{}}', f'{mine}.blocks.{{}}.conv{{}}'),
        (f'{inner}.cv1', f'{mine}.main_conv'),
        (f'{inner}.cv2', f'{mine}.side_conv'),
        (f'{inner}.cv3', f'{mine}.out_conv'),
        *_c2f(theirs, ours)[:2],
    )


def _psa(theirs: str, ours: str) -> Rows:
    return (
        (f'{theirs}.attn.qkv', f'{ours}.attention.qkv'),
        (f'{theirs}.attn.proj', f'{ours}.attention.out_conv'),
        (f'{theirs}.attn.pe', f'{ours}.attention.position'),
        (f'{theirs}.ffn.{{}}', f'{ours}.feedforward.{{}}'),
    )


def _c2psa(theirs: str, ours: str) -> Rows:
    return (*_psa(f'{theirs}.m.{{}}', f'{ours}.blocks.{{}}'), *_c2f(theirs, ours)[:2])


# The layers of a detector that are no repeated blocks.
_YOLO11_LAYERS: Rows = (
    *_CONV_KEYS,
    *_SPPF_KEYS,
    *_c2psa('model.10', 'neck.1.block'),
    ('model.17', 'neck.2.down_convs.0'),
    ('model.20', 'neck.2.down_convs.1'),
)
# Block layers of the stages and of the neck, with detkit's names.
_YOLO11_BLOCKS = {
    2: 'backbone.stages.0.1',
    4: 'backbone.stages.1.1',
    6: 'backbone.stages.2.1',
    8: 'backbone.stages.3.1',
    13: 'neck.2.up_blocks.1',
    16: 'neck.2.up_blocks.0',
    19: 'neck.2.down_blocks.0',
    22: 'neck.2.down_blocks.1',
}


def _attention(theirs: str, ours: str) -> Rows:
    """Return the rows of a ``C3k2`` of bottlenecks followed by attention."""
    return (
        (f'{theirs}.m.{{}}.0.cv{{}}', f'{ours}.blocks.{{}}.0.conv{{}}'),
        *_psa(f'{theirs}.m.{{}}.1', f'{ours}.blocks.{{}}.1'),
        *_c2f(theirs, ours)[:2],
    )


def _yolo26_head(task: str, layer: int = 23) -> Rows:
    """Return the rows of a head with two kinds of branches; what both share is not named after either."""
    rows: Rows = ()
    for prefix, ours in (('', 'head'), ('one2one_', 'head.one_to_one')):
        theirs = f'model.{layer}.{prefix}'
        rows += (
            (f'{theirs}cv2.{{}}.{{}}', f'{ours}.bbox_branches.{{}}.{{}}'),
            (f'{theirs}cv3.{{}}.{{}}', f'{ours}.cls_branches.{{}}.{{}}'),
        )
        if task in _TASK_BRANCHES:
            rows += ((f'{theirs}cv4.{{}}.{{}}', f'{ours}.{_TASK_BRANCHES[task]}.{{}}.{{}}'),)
        if task == 'pose':
            rows += (
                (f'{theirs}cv4_kpts.{{}}', f'{ours}.position_branches.{{}}'),
                (f'{theirs}cv4_sigma.{{}}', f'{ours}.deviation_branches.{{}}'),
            )
    if task == 'pose':
        rows += (
            ('model.23.flow_model.s.{}.{}', 'head.loss_rle.flow.scale_nets.{}.{}'),
            ('model.23.flow_model.t.{}.{}', 'head.loss_rle.flow.shift_nets.{}.{}'),
        )
    if task == 'seg':
        rows += (
            *_prototypes('model.23'),
            ('model.23.proto.feat_refine.{}', 'head.level_sum.convs.{}'),
            ('model.23.proto.feat_fuse', 'head.proto_in'),
            ('model.23.proto.semseg.{}', 'head.semantic_cls.{}'),
        )
    return rows


def _c2f_or_cib(theirs: str, ours: str) -> Rows:
    """Return the rows of a ``C2f`` or a ``C2fCIB``, whose names differ."""
    inner, mine = f'{theirs}.m.{{}}.cv1', f'{ours}.blocks.{{}}'
    return (
        *((f'{inner}.2.conv.{name}', f'{mine}.2.branch7.{name}') for name in ('conv', 'bn')),
        (f'{inner}.2.conv1', f'{mine}.2.branch3'),
        (f'{inner}.{{}}', f'{mine}.{{}}'),
        *_c2f(theirs, ours),
    )


def _scdown(theirs: str, ours: str) -> Rows:
    return (f'{theirs}.cv1', f'{ours}.0'), (f'{theirs}.cv2', f'{ours}.1')


def yolov10_keys() -> KeyTable:
    """Return the names of a YOLOv10 detector."""
    rows: Rows = (
        *_CONV_KEYS[:3],
        *_scdown('model.5', 'backbone.stages.2.0'),
        *_scdown('model.7', 'backbone.stages.3.0'),
        *_SPPF_KEYS,
        *_psa('model.10', 'neck.1.block.blocks.0'),
        *_c2f('model.10', 'neck.1.block')[:2],
        ('model.17', 'neck.2.down_convs.0'),
        *_scdown('model.20', 'neck.2.down_convs.1'),
    )
    for layer, ours in _YOLO11_BLOCKS.items():
        rows += _c2f_or_cib(f'model.{layer}', ours)
    return KeyTable((*rows, *_yolo26_head('det')), _DFL)


# The normal distribution and the masks of a flow, which detkit computes without buffers.
_FLOW = r'model\.23\.flow_model\.(loc|cov|mask)'


def yolo26_keys(task: str, inner: str) -> KeyTable:
    """Return the names of a YOLO26.

    Args:
        task: 'det', …
        inner: the inner block of the first two stages: 'bottleneck' or 'c3k'.
    """
    if task == 'cls':
        return yolo11_keys(task, inner)
    blocks: Rows = ()
    for layer, ours in _YOLO11_BLOCKS.items():
        rows = _c2f if layer in (2, 4) and inner == 'bottleneck' else _attention if layer == 22 else _c3k2
        blocks += rows(f'model.{layer}', ours)
    return KeyTable((*_YOLO11_LAYERS, *blocks, *_yolo26_head(task)), _FLOW)


def yolo11_keys(task: str, inner: str) -> KeyTable:
    """Return the names of a YOLO11.

    Args:
        task: 'det', …
        inner: the inner block of the layers ``YOLO11_CHOICES``: 'bottleneck' or 'c3k'.
    """
    blocks: Rows = ()
    for layer, ours in _YOLO11_BLOCKS.items():
        rows = _c2f if layer in YOLO11_CHOICES and inner == 'bottleneck' else _c3k2
        if task != 'cls' or layer <= 8:
            blocks += rows(f'model.{layer}', ours)
    if task == 'cls':
        head = ('model.10.conv', 'head.conv'), ('model.10.linear', 'head.fc_cls')
        return KeyTable((*_CONV_KEYS, *blocks, *_c2psa('model.9', 'neck.0.block'), *head))
    return KeyTable((*_YOLO11_LAYERS, *blocks, *_head(task, 23)), _DFL)


def _levels(
    num_stages: int,
    neck: int,
    stages: Sequence[Callable[[str, str], Rows]],
    blocks: Sequence[Callable[[str, str], Rows]],
) -> tuple[Rows, int]:
    """Return the rows of a detector with four levels but for its head's and its attention's, and its head's layer.

    Args:
        num_stages: 4, or 5 with one of stride 64.
        neck: index of the PAN; each neck is a layer.
        stages: return the rows of each stage's block.
        blocks: likewise of the six blocks of the neck, in the order in which they run.
    """
    rows: Rows = (('model.0', 'backbone.stem'),)
    for index, block in enumerate(stages[:num_stages]):
        layer, ours = 2 * index + 1, f'backbone.stages.{index}'
        rows += ((f'model.{layer}', f'{ours}.0'), *block(f'model.{layer + 1}', f'{ours}.1'))
    layer = 2 * num_stages + 1
    rows += ((f'model.{layer}.cv1', 'neck.0.in_conv'), (f'model.{layer}.cv2', 'neck.0.out_conv'))
    layer += neck - 1
    for step, block in zip((2, 1, 0), blocks[:3], strict=True):
        layer += 3
        rows += block(f'model.{layer}', f'neck.{neck}.up_blocks.{step}')
    for step, block in enumerate(blocks[3:]):
        layer += 3
        rows += ((f'model.{layer - 2}', f'neck.{neck}.down_convs.{step}'),)
        rows += block(f'model.{layer}', f'neck.{neck}.down_blocks.{step}')
    return rows, layer + 1


def yolov8_level_keys(num_stages: int, task: str = 'det') -> KeyTable:
    """Return the names of a YOLOv8 model of four levels, with 4 stages (P2) or 5 (P6)."""
    rows, head = _levels(num_stages, 1, [_c2f] * 5, [_c2f] * 6)
    return KeyTable((*rows, *_head(task, head)), _DFL)


def yolo26_level_keys(num_stages: int, inner: str) -> KeyTable:
    """Return the names of a YOLO26 detector of four levels; ``num_stages`` as above, ``inner`` as ``yolo26_keys``."""
    first = _c2f if inner == 'bottleneck' else _c3k2
    rows, head = _levels(num_stages, 2, [first] * 2 + [_c3k2] * 3, [_c3k2] * 5 + [_attention])
    return KeyTable((*rows, *_c2psa(f'model.{2 * num_stages + 2}', 'neck.1.block'), *_yolo26_head('det', head)))


def _text_c2f(theirs: str, ours: str) -> Rows:
    """Return the rows of a ``TextC2f``."""
    attention, mine = f'{theirs}.attn', f'{ours}.attention'
    return (
        (f'{attention}.gl', f'{mine}.guide'),
        (f'{attention}.proj_conv', f'{mine}.conv'),
        (attention, mine),
        *_c2f(theirs, ours),
    )


def world_keys(version: int) -> KeyTable:
    """Return the names of a YOLO-World detector of version 1, with image pooling attention, or 2."""
    later = 1 if version == 1 else 0  # the layers behind image pooling attention
    head = f'model.{22 + later}'
    pooling = tuple(
        (f'model.16.{name}{more}', f'neck.1.image_pooling.{name}{more}')
        for name, more in (('query', '.{}'), ('key', '.{}'), ('value', '.{}'), ('projections', '.{}'), ('proj', ''))
    )
    rows = (
        *_STAGE_KEYS,
        *_SPPF_KEYS,
        *_text_c2f('model.12', 'neck.1.up_blocks.1'),
        *_text_c2f('model.15', 'neck.1.up_blocks.0'),
        *(pooling if version == 1 else ()),
        (f'model.{16 + later}', 'neck.1.down_convs.0'),
        *_text_c2f(f'model.{18 + later}', 'neck.1.down_blocks.0'),
        (f'model.{19 + later}', 'neck.1.down_convs.1'),
        *_text_c2f(f'model.{21 + later}', 'neck.1.down_blocks.1'),
        (f'{head}.cv2.{{}}.{{}}', 'head.bbox_branches.{}.{}'),
        (f'{head}.cv3.{{}}.{{}}', 'head.embed_branches.{}.{}'),
        (f'{head}.cv4.{{}}', 'head.contrasts.{}'),
    )
    return KeyTable(rows, rf'{_DFL}|clip_model\.')
