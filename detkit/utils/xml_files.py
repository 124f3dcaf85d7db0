"""Reading XML annotation files in the encoding that they declare."""

from __future__ import annotations

import codecs
import os
import re
from xml.etree import ElementTree

from detkit.utils.errors import DataError
from detkit.utils.text_files import decode_text, read_bytes

_DECLARATION = re.compile(rb'^\s*<\?xml[^>]*?encoding\s*=\s*["\']([A-Za-z0-9._-]+)["\'][^>]*\?>')
# The most folders into folders that an annotation is read to.
_MAX_DEPTH = 100


def read_xml(path: str | os.PathLike) -> ElementTree.Element:
    """Return the root of an XML file in any encoding that Python knows, which the file declares, or begins with a mark.

    Raises:
        DataError: the file cannot be read, has a document type (its entities could name other files, or grow without
            limit), is nested deeper than annotations are, or is no XML.
    """
    data = read_bytes(path, 'annotation file')
    declared = _DECLARATION.match(data[:256])
    if declared is None:  # UTF-8 by default; UTF-16 declares itself behind its mark
        text = decode_text(data, path, 'annotation file')
    else:
        text = _decode(data, declared[1].decode('ascii'), path)
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
    return root


def _decode(data: bytes, encoding: str, path: str | os.PathLike) -> str:
    try:
        known = codecs.lookup(encoding)
        if not known._is_text_encoding or known.name in ('idna', 'punycode', 'utf-7', 'unicode_escape', 'undefined'):
            raise LookupError(f'{encoding} is no encoding of text files')
        return data.removeprefix(codecs.BOM_UTF8).decode(known.name)
    except (LookupError, UnicodeError) as error:
        raise DataError(
            f'the annotation file {os.fspath(path)!r} declares the encoding {encoding!r}, in which it cannot be read '
            f'({error}). Save it as UTF-8.'
        ) from error
