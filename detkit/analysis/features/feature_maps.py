"""The feature maps of modules, and pictures of them and of class activation maps."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from detkit.analysis.features.cam import class_logits, class_score, eigen_cam, grad_cam, normalised
from detkit.inference import Predictor
from detkit.inference.sources import Source, find_images, require_images
from detkit.models.detectors.base_detector import BaseDetector
from detkit.models.heads.two_stage_head import TwoStageHead
from detkit.structures.data_sample import DetDataSample
from detkit.utils.errors import ConfigError, DataError, nearest
from detkit.utils.pictures import UniqueNames, write_picture
from detkit.utils.progress import track
from detkit.visualization.drawing import draw_data_sample
from detkit.visualization.heat import channel_sheet, heat_over, onto_image
from detkit.visualization.sheets import fit, grid, with_caption

_CELL = 640  # longest side of a picture on a sheet


def default_module(model: BaseDetector) -> str:
    """Return the name of the last module before the head."""
    # A neck is a sequence whose parts the detector calls one by one.
    return f'neck.{len(model.neck) - 1}' if model.neck else 'backbone'


def choose_modules(model: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Return the names of the modules that match patterns, in the model's order.

    Args:
        model: the network.
        patterns: names such as 'backbone.stem', or patterns: in 'neck.*', '*' stands for one level of a name, and '**'
            for any number of levels.

    Raises:
        ConfigError: a pattern fits no module.
    """
    names = [name for name, _ in model.named_modules() if name]
    for pattern in patterns:
        if not any(_fits(name, pattern) for name in names):
            raise ConfigError(f'the network has no module {pattern!r}.{nearest(pattern, names)} --list shows them all')
    return [name for name in names if any(_fits(name, pattern) for pattern in patterns)]


def _fits(name: str, pattern: str) -> bool:
    # With as many dots on both sides, no '*' stands for one.
    return fnmatch.fnmatchcase(name, pattern) and ('**' in pattern or name.count('.') == pattern.count('.'))


@contextmanager
def record_activations(model: nn.Module, names: Sequence[str]) -> Iterator[dict[str, list[Tensor]]]:
    """Record the feature maps ``(B, C, h, w)`` that modules return within the context.

    The next module gets a copy, through which gradients flow, so that an in-place operator does not change the record.

    Args:
        model: the network.
        names: names of its modules.

    Returns:
        Lists of the feature maps of the latest call, by name; empty for a module that returns something else.
    """
    found: dict[str, list[Tensor]] = {name: [] for name in names}

    def keeper(name: str) -> Any:
        def keep(module: nn.Module, arguments: tuple, output: Any) -> Any:
            found[name] = [tensor for tensor in _tensors(output) if tensor.dim() == 4]
            return _copied(output)

        return keep

    modules = dict(model.named_modules())
    handles = [modules[name].register_forward_hook(keeper(name)) for name in names]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _tensors(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, dict):
        output = list(output.values())
    if isinstance(output, list | tuple):
        return [tensor for item in output for tensor in _tensors(item)]
    return []


