"""``convert_torchvision``: a detector of torchvision -> a detkit checkpoint, and back."""

from __future__ import annotations

import copy
import io
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from detkit.converters.common import (
    Conversion,
    Description,
    is_checkpoint,
    read_names,
    resolve_config,
    set_classes,
    shown_classes,
    sizes_of,
)
from detkit.converters.file_checks import check_paths, match_tensors, names_the_file, stored_state
from detkit.converters.torchvision_keys import TORCHVISION_KEYS
from detkit.converters.torchvision_model import COUNTER, NAMES, TorchvisionModel, current_names, find_model
from detkit.converters.weights_file import averaged_note, read_state
from detkit.datasets.class_names import COCO80, COCO91
from detkit.engine.checkpoint import load_checkpoint
from detkit.structures.keypoints import COCO_KEYPOINTS, fill_metainfo
from detkit.utils.download import file_sha256
from detkit.utils.errors import CheckpointError, ConfigError
from detkit.utils.files import replacing

# By the first digits of its SHA-256: the published files that were trained without an eps in the normalisation, and
# the one for small images, whose weights show neither.
_NO_EPS = ('258fb6c6', 'bf2d0c1e', 'fc266e95', 'eeacb38b')
_SMALL = '907ea3f9'
_SMALL_OPTIONS = {'size': 'mobilenet_320', 'max_size': 640}
# By folder of the configs: the config, and the one for other data.
FILES = {
    'faster_rcnn': ('det_coco.py', 'det_custom.py'),
    'mask_rcnn': ('seg_coco.py', 'seg_custom.py'),
    'keypoint_rcnn': ('pose_coco.py', 'pose_custom.py'),
    'retinanet': ('det_coco.py', 'det_custom.py'),
    'fcos': ('det_coco.py', 'det_custom.py'),
}
_PERSON = ('person',)


def convert_torchvision(
    source: str | Path,
    target: str | Path,
    configs: str | Path,
    config: str | Path | None = None,
    names: str | Path | None = None,
    classes: str | None = None,
) -> list[str]:
    """Convert a file; its content decides the direction. Nothing in it is run.

    Args:
        source: a ``.pth`` of torchvision's Faster, Mask or Keypoint R-CNN, RetinaNet or FCOS, published, or what its
            training script or ``model.state_dict()`` writes; or a checkpoint of detkit, of such a model.
        target: where the checkpoint goes; or the ``.pth`` with torchvision's names.
        configs: detkit's folder of that name, whose configs describe the models.
        config: the config of the same model, instead of the one that fits the weights.
        names: the class names, one a line; needed for other classes than COCO's.
        classes: ``'80'`` keeps COCO's 80 classes of a model that counts category ids up to 90, ``'91'`` all of these,
            ``'N/A'`` among them.

    Returns:
        Lines for people: what was read and written, the config that fits, and how to go on.

    Raises:
        CheckpointError: a file is missing, damaged, or of another model; all parameters that are unknown, missing or of
            another shape are listed.
    """
    source, target = Path(source), Path(target)
    back = is_checkpoint(source)
    check_paths(source, target, ('.pth', '.pt') if back else ())
    if back:
        if config or names or classes:
            raise CheckpointError(
                f'{source} is a checkpoint of detkit, which holds its config and its class names; leave out --config, '
                '--names and --classes.'
            )
        return export_torchvision(source, target)
    return load_torchvision(source, configs, config, names, classes).save(target)


