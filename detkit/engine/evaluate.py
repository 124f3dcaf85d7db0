"""What ``tools/test.py`` does, for use from Python too: the figures of a checkpoint on a dataset."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from mmengine.config import Config
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from terminaltables import AsciiTable

from detkit.config import load_config
from detkit.config.signatures import arguments_of
from detkit.registry import METRICS
from detkit.utils.errors import ConfigError

# What a dataset of training has for the sake of training alone.
_TRAINING_ONLY = ('pipeline', 'test_mode', 'cache', 'partners', 'pool_size', 'fraction')


def evaluate_checkpoint(
    path: str,
    checkpoint: str,
    options: Sequence[str] | dict | None = None,
    split: str = 'test',
    out: str | None = None,
    show_dir: str | None = None,
    score_thr: float = 0.25,
    device: str | None = None,
    batch_size: int | None = None,
    amp: bool = False,
    launcher: str = 'none',
) -> dict[str, float]:
    """Evaluate a checkpoint and show its figures on the console.

    Args:
        path: the config file.
        checkpoint: a ``.pth`` file of detkit.
        options: changes to the config, as ``--cfg-options``.
        split: the data: 'test' and 'val' are the config's data loaders of that name ('test' falls back to 'val');
            'train' is the training data, without augmentation, as the validation data are prepared.
        out: where to write the predictions as json, or None: COCO's results file, or an entry an image from a
            classifier.
        show_dir: folder for a picture of each image, ground truth beside predictions, or None.
        score_thr: predictions below it are not drawn. The figures use all of them.
        device: in place of the config's.
        batch_size: in place of the config's.
        amp: whether to compute in mixed precision.
        launcher: how several processes were started.

    Returns:
        The figures, such as ``{'coco/bbox_mAP': ...}``.

    Raises:
        ConfigError, CheckpointError, DataError: see the parts.
    """
    runner = evaluation_runner(path, checkpoint, options, split, out, device, batch_size, amp, launcher)
    dataset = runner.test_loop.dataloader.dataset
    runner.console.show(f'{checkpoint} on {len(dataset)} images of {split}, {len(dataset.metainfo["classes"])} classes')
    runner.register_hook(ProgressHook())
    if show_dir is not None:
        from detkit.visualization.hooks import SavePicturesHook

        runner.register_hook(SavePicturesHook(show_dir, score_thr))
    try:
        figures = runner.test()
        for metric in runner.test_loop.evaluator.metrics:
            if getattr(metric, 'table', ''):
                runner.console.show(metric.table)
        runner.console.show(metrics_table(figures))
        if out is not None:
            runner.console.show(f'predictions in {out}')
    finally:
        runner.close()
    return figures


def evaluation_runner(
    path: str,
    checkpoint: str,
    options: Sequence[str] | dict | None = None,
    split: str = 'test',
    out: str | None = None,
    device: str | None = None,
    batch_size: int | None = None,
    amp: bool = False,
    launcher: str = 'none',
) -> Any:
    """A runner whose ``test()`` evaluates a checkpoint, found to fit the model and the data; ``close()`` it afterwards.

    Arguments and errors as ``evaluate_checkpoint``.
    """
    from detkit.engine.checkpoint import check_weights, load_checkpoint
    from detkit.engine.runner import Runner

    config = load_config(path, options)
    content = load_checkpoint(checkpoint, mmap=True)
    trained = content['meta']['classes']
    classes = config.get('classes')
    if classes and len(classes) == config.model.get('head', {}).get('num_classes'):  # not with single_class
        _check_classes(trained, classes, checkpoint)
    runner = Runner(evaluation_config(config, checkpoint, split, out, device, batch_size, amp, launcher))
    check_weights(runner.model, content['state_dict'], str(checkpoint))
    _check_classes(trained, runner.test_loop.dataloader.dataset.metainfo['classes'], checkpoint)
    return runner


def evaluation_config(
    config: Config,
    checkpoint: str,
    split: str = 'test',
    out: str | None = None,
    device: str | None = None,
    batch_size: int | None = None,
    amp: bool = False,
    launcher: str = 'none',
) -> Config:
    """The config with all that concerns training taken out; arguments as ``evaluate_checkpoint``."""
    config = Config(config.to_dict(), filename=config.filename)
    config.test_dataloader, config.test_evaluator = _split(config, split)
    if batch_size is not None:
        config.test_dataloader.batch_size = batch_size
    config.test_cfg = {**(config.get('test_cfg') or {}), **({'amp': True} if amp else {})}
    if out is not None:
        evaluators = config.test_evaluator
        evaluators = evaluators if isinstance(evaluators, list) else [evaluators]
        writers = [
            evaluator for evaluator in evaluators if 'outfile' in arguments_of(_factory(evaluator['type'])).names
        ]
        if not writers:
            raise ConfigError('--out needs a metric in test_evaluator that writes a file, such as CocoMetric')
        writers[0]['outfile'] = out
    for key in (
        'train_dataloader',
        'train_cfg',
        'optim_wrapper',
        'param_scheduler',
        'val_dataloader',
        'val_cfg',
        'val_evaluator',
    ):
        config[key] = None
    config.default_hooks = dict.fromkeys(_default_hook_names(config))
    config.load_from, config.resume, config.launcher = checkpoint, False, launcher
    if device is not None:
        config.device = device
    return config


def _factory(kind: str | type) -> type:
    return METRICS.get(kind) if isinstance(kind, str) else kind


def _default_hook_names(config: Config) -> set[str]:
    from detkit.engine.runner import DEFAULT_HOOKS

    return {*DEFAULT_HOOKS, *(config.get('default_hooks') or ())}


def metrics_table(figures: dict[str, float]) -> str:
    """Figures named ``prefix/kind_figure`` or ``prefix/figure`` as a table, a row for each kind or prefix.

    Others follow, one a line.
    """
    rows: dict[str, dict[str, float]] = {}
    others = []
    for name, value in figures.items():
        prefix, _, last = name.rpartition('/')
        kind, found, figure = last.partition('_')
        if not found:
            kind, figure = prefix, last
        if kind:
            rows.setdefault(kind, {})[figure] = value
        else:
            others.append(f'{name} {value:.4f}')
    columns = list(dict.fromkeys(figure for row in rows.values() for figure in row))
    cells = [[kind, *(f'{row[c]:.4f}' if row.get(c, -1) >= 0 else '-' for c in columns)] for kind, row in rows.items()]
    table = AsciiTable([['', *(column.replace('_', ' ') for column in columns)], *cells])
    table.justify_columns = {column: 'right' for column in range(1, len(columns) + 1)}
    return '\n'.join([*([table.table] if rows else []), *others])


class ProgressHook(Hook):
    """A progress bar of a test, and its speed at the end."""

    def __init__(self) -> None:
        self._began = 0.0
        self._images = 0

    def before_test_epoch(self, runner: Any) -> None:
        self._began, self._images = time.perf_counter(), 0
        runner.console.start_bar('test', len(runner.test_loop.dataloader))

    def after_test_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self._images += len(outputs) * get_world_size()
        if runner.console.wants_update:
            runner.console.update_bar(batch_idx + 1, self._text())

    def after_test_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        runner.console.end_bar('test', self._text())

    def _text(self) -> str:
        return f'{self._images} images, {self._images / (time.perf_counter() - self._began):.1f} images/s'


def _split(config: Config, split: str) -> tuple[Config, Any]:
    """The data loader and evaluator of a split."""
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
        while dataset and 'dataset' in dataset:
            dataset = dataset['dataset']
        if not dataset or 'datasets' in dataset:
            raise ConfigError(
                'train_dataloader.dataset is no single dataset; choose one of its parts with '
                '--cfg-options test_dataloader.dataset=...'
            )
        held_out_dataset = loader['dataset']
        while 'dataset' in held_out_dataset:
            held_out_dataset = held_out_dataset['dataset']
        prepared = {
            key: held_out_dataset[key] for key in ('pipeline', 'rect', 'pad', 'size_divisor') if key in held_out_dataset
        }
        kept = {key: value for key, value in dataset.items() if key not in _TRAINING_ONLY}
        loader['dataset'] = {**kept, **prepared, 'test_mode': True}
    return loader, evaluator


def _check_classes(trained: Sequence[str], tested: Sequence[str], checkpoint: str) -> None:
    """A label must mean the same to the model and to the data.

    Raises:
        ConfigError: names the first class that differs.
    """
    if len(trained) != len(tested):
        raise ConfigError(f'{checkpoint} was trained on {len(trained)} classes, but tested on {len(tested)}')
    for label, (ours, theirs) in enumerate(zip(trained, tested, strict=True)):
        if ours != theirs:
            raise ConfigError(f"{checkpoint} calls class {label} '{ours}', but the data to test on call it '{theirs}'")
