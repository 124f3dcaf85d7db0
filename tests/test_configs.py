"""Every config that comes with detkit: loads strictly, builds, makes a training step and a prediction.

By default so many that every task of a family and every base file is among them; all are slow.
"""

import ast
from functools import cache
from pathlib import Path

import pytest
import torch
from coverings import cover, slow_unless
from tiny_configs import load_tiny

from detkit.config import literal_text, load_config, resolved_text
from detkit.config.keys import TOP_LEVEL_KEYS
from detkit.config.source import read_source
from detkit.datasets import build_dataloader
from detkit.engine.optim_constructor import resolve_optimizer
from detkit.registry import DATASETS, DETECTORS, HEADS, HOOKS, OPTIM_WRAPPER_CONSTRUCTORS
from detkit.utils.errors import ConfigError
from detkit.utils.without_memory import without_memory

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
PATHS = sorted(path for path in CONFIGS.rglob('*.py') if '_base_' not in path.parts)
# What a detector's step must report, by family.
LOSSES = {
    'deim': {'loss_cls', 'loss_box', 'loss_giou', 'loss_aux', 'loss_enc', 'loss_dn'},
    'deimv2': {'loss_cls', 'loss_box', 'loss_giou', 'loss_aux', 'loss_enc', 'loss_dn'},
    'detr': {'loss_cls', 'loss_box', 'loss_giou', 'loss_aux'},
    'dfine': {'loss_cls', 'loss_box', 'loss_giou', 'loss_dfl', 'loss_aux', 'loss_enc', 'loss_distill', 'loss_dn'},
    'rfdetr': {'loss_cls', 'loss_box', 'loss_giou', 'loss_aux', 'loss_enc'},
    'rtdetr': {'loss_cls', 'loss_box', 'loss_giou', 'loss_aux', 'loss_enc', 'loss_dn'},
    'retinanet': {'loss_box', 'loss_cls'},
    'fcos': {'loss_box', 'loss_cls', 'loss_centerness'},
    **dict.fromkeys(
        ('faster_rcnn', 'mask_rcnn', 'keypoint_rcnn'), {'loss_rpn_cls', 'loss_rpn_box', 'loss_box', 'loss_cls'}
    ),
    'yolov3': {'loss_box', 'loss_cls', 'loss_obj'},
    'yolov5': {'loss_box', 'loss_cls', 'loss_obj'},
    'yolox': {'loss_box', 'loss_cls', 'loss_obj', 'loss_l1'},
    'yolov8': {'loss_box', 'loss_cls', 'loss_dfl'},
    'yolo11': {'loss_box', 'loss_cls', 'loss_dfl'},
    'yolo26': {'loss_box', 'loss_cls', 'loss_dfl'},
    'yolov10': {'loss_box', 'loss_cls', 'loss_dfl'},
    'yolo_world': {'loss_box', 'loss_cls', 'loss_dfl'},
}


# Families on a feature pyramid; their configs but the small ones have ResNet-50.
PYRAMIDS = ('retinanet', 'fcos', 'faster_rcnn', 'mask_rcnn', 'keypoint_rcnn')


def values_of(path, name: str) -> list[ast.expr]:
    """Return the values that a file assigns to a name, one an assignment."""
    statements = [each for each in read_source(path).tree.body if isinstance(each, ast.Assign)]
    return [each.value for each in statements if getattr(each.targets[0], 'id', '') == name]


@cache
def files_of(path) -> tuple[Path, ...]:
    """A config and its base files, the nearest first."""
    bases = [ast.literal_eval(value) for value in values_of(path, '_base_')]
    names = [name for base in bases for name in ([base] if isinstance(base, str) else base)]
    return path, *(file for name in names for file in files_of((path.parent / name).resolve()))


def parts_of(path) -> set:
    """What a config has in common with others: its base files, and its family and task."""
    return {path.parent.name + path.stem.split('_')[0], *files_of(path)[1:]}


def sizes_of(path) -> tuple[str, ...]:
    """The keys of the dict ``sizes`` that one of a config's files writes."""
    values = [value for file in files_of(path) for value in values_of(file, 'sizes')]
    keywords = values[0].keywords if values else []
    return tuple(  # dict(n=..., **{'2xl': ...})
        name for each in keywords for name in ([each.arg] if each.arg else map(ast.literal_eval, each.value.keys))
    )


