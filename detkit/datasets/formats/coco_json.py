"""Reading COCO's json files: whole ones, their categories alone, or their annotations a block at a time."""

from __future__ import annotations

import json
import os
import re
import reprlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, BinaryIO, Generic, TypeVar

import msgspec

from detkit.utils.errors import DataError, absence
from detkit.utils.json_files import parse_json
from detkit.utils.text_files import check_regular, is_printable, read_text

__all__ = ['CocoAnnotation', 'CocoImage', 'load_json', 'read_categories', 'read_in_blocks']

# Bytes of annotations that are parsed at a time, which bounds the memory that their objects take.
_BLOCK_BYTES = 4 << 20
# Entries of annotations that are converted at a time where the file had to be parsed as a whole.
_BLOCK_ENTRIES = 10_000
# Places at which a block is tried to be cut before more of the file is read, the part of the block in which they are
# looked for, and how long it may become.
_MOST_CUTS = 4
_CUT_BYTES = 64 << 10
_MOST_BYTES = 64 << 20
_BOM = b'\xef\xbb\xbf'
_LISTS = ('images', 'annotations', 'categories')
_KEY = re.compile(rb'"annotations"\s*:\s*\[')
_OTHER_KEYS = re.compile(rb'"(images|categories)"\s*:\s*\[')

_SHOWN_CHARACTERS = 60
_REPR = reprlib.Repr()

Part = TypeVar('Part')


class CocoImage(msgspec.Struct, gc=False):
    """An entry of ``images``, whose values may be anything; LVIS's name the file in ``coco_url``."""

    id: Any = None
    file_name: Any = None
    height: Any = None
    width: Any = None
    coco_url: Any = None


class CocoAnnotation(msgspec.Struct, gc=False):
    """An entry of ``annotations`` with values of the right types; the segmentation is its text."""

    id: int | float | str | None = None
    image_id: int | float | str | None = None
    category_id: int | float | str | None = None
    bbox: tuple[float, float, float, float] | None = None
    area: float | None = None
    iscrowd: int | bool | None = None
    ignore: int | bool | None = None
    segmentation: msgspec.Raw = msgspec.Raw(b'null')
    keypoints: list[float] | None = None


class _Rest(msgspec.Struct):
    """A file without its annotations."""

    images: list[CocoImage]
    annotations: list[Any]
    categories: list[dict[str, Any]]


@dataclass(frozen=True)
class CocoFile(Generic[Part]):
    """The content of a file.

    Attributes:
        images, categories: the lists, whose entries may be anything where the file had to be parsed as a whole.
        parts: the annotations by blocks, converted.
        rest: the file's text without the annotations; None where it had to be parsed as a whole.
    """

    images: list[CocoImage | Any]
    categories: list[dict | Any]
    parts: list[Part]
    rest: bytes | None = None


class _NotInBlocks(ValueError):
    """A file whose list of annotations cannot be found, or divided, by its text alone."""


def load_json(ann_file: str) -> dict[str, list]:
    """Return the contents of an annotation file.

    Raises:
        DataError: it is missing, no JSON, or not in COCO's form.
    """
    check_regular(ann_file, 'annotation file')
    if not os.path.isfile(ann_file):
        raise DataError(
            f'the annotation file {ann_file!r} {absence(ann_file)}. Set ann_file (relative to data_root) to a COCO '
            'json.'
        )
    content = parse_json(read_text(ann_file, 'annotation file'), f'the annotation file {ann_file!r}', _LISTS)
    for key in _LISTS:
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise DataError(
                f'the annotation file {ann_file!r} has no list {key!r}. A COCO json of instances has the lists images, '
                'annotations and categories.'
            )
    return content


