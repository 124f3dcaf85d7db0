"""The one rule for the class names of a converted file: ``--names``, then what the files state, then COCO's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from detkit.converters.common import read_names
from detkit.datasets.class_names import COCO_ALIASES, UNUSED_CLASS
from detkit.utils.errors import CheckpointError


def find_classes(
    source: Path,
    count: int,
    coco: Sequence[str],
    names: str | Path | None = None,
    stated: Sequence[str] | None = None,
    said_by: str | None = None,
    spare_logit: bool = False,
) -> tuple[tuple[str, ...], str]:
    """Return the class names of a model, and their source for the report.

    Args:
        source: the file, for errors.
        count: classes that its weights have.
        coco: COCO's names as the config of the model has them, with those of unused ids or without.
        names: the file that the user gives; its names are taken whatever the others state.
        stated: the names that the file, or ``config.json`` beside it, states. Where they are COCO's in another
            spelling, or with other names for ids that COCO skips, ``coco`` is taken instead.
        said_by: what states them.
        spare_logit: whether the model may have one logit more than classes, which is named as an unused id.

    Raises:
        CheckpointError: nothing says the names, or they are not as many as the classes.
        DataError: ``names`` cannot be read.
    """
    if names is not None:
        classes, by = read_names(Path(names)), str(names)
    elif stated is not None and not _same(stated, coco):
        classes, by = tuple(stated), str(said_by)
    elif count != len(coco):
        raise CheckpointError(
            f'{source} has {count} classes without names, and COCO {len(coco)}; give the names with --names FILE, one '
            'a line.'
        )
    else:
        return tuple(coco), 'COCO'
    if spare_logit and len(classes) == count - 1:
        classes = (*classes, UNUSED_CLASS)
    if len(classes) != count:
        raise CheckpointError(
            f'{source} has {count} classes, but {by} names {len(classes)}'
            '; give the names of all of its classes with --names FILE, one a line'
        )
    return classes, by


def _same(stated: Sequence[str], coco: Sequence[str]) -> bool:
    """Return whether names are COCO's, in its order; any name will do for an id that COCO skips."""
    if len(stated) == len(coco):
        pairs = [(theirs, ours) for theirs, ours in zip(stated, coco, strict=True) if ours != UNUSED_CLASS]
    else:
        used = [name for name in stated if name != UNUSED_CLASS], [name for name in coco if name != UNUSED_CLASS]
        if len(used[0]) != len(used[1]):
            return False
        pairs = list(zip(*used, strict=True))
    return all(COCO_ALIASES.get(theirs, theirs) == ours for theirs, ours in pairs)