def is_large(path) -> bool:
    large = path.parent.name == 'yolov3' and path.stem != 'det_spp_coco8'
    large |= path.parent.name == 'rfdetr' and path.stem in ('det_coco', 'seg_coco')  # the others have the same models
    large |= path.parent.name in ('dfine', 'deim', 'deimv2') and path.stem.endswith('_coco')
    large |= path.parent.name in ('yolo11', 'yolo26', 'yolov10', 'yolo_world') and path.stem.endswith(
        ('_custom', '_coco', '_imagenet', '_dota')
    )
    large |= path.parent.name == 'rtdetr' and path.stem in ('det_coco', 'det_v2_coco', 'det_voc', 'seg_coco')
    large |= path.parent.name in PYRAMIDS and 'coco8' not in path.stem
    return large


def some(paths: list) -> list:
    """All configs, slow but for some of ``paths`` that together have all the parts of these."""
    chosen = {paths[index] for index in cover(paths, parts_of)}
    return [slow_unless(path in chosen, path, id=str(path.relative_to(CONFIGS))) for path in PATHS]


@pytest.fixture(scope='module')
def options(tiny_data):
    return dict(data_root=str(tiny_data), img_size=64, num_workers=0, batch_size=2)


@pytest.mark.default_cases(6)
@pytest.mark.parametrize('path', some([path for path in PATHS if not is_large(path)]))
def test_config_trains_and_predicts(path, options):
    torch.manual_seed(0)
    small = [size for size in sizes_of(path) if size in ('r18', 'tiny') and path.parent.name != 'yolox']
    cfg = load_tiny(path, {**options, 'size': small[0]} if small else options)
    cfg.model.backbone.pop('weights', None)  # would be downloaded
    model = DETECTORS.build(cfg.model)
    model.init_weights()
    optim_cfg = resolve_optimizer(cfg.optim_wrapper, batch_size=2, num_iters=100, num_classes=80)
    constructor = dict(
        type=optim_cfg.pop('constructor'),
        paramwise_cfg=optim_cfg.pop('paramwise_cfg', None),
        optim_wrapper_cfg=optim_cfg,
    )
    optim_wrapper = OPTIM_WRAPPER_CONSTRUCTORS.build(constructor)(model)
    optim_wrapper.current_accumulate = 1
    for hook in filter(None, cfg.default_hooks.values()):
        HOOKS.build(hook)

    before = model.backbone.state_dict()
    before = {name: value.clone() for name, value in before.items() if value.is_floating_point()}
    model.train()
    batch = next(iter(build_dataloader(cfg.train_dataloader, seed=0)))
    losses = model.train_step(batch, optim_wrapper)
    assert ({'loss_cls'} if cfg.task == 'cls' else LOSSES[path.parent.name]) <= losses.keys()
    masks = cfg.task in ('seg', 'panoptic')
    mask_losses = (
        {'loss_mask', 'loss_dice'} if path.parent.name in ('detr', 'dfine', 'rfdetr', 'rtdetr') else {'loss_seg'}
    )
    mask_losses = {'loss_mask'} if path.parent.name == 'mask_rcnn' else mask_losses
    assert mask_losses & losses.keys() == (mask_losses if masks else set())
    assert ('loss_pose' in losses) == (cfg.task == 'pose')
    assert ('loss_angle' in losses) == (cfg.task == 'obb')
    assert all(torch.isfinite(value).all() for value in losses.values())
    after = model.backbone.state_dict()
    assert any(not torch.equal(value, after[name]) for name, value in before.items())

    model.eval()
    batch = next(iter(build_dataloader(cfg.val_dataloader, seed=0)))
    with torch.no_grad():
        samples = model.val_step(batch)
    assert len(samples) == 2
    for sample in samples:
        if cfg.task == 'cls':
            assert len(sample.pred_scores) == cfg.model.head.num_classes
            assert sample.pred_label == sample.pred_scores.argmax() and sample.gt_label in (0, 1)
            continue
        predicted = sample.pred_instances
        assert len(predicted.bboxes) == len(predicted.scores) == len(predicted.labels)
        assert ('masks' in predicted) == masks
        assert ('pred_panoptic' in sample) == (cfg.task == 'panoptic')
        assert ('rbboxes' in predicted) == ('rbboxes' in sample.gt_instances) == (cfg.task == 'obb')
        if cfg.task == 'pose':
            num_keypoints = cfg.model.head.get('keypoint_shape', (17,))[0]
            assert predicted.keypoints.shape == (len(predicted.bboxes), num_keypoints, 2)
        assert len(sample.gt_instances.bboxes) == 2 or 'panoptic' in path.stem


