"""Export of a detector: convert, write, load back, compare, and only then keep the file."""

from __future__ import annotations

import copy
import math
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from detkit.export.check import compare
from detkit.export.description import Description, describe, parse_description
from detkit.export.differences import Differences
from detkit.export.format import ExportFormat, find_format, format_of
from detkit.export.graph import ExportGraph
from detkit.export.opening import exported_detector
from detkit.export.plan import Plan, make_plan
from detkit.export.quantization import ADVISED_IMAGES, LEAST_IMAGES, MOST_IMAGES, calibration_inputs
from detkit.export.repetition import changing_part, gives_numbers
from detkit.export.settings import ExportSettings
from detkit.inference import SourceImage, find_images, require_images
from detkit.inference.steps import steps_of
from detkit.inference.vocabulary import with_vocabulary
from detkit.models.detectors import BaseDetector
from detkit.sample_data.coco8 import training_images
from detkit.utils.download import file_sha256
from detkit.utils.errors import ConfigError, DetkitError, MissingPackageError, first_line
from detkit.utils.files import draft_folder, locked_folder, size_text, write_fault
from detkit.utils.front_end import argument

_MOST_IMAGES = 32
_DRAWN = 4
_CALIBRATED = 8  # those of the calibration that a file in int8 is checked with


class ExportError(DetkitError):
    """An exported file does not give what PyTorch gives."""


@dataclass(frozen=True)
class Exported:
    """An exported file that was checked.

    Attributes:
        path: the file.
        description: what it says about itself.
        differences: what the check found; None where the file cannot be run on this machine.
    """

    path: Path
    description: Description
    differences: Differences | None


@torch.autocast('cpu', enabled=False)  # a file's precision is that of the settings
def export_detector(
    model: nn.Module,
    path: str | Path,
    settings: ExportSettings = ExportSettings(),
    images: Sequence[str] | Sequence[SourceImage] | None = None,
    checkpoint: str | Path | None = None,
    log: Callable[[str], None] = lambda line: None,
) -> Exported:
    """Export a detector and check the file against PyTorch.

    Args:
        model: a detector as ``init_detector`` returns it.
        path: the file to write; one that exists is replaced once the new one has been checked.
        settings: what is asked for.
        images: pictures to check with, 32 at most; by default drawn ones, of int8 eight of the calibration's.
        checkpoint: the file that the model was loaded from, for its digest in the file.
        log: called with lines for people.

    Raises:
        ConfigError: this model cannot be exported so.
        MissingPackageError: a package that the format needs is not installed.
        DataError: no picture can be read.
        ExportError: the results differ from PyTorch's by more than the tolerance; the file is kept as ``*.failed.*``.
    """
    if settings.classes:
        model = with_vocabulary(model, settings.classes, settings.text_embeddings)
        settings = replace(settings, classes=None, text_embeddings=None)
    if isinstance(model, BaseDetector):
        model = model.reparameterized()
    plan = make_plan(model, settings)
    path = Path(path)
    if not path.name.lower().endswith(plan.format.suffix):
        other = format_of(path)
        meant = f'; {argument("format", repr(other.name))} writes such a file' if other is not None else ''
        raise ConfigError(
            f"a file of the format {plan.format.name} ends in {plan.format.suffix}, not '{path.name}'{meant}"
        )
    fmt = plan.format
    reason = fmt.why_unbuilt()
    if reason is not None:
        source = find_format(fmt.built_from)
        path = path.with_name(path.name[: -len(fmt.suffix)] + source.suffix)
        done = export_detector(model, path, replace(settings, format=source.name, half=False), images, checkpoint, log)
        target = path.with_name(path.name[: -len(source.suffix)] + fmt.suffix)
        log(f'{reason}: build {target} where it is to run, and keep both files together:')
        log(shlex.join(fmt.build_command(path, target, plan)))
        log(fmt.untested)
        return done
    calibration = _calibration(settings) if plan.int8 else []
    pictures = _pictures(images) if images is not None or not calibration else _spread(calibration, _CALIBRATED)
    graph = ExportGraph(model, plan).eval()
    example = graph.example(plan)
    with torch.no_grad():
        outputs = graph(*example)  # which also says their names
    try:
        network = plan.format.convert(graph, example, plan)
    except MissingPackageError:
        raise
    except ImportError as error:  # of a package that its own installation lacks
        packages = ' '.join({**plan.format.packages, **plan.format.converters}.values())
        text = f'{plan.format.name} cannot be written, as one of its packages cannot be imported: {first_line(error)}'
        raise MissingPackageError(f'{text}; pip install {packages} again') from error
    digest = '' if checkpoint is None else file_sha256(Path(checkpoint))
    description = describe(model.info, plan, graph.input_names, graph.output_names, digest, _preprocessing(model, plan))
    path.parent.mkdir(parents=True, exist_ok=True)
    with draft_folder(path.parent) as folder:
        draft = folder / path.name
        if plan.int8:
            network = _quantised(model, network, description, draft, plan, calibration, log)
        _write(fmt, network, description.text(), draft)
        reason, differences = fmt.why_unchecked(), None
        if reason is None:
            differences = _differences(model, draft, path, plan, settings, pictures, log)
            _write(fmt, network, description.with_difference(differences.numbers()).text(), draft)
        else:
            shapes = {name: tuple(value.shape) for name, value in zip(graph.output_names, outputs, strict=True)}
            fmt.verify(draft, shapes)
            log(f'{fmt.title}: not compared with PyTorch, as {reason}; its outputs have the right names and shapes')
        _move(fmt, draft, path)
    if fmt.untested:
        log(fmt.untested)
    log(f'{path}, {size_text(fmt.size(path))}')
    return Exported(path, description, differences)