@names_the_file
def load_torchvision(
    source: str | Path,
    configs: str | Path,
    config: str | Path | None = None,
    names: str | Path | None = None,
    classes: str | None = None,
) -> Conversion:
    """Return the checkpoint of a file of torchvision; arguments and errors are ``convert_torchvision``'s."""
    source, configs = Path(source), Path(configs)
    content, tensors = read_state(source)
    tensors = current_names(tensors)
    found = find_model(tensors, source)
    chosen = _choose_classes(source, found, names, classes)
    digest = file_sha256(source)[:8]
    file = configs / found.family / FILES[found.family][0] if config is None else Path(config)
    options = {} if config else _options(found, digest)
    resolved = _resolve(file, options, found, source)
    differences = ['classes'] if chosen.names != tuple(resolved['classes']) else []
    set_classes(resolved, chosen.names)
    keypoints: dict[str, Any] = {}
    if found.num_keypoints:
        keypoints = _set_keypoints(resolved, found.num_keypoints, source)
        differences += ['keypoints'] if found.num_keypoints != len(COCO_KEYPOINTS) else []
    description = Description(resolved, file, options, tuple(differences), not differences)
    model = description.model
    expected = model.state_dict()
    keys = TORCHVISION_KEYS[found.table]
    tensors = _kept_rows(tensors, found, chosen.labels, expected)
    file_names = match_tensors(
        {name: tuple(tensor.shape) for name, tensor in tensors.items()},
        expected,
        keys,
        f'{source} does not fit the {found.label()}',
    )
    state = stored_state({ours: tensors[theirs] for ours, theirs in file_names.items()}, expected, source)
    inside = file.resolve().is_relative_to(configs.resolve())
    eps = ', no eps, as the published weights were trained' if options.get('norm_eps') == 0.0 else ''
    return Conversion(
        state,
        resolved,
        f'configs/{found.family}/{file.name}' if inside else file.name,
        {'file': source.name, 'project': 'torchvision'},
        report=(
            f'read     {source}: {found.label()}, {shown_classes(chosen.names)}',
            f'classes  {chosen.by}',
            f'norm     {"trained" if found.trained_norm else "frozen"} in the backbone{eps}',
            *averaged_note(content),
        ),
        size=f'{sum(param.numel() for param in model.parameters()):,} parameters',
        advice=lambda target: description.advice(target, FILES[found.family][1] if config is None else None),
        keypoints=keypoints,
    )


