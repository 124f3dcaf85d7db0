"""The classes of open-vocabulary detectors, which a prediction may name."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral

from torch import nn

from detkit.models.detectors import OpenVocabularyDetector
from detkit.models.text_encoders import EmbeddingFile
from detkit.utils.errors import ConfigError, shorten


def names_of(classes: Sequence[str | int] | str | int | None) -> list[str] | None:
    """Return the names among ``classes`` where these are names; None where all are numbers, or where there are none."""
    entries = [classes] if isinstance(classes, str | Integral) else classes
    if not isinstance(entries, Sequence) or all(str(entry).isdigit() for entry in entries):
        return None
    return [str(entry) for entry in entries]


def has_open_vocabulary(model: nn.Module) -> bool:
    """Return whether the classes of a detector may be changed."""
    return isinstance(model, OpenVocabularyDetector) and model.takes_texts


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
            'exported, takes others by name'
        )
    assert isinstance(model, OpenVocabularyDetector)
    return model.with_classes(
        names, None if text_embeddings is None else EmbeddingFile(text_embeddings, model.texts.shape[1])
    )
