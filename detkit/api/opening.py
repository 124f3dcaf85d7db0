"""Opening a model by whatever names it: a checkpoint, a run's folder, a config, an exported file, another's weights."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from detkit.config import LoadedConfig, configs_folder, find_config, load_config
from detkit.config.words import check_options
from detkit.converters.any_file import FOREIGN_SUFFIXES, is_foreign, load_foreign
from detkit.engine.checkpoint import OF_A_RUN, find_checkpoint, load_checkpoint
from detkit.engine.finetune import load_weights
from detkit.engine.run_folder import run_of_config
from detkit.export.opening import is_exported, read_exported
from detkit.inference.model import PREDICTION_KEYS, config_of_text, detector_of_content, init_detector
from detkit.models.layers.fuse import fuse_conv_bn
from detkit.utils.errors import CheckpointError, ConfigError, absence, nearest, working_folder


@dataclass(frozen=True)
class OpenedConfig:
    """A config, whose model starts from random weights, or from those that it names in ``load_from``.

    Attributes:
        name: what the user gave.
        file: the config file.
        options: changes to it.
        config: what it describes, with the options.
    """

    name: str
    file: Path
    options: Mapping[str, Any]
    config: LoadedConfig

    @property
    def run(self) -> None:
        """None: there is no run to go on with."""

    @property
    def checkpoint(self) -> None:
        """None: the weights are those that the config starts from."""

    @property
    def default_device(self) -> None:
        """None: the accelerator, if there is one."""

    @property
    def path(self) -> None:
        """None: it is no file of weights."""

    def beside(self, suffix: str) -> Path:
        """Return the path of a file that is made of the model, in the current folder."""
        return Path(f'{Path(self.name).stem}{suffix}')

    def convert(self, target: Path) -> None:
        """Return None: there is nothing to convert."""

    def build(self, device: str | torch.device | None) -> tuple[nn.Module, list[str]]:
        """Return the model, ready to predict, and lines for people on where its weights are from.

        Raises:
            ConfigError: the class names are unknown, as the data are not there.
            CheckpointError: the checkpoint that the config starts from is missing or does not fit.
        """
        source = self.config.get('load_from')
        model = init_detector(self.config, None, device, fuse=False)
        if source is None:
            lines = [
                f'{self.name}: no weights are given, so that the model is random; train it, or open a checkpoint in '
                'place of a config'
            ]
        else:
            report = load_weights(model, load_checkpoint(source), model.info.classes, str(source))
            lines = [f'{self.name}: weights of {source}', *report.lines()]
        fuse_conv_bn(model)
        return model, lines

    @contextmanager
    def weights_file(self) -> Iterator[Path | None]:
        """Give None, see ``checkpoint``."""
        yield None


@dataclass(frozen=True)
class OpenedWeights:
    """A file of weights: a checkpoint of detkit, or one of another project.

    Attributes:
        name: what the user gave.
        path: the file.
        meta: the checkpoint's description of its model.
        foreign: whether it is of another project.
        lines: what was found in it, for people.
        config: the config's model, task and the like, as the checkpoint holds them.
        run: the folder of the run that wrote it; None where it lies elsewhere.
    """

    name: str
    path: Path
    meta: Mapping[str, Any]
    foreign: bool = False
    lines: tuple[str, ...] = ()

    @property
    def config(self) -> Mapping[str, Any]:
        if not self.meta.get('config'):
            raise CheckpointError(
                f'{self.path} holds weights of a backbone, or of a model that it does not describe; name it as '
                'model.backbone.weights or load_from of a config'
            )
        return config_of_text(self.meta['config'], str(self.path))

    @property
    def run(self) -> Path | None:
        return run_of_config(self.path.with_name('config.py'))

    @property
    def checkpoint(self) -> Path | None:
        """The checkpoint of detkit; None of a file of another project."""
        return None if self.foreign else self.path.absolute()

    @property
    def default_device(self) -> None:
        """None: the accelerator, if there is one."""

    def beside(self, suffix: str) -> Path:
        """Return the path of a file that is made of it: beside it, but of published weights in the current folder."""
        if os.path.exists(os.path.expanduser(self.name)):
            return self.path.with_suffix(suffix)
        return Path(f'{Path(self.name).name}{suffix}')

    def convert(self, target: Path) -> Path | None:
        """Write a file of another project as a checkpoint, and return its path; None for a checkpoint of detkit."""
        if not self.foreign:
            return None
        load_foreign(self.path, configs_folder()).save(target)
        return target

    def build(self, device: str | torch.device | None) -> tuple[nn.Module, list[str]]:
        """Return the model, ready to predict, and lines for people; errors as of ``init_detector``."""
        if not self.foreign:
            return init_detector(None, self.path, device), []
        content = load_foreign(self.path, configs_folder()).checkpoint()
        return detector_of_content(content, self.path, device), list(self.lines)

    @contextmanager
    def weights_file(self) -> Iterator[Path]:
        """Give a checkpoint of detkit with these weights, which may be gone afterwards."""
        with TemporaryDirectory(prefix='detkit-') as folder:
            yield self.checkpoint or self.convert(Path(folder) / f'{self.path.stem}.pth')


@dataclass(frozen=True)
class OpenedExport:
    """A file that ``detkit export`` wrote: it predicts and is tested, but holds no weights that could be trained.

    Attributes:
        name: what the user gave.
        path: the file.
        runtime: the runtime that was named; None for the format's own.
        config: the config's model, task and the like, as the file holds them.
    """

    name: str
    path: Path
    runtime: str | None
    config: Mapping[str, Any]

    default_device = 'cpu'

    @property
    def meta(self) -> Mapping[str, Any]:
        """Empty: it says nothing of a run."""
        return {}

    @property
    def run(self) -> None:
        """None: there is no run to go on with."""

    @property
    def checkpoint(self) -> Path:
        """Not there; raises ``ConfigError``."""
        raise self._no_weights()

    def beside(self, suffix: str) -> Path:
        """Return the path of a file that is made of it: beside it."""
        return self.path.with_suffix(suffix)

    def convert(self, target: Path) -> Path:
        """Raise ``ConfigError``: there are no weights."""
        raise self._no_weights()

    def build(self, device: str | torch.device | None) -> tuple[nn.Module, list[str]]:
        """Return the detector, and no lines; errors as of ``open_exported``."""
        return init_detector(None, self.path, device, runtime=self.runtime), []

    @contextmanager
    def weights_file(self) -> Iterator[Path]:
        """Give the file itself, which a test takes."""
        yield self.path

    def _no_weights(self) -> ConfigError:
        return ConfigError(f'{self.name} is an exported file, which predicts only: train the checkpoint it was made of')


Opened = OpenedConfig | OpenedWeights | OpenedExport


def open_model(name: str | os.PathLike, options: Mapping[str, Any] | None = None, runtime: str | None = None) -> Opened:
    """Return what a name stands for.

    Args:
        name: a checkpoint (``.pth``), a run's folder (whose best checkpoint counts), a config's name or file, a weights
            file of another project (``.pt``, ``.weights``, ``.safetensors``), an exported file, or a name of the zoo.
        options: changes to a config, as ``--cfg-options``.
        runtime: the runtime of an exported file, see ``open_exported``.

    Raises:
        TypeError: it is no text or path, or options are no dict.
        ConfigError: there is no such config; or options are given for something else.
        CheckpointError: the file is missing, damaged, or of a model that detkit does not have.
    """
    if not isinstance(name, str | os.PathLike):
        raise TypeError(
            f'a model is given as a path or as the name of a config, not as {type(name).__name__}; to predict with a '
            'network that is in memory, use detkit.inference.Predictor(model=...)'
        )
    check_options(options)
    text = os.path.expanduser(os.fspath(name))
    if not text:
        raise ConfigError(
            'the name of the model is empty; give a checkpoint, a config or the name of published weights'
        )
    if '://' in text:
        raise CheckpointError(f'{text} is an address; fetch the file, and give its path')
    path = find_checkpoint(text)  # fetches weights of the zoo
    if path.is_dir():
        raise CheckpointError(f'{path} is a folder without {" or ".join(OF_A_RUN)}; give a run folder, or a file')
    if path.suffix == '.py' or not (path.is_file() or is_exported(path) or path.suffix.lower() in FOREIGN_SUFFIXES):
        file, options = _find_config(text), dict(options or {})
        config = load_config(file, options, need_classes=False, checked=PREDICTION_KEYS)  # training loads it again
        return OpenedConfig(text, file, options, config)
    if options:
        raise ConfigError(f'options change a config, but {text} holds its own; give those of a call, or of train()')
    if is_exported(path):
        description = read_exported(path, runtime)[1]
        return OpenedExport(text, path, runtime, config_of_text(description.config, str(path)))
    if not path.is_file():
        beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise CheckpointError(f'{text} {absence(path)}{working_folder(path)}.{nearest(path.name, beside)}')
    if not is_foreign(path):
        return OpenedWeights(text, path, load_checkpoint(path, mmap=True)['meta'])
    converted = load_foreign(path, configs_folder())
    return OpenedWeights(text, path, converted.checkpoint()['meta'], True, converted.report)


def _find_config(text: str) -> Path:
    try:
        return find_config(text)
    except ConfigError as error:
        raise ConfigError(f'there is no file {text!r}, and {str(error).removeprefix("there is ")}') from error
