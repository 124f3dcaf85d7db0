"""Evaluation of a checkpoint on a dataset, as ``detkit test`` does it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import nn

from detkit.config import load_config
from detkit.config.signatures import arguments_of
from detkit.datasets.transforms.cropping import ResizeShortestEdge
from detkit.engine.amp import check_takes_amp
from detkit.engine.base_runner import DEFAULT_HOOKS
from detkit.engine.checkpoint import check_weights, find_checkpoint, load_checkpoint
from detkit.engine.hooks.console_hook import ProgressHook
from detkit.engine.run_folder import CONFIG_FILE, display_path, run_of_config
from detkit.engine.runner import Runner
from detkit.engine.training_state import unwrap
from detkit.registry import EXPORTED_MODELS, HOOKS, METRICS, TRANSFORMS
from detkit.utils.errors import ConfigError
from detkit.utils.front_end import argument
from detkit.utils.numbers import count_text
from detkit.utils.tables import text_table

# In place of a config, the commands that predict take this for the copy in the checkpoint, which is read as data.
_OWN_CONFIG = '-'
# The arguments of a dataset that are for training alone.
_TRAINING_ONLY = frozenset(('pipeline', 'test_mode', 'cache', 'mix_from', 'mix_group_size', 'weights', 'background'))
_TRAINING_KEYS = ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler')
_VALIDATION_KEYS = ('val_dataloader', 'val_cfg', 'val_evaluator')


@dataclass(frozen=True)
class EvaluationSettings:
    """The settings of an evaluation.

    Attributes:
        split: the data: 'test' and 'val' are the config's data loaders of that name ('test' falls back to 'val');
            'train' is the training data, without augmentation, as the validation data are prepared.
        out: where to write the predictions as json, or None: COCO's results file, or an entry an image from a
            classifier.
        device: replaces the config's.
        batch_size: replaces the config's.
        amp: whether to compute in mixed precision.
        launcher: how several processes were started.
        views: options of sliced inference and test-time augmentation, see ``ViewOptions``; None for images as they are.
        runtime: the runtime of an exported file, which must be named where that may run code.
        square: whether images are fitted into squares of the pipeline's size and padded to these, where the config pads
            them to the shape of their batch.
    """

    split: str = 'test'
    out: str | None = None
    device: str | None = None
    batch_size: int | None = None
    amp: bool = False
    launcher: str = 'none'
    views: Mapping[str, Any] | None = None
    runtime: str | None = None
    square: bool = False


def evaluate_checkpoint(
    path: str,
    checkpoint: str,
    options: Sequence[str] | dict | None = None,
    settings: EvaluationSettings = EvaluationSettings(),
    show_dir: str | None = None,
    score_thr: float = 0.25,
) -> dict[str, float]:
    """Evaluate a checkpoint and show its metrics on the console.

    Args:
        path: the config file, such as the ``config.py`` of the run that wrote the checkpoint.
        checkpoint: a ``.pth`` file of detkit, or an exported file.
        options: changes to the config, as ``--cfg-options``.
        settings: the data, device and so on.
        show_dir: folder for a picture of each image, ground truth beside predictions, or None.
        score_thr: predictions below it are not drawn; the metrics use all of them.

    Returns:
        The metrics by name, such as ``'coco/bbox_mAP'``.

    Raises:
        ConfigError, CheckpointError, DataError: see the parts.
    """
    if path == _OWN_CONFIG:
        raise _needs_a_config(checkpoint)
    config = load_config(path, options, trains=False)
    runner = evaluation_runner(config, checkpoint, settings)
    dataset = runner.test_dataloader.dataset
    count, classes = len(dataset), len(dataset.metainfo['classes'])
    runner.console.show(
        f'{checkpoint} on {count_text(count, "image")} of {tested_split(config, settings.split)}, '
        f'{count_text(classes, "class", "classes")}'
    )
    runner.register_hook(ProgressHook())
    if show_dir is not None:
        runner.register_hook(HOOKS.build(dict(type='SavePicturesHook', out_dir=show_dir, score_thr=score_thr)))
    try:
        metrics = runner.test()
        for table in (*runner.test_evaluator.tables(), metrics_table(metrics)):
            runner.console.show(table)
        if settings.out is not None:
            runner.console.show(f'predictions in {settings.out}')
    finally:
        runner.close()
    return metrics


def _needs_a_config(checkpoint: str) -> ConfigError:
    """Return the error of a checkpoint that is given without a config.

    The run's own config is named and not taken, as a config is a program: who gives it says that it may run.

    Raises:
        CheckpointError: there is no such checkpoint of detkit.
    """
    config = find_checkpoint(checkpoint).with_name(CONFIG_FILE)
    if not EXPORTED_MODELS.get('is_exported')(checkpoint):
        load_checkpoint(checkpoint, mmap=True)  # to name what is wrong with it first
    own = f': {display_path(config)} is that of its run' if run_of_config(config) is not None else ''
    return ConfigError(f"a test needs a config, which says on which data ('{_OWN_CONFIG}' is for prediction){own}")


def evaluation_runner(
    config: Config,
    checkpoint: str,
    settings: EvaluationSettings = EvaluationSettings(),
    model: nn.Module | None = None,
) -> Runner:
    """Return a runner whose ``test()`` evaluates a checkpoint, which fits model and data; ``close()`` it afterwards.

    Args:
        config: the loaded config, which is left as it is.
        checkpoint: a ``.pth`` file of detkit, or an exported file.
        settings: the data, device and so on.
        model: the detector of that file, which is run in place of the file's own network, with the config's thresholds.

    Raises:
        ConfigError, CheckpointError, DataError: see the parts.
    """
    if model is not None:
        return _runner_of(model, config, checkpoint, settings)
    if EXPORTED_MODELS.get('is_exported')(checkpoint):
        settings = replace(settings, device=settings.device or 'cpu')
        exported = EXPORTED_MODELS.get('open_exported')(checkpoint, settings.device, settings.runtime)
        return _runner_of(exported, config, checkpoint, settings)
    if settings.runtime is not None:
        raise ConfigError(
            f'runtime {settings.runtime!r} is that of an exported file, but {checkpoint} is none: test the file that '
            f'detkit export makes of it'
        )
    content = load_checkpoint(checkpoint, mmap=True)
    trained = content['meta']['classes']
    classes = config.get('classes')
    if classes and len(classes) == config.model.get('head', {}).get('num_classes'):  # not with single_class
        _check_classes(trained, classes, checkpoint)
    runner = Runner(evaluation_config(config, checkpoint, settings))
    _check_classes(trained, runner.test_dataloader.dataset.metainfo['classes'], checkpoint)
    check_weights(runner.model, content['state_dict'], str(checkpoint))
    return runner


def _runner_of(model: nn.Module, config: Config, path: str, settings: EvaluationSettings) -> Runner:
    """Return a runner whose ``test()`` evaluates a detector that holds its network; see ``evaluation_runner``."""
    check_takes_amp(model, settings.amp)
    task, wanted = (each.get('task') or 'det' for each in (model.info.config, config))
    if task != wanted:
        raise ConfigError(f'{path} is a model of the task {task!r}, but the config of the test is for {wanted!r}')
    test = evaluation_config(config, path, replace(settings, square=settings.square or model.input_size is not None))
    test.load_from = None  # there are no weights to load
    runner = Runner(test)
    model.head.test_cfg = unwrap(runner.model).head.test_cfg
    runner.model = model  # before the loop is made, which asks it for the size of its input
    _check_classes(model.info.classes, runner.test_dataloader.dataset.metainfo['classes'], path)
    return runner


def evaluation_config(config: Config, checkpoint: str, settings: EvaluationSettings = EvaluationSettings()) -> Config:
    """Return the config without what concerns training; arguments and errors as ``evaluation_runner``."""
    config = Config(config.to_dict(), filename=config.filename)
    config.test_dataloader, config.test_evaluator = _split(config, settings.split)
    if settings.batch_size is not None:
        config.test_dataloader.batch_size = settings.batch_size
    config.test_cfg = {**(config.get('test_cfg') or {}), **({'amp': True} if settings.amp else {})}
    if settings.square:
        config.test_dataloader['dataset'] = _without_rect(config.test_dataloader['dataset'])
        if config.get('task') != 'cls':
            _fit_into_squares(config.test_dataloader)
    if settings.views is not None:
        _test_on_views(config, settings.views)
    if settings.out is not None:
        if Path(settings.out).suffix not in ('', '.json'):
            raise ConfigError(f'{argument("out", repr(settings.out))} is a json file: give a name that ends in .json')
        metrics = config.test_evaluator if isinstance(config.test_evaluator, list) else [config.test_evaluator]
        writers = [metric for metric in metrics if 'outfile' in arguments_of(METRICS.get(metric['type'])).names]
        if not writers:
            raise ConfigError(
                f'{argument("out")} needs a metric in test_evaluator that writes a file, such as CocoMetric'
            )
        writers[0]['outfile'] = settings.out
    for key in (*_TRAINING_KEYS, *_VALIDATION_KEYS):
        config[key] = None
    config.default_hooks = dict.fromkeys([*DEFAULT_HOOKS, *(config.get('default_hooks') or ())])
    config.load_from, config.resume, config.launcher = checkpoint, False, settings.launcher
    if settings.device is not None:
        config.device = settings.device
    return config


def _test_on_views(config: Config, views: Mapping[str, Any]) -> None:
    """Let the data loader of the test give whole images, and the loop predict on their views."""
    loader = config.test_dataloader
    pipeline = list(_first_dataset(loader['dataset']).get('pipeline') or ())
    loop = dict(type='ViewTestLoop', views=dict(views), pipeline=pipeline, batch_size=loader.get('batch_size', 1))
    config.test_cfg = {**config.test_cfg, **loop}
    load = [step for step in pipeline if getattr(TRANSFORMS.get(step['type']), 'stage', None) == 'load']
    whole = [*load, dict(type='Render'), dict(type='PackInputs')]
    loader['batch_size'] = 1  # images of any size
    loader['dataset'] = _with_pipeline(loader['dataset'], whole)


def _first_dataset(dataset: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the config of the first dataset inside wrappers."""
    while 'dataset' in dataset or 'datasets' in dataset:
        dataset = dataset.get('dataset') or dataset['datasets'][0]
    return dataset