@names_the_file
def export_torchvision(source: Path, target: Path) -> list[str]:
    """Write the weights of a detkit checkpoint under torchvision's names, for ``load_state_dict``.

    Returns:
        Lines for people.

    Raises:
        CheckpointError: the checkpoint is damaged, or of a model that torchvision does not have.
    """
    checkpoint = load_checkpoint(source)
    ours, classes = checkpoint['state_dict'], checkpoint['meta'].get('classes') or []
    for table, keys in TORCHVISION_KEYS.items():
        try:
            state = OrderedDict((keys.to_theirs(name), tensor) for name, tensor in ours.items())
            found = find_model(state, source)
        except (KeyError, CheckpointError):
            continue
        if found.table == table and all(keys.to_detkit(name) in ours for name in state):
            break
    else:
        raise CheckpointError(
            f'{source} is no model that torchvision has: it converts back {", ".join(NAMES.values())} on ResNet or '
            'MobileNetV3 with the layers of a size of their configs.'
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()  # else a full disk has PyTorch's words, which do not name it
    torch.save(state, content)
    with replacing(target) as stream:
        stream.write(content.getbuffer())
    background = int(found.two_stage)
    keypoints = f', num_keypoints={found.num_keypoints}' if found.num_keypoints else ''
    shift = 'i + 1; 0 is background' if background else 'i'
    return [
        f'read     {source}: {found.label()}, {shown_classes(classes)}',
        f'wrote    {target}: {len(state)} tensors, for a model of torchvision with num_classes='
        f'{found.num_labels + background}{keypoints} and load_state_dict',
        f'classes  the class i is its label {shift}',
    ]


def _options(found: TorchvisionModel, digest: str) -> dict[str, Any]:
    options: dict[str, Any] = {'size': found.size}
    if digest == _SMALL:
        options |= _SMALL_OPTIONS
    if found.trained_norm != found.second:
        options['backbone_norm'] = 'bn' if found.trained_norm else 'frozen'
    if digest in _NO_EPS:
        options['norm_eps'] = 0.0
    return options


def _resolve(file: Path, options: dict[str, Any], found: TorchvisionModel, source: Path) -> dict[str, Any]:
    sizes = sizes_of(file)
    if 'size' in options and options['size'] not in sizes:
        raise CheckpointError(
            f'{source} is a {found.label()}, which is none of the sizes {", ".join(sizes)} of {file.name}; give a '
            'config of the same model with --config.'
        )
    try:
        resolved = resolve_config(file, options)
    except ConfigError as error:
        raise CheckpointError(f'{file} cannot serve as a description of the model: {error}') from error
    if 'num_classes' not in (resolved.get('model', {}).get('head') or {}) or not resolved.get('classes'):
        raise CheckpointError(
            f'{file} describes no {NAMES[found.family]} with its classes; give one such as '
            f'configs/{found.family}/{FILES[found.family][0]}.'
        )
    return resolved


def _set_keypoints(config: dict[str, Any], count: int, source: Path) -> dict[str, Any]:
    """Set the number of keypoints; return what the checkpoint says about them."""
    config['model']['head']['keypoint_shape'] = (count, 3)
    names = {'keypoint_names': COCO_KEYPOINTS if count == len(COCO_KEYPOINTS) else None}
    return fill_metainfo(names, count, str(source))


@dataclass(frozen=True)
class _Classes:
    """The classes of a checkpoint: their names, the labels of the file that they have, and where both are from."""

    names: tuple[str, ...]
    labels: tuple[int, ...]
    by: str


def _choose_classes(source: Path, found: TorchvisionModel, names: str | Path | None, classes: str | None) -> _Classes:
    """Choose the labels of the file, from 0 and without a two-stage detector's background, that become classes.

    Raises:
        CheckpointError: there are other names than labels, or none.
    """
    count = found.num_labels
    first = int(found.two_stage)  # the category id of the label 0
    every = COCO91[first:]
    if classes is not None and (names is not None or count != len(every) or classes not in ('80', '91')):
        raise CheckpointError(
            f"--classes {classes}: a file with COCO's {len(every)} category ids takes 80 or 91, without --names; "
            f'{source} has {count} labels.'
        )
    if names is not None:
        given = read_names(Path(names))
        if len(given) == count - 1 and not found.two_stage:
            return _Classes(given, tuple(range(1, count)), f'as {names} has them, for the labels from 1 on')
        if len(given) != count:
            raise CheckpointError(
                f'{source} has {count} classes, but {names} names {len(given)}; give the names of all of them with '
                '--names FILE, one a line'
            )
        return _Classes(given, tuple(range(count)), f'as {names} has them')
    if count == len(every):
        if classes == '91':
            return _Classes(every, tuple(range(count)), "COCO's category ids, the unused ones N/A")
        labels = tuple(label for label, name in enumerate(every) if name in COCO80)
        return _Classes(COCO80, labels, f"COCO's 80 of {count} category ids; --classes 91 keeps all")
    if found.family == 'keypoint_rcnn' and count == 1:
        return _Classes(_PERSON, (0,), "COCO's person")
    if count == len(COCO80):
        return _Classes(COCO80, tuple(range(count)), 'as COCO has them')
    raise CheckpointError(
        f'{source} has {count} classes without names, and COCO {len(COCO80)}; give the names with --names FILE, '
        'one a line.'
    )


def _kept_rows(
    tensors: Mapping[str, Tensor], found: TorchvisionModel, labels: Sequence[int], expected: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the tensors that the model has, of each layer with a row for every class those of ``labels``.

    Counters of a normalisation that is frozen here are left out.
    """
    keys = TORCHVISION_KEYS[found.table]
    kept = copy.copy(dict(tensors))
    background = int(found.two_stage)
    index = [*range(background), *(label + background for label in labels)]
    count = found.num_labels + background
    # The layers, and their rows: groups of all classes, each class with a number of rows.
    layers = dict(
        [
            ('roi_heads.box_predictor.cls_score', (1, 1)),
            ('roi_heads.box_predictor.bbox_pred', (1, 4)),
            ('roi_heads.mask_predictor.mask_fcn_logits', (1, 1)),
            ('head.classification_head.cls_logits', (found.num_anchors, 1)),
        ]
    )
    for name, tensor in tensors.items():
        if name.endswith(COUNTER):
            try:
                if keys.to_detkit(name) not in expected:
                    del kept[name]
            except KeyError:
                pass  # reported with all unknown names
        groups, width = layers.get(name.rpartition('.')[0], (0, 0))
        if groups and tensor.ndim and len(tensor) == groups * count * width:
            rows = tensor.reshape(groups, count, width, *tensor.shape[1:])[:, index]
            kept[name] = rows.reshape(-1, *tensor.shape[1:])
    return kept
