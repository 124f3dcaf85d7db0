"""Parsed annotations of large COCO files, kept between runs in files of plain arrays."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import fields
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from detkit.datasets.formats.coco_columns import Columns, read_columns
from detkit.datasets.formats.coco_json import CocoFile, is_id, read_in_blocks, with_annotations
from detkit.datasets.formats.coco_rle import measure_rles
from detkit.datasets.formats.coco_segmentations import LIMIT
from detkit.utils.cache import cache_folder
from detkit.utils.download import file_sha256
from detkit.utils.files import ZIP_ERRORS, locked, replacing

__all__ = ['read_annotations']

# A kept file of another version is not used: raise it with any change of what ``read_columns`` returns.
_VERSION = 3
# Smaller files are parsed in the time that it takes to look for a kept one.
_LEAST_BYTES = 16 << 20
_IDS = ('ids', 'image_ids', 'category_ids')
# The arrays by name, each with its type and the number of its columns, 0 for one that has no second axis. Ids that are
# not all whole numbers are a list in JSON.
_ARRAYS = {
    **{f'{name}{suffix}': (kind, 0) for name in _IDS for suffix, kind in (('', '<i8'), ('_json', '|u1'))},
    'bboxes_xywh': ('<f8', 4),
    'derived_bboxes': ('|b1', 0),
    'areas': ('<f8', 0),
    'odd_areas': ('|b1', 0),
    'crowds': ('|b1', 0),
    'ignore_flags': ('|b1', 0),
    'ring_owners': ('<i8', 0),
    'ring_sizes': ('<i8', 0),
    'points': ('<f4', 2),
    'odd_outlines': ('|b1', 0),
    'rle_owners': ('<i8', 0),
    'rle_sizes': ('<i8', 2),
    'rle_lengths': ('<i8', 0),
    'rle_text': ('|u1', 0),
    'keypoint_counts': ('<i8', 0),
    'keypoint_values': ('<f8', 0),
    'problems': ('|u1', 0),
    'rest': ('|u1', 0),
}


def read_annotations(ann_file: str, cached: bool = True) -> CocoFile[Columns]:
    """Read a COCO file, or what was kept of it: the same either way.

    A file of 16 MB or more is kept in the folder ``annotations`` of detkit's cache folder, under the SHA-256 of its
    content, as an ``npz`` of plain arrays, which runs no code. Processes may share the folder. A kept file that is
    damaged is not used, with a line in the log.

    Args:
        ann_file: the json.
        cached: False to parse it in any case.

    Raises:
        DataError: as ``load_json``.
    """
    if not cached or not os.path.isfile(ann_file) or os.path.getsize(ann_file) < _LEAST_BYTES:
        return read_in_blocks(ann_file, read_columns)
    state = _state(ann_file)
    path = cache_folder() / 'annotations' / f'{file_sha256(Path(ann_file))}-{_VERSION}.npz'
    if path.is_file():
        try:
            return _load(path)
        except (*ZIP_ERRORS, KeyError, TypeError) as error:
            _warn(f'the kept annotations {path} are not used, as they are damaged ({error}): {ann_file!r} is read')
            with contextlib.suppress(OSError):  # in a folder that others write, it stays
                path.unlink()
    content = read_in_blocks(ann_file, read_columns)
    if content.rest is not None and _state(ann_file) == state:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with locked(path.with_suffix('.lock')):
                if not path.is_file():
                    _save(path, content)
        except OSError as error:
            _warn(f'parsed annotations cannot be kept in {path.parent} ({error.strerror or error}): set DETKIT_CACHE')
    return content


def _warn(text: str) -> None:
    print_log(text, 'current', logging.WARNING)


def _state(ann_file: str) -> tuple[int, int]:
    """Return what changes with a file's content."""
    status = os.stat(ann_file)
    return status.st_mtime_ns, status.st_size


def _save(path: Path, content: CocoFile[Columns]) -> None:
    with replacing(path) as file, zipfile.ZipFile(file, 'w', zipfile.ZIP_STORED) as archive:
        for name, pieces in _pieces(content).items():
            kind, width = _ARRAYS[name]
            # Without a time, so that the bytes are the same whenever they are written.
            with archive.open(zipfile.ZipInfo(f'{name}.npy'), 'w', force_zip64=True) as member:
                shape = (sum(map(len, pieces)), *([width] if width else []))
                np.lib.format.write_array_header_1_0(member, dict(descr=kind, fortran_order=False, shape=shape))
                for piece in pieces:
                    member.write(np.ascontiguousarray(piece, kind).tobytes())


def _pieces(content: CocoFile[Columns]) -> dict[str, Sequence[np.ndarray]]:
    """Return the arrays that make up a file, each in pieces, one a part."""
    parts = content.parts
    starts = list(accumulate(map(len, parts), initial=0))[:-1]
    texts = [text for part in parts for text in part.rle_counts]
    problems = [
        [number + start, *problem]
        for part, start in zip(parts, starts, strict=True)
        for number, problem in part.problems.items()
    ]
    pieces: dict[str, Sequence[np.ndarray]] = {
        'rle_lengths': [np.array([len(text) for text in texts], np.int64)],
        'rle_text': [np.frombuffer(b''.join(texts), np.uint8)],
        'problems': [_pack_json(problems)],
        'rest': [np.frombuffer(content.rest, np.uint8)],
    }
    for name in (each.name for each in fields(Columns) if each.name not in ('rle_counts', 'problems')):
        own = [getattr(part, name) for part in parts]
        if name in ('ring_owners', 'rle_owners'):
            own = [piece + start for piece, start in zip(own, starts, strict=True)]
        if any(piece.dtype == object for piece in own):
            pieces[f'{name}_json'] = [_pack_json([value for piece in own for value in piece.tolist()])]
        else:
            pieces[name] = own
    return pieces