def _without_rect(dataset: Mapping[str, Any]) -> dict:
    """Return a dataset's config whose images are padded to the pipeline's size, not to one of their batch."""
    if 'dataset' in dataset:
        return {**dataset, 'dataset': _without_rect(dataset['dataset'])}
    if 'datasets' in dataset:
        return {**dataset, 'datasets': [_without_rect(part) for part in dataset['datasets']]}
    return {**dataset, **({'rect': False} if 'rect' in dataset else {})}


def _fit_into_squares(loader: dict[str, Any]) -> None:
    """Scale images that a test resizes by their shorter side to fit into a square of that side, and pad them to it.

    Predictions by a network of fixed size have them so.
    """
    pipeline = list(_first_dataset(loader['dataset']).get('pipeline') or ())
    resizes = [step for step in pipeline if TRANSFORMS.get(step['type']) is ResizeShortestEdge]
    if not resizes:
        return
    side = resizes[-1]['size']
    fit = dict(type='LetterBox', size=side, rounding='nearest', pad_to='divisor', size_divisor=1)
    loader['dataset'] = _with_pipeline(loader['dataset'], [fit if step in resizes else step for step in pipeline])
    loader['collate_fn'] = {**(loader.get('collate_fn') or dict(type='collate')), 'size_divisor': side}


