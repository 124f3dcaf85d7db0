"""Text files that are packed, or in UTF-16 without its byte-order mark."""

import gzip

import pytest
from format_helpers import write_image

from detkit.datasets import YoloTxtDataset
from detkit.utils.errors import DataError
from detkit.utils.text_files import open_text, read_text
from detkit.utils.xml_files import read_xml

TEXT = '<a>\nb, c</a>\n'
UTF16 = 'looks like UTF-16 without its byte-order mark: save it as UTF-8'


@pytest.mark.parametrize('read', [read_text, read_xml, lambda path: open_text(path).close()])
@pytest.mark.parametrize(
    ('data', 'reason'),
    [
        (gzip.compress(TEXT.encode(), mtime=0), 'is a gzip file; unpack it'),
        (TEXT.encode('utf-16-le'), UTF16),
        (TEXT.encode('utf-16-be'), UTF16),
    ],
)
def test_what_is_no_plain_text_is_named(tmp_path, read, data, reason):
    path = tmp_path / 'a.txt'
    path.write_bytes(data)
    with pytest.raises(DataError, match=rf"a\.txt' {reason}"):
        read(path)


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-32'])
@pytest.mark.parametrize('text', ['', 'a', TEXT, 'ä\0b'])
def test_what_is_plain_text_is_read(tmp_path, encoding, text):
    (tmp_path / 'a.txt').write_bytes(text.encode(encoding))
    assert read_text(tmp_path / 'a.txt') == text


@pytest.mark.parametrize('pack', [lambda text: gzip.compress(text.encode()), lambda text: text.encode('utf-16-le')])
def test_a_label_file_that_is_none_costs_its_image(tmp_path, pack):
    for name in 'ab':
        write_image(tmp_path / 'images' / f'{name}.png', 4, 4)
    (tmp_path / 'labels').mkdir()
    (tmp_path / 'labels' / 'a.txt').write_text('0 .5 .5 .5 .5\n')
    (tmp_path / 'labels' / 'b.txt').write_bytes(pack('0 .5 .5 .5 .5\n'))
    dataset = YoloTxtDataset(data_root=str(tmp_path), images='images', metainfo={'classes': ['bolt']})
    assert [record.img_id for record in dataset.records] == ['a']
    assert [skip.kind for skip in dataset.skipped] == ['a label file that cannot be read']
