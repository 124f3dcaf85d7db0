"""Digests of a run's data, by which a resumed run and the processes of a run notice that their data differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from detkit.datasets.wrappers import RecordDataset, leaf_datasets
from detkit.utils.errors import DataError

States = Mapping[str, Mapping[str, Any]]


def data_state(dataset: Any) -> dict[str, Any]:
    """Return the number of a dataset's samples, and the digests of those behind its wrappers, see ``Records.digests``.

    A dataset of another kind, which has no records, is known by its number of samples alone.
    """
    leaves = [leaf.records for leaf in leaf_datasets(dataset) if isinstance(leaf, RecordDataset)]
    digests = [records.digests() for records in leaves]
    return {
        'samples': len(dataset),
        'images': [images for images, _ in digests],
        'annotations': [annotations for _, annotations in digests],
    }


def data_changes(old: States, new: States) -> dict[str, str]:
    """Return what differs between data, in words by split, of the splits that both have.

    Args:
        old, new: the ``data_state`` of each split, by its name.
    """
    return {name: _difference(old[name], new[name]) for name in new if name in old and old[name] != new[name]}


def check_same_data(states: Sequence[States]) -> None:
    """Check that all processes of a run read the same data.

    Of other data each would draw another order, so that images are read twice or never, and an epoch of another length
    would leave the others waiting.

    Args:
        states: those of each process, by rank.

    Raises:
        DataError: a process has others than the first one.
    """
    for rank, state in enumerate(states):
        for name, difference in data_changes(states[0], state).items():
            raise DataError(
                f'process {rank} of the run reads other {name} data than process 0: {difference}. All machines need '
                'the same files: copy them anew, or have all of them read one folder'
            )


def _difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    if old['samples'] != new['samples']:
        return f'{new["samples"]:,} images, where there were {old["samples"]:,}'
    return 'other images, or in another order' if old['images'] != new['images'] else 'other annotations or image sizes'
