"""A detector ready to predict, from a config and a checkpoint."""

from __future__ import annotations

import ast
import copy
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from detkit.config import check_config, counts_classes, data_metainfo, load_config, located
from detkit.config.own_imports import named_modules
from detkit.engine.amp import resolve_amp
from detkit.engine.checkpoint import check_weights, licence_of, load_checkpoint, meta_of_run
from detkit.engine.checkpoint_content import building_what_fits
from detkit.engine.run_folder import run_of_config
from detkit.inference.prediction_options import PredictionOptions
from detkit.inference.steps import check_input_size, sizes_of, steps_of
from detkit.models.detectors import ModelInfo, OpenVocabularyDetector
from detkit.models.layers.fuse import fuse_conv_bn
from detkit.registry import DETECTORS, EXPORTED_MODELS
from detkit.structures.keypoints import keypoint_info
from detkit.utils.device import check_device
from detkit.utils.errors import CheckpointError, ConfigError, shorten
from detkit.utils.front_end import importing
from detkit.utils.limits import MAX_PIXELS
from detkit.utils.printable import printable
from detkit.utils.without_memory import without_initial_values

# The keys of a config whose components a prediction may build.
PREDICTION_KEYS = ('model', 'test_dataloader', 'val_dataloader')


def init_detector(
    config: str | Path | Config | dict | None,
    checkpoint: str | Path | None,
    device: str | torch.device | None = None,
    fuse: bool = True,
    options: Sequence[str] | dict | None = None,
    runtime: str | None = None,
    amp: bool | str = False,
) -> nn.Module:
    """Build a detector and load its weights, or open an exported file.

    Args:
        config: a config file, a loaded config, or None for the config that the checkpoint holds.
        checkpoint: a ``.pth`` file of detkit; its averaged weights are used where training kept an average. None leaves
            the weights random, for trying things out; the data of the ``config`` then name the classes. Or a file that
            ``detkit export`` wrote.
        device: the device to run on; the accelerator if there is one by default.
        fuse: fold batch normalisation into the convolutions, which changes no output and saves time.
        options: changes to a config file, as ``--cfg-options``.
        runtime: the runtime of an exported file, which must be named for formats that may run code. A checkpoint is run
            by PyTorch, or by the runtime that is named here (``'onnx'``, ``'openvino'``), or by the fastest that is
            installed and gives PyTorch's results (``'auto'``).
        amp: the mixed precision that it is to predict in, in which ``'auto'`` finds the fastest.

    Returns:
        The detector in evaluation mode, whose ``info`` holds its config, its classes and what the data said of
        keypoints.

    Raises:
        ConfigError: the config is wrong, or describes another number of classes than the checkpoint.
        CheckpointError: the checkpoint is missing, damaged, foreign, or of another model.
    """
    if checkpoint is not None:
        exported = _open_exported(checkpoint, config, device, options, runtime)
        if exported is not None:
            return exported
    device = check_device('cpu' if device is None and runtime not in (None, 'torch') else device)
    content = load_checkpoint(checkpoint) if checkpoint is not None else None
    model = _build(_as_config(config, content, checkpoint, options), content, checkpoint, device, fuse)
    return run_by(model, runtime, amp)


def run_by(model: nn.Module, runtime: str | None, amp: bool | str = False) -> nn.Module:
    """Return a detector that a runtime runs, see ``init_detector``; the model itself for None and ``'torch'``."""
    if runtime in (None, 'torch'):
        return model
    device = model.data_preprocessor.device
    dtype = resolve_amp(amp, device, 'amp') if device.type == 'cpu' else None  # elsewhere 'auto' is PyTorch
    with nullcontext() if dtype is None else torch.autocast('cpu', dtype):
        return EXPORTED_MODELS.get('run_by_runtime')(model, runtime)


def refuse_training(model: nn.Module) -> None:
    """Raise ``ConfigError`` for a detector that is to predict and is in training mode, as a part of it may be alone."""
    if not model.is_exported and any(part.training for part in (model, *model.children())):
        raise ConfigError(
            'the model is in training mode, in which its normalisation takes the statistics of these images and '
            'changes its own: call eval() of the model before it predicts, and train() afterwards'
        )