def read_in_blocks(ann_file: str, convert: Callable[[list], Part]) -> CocoFile[Part]:
    """Read a file without ever holding all of its annotations as Python objects.

    Args:
        ann_file: the file.
        convert: takes some of the annotations in their order, either all of them ``CocoAnnotation``, or as ``json``
            returns them, where an entry of the block is no such thing.

    Raises:
        DataError: as ``load_json``.
    """
    check_regular(ann_file, 'annotation file')
    try:
        with open(ann_file, 'rb') as file:
            return _read_blocks(file, convert)
    except (OSError, ValueError):
        content = load_json(ann_file)
        entries = content['annotations']
        starts = range(0, len(entries), _BLOCK_ENTRIES)
        parts = [convert(entries[start : start + _BLOCK_ENTRIES]) for start in starts]
        return CocoFile(content['images'], content['categories'], parts)


def _read_blocks(file: BinaryIO, convert: Callable[[list], Part]) -> CocoFile[Part]:
    start = _find_list(file)
    parts, end = [], start
    for entries, stop in _split_list(file, start):
        end = stop
        if entries:
            parts.append(convert(entries))
    file.seek(0)
    head = file.read(start).removeprefix(_BOM)
    file.seek(end)
    return with_annotations(head + b']' + file.read(), parts)


def with_annotations(rest: bytes, parts: list[Part]) -> CocoFile[Part]:
    """Return a file from its text without the annotations, and these.

    Raises:
        ValueError: the text is none of the kind.
    """
    if len(_OTHER_KEYS.findall(rest)) != 2:  # one of them may be there twice
        raise _NotInBlocks
    try:
        content = msgspec.json.decode(rest, type=_Rest)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise _NotInBlocks from error
    if content.annotations:  # what was read is another list, inside of something
        raise _NotInBlocks
    return CocoFile(content.images, content.categories, parts, rest)


def _find_list(file: BinaryIO) -> int:
    """Return where the annotations start, behind their bracket."""
    found: set[int] = set()
    position, overlap = 0, b''
    while data := file.read(_BLOCK_BYTES):
        text = overlap + data
        found.update(position - len(overlap) + match.end() for match in _KEY.finditer(text))
        position += len(data)
        overlap = text[-1024:]
    if len(found) != 1:
        raise _NotInBlocks
    return found.pop()


def _split_list(file: BinaryIO, start: int) -> Iterator[tuple[list, int]]:
    """Yield the entries of the list that starts at ``start`` by blocks, and where each block ends in the file.

    Text that is cut between two entries and closed by a bracket is a list; cut anywhere else, inside an entry or inside
    a string, it is no JSON. So a cut that can be parsed is right.
    """
    file.seek(start)
    text, position, cut = b'', start, None
    pattern = None
    while True:
        data = file.read(_BLOCK_BYTES)
        if (not data and cut is None) or len(text) > _MOST_BYTES:
            raise _NotInBlocks
        text += data
        pattern = pattern or _cut_pattern(text)
        cuts = [match.start() + 1 for match in pattern.finditer(text, max(0, len(text) - _CUT_BYTES))]
        for cut in reversed(cuts[-_MOST_CUTS:]):
            entries = _parse(b'[' + text[:cut] + b']')
            if entries is not None:
                after = text.index(b',', cut) + 1
                position += after
                text = text[after:]
                yield entries, position
                break
        else:
            cut = None
            length = _list_length(text)
            if length is not None:
                yield _parse(b'[' + text[:length]) or [], position + length
                return


def _cut_pattern(text: bytes) -> re.Pattern:
    """Return a pattern of the text between two entries, by the key that the first one starts with."""
    key = re.match(rb'\s*\{\s*("[^"\\]*")', text)
    return re.compile(rb'\}\s*,\s*\{\s*' + (re.escape(key[1]) if key else b''))


def _parse(text: bytes) -> list | None:
    """Return ``CocoAnnotation`` objects, or what ``json`` makes of a list that holds others; None if it is no list."""
    try:
        return _DECODER.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        pass  # numbers that are none, such as NaN, and values of other types
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _list_length(text: bytes) -> int | None:
    """Return how many bytes the rest of a list has, with its closing bracket; None where ``text`` ends before it."""
    decoded = text.decode('utf-8', 'surrogateescape')
    try:
        _, end = json.JSONDecoder().raw_decode('[' + decoded)
    except (ValueError, RecursionError):
        return None
    return len(decoded[: end - 1].encode('utf-8', 'surrogateescape'))


