"""``PickledModel``: a YOLO model as a ``.pt`` file of its project describes it, and its conversion."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from detkit.converters.common import (
    Conversion,
    Description,
    KeyTable,
    resolve_config,
    shown_classes,
    sizes_of,
)
from detkit.converters.file_checks import check_paths, match_tensors, names_the_file, stored_state
from detkit.converters.inert_pickle import TensorRef, TorchArchive
from detkit.models.layers import scale_blocks, scale_channels
from detkit.utils.errors import CheckpointError, reason_of

NORM_EPS = 1e-3  # of the batch normalisations of every detector
TASK_NAMES = {
    'det': 'detection',
    'seg': 'segmentation',
    'pose': 'pose',
    'obb': 'oriented boxes',
    'cls': 'classification',
}
_MAX_FACTOR = 100.0


@dataclass(frozen=True)
class Scale:
    """A model's size: its letter, or None for one of its own, and its factors."""

    letter: str | None
    deepen_factor: float
    widen_factor: float
    max_channels: int = 1024

    def options(self, default: str = 'n') -> dict[str, Any]:
        """Return the variables that give a family's config this size: ``size``, or the factors without a letter."""
        if self.letter is None:
            return dict(
                deepen_factor=self.deepen_factor, widen_factor=self.widen_factor, max_channels=self.max_channels
            )
        return {} if self.letter == default else {'size': self.letter}

    def fits(self, widths: tuple[int, ...], repeats: tuple[int, ...], stages: Stages) -> bool:
        """Return whether these factors give the channels and repeats of a file."""
        return (
            tuple(scale_channels(c, self.widen_factor, self.max_channels) for c in stages.channels) == widths
            and tuple(scale_blocks(n, self.deepen_factor) for n in stages.stage_blocks) == repeats
        )


class Stages(NamedTuple):
    """The layers of a model that are its stem and its stages.

    Attributes:
        stem: the name of the first convolution's weight.
        block_layers: the layer of each stage's repeated block.
        stage_blocks: the repeats of each stage, before the depth factor.
        narrow_classifiers: whether the limit of channels concerns classifiers too; otherwise their last stage is as
            wide in every size.
        convs: the convolution of each stage that gives its map its channels.
        channels: those of the stem and of each stage, before the width factor.
    """

    stem: str
    block_layers: tuple[int, ...]
    stage_blocks: tuple[int, ...]
    narrow_classifiers: bool = False
    convs: tuple[str, ...] = ('model.1', 'model.3', 'model.5', 'model.7')
    channels: tuple[int, ...] = (64, 128, 256, 512, 1024)


