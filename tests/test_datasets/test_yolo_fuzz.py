"""Damaged data yamls, label files, image lists and class folders: read, left out with a reason, or refused."""

import os
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml
from format_helpers import write_image
from fuzz_strategies import AMOUNTS, ODD_WORDS, damaged, encoded, odd_words, replaced, run_fuzz
from hypothesis import strategies as st

from detkit.datasets import ImageFolderDataset
from detkit.datasets.formats.data_yaml import read_data_yaml
from detkit.datasets.formats.yolo_labels import LabelTable, parse_corners, parse_keypoints, parse_labels, parse_outlines
from detkit.datasets.image_files import read_list

YAML = {
    'path': '.',
    'train': 'images/train',
    'val': ['images/val', 'val.txt'],
    'nc': 2,
    'names': {0: 'bolt', 1: 'nut'},
    'kpt_shape': [3, 2],
    'flip_idx': [1, 0, 2],
    'kpt_names': {0: ['a', 'b', 'c']},
}
yamls = damaged(replaced(YAML).map(lambda content: yaml.dump(content, allow_unicode=True).encode('utf-8', 'replace')))


@pytest.mark.parametrize('cases', AMOUNTS)
def test_data_yamls(tmp_path, cases):
    file = tmp_path / 'data.yaml'
    (tmp_path / 'images/train').mkdir(parents=True)

    def check(data: bytes) -> None:
        file.write_bytes(data)
        found = read_data_yaml(file)
        assert found.root.is_dir()
        assert found.classes is None or all(isinstance(name, str) and name.strip() for name in found.classes)
        if found.keypoint_shape is not None:
            count = found.keypoint_shape[0]
            assert found.keypoint_names is None or len(found.keypoint_names) == count
            assert all(a < b < count for a, b in found.flip_pairs or ())
        assert all(source.exists() for source in found.sources('train'))

    run_fuzz(cases, yamls, check)


numbers = st.floats(-0.2, 1.2).map('{:.4f}'.format) | st.sampled_from(['0', '1', '2', '0.5', '640', '-3'])
fractions = st.integers(0, 1000).map(lambda number: f'{number / 1000:.3f}')
words = st.one_of(numbers, numbers, numbers, numbers, odd_words.filter(lambda word: len(word) < 1000))
label_lines = st.one_of(
    st.lists(words, max_size=12),
    *(st.tuples(st.sampled_from('0123'), *[fractions] * (count - 1)) for count in (5, 7, 9, 9, 11, 11)),
    *(  # more of those that few parsers take; one strategy, given several times, would be one branch to Hypothesis
        st.tuples(st.sampled_from('0123'), *[fractions] * 4, *[fractions, fractions, st.sampled_from('0123')] * 3)
        for _ in range(5)
    ),
).map(' '.join)
label_texts = st.lists(encoded(st.lists(label_lines, max_size=10).map('\n'.join)), max_size=3)
PARSERS = {
    'boxes and outlines': parse_outlines,
    'boxes of lines with keypoints': partial(parse_outlines, keypoint_shape=(3, 2)),
    'keypoints': partial(parse_keypoints, keypoint_shape=(3, 2)),
    'keypoints with visibility': partial(parse_keypoints, keypoint_shape=(3, 3)),
    'corners': parse_corners,
}


@pytest.mark.thorough
@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('cases', AMOUNTS)
def test_label_texts(cases):
    kept, skipped = dict.fromkeys(PARSERS, 0), dict.fromkeys(PARSERS, 0)

    def check(texts: list[bytes]) -> None:
        num_lines = sum(map(count_lines, texts))
        for kind, parse in PARSERS.items():
            table = parse_labels(texts, 3, parse)
            check_table(table, len(texts))
            # Every line that is not blank is an object, or left out with a reason.
            left_out = len(table.skipped) + sum(
                not note.reason.startswith(('keypoints', 'a box that reaches')) for note in table.unused
            )
            assert len(table.labels) + left_out == num_lines
            kept[kind] += len(table.labels)
            skipped[kind] += len(table.skipped)

    run_fuzz(cases, label_texts, check, may_refuse=False)
    assert min(kept.values()) > cases // 10 and min(skipped.values()) > cases