def _copied(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output.clone()
    if isinstance(output, dict):
        return {key: _copied(value) for key, value in output.items()}
    if type(output) in (list, tuple):
        return type(output)(_copied(item) for item in output)
    return output


def write_activations(
    predictor: Predictor, source: Source, patterns: Sequence[str], folder: str | Path, max_channels: int = 64
) -> list[Path]:
    """Write a sheet for each image, module, and feature map of the module.

    Args:
        predictor: with a model whose batch normalisation is not folded, so that every module is there.
        source: the images, see ``find_images``.
        patterns: the modules, see ``choose_modules``.
        folder: for the pictures.
        max_channels: how many to show of each.

    Returns:
        The files.

    Raises:
        ConfigError: there is no such module, or none of them returns feature maps.
        DataError: no image can be read.
    """
    names = choose_modules(predictor.model, patterns)
    taken = UniqueNames()
    files = []
    for path, _, batch in _batches(predictor, source):
        with record_activations(predictor.model, names) as maps, torch.no_grad():
            predictor.model(**predictor.model.data_preprocessor(batch, training=False), mode='predict')
        if not any(maps.values()):
            raise ConfigError(f'{", ".join(names)}: no feature maps (channels, height, width) come out there')
        seen = batch['inputs'][0].permute(1, 2, 0).numpy()
        for name, own in maps.items():
            for number, activations in enumerate(own):
                title = name + (f'[{number}]' if len(own) > 1 else '')
                sheet = channel_sheet(
                    activations[0].float().cpu().numpy(), f'{Path(path).name}  {title}', seen, max_channels
                )
                files.append(Path(folder) / taken.name(f'{Path(path).stem}_{title}', '.png'))
                write_picture(files[-1], sheet)
    return files


def write_cams(
    predictor: Predictor,
    source: Source,
    method: str,
    folder: str | Path,
    module: str,
    class_name: str | None = None,
) -> list[Path]:
    """Write a sheet for each image, and print its path: predictions, and a heat map for each feature map of ``module``.

    Args:
        predictor: see ``write_activations``.
        source: the images.
        method: 'gradcam' or 'eigencam'.
        folder: for the pictures.
        module: name of the module.
        class_name: the class that Grad-CAM explains; that of the image's best prediction if left out.

    Returns:
        The files.

    Raises:
        ConfigError: there is no such module or class, or the module returns no feature maps that the head uses.
        DataError: no image can be read.
    """
    model = predictor.model
    name, *others = choose_modules(model, [module])
    if others:
        raise ConfigError(
            f'{module!r} fits {1 + len(others)} modules ({name}, {others[0]}, ...), but a map is made of one'
        )
    wanted = None if class_name is None else _label(class_name, predictor.classes)
    taken = UniqueNames()
    files = []
    for path, img, batch in _batches(predictor, source):
        maps, sample, label = _explain(predictor, batch, name, method, wanted)
        shape, matrix = batch['inputs'].shape[2:], batch['data_samples'][0].metainfo['matrix']
        what = predictor.classes[label] if method == 'gradcam' else 'all classes'
        drawn = draw_data_sample(
            img, sample, 'pred', predictor.classes, predictor.options.score_thr, keypoint_info=model.info.keypoints
        )
        pictures = [(drawn, Path(path).name)]
        for number, heat in maps:
            drawn = heat_over(img, np.clip(onto_image(heat, shape, matrix, img.shape[:2]), 0, 1))
            pictures.append(
                (drawn, f'{name}[{number}]  {heat.shape[1]} x {heat.shape[0]}  {method}: {what}{_nothing(heat)}')
            )
        cells = [with_caption(fit(picture, _CELL, enlarge=True), caption) for picture, caption in pictures]
        files.append(Path(folder) / taken.name(f'{Path(path).stem}_{method}', '.jpg'))
        write_picture(files[-1], grid(cells, 2 if len(cells) > 3 else len(cells)))
        print(f'{path}: {method} of {name}, {what}')
    return files


def _nothing(heat: np.ndarray) -> str:
    """Return the end of a heat map's caption that says why it is empty, '' for another one."""
    return '' if heat.any() else ', empty: nothing here speaks for it'


def _explain(
    predictor: Predictor, batch: dict, name: str, method: str, label: int | None
) -> tuple[list[tuple[int, np.ndarray]], DetDataSample, int]:
    """Return numbered maps ``(h, w)`` from 0 to 1, the predictions, and the class that is explained."""
    model: nn.Module = predictor.model
    raw: list[dict] = []

    def keep(module: nn.Module, arguments: tuple, output: Any) -> None:
        if module is model.head:
            raw.append(dict(output))
        else:
            raw[0]['regions'] = arguments[1]

    watched = [model.head, *([model.head.bbox_head] if isinstance(model.head, TwoStageHead) else [])]
    handles = [module.register_forward_hook(keep) for module in watched]
    with torch.enable_grad(), record_activations(model, [name]) as found:
        inputs = model.data_preprocessor(batch, training=False)
        inputs['inputs'].requires_grad_(True)  # so that there are gradients where every weight is frozen
        try:
            sample = model(**inputs, mode='predict')[0]
        finally:
            for handle in handles:
                handle.remove()
        logits = probabilities = None
        if method == 'gradcam':
            if 'regions' in raw[0]:  # the predictions are those of the second stage, which had no gradients
                raw[0]['region_logits'] = model.head.bbox_head(raw[0]['feats'], raw[0]['regions'])[0]
            logits, probabilities = class_logits(raw[0], len(predictor.classes))
        if logits is not None and label is None:
            label = _best_label(sample, probabilities)
        activations = found[name]
        if not activations:
            raise ConfigError(f'{name} puts out no feature maps (channels, height, width)')
        if method == 'eigencam':
            used = list(enumerate(activations))[-1 if predictor.classifies else 0 :]  # a classifier reads the last one
            maps = [eigen_cam(own[0]) for _, own in used]
        else:
            score = class_score(logits, probabilities, label, predictor.options.score_thr)
            used, maps = _with_gradients(activations, score, name)
    numbers = [number for number, _ in used]
    return list(zip(numbers, normalised(maps, method == 'gradcam'), strict=True)), sample, label or 0


def _with_gradients(
    activations: list[Tensor], score: Tensor, name: str
) -> tuple[list[tuple[int, Tensor]], list[Tensor]]:
    gradients = torch.autograd.grad(score, activations, allow_unused=True)
    used = [(number, own) for number, own in enumerate(activations) if gradients[number] is not None]
    if not used:
        raise ConfigError(f'the class does not depend on what {name} puts out; choose a module before the head')
    return used, [grad_cam(own[0], gradients[number][0]) for number, own in used]


def _best_label(sample: DetDataSample, probabilities: Tensor) -> int:
    if 'pred_label' in sample:
        return int(sample.pred_label)
    found = sample.pred_instances
    return int(found.labels[found.scores.argmax()]) if len(found.labels) else int(probabilities.max(0).values.argmax())


def _batches(predictor: Predictor, source: Source) -> Iterator[tuple[str, np.ndarray, dict]]:
    """Yield path, decoded image and batch of one for every image that can be read; print a line for each other one."""
    images = require_images(find_images(source))
    unread = []
    for number, image in enumerate(track(images, 'draw maps')):
        prepared = predictor.prepare(image, number)
        if isinstance(prepared, DataError):
            unread.append(prepared)
            continue
        yield image.name, prepared.img, predictor.make_batch([prepared.packed])
    if len(unread) == len(images):
        raise DataError(f'none of the {len(images)} images can be read; the first: {unread[0]}')
    for error in unread:
        print(f'skipped: {error}')


def _label(name: str, classes: Sequence[str]) -> int:
    if name not in classes:
        raise ConfigError(f'the model has no class {name!r}.{nearest(name, classes)}')
    return list(classes).index(name)
