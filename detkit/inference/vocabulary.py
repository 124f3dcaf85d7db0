"""The classes of open-vocabulary detectors, which a prediction may name."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from detkit.models.detectors import OpenVocabularyDetector
from detkit.models.text_encoders import EmbeddingFile
from detkit.registry import DETECTORS
from detkit.utils.errors import ConfigError, shorten

_MOST_DIGITS = 18  # of the number of a class


def names_of(classes: Sequence[str | int] | None, known: Sequence[str]) -> list[str] | None:
    """Return the names that ``classes`` are; None where all are numbers, or where there are none.

    Args:
        classes: names, and perhaps numbers among them.
        known: the names of the model's classes, which numbers stand for.

    Raises:
        ConfigError: a number among names is that of no class.
    """
    if classes is None or all(str(entry).isdecimal() for entry in classes):
        return None
    return [_name(str(entry), known) for entry in classes]


def label_of(entry: str, known: Sequence[str]) -> int | None:
    """Return the label that a text is the number of; None where it is no number, or that of no class."""
    # Python refuses to convert thousands of digits.
    label = int(entry) if entry.isdecimal() and len(entry) <= _MOST_DIGITS else len(known)
    return label if label < len(known) else None


def _name(entry: str, known: Sequence[str]) -> str:
    if entry in known or not entry.removeprefix('-').isdecimal():
        return entry
    label = label_of(entry, known)
    if label is None:
        raise ConfigError(
            f'there is no class {entry} among the {len(known)} of the model ({shorten(known)}), whose numbers are from '
            f'0 to {len(known) - 1}; write what to look for in words'
        )
    return known[label]


def has_open_vocabulary(model: nn.Module) -> bool:
    """Return whether the classes of a detector may be changed."""
    return isinstance(model, OpenVocabularyDetector) and model.takes_texts


def why_fixed(model: nn.Module) -> str:
    """Return a sentence for a model of an open vocabulary that runs as an exported file; nothing for any other."""
    kind = (model.info.config.get('model') or {}).get('type')
    factory = DETECTORS.get(kind) if isinstance(kind, str) else kind
    if isinstance(model, OpenVocabularyDetector) or not (
        isinstance(factory, type) and issubclass(factory, OpenVocabularyDetector)
    ):
        return ''
    return ' It runs as an exported file, whose classes are fixed: others need the checkpoint, without a runtime.'


def with_vocabulary(model: nn.Module, names: Sequence[str], text_embeddings: str | None = None) -> nn.Module:
    """Return a detector that finds objects of other classes; it shares the weights of ``model``.

    Args:
        model: an open-vocabulary detector.
        names: the classes.
        text_embeddings: a file with the embeddings of all of them, see ``read_embeddings``; by default the model's own
            text encoder makes those of names that the model does not have already.

    Raises:
        ConfigError: the classes of the model are fixed, or a name is there twice.
        DataError: the file lacks a name, is damaged, or has vectors of another length.
        MissingPackageError, CheckpointError: the text encoder cannot be loaded.
    """
    if not has_open_vocabulary(model):
        raise ConfigError(
            f'the classes of this model are fixed ({shorten(model.info.classes)}); only YOLO-World, before it is '
            f'exported, takes others by name.{why_fixed(model)}'
        )
    assert isinstance(model, OpenVocabularyDetector)
    return model.with_classes(
        names, None if text_embeddings is None else EmbeddingFile(text_embeddings, model.texts.shape[1])
    )