def check_table(table: LabelTable, num_files: int) -> None:
    count = len(table.labels)
    assert table.files.shape == (count,) and ((table.labels >= 0) & (table.labels < 3)).all()
    assert table.bboxes.shape == (count, 4) and ((table.bboxes >= 0) & (table.bboxes <= 1)).all()
    assert (table.bboxes[:, 2:] > table.bboxes[:, :2]).all()
    assert table.ring_sizes.shape == (count,) and table.ring_sizes.sum() == len(table.points)
    assert np.isfinite(table.points).all() and (table.keypoints is None or len(table.keypoints) == count)
    for note in [*table.skipped, *table.unused]:
        assert 0 <= note.file < num_files and note.line > 0 and note.reason


def count_lines(text: bytes) -> int:
    if text[:2] in (b'\xff\xfe', b'\xfe\xff'):
        text = text.decode('utf-16', errors='replace').encode()
    text = text.removeprefix(b'\xef\xbb\xbf').replace(b'\r\n', b'\n').replace(b'\r', b'\n')
    return sum(bool(line.split()) for line in text.split(b'\n'))


names = st.sampled_from(['one.png', 'two.png', 'ONE.PNG', 'images/one.png', 'D:\\set\\images\\two.png', '/a/b/one.png'])
list_lines = names | odd_words | st.lists(names | odd_words, max_size=3).map('/'.join)


@pytest.mark.parametrize('cases', AMOUNTS)
def test_image_lists(tmp_path, cases):
    for name in ('one.png', 'two.png'):
        write_image(tmp_path / 'images' / name, 4, 4)
    file = tmp_path / 'list.txt'

    def check(data: bytes) -> None:
        file.write_bytes(data)
        paths = read_list(file, tmp_path)
        assert paths and all(isinstance(path, str) for path in paths)

    run_fuzz(cases, damaged(encoded(st.lists(list_lines, max_size=5).map('\n'.join))), check)


parts = st.sampled_from(
    ['cat', 'dog', 'Cat', 'cafe\u0301', 'caf\xe9', '.hidden', '__MACOSX', 'train', 'val', 'a b', '%20', 'x' * 200]
    + [word for word in ODD_WORDS if 0 < len(word) < 200 and word not in ('.', '..') and not set(word) & set('/\0')]
)
files = st.sampled_from(['a.jpg', 'A.JPG', 'b.png', 'c.heic', 'd.txt', '._e.jpg', '.f.jpg', 'g', 'h.jpg.txt'])
kinds = st.sampled_from(['file', 'file', 'file', 'folder', 'link to itself', 'broken link', 'pipe'])
trees = st.lists(st.tuples(st.lists(parts, max_size=2), files, kinds), max_size=8)


@pytest.mark.parametrize('cases', AMOUNTS)
def test_class_folders(cases):
    def check(case: tuple[list, bool]) -> None:
        tree, test_mode = case
        with tempfile.TemporaryDirectory() as root:
            for folders, name, kind in tree:
                make(Path(root, 'train', *folders), name, kind)
            dataset = ImageFolderDataset(data_root=root, test_mode=test_mode, allow_empty=True, max_skipped=0.5)
            assert len(dataset.metainfo['classes']) > 1
            for record in dataset.records:
                assert os.path.lexists(record.img_path) and 0 <= record.class_label < len(dataset.metainfo['classes'])

    run_fuzz(cases, st.tuples(trees, st.booleans()), check)


def make(folder: Path, name: str, kind: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    if os.path.lexists(path):
        return
    if kind == 'file':
        path.touch()
    elif kind == 'folder':
        path.mkdir()
    elif kind == 'pipe':
        os.mkfifo(path)
    else:
        path.symlink_to(folder if kind == 'link to itself' else folder / 'gone')