def _with_pipeline(dataset: Mapping[str, Any], pipeline: list[dict]) -> dict:
    """Return a dataset's config with another pipeline, whose images keep their own shapes."""
    if 'dataset' in dataset:
        return {**dataset, 'dataset': _with_pipeline(dataset['dataset'], pipeline)}
    if 'datasets' in dataset:
        return {**dataset, 'datasets': [_with_pipeline(part, pipeline) for part in dataset['datasets']]}
    return {**_without_rect(dataset), 'pipeline': pipeline}


def metrics_table(metrics: dict[str, float]) -> str:
    """Return results named ``prefix/kind_name`` or ``prefix/name`` as a table, a row for each kind or prefix.

    What stands before the '_' is a kind where it has several results, or another one has a result of the same name:
    'cross_entropy' is a name. Others follow, one a line.
    """
    rows: dict[str, dict[str, float]] = {}
    others = []
    halves = [name.rpartition('/')[2].partition('_') for name in metrics]
    kinds, columns_of_all = (Counter(half[i] for half in halves if half[1]) for i in (0, 2))
    for (name, value), (kind, underscore, column) in zip(metrics.items(), halves, strict=True):
        prefix, _, last = name.rpartition('/')
        if not underscore or kinds[kind] == columns_of_all[column] == 1:
            kind, column = prefix, last
        if kind:
            rows.setdefault(kind, {})[column] = value
        else:
            others.append(f'{name} {value:.4f}')
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    cells = [[kind, *(f'{row[c]:.4f}' if row.get(c, -1) >= 0 else '-' for c in columns)] for kind, row in rows.items()]
    header = ['', *(column.replace('_', ' ') for column in columns)]
    return '\n'.join([*([text_table(header, cells)] if rows else []), *others])


