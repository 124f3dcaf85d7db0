"""DOTA's label files with anything in any place: sound records, a recorded skip, or an error of detkit's own."""

import numpy as np
import pytest
from format_helpers import write_image
from fuzz_strategies import AMOUNTS, damaged, encoded, odd_words, run_fuzz
from hypothesis import strategies as st

from detkit.datasets import DotaDataset
from detkit.datasets.formats.dota import parse_dota_labels

numbers = st.integers(-10, 30).map(str) | st.floats(-10, 30).map(lambda number: f'{number:.2f}')
names = st.sampled_from(['plane', 'Storage_Tank', 'storage-tank', 'ship', 'pln', '7'])
quads = st.lists(numbers, min_size=8, max_size=8)
whole = st.builds(lambda quad, name, hard: [*quad, name, hard], quads, names, st.sampled_from('012'))


@st.composite
def broken(draw: st.DrawFn) -> list[str]:
    """Draw a line's values of which some are odd, missing or too many."""
    values = draw(whole)
    for _ in range(draw(st.integers(1, 2))):
        index = draw(st.integers(0, len(values)))
        values[index : index + draw(st.integers(0, 2))] = draw(st.lists(odd_words, max_size=1))
    return values


headers = st.sampled_from([['imagesource:GoogleEarth'], ['gsd:0.146'], ['gsd:null'], ['GSD']])
lines = (whole | whole | broken() | headers).map(' '.join)
texts = st.lists(lines, max_size=6).map('\n'.join)


@pytest.mark.thorough
@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('cases', AMOUNTS)
def test_label_files(tmp_path, cases):
    for name in 'ab':
        write_image(tmp_path / 'images' / f'{name}.png', 20, 10)
    (tmp_path / 'labelTxt').mkdir()
    (tmp_path / 'labelTxt' / 'b.txt').write_text('1 1 9 1 9 5 1 5 plane 0\n')
    seen = {'kept': 0, 'skipped': 0}

    def check(case: tuple[bytes, bool, float]) -> None:
        data, single_class, limit = case
        (tmp_path / 'labelTxt' / 'a.txt').write_bytes(data)
        metainfo = dict(classes=('plane', 'storage-tank'))
        options = dict(metainfo=metainfo, single_class=single_class, max_skipped=limit)
        dataset = DotaDataset(data_root=str(tmp_path), **options)
        for record in dataset.records:
            own = record.annotations
            assert own.rbboxes.shape == (len(own.labels), 5) and np.isfinite(own.rbboxes).all()
            assert ((own.labels >= 0) & (own.labels < len(dataset.metainfo['classes']))).all()
            assert (own.rbboxes[:, 2:4] > 0).all() and (own.rbboxes[:, 2] >= own.rbboxes[:, 3]).all()
            assert ((own.bboxes >= 0) & (own.bboxes <= [20, 10, 20, 10])).all() and (own.areas > 0).all()
        seen['kept'] += sum(len(record.annotations) for record in dataset.records)
        seen['skipped'] += len(dataset.skipped)

    plain = texts.map(lambda text: text.encode('utf-8', 'replace'))
    files = st.one_of(plain, plain, encoded(texts), damaged(plain))
    run_fuzz(cases, st.tuples(files, st.booleans(), st.sampled_from([1.0, 0.3])), check)
    assert min(seen.values()) > cases // 10, seen


def test_a_coordinate_that_no_image_has_is_skipped():
    found = parse_dota_labels('-1e308 0 0 0 0 0 0 2 plane 0\n1 1 9 1 9 5 1 5 plane 0\n', ['plane'])
    assert found.numbers.tolist() == [2] and found.skipped == [(1, 'a coordinate beyond 10,000,000 pixels')]
