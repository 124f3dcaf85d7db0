"""Small sample datasets that a config can rely on: used if present, else downloaded, else drawn."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mmengine.dist import is_main_process

from detkit.sample_data.coco8 import render_coco8_seg
from detkit.sample_data.coco8_pose import render_coco8_pose
from detkit.sample_data.dota8 import render_dota8
from detkit.sample_data.weather import render_weather
from detkit.utils.addresses import without_password
from detkit.utils.download import DownloadError, download, unpack
from detkit.utils.errors import DataError, nearest
from detkit.utils.files import locked

# Environment variable with an address to use instead of the public one; empty: do not use the network.
URL_VARIABLE = 'DETKIT_SAMPLE_URL'


@dataclass(frozen=True)
class Sample:
    """A sample dataset.

    Attributes:
        url: the archive's public address; empty where there is none, and the set is always drawn.
        max_bytes: neither the archive nor what it unpacks to is larger.
        counts: how many images each folder holds; a label folder beside it holds as many files at most.
        render: draws a set of the same layout into a folder.
        sha256: the archive's checksum, where it is known; an archive from another address must have it, too.
        columns: how many numbers a label line holds, where all hold the same.
        drawn: how many images are drawn, where those are not as many as in the archive.
    """

    url: str
    max_bytes: int
    counts: dict[str, int]
    render: Callable[[Path], None]
    sha256: str | None = None
    columns: int | None = None
    drawn: str = ''


_RELEASE = 'https://github.com/ultralytics/assets/releases/download/v0.0.0'
SAMPLES: dict[str, Sample] = {
    'coco8-seg': Sample(
        url=f'{_RELEASE}/coco8-seg.zip',
        sha256='82c651abd01d556c77769ea834ebff1e77f76a291463e987fb69b63a87e8eb80',
        max_bytes=20_000_000,
        counts={'images/train': 4, 'images/val': 4},
        render=render_coco8_seg,
    ),
    'coco8-pose': Sample(
        url=f'{_RELEASE}/coco8-pose.zip',
        sha256='468e06839e06eaf317594386967d238af4bdfde670e33d9a2a287412b6a37de5',
        max_bytes=20_000_000,
        counts={'images/train': 4, 'images/val': 4},
        render=render_coco8_pose,
        columns=56,
        drawn='48 images to train and 8 to validate on',
    ),
    'dota8': Sample(
        url=f'{_RELEASE}/dota8.zip',
        max_bytes=20_000_000,
        counts={'images/train': 4, 'images/val': 4},
        render=render_dota8,
        columns=9,
        drawn='32 images to train and 8 to validate on',
    ),
    'weather': Sample(
        url='',
        max_bytes=0,
        counts={},
        render=render_weather,
        drawn='4 classes, each with 64 images to train and 24 to test on',
    ),
}

# Roots that were named already: a training and a validation set are built from the same one.
_announced: set[Path] = set()


def prepare(name: str, root: str | Path, url: str | None = None) -> str:
    """Make sure that the sample ``name`` lies at ``root``, and log in one line where it came from.

    A set that is not whole never appears at ``root``: it is made beside it and renamed. Processes that prepare the
    same set at the same time wait for the first one.

    Args:
        url: the archive's address; default: the environment's ``DETKIT_SAMPLE_URL``, else the public one. Sets
            without a public one are always drawn.
            Empty: do not use the network.

    Returns:
        'present', 'downloaded' or 'rendered'.

    Raises:
        DataError: there is no such sample, or ``root`` cannot be written to.
    """
    if name not in SAMPLES:
        raise DataError(f'there is no sample dataset {name!r}, only {", ".join(SAMPLES)}.{nearest(name, SAMPLES)}')
    sample, root = SAMPLES[name], Path(root)
    if url is None:  # the environment's is meant for a set that can be downloaded
        url = os.environ.get(URL_VARIABLE, sample.url) if sample.url else ''
    if _is_filled(root):
        return _announce(name, root, 'present')
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with locked(root.with_name(f'.{root.name}.lock')):
            if _is_filled(root):  # another process was first
                return _announce(name, root, 'present')
            return _announce(name, root, *_make(sample, root, url))
    except OSError as error:
        raise DataError(
            f'the sample dataset {name} cannot be written to {str(root)!r}: {error}. Set data_root to a copy of it.'
        ) from error


def _is_filled(root: Path) -> bool:
    return root.is_dir() and any(root.iterdir())


def _announce(name: str, root: Path, how: str, why: str = '') -> str:
    if root.resolve() not in _announced:
        _announced.add(root.resolve())
        words = {'present': 'found in', 'downloaded': 'downloaded to', 'rendered': 'drawn by detkit into'}
        if how != 'present' or is_main_process():
            print(f'Sample data {name}: {words[how]} {root}{why}', flush=True)
    return how


def _make(sample: Sample, root: Path, url: str) -> tuple[str, str]:
    """Put the dataset at ``root``; return how, and why not in a better way."""
    for leftover in root.parent.glob(f'.{root.name}.part-*'):  # from processes that were killed: we hold the lock
        shutil.rmtree(leftover)
    # Two folders, because a thread that was given up may still wake up and write.
    fetched, drawn = (root.with_name(f'.{root.name}.part-{how}-{os.getpid()}') for how in ('fetched', 'drawn'))
    amount = f', {sample.drawn}' if sample.drawn else ''
    why = f'{amount} (no download wanted)' if sample.url else amount
    try:
        if url:
            try:
                _fetch(sample, url, fetched)
                fetched.replace(root)
                return 'downloaded', ''
            except DownloadError as error:
                why = f'{amount} (no download from {without_password(url)}: {error})'
        sample.render(drawn)
        drawn.replace(root)
        return 'rendered', why
    finally:
        shutil.rmtree(fetched, ignore_errors=True)
        shutil.rmtree(drawn, ignore_errors=True)


def _fetch(sample: Sample, url: str, part: Path) -> None:
    """Download and unpack the set into the new folder ``part``."""
    part.mkdir()
    archive = part / 'archive.zip'
    download(url, archive, sample.max_bytes, sample.sha256)
    unpack(archive, part, sample.max_bytes)
    archive.unlink()
    for folder, count in sample.counts.items():
        labels = part / folder.replace('images', 'labels', 1)
        found = len(list((part / folder).glob('*.jpg')))
        if found != count or not any(labels.glob('*.txt')):
            raise DownloadError(f'the archive holds {found} images in {folder}, where {count} with labels are expected')
        for path in labels.glob('*.txt') if sample.columns else ():
            _check_columns(path, sample.columns)


def _check_columns(path: Path, columns: int) -> None:
    """Refuse an archive made for another task."""
    for line in path.read_text(encoding='utf-8', errors='replace').splitlines():
        if line.strip() and len(line.split()) != columns:
            found = len(line.split())
            raise DownloadError(f'a label line of {path.name} holds {found} numbers, where {columns} are expected')