def _write(fmt: ExportFormat, network: Any, description: str, path: Path) -> None:
    """Write a file, and name a disk that is full, for which libraries in C++ have other words."""
    try:
        fmt.write(network, description, path)
    except RuntimeError as error:
        fault = write_fault(path.parent)
        if fault is None:
            raise
        raise fault from error


def _differences(
    model: nn.Module,
    draft: Path,
    path: Path,
    plan: Plan,
    settings: ExportSettings,
    pictures: Sequence[SourceImage],
    log: Callable[[str], None],
) -> Differences:
    """Return how a draft differs from PyTorch; where too much, keep it beside ``path`` and raise."""
    description = parse_description(plan.format.read_description(draft), draft)
    session = plan.format.open(draft, torch.device('cpu'), settings.threads or torch.get_num_threads())
    differences = compare(_reference(model), exported_detector(session, description, draft), plan, pictures)
    failures = differences.failures(plan, settings.tolerance)
    log('\n'.join([f'{plan.format.title} ({session.runtime})', *differences.lines()]))
    if failures:
        failed = plan.format.beside(path, 'failed')
        _move(plan.format, draft, failed)
        part = changing_part(model, plan.size)
        why = '' if part is None else f'. The results of its {part} change from call to call: let eval() end that'
        if not gives_numbers(model, plan.size):
            why = '. The model itself computes values that are not a number: its weights are of no use'
        accepted = '' if why else _acceptance(differences, plan)
        why = why or _why_less_precise(model, plan, settings.tolerance, description, pictures)
        raise ExportError(
            f'the exported network differs from PyTorch: {"; ".join(failures)}{why}. The file is kept as {failed} for '
            f'a look at it{accepted}'
        )
    return differences


def _why_less_precise(
    model: nn.Module, plan: Plan, tolerance: float | None, description: Description, pictures: Sequence[SourceImage]
) -> str:
    """Return why a file of a lower precision differs, and what to do; empty in float32.

    Of half precision the reason is found out: the model with rounded weights, in PyTorch, is compared as the file was.
    """
    if plan.precision == 'float32':
        return ''
    remedy = f'leave {argument("int8" if plan.int8 else "half", "True")} out'
    if plan.int8:
        remedy = f'{remedy}, or calibrate with more pictures like those of its use'
        return f'. In 8 bits its numbers are too coarse: {remedy}'
    rounded = exported_detector(_RoundedWeights(model, plan), description, Path('rounded weights'))
    found = compare(_reference(model), rounded, plan, pictures).failures(plan, tolerance)
    if found:
        return f'. Its weights are too coarse in half precision; rounded so in PyTorch, {"; ".join(found)}: {remedy}'
    computes = f'what {plan.format.title} computes is not'
    return f'. Its weights rounded to half precision are fine in PyTorch; {computes}: {remedy}'