@cache
def load_default(path):
    return load_config(path, need_classes=False)


@pytest.mark.parametrize('path', PATHS, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_config_loads_strictly(path):
    cfg = load_default(path)
    assert tuple(cfg.get('sizes', ())) == sizes_of(path)
    assert cfg.model.type in DETECTORS and cfg.task == ('det' if 'det_' in path.stem else path.stem.split('_')[0])


@pytest.mark.parametrize('path', PATHS, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_gradients_are_combined_as_the_losses_of_the_head_are(path):
    """Otherwise a step depends on the number of batches and processes; ultralytics' classifiers are made so."""
    cfg = load_default(path)
    reduction = HEADS.get(cfg.model.head.type).loss_reduction
    if cfg.task == 'cls' and path.parent.name != 'yolov5':
        reduction = 'sum'
    assert cfg.optim_wrapper.get('reduction', 'sum') == reduction


def every_size():
    """The sizes of every config; by default each table of a family once, and of its other tasks the last size."""
    known = set()
    for path in PATHS:
        sizes = sizes_of(path)
        table, task = (path.parent.name, sizes), (path.parent.name, sizes, path.stem.split('_')[0])
        for size in sizes:
            first = table not in known or (task not in known and size == sizes[-1])
            yield slow_unless(first, path, size, id=f'{path.relative_to(CONFIGS)}-{size}')
        known |= {table, task}


@pytest.mark.default_cases(17)
@pytest.mark.parametrize(('path', 'size'), list(every_size()))
def test_every_size_builds_and_differs(path, size):
    default, cfg = load_default(path), load_config(path, {'size': size}, need_classes=False)
    assert (cfg.model == default.model) == (size == default.size)
    if size != default.size and cfg.model.head.get('num_classes') is not None:
        return  # it was built when it was loaded
    cfg.model.backbone.pop('weights', None)
    with without_memory():  # no memory, no initial values: only names and shapes count
        model = DETECTORS.build(
            dict(cfg.model, head=dict(cfg.model.head, num_classes=cfg.model.head.get('num_classes', 3)))
        )
    # D-FINE holds two constants as its authors do.
    frozen = [name for name, param in model.head.named_parameters() if not param.requires_grad]
    assert all(name.startswith('decoder.bin_scale.') for name in frozen)


@pytest.mark.default_cases(2)
@pytest.mark.parametrize(
    ('names', 'folder', 'own'),
    [
        ('yolov8/det_coco yolov8/seg_coco yolo11/seg_coco yolov5/det_coco yolov3/det_coco', '', dict(classes=None)),
        ('detr/det_coco rfdetr/det_coco rtdetr/det_coco', '', dict(classes=None, keep_category_ids=False)),
        ('yolov8/det_voc yolov5/det_voc yolov3/det_voc detr/det_voc rtdetr/det_voc', 'voc', dict(classes=None)),
        (
            'yolov8/det_custom yolov8/seg_custom yolo11/det_custom yolo26/det_custom yolov5/det_custom '
            'yolov3/det_custom detr/det_custom rfdetr/det_custom rtdetr/det_custom dfine/det_custom deim/det_custom '
            'deimv2/det_custom',
            '',
            dict(data_yaml='data.yaml'),
        ),
        ('yolov8/pose_custom', 'pose_custom', dict(data_yaml='data.yaml')),
        ('yolov8/obb_custom', 'obb', dict(data_yaml='data.yaml')),
        ('yolov8/obb_dota', 'dota', dict(classes=('plane', 'ship'))),
        ('yolov8/cls_custom yolov5/cls_custom', 'custom', {}),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_own_data_needs_options_alone(names, folder, own, options):
    for name in names.split():
        cfg = load_config(
            CONFIGS / f'{name}.py', {**options, **own, 'data_root': f'{options["data_root"]}/{folder}'.rstrip('/')}
        )
        datasets = [DATASETS.build(loader.dataset) for loader in (cfg.train_dataloader, cfg.val_dataloader)]
        classes = datasets[0].metainfo['classes']
        assert classes == datasets[1].metainfo['classes'] and len(classes) == cfg.model.head.num_classes


@pytest.mark.parametrize(
    ('name', 'file', 'size'),
    [
        ('yolov8/det_x_coco.py', 'yolov8/det_coco.py', 'x'),
        ('yolov8/seg_m_custom.py', 'yolov8/seg_custom.py', 'm'),
        ('yolov8/det_s_coco8.py', 'yolov8/det_n_coco8.py', 's'),
        ('detr/det_r50_dc5_coco.py', 'detr/det_coco.py', 'r50_dc5'),
        ('yolov3/det_tiny_custom.py', 'yolov3/det_custom.py', 'tiny'),
    ],
)
def test_a_name_with_a_size_stands_for_the_config_in_that_size(tmp_path, name, file, size):
    cfg, same = (
        load_config(CONFIGS / path, options, need_classes=False)
        for path, options in ((name, {}), (file, {'size': size}))
    )
    assert not (CONFIGS / name).exists() and cfg.filename == str(CONFIGS / name)
    assert cfg.model == same.model and cfg.size == size
    (tmp_path / 'child.py').write_text(f'_base_ = {str(CONFIGS / name)!r}\nmax_epochs = 3\n')
    child = load_config(tmp_path / 'child.py', need_classes=False)
    assert child.model == cfg.model and child.train_cfg.max_epochs == 3
    assert load_config(tmp_path / 'child.py', {'size': same.size}, need_classes=False).model == cfg.model


def test_a_name_of_no_size_is_refused_with_those_that_there_are():
    with pytest.raises(ConfigError, match=r'no config file .*det_q_coco.py. det_coco.py has the sizes n, s, m, l, x'):
        load_config(CONFIGS / 'yolov8' / 'det_q_coco.py')
    with pytest.raises(ConfigError, match="no config file .*dte_coco.py. Did you mean 'det_coco.py'"):
        load_config(CONFIGS / 'yolov8' / 'dte_coco.py')


def test_an_unknown_size_is_refused_with_those_that_there_are():
    with pytest.raises(ConfigError, match=r"size is 'q', but must be one of n, s, m, l, x.*yolov8_sizes.py:\d+"):
        load_config(CONFIGS / 'yolov8' / 'det_coco.py', {'size': 'q'})


@pytest.mark.parametrize('path', PATHS, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_config_says_what_it_is(path):
    text = path.read_text()
    docstring = text.split('"""')[1]
    task, *_ = path.stem.split('_')
    assert task in ('det', 'seg', 'panoptic', 'pose', 'obb', 'cls')
    assert f'tools/train.py {path.relative_to(CONFIGS.parent)}' in docstring
    assert 'http' in docstring and ('Expected' in docstring or 'no published result' in docstring)
    assert len(text.splitlines()) <= 15


@pytest.mark.default_cases(7)
@pytest.mark.parametrize('path', some(PATHS))
def test_resolved_config_loads_to_the_same(path, options, tmp_path):
    cfg = load_tiny(path, options)
    resolved = tmp_path / 'config.py'
    for text in (resolved_text(cfg), literal_text(cfg)):
        resolved.write_text(text)
        again = load_config(resolved).to_dict()
        assert {key: again.get(key) for key in TOP_LEVEL_KEYS} == {key: cfg.get(key) for key in TOP_LEVEL_KEYS}


@pytest.mark.default_cases(7)
@pytest.mark.parametrize('path', some(PATHS))
def test_a_variable_reaches_the_same_values_in_a_resolved_config(path, tmp_path):
    cfg = load_default(path)
    options = {'img_size': 192} if 'img_size' in cfg else {'max_epochs': 7}
    options |= {'size': sizes_of(path)[-1]} if sizes_of(path) else {}
    resolved = tmp_path / 'config.py'
    resolved.write_text(resolved_text(cfg))
    again, expected = (load_config(file, options, need_classes=False).to_dict() for file in (resolved, path))
    assert {key: again.get(key) for key in TOP_LEVEL_KEYS} == {key: expected.get(key) for key in TOP_LEVEL_KEYS}