def _open_exported(
    path: str | Path,
    config: str | Path | Config | dict | None,
    device: str | torch.device | None,
    options: Sequence[str] | dict | None,
    runtime: str | None,
) -> nn.Module | None:
    """Return the detector in an exported file; None where the file is of another kind."""
    is_exported, open_exported = EXPORTED_MODELS.get('is_exported'), EXPORTED_MODELS.get('open_exported')
    if not is_exported(path):
        return None
    config = None if config is None else _as_config(config, None, path, options)
    return open_exported(path, 'cpu' if device is None else check_device(device), runtime, config)


def detector_of_content(
    content: dict[str, Any], name: str | Path, device: str | torch.device | None = None, fuse: bool = True
) -> nn.Module:
    """Build a detector from the content of a checkpoint of detkit, which is in memory.

    Args:
        content: as ``load_checkpoint`` returns it.
        name: the name of the file that it comes from, for errors.
        device, fuse: see ``init_detector``, whose result and errors are the same.
    """
    return _build(_as_config(None, content, name, None), content, name, check_device(device), fuse)


def _build(
    config: Config, content: dict[str, Any] | None, checkpoint: str | Path | None, device: torch.device, fuse: bool
) -> nn.Module:
    metainfo = content['meta'] if content and content['meta'].get('classes') else data_metainfo(config)
    classes = metainfo['classes']
    model_cfg = copy.deepcopy(dict(config['model']))
    head = model_cfg['head'] if counts_classes(config) else {}
    if head and head.get('num_classes') is None:
        head['num_classes'] = len(classes)
    elif head and head['num_classes'] != len(classes):
        raise ConfigError(
            f'the config describes {head["num_classes"]} classes, but checkpoint {checkpoint} was '
            f'trained on {len(classes)} ({shorten(classes)}); use the config it was trained with, which '
            f'lies beside it in its run folder'
        )
    own = content['state_dict'] if content is not None else None
    is_own = own is not None and config.filename is None
    with located(config), naming(f'checkpoint {checkpoint}') if is_own else nullcontext():
        model = DETECTORS.build(model_cfg) if own is None else _build_to_be_filled(model_cfg, own, str(checkpoint))
    if content is not None:
        check_weights(model, content['state_dict'], str(checkpoint))
        model.load_state_dict(content['state_dict'])
    elif isinstance(model, OpenVocabularyDetector):
        model.embed_classes(classes)
    model.eval()
    if fuse:
        fuse_conv_bn(model)
    keypoints = content['meta'].get('keypoints') or {} if content else keypoint_info(metainfo)
    licence = licence_of(content['meta']) if content else ''
    model.info = ModelInfo(config, tuple(classes), keypoints, licence)
    return model.to(device)


def _build_to_be_filled(model: dict[str, Any], weights: Mapping[str, Tensor], source: str) -> nn.Module:
    """Build a model that a checkpoint's weights are loaded into."""
    with building_what_fits(weights, source):
        with without_initial_values():
            built = DETECTORS.build(copy.deepcopy(model))
        if weights.keys() >= {name for name, _ in built.named_parameters(remove_duplicate=False)}:
            return built
        return DETECTORS.build(model)  # a part of it keeps parameters out of checkpoints, or the weights do not fit


def untrained_model(config: Config) -> nn.Module:
    """Build the model of a config file, whose class count comes from the data, or where they are gone from its run.

    Raises:
        ConfigError: the class count is not known.
    """
    if config.get('model') is None:
        raise ConfigError(f"{config.filename or 'the config'} has no 'model'; is it whole?")
    model = copy.deepcopy(dict(config['model']))
    if counts_classes(config) and model['head'].get('num_classes') is None:
        run = run_of_config(config.filename)
        classes = (meta_of_run(run).get('classes') if run else ()) or data_metainfo(config)['classes']
        model['head']['num_classes'] = len(classes)
    with located(config):
        return DETECTORS.build(model)


