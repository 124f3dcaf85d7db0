"""Opening of exported files as detectors."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from detkit.config import located
from detkit.export.description import Description, parse_description
from detkit.export.detector import ExportedDetector
from detkit.export.format import ExportFormat, Session, format_of
from detkit.inference.model import check_config_of_file, config_of_text, naming
from detkit.models.detectors import ModelInfo
from detkit.models.detectors.base_detector import BaseDetector
from detkit.registry import DETECTORS, EXPORTED_MODELS
from detkit.utils.errors import CheckpointError, ConfigError, absence, working_folder
from detkit.utils.without_memory import without_memory


@EXPORTED_MODELS.register_module()
def is_exported(path: str | Path) -> bool:
    """Return whether a file's name is that of an exported file."""
    return format_of(path) is not None


@EXPORTED_MODELS.register_module()
def open_exported(
    path: str | Path,
    device: torch.device | str = 'cpu',
    runtime: str | None = None,
    config: Mapping[str, Any] | None = None,
    threads: int | None = None,
) -> ExportedDetector:
    """Load an exported file.

    Args:
        path: the file.
        device: where the runtime is to run.
        runtime: the name of its runtime, which must be given for files that may run code; None otherwise.
        config: the config whose pipeline and thresholds are used in place of the file's own.
        threads: CPU threads; PyTorch's number by default.

    Raises:
        CheckpointError: the file is missing, damaged, or not exported by detkit; or it may run code, and ``runtime``
            does not name its runtime.
        ConfigError: the runtime is another one, or cannot run on the device; or ``config`` has other classes.
        MissingPackageError: the runtime is not installed.
    """
    path = Path(path)
    fmt, description = read_exported(path, runtime)
    session = fmt.open(path, torch.device(device), threads or torch.get_num_threads())
    return exported_detector(session, description, path, config)


def read_exported(path: Path, runtime: str | None = None) -> tuple[ExportFormat, Description]:
    """Return the format of an exported file and its description, without loading its network.

    Arguments and errors are those of ``open_exported``.
    """
    fmt = format_of(path)
    if fmt is None:
        raise CheckpointError(f'{path} is no exported file; give one that detkit export wrote')
    if not fmt.exists(path):
        raise CheckpointError(f'{path} {absence(path)}{working_folder(path)}')
    check_runtime(fmt, path, runtime)
    fmt.require()
    description = parse_description(fmt.read_description(path), path)
    if description.format != fmt.name:
        raise CheckpointError(f'{path} says that it is of the format {description.format!r}, not {fmt.name!r}')
    return fmt, description


def check_runtime(fmt: ExportFormat, path: Path, runtime: str | None) -> None:
    """Refuse a runtime that is not the file's, and files that may run code where no runtime is named."""
    if runtime not in (None, 'auto', fmt.name):
        raise ConfigError(f'{path} is run by {fmt.name}, not by {runtime}: leave the runtime out')
    if fmt.trusted_only and runtime != fmt.name:
        raise CheckpointError(
            f'{path} may run code when {fmt.title} loads it, so that only files that you trust may be opened: name its '
            f'runtime, {fmt.name}, if this is one (ONNX and OpenVINO files need no trust)'
        )


def exported_detector(
    session: Session, description: Description, path: Path, config: Mapping[str, Any] | None = None
) -> ExportedDetector:
    """Return the detector around a session."""
    own = config_of_text(description.config, str(path))
    check_config_of_file(own, str(path))
    if not isinstance(own.get('model'), Mapping) or (own.get('task') or 'det') != description.task:
        raise CheckpointError(
            f'the config in {path} has no model of the task {description.task!r}; the file is damaged or forged: '
            'export the checkpoint again'
        )
    if config is not None:
        # The number that the data gave its head, as the variable 'classes' may be that of a base's data.
        stated = (config.get('model') or {}).get('head', {}).get('num_classes')
        if stated is not None and stated != len(description.classes):
            raise ConfigError(
                f'the config has {stated} classes, but {path} was exported with {len(description.classes)}'
            )
    info_config = own if config is None else config
    if description.suppression is not None:
        thresholds = asdict(description.suppression)
        info_config = copy.deepcopy(info_config)
        info_config['predict_cfg'] = {**(info_config.get('predict_cfg') or {}), **thresholds}
    info = ModelInfo(info_config, description.classes, description.keypoints, description.licence)
    with naming(str(path)):
        template = _template(own, description)
    return ExportedDetector(template, session, description, info)


def _template(config: Mapping[str, Any], description: Description) -> BaseDetector:
    """Build the detector of a config without memory for its weights."""
    model = copy.deepcopy(dict(config['model']))
    if 'num_classes' in model.get('head', {}):
        model['head']['num_classes'] = len(description.classes)
    with located(config), without_memory():
        return DETECTORS.build(model).eval()