@dataclass(frozen=True, kw_only=True)
class PickledModel(ABC):
    """A YOLO model as a file describes it; a family of models is a subclass.

    Attributes:
        writer: the project that writes the files.
        family: the family's name, such as 'YOLOv8'.
        variant: what its name ends in behind the size, such as '-p6'.
        classes: the names, by label.
        task: 'det', 'seg', 'pose', 'obb' or 'cls'.
        tensors: parameters and buffers by the project's names, not yet read.
        factors: depth and width factors that the file states, or None.
        norm_eps: the epsilon of the batch normalisations.
        img_size: the size that the model was trained at, where the file states it.
        path: the file.
        entry: the entry of the file that holds the model, 'ema' or 'model'.
        version: the project's release, as far as it is known.
    """

    writer: ClassVar[str]
    family: ClassVar[str]
    variant: ClassVar[str] = ''

    classes: tuple[str, ...]
    task: str = 'det'
    path: Path
    tensors: dict[str, TensorRef]
    factors: tuple[float, float] | None = None
    norm_eps: float = NORM_EPS
    img_size: int | None = None
    entry: str = 'model'
    version: str = ''

    @property
    @abstractmethod
    def keys(self) -> KeyTable:
        """Return the names of the parameters."""

    @property
    @abstractmethod
    def config(self) -> str:
        """Return the config of the model's task, as a path in the folder ``configs``."""

    @property
    def custom(self) -> str:
        """Return the config beside it for data of one's own."""
        return f'{self.task}_custom.py'

    @property
    @abstractmethod
    def stages(self) -> Stages:
        """Return the layers of the stem and the stages."""

    @abstractmethod
    def describe(self, scale: Scale, file: Path) -> Description:
        """Return the config ``file`` in the model's size, changed where the file's model differs."""

    def converted_shape(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape that a tensor has once converted."""
        return shape

    @property
    def input_options(self) -> dict[str, Any]:
        """Return the config's options that give images the input that the project gives them, and its thresholds."""
        return {'prefilter_above': None}

    def convert(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the tensors, which have detkit's names already, in detkit's form."""
        return state

    def meta(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what else the checkpoint keeps of the file: its origin, and what it says about keypoints."""
        return {}, {}

    def find_scale(self, file: Path) -> Scale:
        """Return the factors that give the file's channels and repeats; those of a size with a letter, if one fits.

        Args:
            file: the config, whose variable ``sizes`` holds the factors by letter.

        Raises:
            CheckpointError: no factors do.
        """
        stages = self.stages
        weights = [stages.stem, *(f'{conv}.conv.weight' for conv in stages.convs)]
        widths = tuple(self.tensors[name].size[0] if name in self.tensors else 0 for name in weights)
        prefixes = [f'model.{layer}.m.' for layer in stages.block_layers]
        repeats = tuple(
            len({name[len(prefix) :].split('.')[0] for name in self.tensors if name.startswith(prefix)})
            for prefix in prefixes
        )
        used = slice(2 if self.task == 'cls' and not stages.narrow_classifiers else 3)
        scales = [Scale(letter, *factors[used]) for letter, factors in sizes_of(file).items()]
        widen = widths[0] / stages.channels[0]
        pairs = [self.factors] if self.factors else []
        depths = [scale.deepen_factor for scale in scales]
        pairs += [(deepen, widen) for deepen in (*depths, repeats[1] / stages.stage_blocks[1])]
        for deepen, widen in pairs:
            if widen > 0:
                scales.append(Scale(None, deepen, widen, max(round(widths[-1] / widen), 1)))
        for scale in scales:
            if scale.fits(widths, repeats, stages):
                return scale
        raise CheckpointError(
            f'{self.path} is a {self.family} with {widths} channels and {repeats} repeats of its stages, which no '
            'depth and width factors give; convert a file of a model that its own description makes.'
        )

    def name_of(self, scale: Scale) -> str:
        """Return the name of a model of this size for people, such as 'YOLOv8s-p6' and 'YOLO-World-s'."""
        hyphen = '-' if scale.letter and self.family[-1].isalpha() else ''
        return f'{self.family}{hyphen}{scale.letter or ""}{self.variant}'

    def load_config(self, scale: Scale, file: Path) -> dict[str, Any]:
        """Return the config ``file`` in the model's size and image size, with the project's input, resolved."""
        img_size = {'img_size': self.img_size} if self.img_size else {}
        return resolve_config(file, {**self.size_options(scale), **img_size, **self.input_options})

    def size_options(self, scale: Scale) -> dict[str, Any]:
        """Return the config's variables that give it the model's size, see ``Scale.options``."""
        return scale.options()

    def match(self, expected: Mapping[str, Tensor]) -> dict[str, str]:
        """Return the file's name of each of detkit's parameters and buffers, see ``match_tensors``."""
        shapes = {name: self.converted_shape(name, tuple(ref.size)) for name, ref in self.tensors.items()}
        what = f'{self.path} does not fit the {self.family} {TASK_NAMES[self.task]}'
        return match_tensors(shapes, expected, self.keys, what)


def read_model(archive: TorchArchive, read: Callable[[TorchArchive], PickledModel]) -> PickledModel:
    """Return the model in an open file, in which anything may have any type.

    Raises:
        CheckpointError: it holds no such model, or values that no model has.
    """
    try:
        pickled = read(archive)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise CheckpointError(
            f'{archive.path} is damaged, or forged: a value in it is of another kind than '
            f'expected ({reason_of(error)}); copy the file again.'
        ) from error
    if pickled.factors is not None and not all(0 < factor < _MAX_FACTOR for factor in pickled.factors):
        raise CheckpointError(
            f'{archive.path} states the depth and width factors {pickled.factors}, which no model has; copy the file '
            'again.'
        )
    return pickled


def convert_pickled(
    source: str | Path,
    target: str | Path,
    configs: str | Path,
    read: Callable[[TorchArchive], PickledModel],
) -> list[str]:
    """Convert a ``.pt`` file that holds a whole model.

    Nothing in it is run, and the result depends on its content alone.

    Args:
        source, configs, read: see ``load_pickled``.
        target: where the checkpoint goes, for ``predict``, ``test`` and ``load_from``.

    Returns:
        Lines for people: what was read and written, the config that fits, and how to go on.

    Raises:
        CheckpointError: see ``load_pickled``.
    """
    check_paths(Path(source), Path(target))
    return load_pickled(source, configs, read).save(Path(target))


@names_the_file
def load_pickled(source: str | Path, configs: str | Path, read: Callable[[TorchArchive], PickledModel]) -> Conversion:
    """Return what ``convert_pickled`` writes.

    Args:
        source: the file.
        configs: detkit's folder of that name, whose configs for the family describe the models.
        read: returns the model in an open file.

    Raises:
        CheckpointError: the file is missing, damaged, or of another model; all parameters that are unknown, missing or
            of another shape are listed.
    """
    source, configs = Path(source), Path(configs)
    with TorchArchive(source) as archive:
        pickled = read_model(archive, read)
        file = configs / pickled.config
        scale = pickled.find_scale(file)
        description = pickled.describe(scale, file)
        model = description.model
        names = pickled.match(model.state_dict())
        state = {ours: archive.read(pickled.tensors[theirs], theirs) for ours, theirs in names.items()}
    half = any(value.dtype in (torch.float16, torch.bfloat16) for value in state.values())
    more, keypoints = pickled.meta()
    origin = {
        'file': source.name,
        'project': pickled.writer.lower(),
        'version': pickled.version,
        'entry': pickled.entry,
        **more,
    }
    data = {'data_root': 'path/to/folder'} if pickled.task == 'cls' else None
    return Conversion(
        stored_state(pickled.convert(state), model.state_dict(), source),
        description.config,
        f'configs/{pickled.config}',
        origin,
        report=(
            f'read     {source}: {pickled.name_of(scale)} {TASK_NAMES[pickled.task]}, '
            f"{shown_classes(pickled.classes)}, weights '{pickled.entry}' in {'half' if half else 'single'} precision, "
            f'by {pickled.writer} {pickled.version}',
            *([f'licence  {origin["licence"]} (says the file)'] if origin.get('licence') else []),
        ),
        size=f'{sum(param.numel() for param in model.parameters()):,} parameters',
        advice=lambda target: description.advice(target, pickled.custom, data),
        keypoints=keypoints,
    )