def tested_split(config: Config, split: str) -> str:
    """Return what a split is called before people: 'val' where a config tests on its validation data."""
    loaders = [config.get(f'{name}_dataloader') for name in ('test', 'val')]
    return 'val' if split == 'test' and (not loaders[0] or loaders[0] == loaders[1]) else split


def _split(config: Config, split: str) -> tuple[Config, Any]:
    """Return the data loader and evaluator of a split."""
    if split not in ('train', 'val', 'test'):
        raise ConfigError(f"the split is {split!r}, but must be 'train', 'val' or 'test'")
    held_out = ('test', 'val') if split == 'test' else ('val', 'test')
    whole = [name for name in held_out if config.get(f'{name}_dataloader') and config.get(f'{name}_evaluator')]
    if not whole or (split == 'val' and whole[0] != 'val'):
        raise ConfigError(f'the config has no {held_out[0]}_dataloader and {held_out[0]}_evaluator to test with')
    name = whole[0]
    loader, evaluator = config[f'{name}_dataloader'], config[f'{name}_evaluator']
    if split == 'train':
        dataset = (config.get('train_dataloader') or {}).get('dataset')
        if not dataset:
            raise ConfigError('the config has no train_dataloader.dataset to test on')
        held_out_dataset = _first_dataset(loader['dataset'])
        prepared = {
            key: held_out_dataset[key] for key in ('pipeline', 'rect', 'pad', 'size_divisor') if key in held_out_dataset
        }
        loader['dataset'] = _as_tested(dataset, prepared)
    return loader, evaluator


def _as_tested(dataset: dict, prepared: dict) -> dict:
    """Return a training dataset's config for a test, which reads each of its images once."""
    if 'dataset' in dataset:
        return _as_tested(dataset['dataset'], prepared)
    kept = {key: value for key, value in dataset.items() if key not in _TRAINING_ONLY}
    if 'datasets' in dataset:
        return {**kept, 'datasets': [_as_tested(part, prepared) for part in dataset['datasets']]}
    return {**kept, **prepared, 'test_mode': True}


def _check_classes(trained: Sequence[str], tested: Sequence[str], checkpoint: str) -> None:
    """Check that labels name the same classes in the model and in the data.

    Raises:
        ConfigError: they do not; names the first class that differs.
    """
    if len(trained) != len(tested):
        more = set(trained) < set(tested)
        names = f': classes={list(trained)} where the config has this variable' if more and len(trained) < 20 else ''
        raise ConfigError(
            f'{checkpoint} was trained on {len(trained)} classes, but tested on {len(tested)}'
            "; test it with the config of its run (config.py in the run's folder), or on data of the same "
            f'classes{names}'
        )
    for label, (ours, theirs) in enumerate(zip(trained, tested, strict=True)):
        if ours != theirs:
            order = ' in that order' if sorted(trained) == sorted(tested) else ''
            raise ConfigError(
                f'{checkpoint} calls class {label} {ours!r}, but the test data call it {theirs!r}; give the data the '
                f"checkpoint's classes{order}, by metainfo=dict(classes=...) of the dataset or, for YOLO's text files, "
                'by names of the data.yaml'
            )
