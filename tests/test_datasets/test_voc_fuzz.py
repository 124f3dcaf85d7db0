"""VOC's files with anything in any place: sound records, a recorded skip, or an error of detkit's own."""

from xml.sax.saxutils import escape

import numpy as np
import pytest
from fuzz_strategies import AMOUNTS, damaged, encoded, odd_words, run_fuzz
from hypothesis import strategies as st
from tiny_voc import write_voc

from detkit.datasets import VOCDataset

tags = st.sampled_from(['name', 'difficult', 'bndbox', 'xmin', 'xmax', 'object', 'size', 'width', 'filename', 'Name'])
words = odd_words | st.sampled_from(['a.jpg', 'a', '../a.jpg', 'cat', 'true', '2', 'NaN', '48px'])


@st.composite
def elements(draw: st.DrawFn, tag: str, usual: st.SearchStrategy[str], whole: bool) -> str:
    """Draw an element with usual contents; unless it is whole, now and then another one, none, or it twice."""
    kind = 0 if whole else draw(st.integers(0, 9))
    if kind == 9:
        return ''
    inner = escape(xml_text(draw(words))) if kind == 8 else draw(usual)
    name = draw(tags) if kind == 7 else tag
    return f'<{name}>{inner}</{name}>' * (2 if kind == 6 else 1)


def xml_text(word: str) -> str:
    """Return a word without the characters that no xml may hold."""
    return ''.join(char for char in word if char >= ' ' and not 0xD800 <= ord(char) < 0xE000)


def joined(*parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(*parts).map(''.join)


def annotation_objects(whole: bool) -> st.SearchStrategy[str]:
    ends = st.integers(-3, 12), st.integers(-3, 12), st.integers(8, 25), st.integers(5, 12)
    corners = [
        elements(tag, end.map(str), whole) for tag, end in zip(('xmin', 'ymin', 'xmax', 'ymax'), ends, strict=True)
    ]
    names, flags = st.sampled_from(['cat', 'dog']), st.sampled_from(['0', '1'])
    inner = joined(
        elements('name', names, whole),
        elements('difficult', flags, whole),
        elements('bndbox', joined(*corners), whole),
    )
    return elements('object', inner, whole)


@st.composite
def annotation_files(draw: st.DrawFn) -> str:
    whole = draw(st.booleans())
    size = joined(elements('width', st.just('20'), whole), elements('height', st.just('10'), whole))
    parts = [
        elements('filename', st.just('a.jpg'), whole),
        elements('size', size, whole),
        st.lists(annotation_objects(True) | annotation_objects(whole), max_size=4).map(''.join),
    ]
    head = draw(st.sampled_from(['', '', '<?xml version="1.0" encoding="utf-7"?>', '<?xml version="1.0"?>']))
    return head + draw(elements('annotation', joined(*parts), whole))


def check_sound(dataset: VOCDataset) -> None:
    for record in dataset.records:
        own = record.annotations
        assert record.ori_shape == (10, 20) and np.isfinite(own.bboxes).all() and len(own.ignored) == len(own.labels)
        assert ((own.labels >= 0) & (own.labels < len(dataset.metainfo['classes']))).all()
        assert (own.bboxes[:, 2:] > own.bboxes[:, :2]).all() and (own.bboxes >= 0).all()
        assert (own.bboxes <= [20, 10, 20, 10]).all()


@pytest.mark.thorough
@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('cases', AMOUNTS)
def test_annotation_files(tmp_path, cases):
    write_voc(tmp_path, {'a': [], 'b': []}, {'train': ['a', 'b']}, (20, 10))
    file = tmp_path / 'Annotations' / 'a.xml'
    seen = {'kept': 0, 'skipped': 0}

    def check(case: tuple[bytes, str | None, bool, bool]) -> None:
        data, splits, one_based, check_size = case
        file.write_bytes(data)
        known = dict(data_root=str(tmp_path), splits=splits)
        classes = VOCDataset.peek(known)['classes']
        dataset = VOCDataset(max_skipped=1.0, one_based=one_based, check_size=check_size, **known)
        assert dataset.metainfo['classes'] == classes
        check_sound(dataset)
        seen['kept'] += sum(len(record.annotations) for record in dataset.records)
        seen['skipped'] += len(dataset.skipped)

    texts = annotation_files()
    files = texts.map(lambda text: text.encode('utf-8', 'replace')) | encoded(texts)
    options = st.sampled_from([None, 'train']), st.booleans(), st.booleans()
    run_fuzz(cases, st.tuples(st.one_of(files, files, damaged(files)), *options), check)
    assert min(seen.values()) > cases // 10, seen


lines = st.sampled_from(['a', 'b', 'a -1', 'b  1', 'a 0', 'a.jpg', 'x/a', '..\\a']) | odd_words


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('cases', AMOUNTS)
def test_lists_of_images(tmp_path, cases):
    write_voc(tmp_path, {'a': [], 'b': []}, {'train': ['a', 'b']}, (20, 10))

    def check(data: bytes) -> None:
        (tmp_path / 'ImageSets' / 'Main' / 'train.txt').write_bytes(data)
        metainfo = dict(classes=('cat',))
        dataset = VOCDataset(data_root=str(tmp_path), splits='train', max_skipped=1.0, metainfo=metainfo)
        found = {record.img_id for record in dataset.records}
        assert found <= {'a', 'b'} and len(found) == len(dataset.records)

    texts = st.lists(lines, max_size=5).map('\n'.join)
    run_fuzz(cases, encoded(texts) | damaged(encoded(texts)), check)