def config_of_text(text: str, source: str = 'the checkpoint') -> Config:
    """Return a config from the text that a checkpoint holds: assignments of literals, read without running them.

    Limits on images that it raises are as without it: they guard against files from the same strangers.

    Raises:
        CheckpointError: the text is anything else.
    """
    values: dict[str, Any] = {}
    try:
        for statement in ast.parse(text).body:
            names = statement.targets if isinstance(statement, ast.Assign) else []
            if len(names) != 1 or not isinstance(names[0], ast.Name):
                raise ValueError(f'line {statement.lineno} is no assignment to one name')
            try:
                values[names[0].id] = ast.literal_eval(statement.value)
            except ValueError as error:
                raise ValueError(f'line {statement.lineno} holds more than plain values') from error
        return Config(_with_limits(values))
    except (SyntaxError, ValueError, TypeError, KeyError, RecursionError, MemoryError) as error:  # the last: too nested
        reason = str(error)[:200] or type(error).__name__
        raise CheckpointError(f'the config in {source} cannot be read ({reason}); give the config file too') from error


@contextmanager
def naming(source: str) -> Iterator[None]:
    """Name the file whose config the block uses in every ``ConfigError`` that it raises."""
    try:
        yield
    except ConfigError as error:
        if printable(source) in str(error):
            raise
        raise ConfigError(f'the config in {source} cannot be used: {error}') from error


def check_config_of_file(config: Mapping[str, Any], source: str) -> None:
    """Check what prediction needs of the config that a checkpoint or an exported file holds.

    Raises:
        ConfigError: it is wrong, or names a component whose module is not imported, as nothing is because of a file.
    """
    try:
        _check_prediction(config)
    except ConfigError as error:
        names = [name for name in named_modules(config) if name.replace('.', '').isidentifier()]
        missing = [name for name in names if name not in sys.modules]
        if not missing:
            with naming(source):
                raise
        raise ConfigError(
            f'{error}. The config in {source} names {", ".join(missing)} in custom_imports, but nothing is imported '
            f'because of such a file: give the config file, or import it yourself, {importing(missing)}'
        ) from error


def _check_prediction(config: Mapping[str, Any]) -> None:
    check_config({key: config[key] for key in PREDICTION_KEYS if key in config})
    for step in steps_of(config):
        if (size := sizes_of(step).get('size')) is not None:
            check_input_size(size, f'the size of {step["type"]}')
    thresholds = config.get('predict_cfg')
    if not isinstance(thresholds, Mapping | None):
        raise ConfigError(f'predict_cfg is {thresholds!r}, but must hold thresholds by name, such as score_thr')
    PredictionOptions().with_thresholds(thresholds or {})


def _with_limits(value: Any) -> Any:
    """Return a value with every ``max_pixels`` in it no greater than the limit of this process."""
    if isinstance(value, dict):
        return {
            key: min(item, MAX_PIXELS) if key == 'max_pixels' and isinstance(item, int | float) else _with_limits(item)
            for key, item in value.items()
        }
    return type(value)(map(_with_limits, value)) if isinstance(value, list | tuple) else value


def _as_config(
    config: str | Path | Config | dict | None,
    content: dict | None,
    checkpoint: str | Path | None,
    options: Sequence[str] | dict | None,
) -> Config:
    if isinstance(config, str | Path):
        config = load_config(config, options, need_classes=False, checked=PREDICTION_KEYS)
    elif options:
        raise ConfigError('options change a config file; give its path')
    elif config is None:
        if content is None or not content['meta'].get('config'):
            raise ConfigError('no config: give a config file, or a checkpoint that holds one')
        config = config_of_text(content['meta']['config'], f'checkpoint {checkpoint}')
        check_config_of_file(config, f'checkpoint {checkpoint}')
    elif not isinstance(config, Config):
        config = Config(dict(config))
    if 'model' not in config:
        raise ConfigError("the config has no 'model'")
    return config
