"""The check of a checkpoint's contents, before anything uses them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from detkit.utils.errors import CheckpointError
from detkit.utils.torch_files import is_plain_tensor, num_stored

FORMAT = 'detkit'
FORMAT_VERSION = 1
# The most characters of a config, which takes some hundred times as many bytes while it is read. Those of large data
# sets, with the names of ten thousand classes, have about 500,000.
MAX_CONFIG = 1 << 22


def check_content(checkpoint: Any, path: Path) -> None:
    """Check the types of what a file holds, as far as predicting and fine-tuning use them.

    Raises:
        CheckpointError: it was not written by detkit, or by a newer one, or an entry is of another kind.
    """
    meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
    if not isinstance(meta, dict) or meta.get('format') != FORMAT or 'state_dict' not in checkpoint:
        raise CheckpointError(
            f'Checkpoint {path} was not written by detkit (its meta data is missing). '
            'Weights of other projects must be converted to detkit first.'
        )
    version = meta.get('format_version', 0)
    if type(version) is int and version > FORMAT_VERSION:
        raise CheckpointError(
            f'Checkpoint {path} has format {version}, this detkit reads up to {FORMAT_VERSION}: update detkit.'
        )
    for key, (is_good, expected) in _META.items():
        if key in meta and not is_good(meta[key]):
            raise _damaged(path, f'meta[{key!r}] is a {type(meta[key]).__name__}, where {expected} is expected')
    config = meta.get('config')
    if config is not None and len(config) > MAX_CONFIG:
        raise _damaged(path, f"meta['config'] has {len(config):,} characters, more than {MAX_CONFIG:,}")
    weights = checkpoint['state_dict']
    if not isinstance(weights, Mapping):
        raise _damaged(path, f'state_dict is a {type(weights).__name__}, where tensors by name are expected')
    for name, tensor in weights.items():
        if not isinstance(name, str) or not is_plain_tensor(tensor):
            raise _damaged(
                path, f'state_dict[{str(name)[:80]!r}] is no dense tensor of real numbers, each stored on its own'
            )
    if 'loop' in checkpoint and not all(type(meta.get(key)) is int for key in ('epoch', 'iter')):
        raise _damaged(path, 'it holds the state of a run without the epoch and the iteration')


@contextmanager
def building_what_fits(weights: Mapping[str, Tensor], source: str) -> Iterator[None]:
    """Refuse, while a model is being built in the block, one that is much larger than the weights it is to be given.

    The config in a checkpoint is a few words, which may ask for a model of any size. A part that is replaced by another
    while the model is built counts, too, so that the limits leave some room.

    Args:
        weights: the checkpoint's.
        source: its name in the error.

    Raises:
        CheckpointError: the model is larger.
    """
    owner, count, numel = get_ident(), 0, 0
    most = 4 * len(weights) + 1000
    most_numel = 4 * num_stored(weights.values()) + 10_000_000

    def check(module: nn.Module, name: str, param: nn.Parameter | None) -> None:
        nonlocal count, numel
        if param is None or get_ident() != owner:
            return
        count, numel = count + 1, numel + param.numel()
        if count > most or numel > most_numel:
            raise CheckpointError(
                f'checkpoint {source} holds {len(weights):,} tensors, but its config describes a model that is many '
                'times larger. It is damaged or forged; give the config it was trained with in place of its own.'
            )

    hook = register_module_parameter_registration_hook(check)
    try:
        yield
    finally:
        hook.remove()


def _is_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


def _is_pairs(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(pair, list | tuple) and len(pair) == 2 and all(type(number) is int for number in pair)
        for pair in value
    )


def is_keypoints(value: Any) -> bool:
    """Return whether a value describes keypoints as ``ModelInfo.keypoints`` does."""
    if not isinstance(value, dict):
        return False
    names, sigmas = value.get('keypoint_names'), value.get('sigmas')
    pairs = [value[key] for key in ('flip_pairs', 'skeleton') if value.get(key) is not None]
    return (
        (names is None or _is_texts(names))
        and (sigmas is None or (isinstance(sigmas, list | tuple) and all(type(item) is float for item in sigmas)))
        and all(map(_is_pairs, pairs))
        and all(0 <= number < len(names) for pair in (p for group in pairs for p in group) for number in pair if names)
    )


# The entries of ``meta`` that prediction and fine-tuning read.
_META: dict[str, tuple[Callable[[Any], bool], str]] = {
    'format_version': (lambda value: type(value) is int, 'a whole number'),
    'classes': (_is_texts, 'a list of names'),
    'config': (lambda value: value is None or isinstance(value, str), 'a text'),
    'config_file': (lambda value: isinstance(value, str), 'a text'),
    'parameters': (lambda value: type(value) is int and value >= 0, 'a whole number'),
    'best_metric': (lambda value: isinstance(value, str), 'a text'),
    'task': (lambda value: value is None or isinstance(value, str), 'a text'),
    'keypoints': (
        lambda value: value is None or is_keypoints(value),
        'a mapping with the names, pairs, skeleton and sigmas of keypoints',
    ),
}


def _damaged(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f'Checkpoint {path} cannot be read ({reason}). It is damaged or forged: take another one, such as best.pth of '
        'the same folder.'
    )