def _pack_json(value: Any) -> np.ndarray:
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


# -- reading, where nothing is believed --------------------------------------------------------------------------------


def _load(path: Path) -> CocoFile[Columns]:
    """Return what a file keeps.

    Raises:
        ZIP_ERRORS, KeyError, TypeError: it is no such file.
    """
    with zipfile.ZipFile(path) as archive:
        sizes = [member.file_size for member in archive.infolist() if member.compress_type == zipfile.ZIP_STORED]
        if len(sizes) != len(archive.infolist()) or sum(sizes) > path.stat().st_size:
            raise ValueError('it holds packed arrays')

        def array(name: str) -> np.ndarray:
            return _read_array(archive, name)

        count = len(array('crowds'))
        columns = {}
        for name in (each.name for each in fields(Columns) if each.name not in (*_IDS, 'rle_counts', 'problems')):
            columns[name] = array(name)
        names = archive.namelist()
        ids = {name: array(name) if f'{name}.npy' in names else _ids(array(f'{name}_json')) for name in _IDS}
        texts = _split(array('rle_text'), array('rle_lengths'))
        problems = _problems(array('problems'), count)
        rest = array('rest').tobytes()
    part = Columns(**ids, **columns, rle_counts=texts, problems=problems)
    _check(part, count)
    return with_annotations(rest, [part])


def _read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """Return a read-only array of the type and the shape that its name asks for."""
    kind, width = _ARRAYS[name]
    with archive.open(f'{name}.npy') as member:
        if np.lib.format.read_magic(member) != (1, 0):
            raise ValueError(f'{name} has another form')
        shape, _, dtype = np.lib.format.read_array_header_1_0(member)
        data = member.read()
    if dtype != np.dtype(kind) or shape[1:] != ((width,) if width else ()):
        raise ValueError(f'{name} is {dtype} {shape}')
    values = np.frombuffer(data, np.uint8 if kind == '|b1' else kind)
    if kind == '|b1' and values.max(initial=0) > 1:
        raise ValueError(f'{name} holds other values than 0 and 1')
    return values.view(kind).reshape(shape)


def _ids(text: np.ndarray) -> np.ndarray:
    values = json.loads(text.tobytes())
    if not isinstance(values, list) or not all(value is None or is_id(value) for value in values):
        raise ValueError('ids are no numbers or texts')
    column = np.empty(len(values), object)
    column[:] = values
    return column


def _split(text: np.ndarray, lengths: np.ndarray) -> list[bytes]:
    if lengths.min(initial=0) < 0 or lengths.sum() != len(text):
        raise ValueError('bitmaps have other lengths than their text')
    data, ends = text.tobytes(), np.cumsum(lengths).tolist()
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _problems(text: np.ndarray, count: int) -> dict[int, tuple[str, str]]:
    problems = {}
    for number, reason, kind in json.loads(text.tobytes()):
        if type(number) is not int or not 0 <= number < count or not isinstance(reason, str) or type(kind) is not str:
            raise ValueError('a problem is none of an annotation')
        problems[number] = (reason, kind)
    return problems


def _check(part: Columns, count: int) -> None:
    """Check all that the readers of ``Columns`` rely on."""
    rings, bitmaps = len(part.ring_owners), len(part.rle_owners)
    lengths = (
        (count, (*_IDS, 'bboxes_xywh', 'areas', 'odd_areas', 'odd_outlines', 'keypoint_counts')),
        (rings, ('ring_sizes',)),
        (bitmaps, ('rle_sizes', 'rle_counts')),
        (int(part.ring_sizes.sum()), ('points',)),
        (int(part.keypoint_counts.sum()), ('keypoint_values',)),
    )
    for length, names in lengths:
        for name in names:
            if len(getattr(part, name)) != length:
                raise ValueError(f'{name} has {len(getattr(part, name))} rows, not {length}')
    _require(_ascending(part.ring_owners, count, np.greater_equal), 'owners of rings')
    _require(_ascending(part.rle_owners, count, np.greater), 'owners of bitmaps')
    _require((part.ring_sizes >= 3).all(), 'sizes of rings')
    _require((np.abs(part.points) <= LIMIT).all(), 'points')
    _require((part.keypoint_counts >= 0).all(), 'counts of keypoints')
    _require((np.isnan(part.areas) | ((part.areas >= 0) & (part.areas < LIMIT))).all(), 'areas')
    totals, _ = measure_rles(part.rle_counts)  # which what draws bitmaps trusts
    _require((part.rle_sizes > 0).all() and (totals == part.rle_sizes.prod(1)).all(), 'bitmaps')
    known = np.ones(count, bool)
    known[list(part.problems)] = False
    _require((np.abs(part.bboxes_xywh[known]) < LIMIT).all(), 'boxes')


def _ascending(owners: np.ndarray, count: int, follows: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> bool:
    return not len(owners) or bool(owners[0] >= 0 and owners[-1] < count and follows(owners[1:], owners[:-1]).all())


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f'it holds impossible {what}')