_DECODER = msgspec.json.Decoder(list[CocoAnnotation])


def read_categories(ann_file: str) -> list[dict]:
    """Return the categories of an annotation file, by ascending id, without parsing the rest of it.

    Names that are numbers become text.

    Raises:
        DataError: as ``load_json``, or a category has no id or no name.
    """
    if not os.path.isfile(ann_file):
        return load_json(ann_file)['categories']  # names what is missing
    status = os.stat(ann_file)
    return list(_cached_categories(ann_file, status.st_mtime_ns, status.st_size))


@lru_cache(maxsize=16)
def _cached_categories(ann_file: str, mtime_ns: int, size: int) -> tuple[dict, ...]:
    categories = _find_categories(ann_file)
    if categories is None:
        categories = load_json(ann_file)['categories']
    return tuple(check_categories(categories, ann_file))


def check_categories(categories: list, ann_file: str) -> list[dict]:
    """Return the categories by ascending id, their names as text, and a list of keypoints' names, possibly empty.

    Raises:
        DataError: a category has no id or no name, has a name that no text file can hold, or has the id of another one.
    """
    checked = []
    names: dict[int | float | str, str] = {}
    for number, category in enumerate(categories):
        name = category.get('name') if isinstance(category, dict) else None
        named = isinstance(name, str | int | float) and not isinstance(name, bool) and str(name).strip()
        if not named or not is_id(category.get('id')):
            raise DataError(
                f'category {number} of the annotation file {ann_file!r} has no id or no name: the id is a number or '
                'text, the name is text'
            )
        name, own_id = str(name).strip(), category['id']
        keypoints = category['keypoints'] if isinstance(category.get('keypoints'), list) else []
        for own in (name, *map(str, keypoints)):
            if not is_printable(own):
                raise DataError(
                    f'category {number} of the annotation file {ann_file!r} has the name {own!r}, half of a surrogate '
                    'pair, which is no character. Correct the name.'
                )
        if names.setdefault(own_id, name) != name:
            raise DataError(
                f'the annotation file {ann_file!r} gives the category id {own_id!r} to {names[own_id]!r} and {name!r}, '
                'so the class of their objects is unknown. Give each category an id of its own.'
            )
        checked.append({**category, 'name': name, 'keypoints': keypoints})
    return sorted(checked, key=lambda category: _id_key(category['id']))


def is_id(value: Any) -> bool:
    """Return whether a value can be an id: text that can be written, or a number that is finite."""
    if isinstance(value, float):
        return value - value == 0
    if isinstance(value, str):
        return is_printable(value)
    return isinstance(value, int) and not isinstance(value, bool)


def show(value: Any) -> str:
    """Return a value of a file for a message, however long or nested it is."""
    text = (value if is_printable(value) else repr(value)) if isinstance(value, str) else _REPR.repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f'{text[:_SHOWN_CHARACTERS]}...'


def _id_key(value: int | float | str) -> tuple[int, int | float, str]:
    """Return the key by which ids are sorted: numbers first, those that are text by their value."""
    if not isinstance(value, str):
        return 0, value, ''
    return (1, int(value), value) if re.fullmatch('[0-9]{1,18}', value) else (2, 0, value)


def _find_categories(ann_file: str) -> list[dict] | None:
    """Return the list behind the key "categories" in the file's text; None unless the key occurs exactly once."""
    places, position, overlap = set(), 0, b''
    with open(ann_file, 'rb') as file:
        while data := file.read(_BLOCK_BYTES):
            text = overlap + data
            found = re.finditer(rb'"categories"\s*:\s*(?=\[)', text)
            places.update(position - len(overlap) + match.end() for match in found)
            position += len(data)
            overlap = text[-1024:]
        if len(places) != 1:
            return None
        length, (place,) = 1 << 16, places
        while True:
            file.seek(place)
            text = file.read(length)
            try:
                found, _ = json.JSONDecoder().raw_decode(text.decode(errors='replace'))
            except (ValueError, RecursionError):  # the list continues after this part
                if len(text) < length:
                    return None
                length *= 8
                continue
            return found if all(isinstance(entry, dict) for entry in found) else None
