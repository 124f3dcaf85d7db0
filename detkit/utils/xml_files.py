"""Reading XML annotation files in the encoding that they declare."""

from __future__ import annotations

import codecs
import os
import re
from typing import NamedTuple
from xml.etree import ElementTree

from detkit.utils.errors import DataError
from detkit.utils.text_files import decode_text, read_bytes

_DECLARATION = re.compile(rb'^\s*<\?xml[^>]*?encoding\s*=\s*["\']([A-Za-z0-9._-]+)["\'][^>]*\?>')
# The most folders into folders that an annotation is read to.
_MAX_DEPTH = 100


class XmlFile(NamedTuple):
    """The contents of an XML file.

    Attributes:
        root: its root.
        note: what was wrong with its declaration, '' where nothing was.
    """

    root: ElementTree.Element
    note: str


def read_xml(path: str | os.PathLike) -> XmlFile:
    """Return the contents of an XML file in any encoding that Python knows, which it declares, or begins with a mark.

    UTF-8 that declares another encoding, as files have that were converted or edited as text, is read as UTF-8.

    Raises:
        DataError: the file cannot be read, has a document type (its entities could name other files, or grow without
            limit), is nested deeper than annotations are, or is no XML.
    """
    data = read_bytes(path, 'annotation file')
    declared = _DECLARATION.match(data[:256])
    if declared is None:  # UTF-8 by default; UTF-16 declares itself behind its mark
        text, note = decode_text(data, path, 'annotation file'), ''
    else:
        text, note = _decode(data, declared[1].decode('ascii'), path)
    text = re.sub(r'^\s*<\?xml[^>]*\?>', '', text, count=1)
    if '<!DOCTYPE' in text or '<!ENTITY' in text:
        raise DataError(f'the annotation file {os.fspath(path)!r} has a <!DOCTYPE>, which is not read; remove it')
    parser, depth = ElementTree.XMLPullParser(('start', 'end')), 0
    try:
        parser.feed(text)
        parser.close()
        root = None
        for event, element in parser.read_events():
            depth += 1 if event == 'start' else -1
            root = element if root is None else root
            if depth > _MAX_DEPTH:
                raise DataError(f'the annotation file {os.fspath(path)!r} is nested deeper than {_MAX_DEPTH} levels')
    except (ElementTree.ParseError, ValueError) as error:  # ValueError: a lone surrogate
        raise DataError(f'the annotation file {os.fspath(path)!r} cannot be read as XML: {error}') from error
    return XmlFile(root, note)


def _decode(data: bytes, encoding: str, path: str | os.PathLike) -> tuple[str, str]:
    """Return the text of a file that declares an encoding, and a note where it is UTF-8 nevertheless."""
    try:
        known = codecs.lookup(encoding)
        if not known._is_text_encoding or known.name in ('idna', 'punycode', 'utf-7', 'unicode_escape', 'undefined'):
            raise LookupError(f'{encoding} is no encoding of text files')
        utf8 = _decode_utf8(data)
        note = f'it declares the encoding {encoding!r}, but is UTF-8, as which it is read'
        if utf8 is not None and _contradicts(data, utf8, known.name):
            return utf8, note
        try:
            return data.removeprefix(codecs.BOM_UTF8).decode(known.name), ''
        except UnicodeError:
            if utf8 is None:
                raise
            return utf8, note
    except (LookupError, UnicodeError) as error:
        raise DataError(
            f'the annotation file {os.fspath(path)!r} declares the encoding {encoding!r}, in which it cannot be read '
            f'({error}). Save it as UTF-8.'
        ) from error


def _decode_utf8(data: bytes) -> str | None:
    try:
        return data.decode('utf-8-sig')
    except UnicodeDecodeError:
        return None


def _contradicts(data: bytes, utf8: str, declared: str) -> bool:
    """Return whether a file that can be read as UTF-8 is not in the encoding it declares.

    Text in an encoding of one byte a character is never UTF-8 by accident, save for single odd pairs of letters. Short
    text in one of two bytes may be, as characters of two bytes; runs of three that all fit hardly occur.
    """
    if declared in ('utf-8', 'utf-8-sig') or data.isascii() and not declared.startswith(('utf-16', 'utf-32')):
        return False
    one_byte = len(bytes(range(128, 256)).decode(declared, 'replace')) == 128
    wide = declared.startswith(('utf-16', 'utf-32')) or data.startswith(codecs.BOM_UTF8)
    return wide or one_byte or max(utf8) > '\u07ff'