def _acceptance(differences: Differences, plan: Plan) -> str:
    """Return how to accept a file of a lower precision, where nothing but its boxes differs by too much."""
    if plan.precision == 'float32' or differences.failures(plan, sys.float_info.max):
        return ''
    pixels = str(math.ceil(differences.means['bboxes'] if plan.int8 else differences.bboxes))
    accepting = argument('tolerance', pixels, f'--tolerance {pixels}')
    return f'; where detkit test finds its metrics as good, {accepting} accepts it'


class _RoundedWeights:
    """A model with weights of half precision that computes in float32, in place of a file, see ``Session``."""

    runtime = 'PyTorch'

    def __init__(self, model: nn.Module, plan: Plan) -> None:
        self._graph = ExportGraph(model, replace(plan, half=False)).eval()
        with torch.no_grad():
            for weights in self._graph.parameters():
                weights.copy_(weights.half())

    def __call__(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        with torch.no_grad():
            outputs = self._graph(*(inputs[name] for name in self._graph.input_names))
        return dict(zip(self._graph.output_names, outputs, strict=True))


def _reference(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model).cpu().float().eval()


def _move(fmt: ExportFormat, draft: Path, path: Path) -> None:
    """Move a file and what belongs to it; of two exports to one path, the files of one remain."""
    with locked_folder(path.parent):
        fmt.move(draft, path)


def _calibration(settings: ExportSettings) -> Sequence[SourceImage]:
    """Return the pictures to calibrate with, spread over all that were given."""
    given = settings.calibration
    found = require_images(find_images([given] if isinstance(given, str) else [str(path) for path in given or ()]))
    if len(found) < LEAST_IMAGES:
        raise ConfigError(
            f'int8 is calibrated with {len(found)} pictures, but needs {LEAST_IMAGES}, better {ADVISED_IMAGES} or more'
        )
    return _spread(found, MOST_IMAGES)


def _spread(images: Sequence[SourceImage], most: int) -> Sequence[SourceImage]:
    """Return at most so many images, from the first to the last."""
    return images[:: -(-len(images) // most)]


def _quantised(
    model: nn.Module,
    network: Any,
    description: Description,
    draft: Path,
    plan: Plan,
    images: Sequence[SourceImage],
    log: Callable[[str], None],
) -> Any:
    """Return the network in int8, calibrated through its file in float32."""
    _write(plan.format, network, description.text(), draft)
    session = plan.format.open(draft, torch.device('cpu'), torch.get_num_threads())
    exported = exported_detector(session, description, draft)
    inputs = list(calibration_inputs(exported, plan, images))
    advice = '' if len(images) >= ADVISED_IMAGES else f'; {ADVISED_IMAGES} or more give better ranges'
    log(f'int8 is calibrated with {len(images)} pictures{advice}; the last layers stay in float')
    return plan.format.quantise(network, inputs)


def _pictures(images: Sequence[str] | Sequence[SourceImage] | None) -> Sequence[SourceImage]:
    if images is None:
        return [SourceImage(f'drawn {i}', image) for i, image in enumerate(training_images()[:_DRAWN])]
    return require_images(find_images(list(images)))[:_MOST_IMAGES]


def _preprocessing(model: nn.Module, plan: Plan) -> str:
    """Return what is done to a picture before it enters the graph, for people."""
    steps = ', '.join(str(step.get('type')) for step in steps_of(model.info.config))
    size = 'any size' if 'size' in plan.dynamic else f'{plan.size[0]} x {plan.size[1]}'
    multiples = f', sides multiples of {plan.divisor}' if plan.divisor > 1 else ''
    return f'RGB, {plan.input_type} from 0 to 255, {size}{multiples}; the config prepares it by: {steps or "LetterBox"}'
