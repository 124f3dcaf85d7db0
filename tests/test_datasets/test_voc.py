"""PASCAL VOC's files: what is read, what is left out alone, what is refused."""

from pathlib import Path

import numpy as np
import pytest
from tiny_voc import object_xml, write_tiny_voc, write_voc

from detkit.config import load_config
from detkit.datasets import VOCDataset, build_dataloader
from detkit.datasets.formats import voc_xml
from detkit.datasets.formats.voc import read_split
from detkit.datasets.formats.voc_xml import read_voc_xml
from detkit.utils.errors import ConfigError, DataError

CONFIGS = Path(__file__).parents[2] / 'configs'
CAT, DOG = object_xml('cat', (1, 1, 10, 5)), object_xml('dog', (3, 4, 20, 10), 1)


def write_one(tmp_path: Path, *objects: str, **options) -> Path:
    return write_voc(tmp_path, {'a': list(objects)}, {'train': ['a']}, (20, 10), **options)


def annotations_of(root: Path, **options):
    dataset = VOCDataset(**{'data_root': str(root), 'splits': 'train', **options})
    return dataset, dataset.records[0].annotations


def test_pixels_count_from_one_and_include_the_last(tmp_path):
    dataset, annotations = annotations_of(write_one(tmp_path, CAT, DOG, object_xml('cat', (1, 1, 20, 10), None)))
    assert dataset.metainfo['classes'] == ('cat', 'dog')
    assert annotations.bboxes.tolist() == [[0, 0, 10, 5], [2, 3, 20, 10], [0, 0, 20, 10]]
    assert annotations.bboxes.dtype == np.float32 and annotations.labels.tolist() == [0, 1, 0]
    assert annotations.ignored.tolist() == [False, True, False] and annotations.areas.tolist() == [50, 126, 200]
    record = dataset.records[0]
    assert (record.img_id, record.ori_shape) == ('a', (10, 20)) and dataset.skipped == []
    _, annotations = annotations_of(tmp_path, one_based=False)
    assert annotations.bboxes[0].tolist() == [1, 1, 10, 5]


def test_an_image_without_objects_and_parts_of_objects(tmp_path):
    head = '<part><name>head</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>4</xmax><ymax>4</ymax></bndbox></part>'
    objects = {'none': [], 'one': [object_xml('person', ('1', '2', '9.7', ' 8 '), 0, head)]}
    write_voc(tmp_path, objects, {'train': ['none', 'one']})
    dataset, annotations = annotations_of(tmp_path)
    assert len(dataset) == 2 and len(annotations) == 0
    assert dataset.metainfo['classes'] == ('person',)
    np.testing.assert_allclose(dataset.records[1].annotations.bboxes, [[0, 1, 9.7, 8]], rtol=1e-6)


def test_the_classes_of_a_list_give_the_order(tmp_path):
    root = write_one(tmp_path, CAT, DOG, object_xml('cow', (2, 2, 8, 8)))
    dataset, annotations = annotations_of(root, metainfo=dict(classes=('dog', 'cat')))
    assert annotations.labels.tolist() == [1, 0] and dataset.skipped == []
    _, annotations = annotations_of(root, single_class=True)
    assert annotations.labels.tolist() == [0, 0, 0]
    with pytest.raises(DataError, match=r"one of the 2 classes of metainfo.*'cat' \(1\).*Did you mean 'cat'"):
        annotations_of(root, metainfo=dict(classes=('Cat', 'horse')))


def test_several_splits_and_years(tmp_path):
    root = write_tiny_voc(tmp_path) / 'voc'
    dataset = VOCDataset(splits=['VOC2007/trainval', 'VOC2012/trainval'], data_root=str(root))
    assert [record.img_id for record in dataset.records] == [
        '2007_trainval0',
        '2007_trainval1',
        '2012_trainval0',
        '2012_trainval1',
    ]
    assert len(VOCDataset(splits='VOC2007/test', data_root=str(root))) == 2


def test_lists_of_a_class_name_the_images_that_show_it(tmp_path):
    path = tmp_path / 'cat_train.txt'
    path.write_text('a  1\nb -1\n\nc  0\na  1\n')
    assert read_split(path) == (['a', 'c', 'a'], ['b'])
    path.write_text('b -1\n')
    with pytest.raises(DataError, match='names no image'):
        read_split(path)


def test_images_that_do_not_show_a_class_are_counted(tmp_path):
    root = write_voc(tmp_path, {'a': [CAT], 'b': [DOG], 'c': [DOG]}, {'cat_train': ['a 1', 'b -1', 'c  -1']}, (20, 10))
    dataset, _ = annotations_of(root, splits='cat_train', test_mode=True)
    assert [record.img_id for record in dataset.records] == ['a'] and not dataset.skipped
    assert [skip.where for skip in dataset.unused] == ['b', 'c']
    assert all(skip.path.endswith('cat_train.txt') and '-1' in skip.reason for skip in dataset.unused)


def test_names_with_blanks(tmp_path):
    names = {'my x': [CAT], 'my': [DOG], 'x 1': [CAT], 'c': [CAT]}
    root = write_voc(
        tmp_path, names, {'train': ['my x', 'my 1', 'x 1', 'x 1 0', 'c  masks/c.png', 'not there']}, (20, 10)
    )
    dataset, _ = annotations_of(root, test_mode=True)
    assert [record.img_id for record in dataset.records] == ['my x', 'my', 'x 1', 'c']
    assert [skip.path for skip in dataset.skipped] == [str(root / 'Annotations' / 'not there.xml')]
    assert [skip.reason for skip in dataset.unused] == ['an image that is listed again']


def test_files_in_subfolders(tmp_path):
    root = write_voc(tmp_path, {'a': [CAT], 'b': [DOG], 'B': [CAT]}, {'train': ['s/b', 's\\B']}, (20, 10))
    for folder, suffix in (('JPEGImages', 'jpg'), ('Annotations', 'xml')):
        (root / folder / 's').mkdir()
        for name in 'bB':
            (root / folder / f'{name}.{suffix}').rename(root / folder / 's' / f'{name}.{suffix}')
    dataset = VOCDataset(data_root=str(root), test_mode=True)
    assert [record.img_id for record in dataset.records] == ['a', 'B', 'b'] and not dataset.unused + dataset.skipped
    assert dataset.metainfo['classes'] == ('cat', 'dog') == VOCDataset.peek(dict(data_root=root))['classes']
    assert dataset.records[2].annotations.labels.tolist() == [1]
    assert [record.img_id for record in VOCDataset(data_root=str(root), splits='train').records] == ['b', 'B']
    write_voc(root, {'b': [CAT]}, size_wh=(20, 10))
    dataset = VOCDataset(data_root=str(root), test_mode=True)
    assert [record.img_id for record in dataset.records] == ['a.jpg', 'b.jpg', 's/B.jpg', 's/b.jpg']
    (root / 'JPEGImages' / 's' / 'b.jpg').unlink()  # so that its file finds the other one
    dataset = VOCDataset(data_root=str(root), test_mode=True)
    assert [record.annotations.labels.tolist() for record in dataset.records] == [[0], [0], [0]]
    assert [skip.path for skip in dataset.skipped] == [str(root / 'Annotations' / 's' / 'b.xml')]


def test_an_image_is_read_once(tmp_path):
    lists = {'train': ['a'], 'trainval': ['a', 'b']}
    root = write_voc(tmp_path, {'a': [CAT], 'b': [DOG], '0': [DOG]}, lists, (20, 10))
    dataset, _ = annotations_of(root, splits=['train', 'trainval'], test_mode=True)
    assert [record.img_id for record in dataset.records] == ['a', 'b']
    assert [skip.reason for skip in dataset.unused] == ['an image that is listed again']
    (root / 'JPEGImages' / '0.jpg').unlink()
    stray = root / 'Annotations' / '0.xml'
    stray.write_text(stray.read_text().replace('0.jpg', 'a.jpg'))
    dataset = VOCDataset(data_root=str(root), test_mode=True)
    assert [record.img_id for record in dataset.records] == ['a', 'b']
    assert dataset.records[0].annotations.labels.tolist() == [0]  # of the file of its own name
    ((path, _, reason, *_),) = dataset.skipped
    assert path == str(stray) and reason.endswith(f'{root / "Annotations" / "a.xml"} describes')


def test_names_of_elements_in_any_case(tmp_path):
    root = write_one(tmp_path, CAT, DOG)
    path = root / 'Annotations' / 'a.xml'
    path.write_text(path.read_text().replace('object', 'Object').replace('bndbox', 'BndBox').replace('annot', 'Annot'))
    dataset, annotations = annotations_of(root, test_mode=True)
    assert len(annotations) == 2 and not dataset.skipped + dataset.unused


def test_boxes_elsewhere_than_in_objects_are_named(tmp_path):
    write_voc(tmp_path, {'a': [CAT], 'b': [], 'c': ['<weather>rain</weather>'], 'd': [DOG]}, None, (20, 10))
    (tmp_path / 'Annotations' / 'b.xml').write_text(f'<annotation><objects>{CAT}</objects></annotation>')
    path = tmp_path / 'Annotations' / 'd.xml'
    path.write_text(path.read_text().replace('</annotation>', f'<item>{CAT}</item></annotation>'))
    dataset = VOCDataset(data_root=str(tmp_path), max_skipped=1, test_mode=True)
    assert [record.img_id for record in dataset.records] == ['a', 'c', 'd']
    assert ['<objects>, not in <object>' in skip.reason for skip in dataset.skipped] == [True, False]
    assert dataset.skipped[1][1:3] == ('<item>', 'a <bndbox> that is in no <object>')
    assert [skip.reason for skip in dataset.unused] == ['no <object>, but <weather>: the image counts as background']


@pytest.mark.parametrize('tag', ['name', 'bndbox', 'difficult'])
def test_a_second_element_of_an_object_is_named(tmp_path, tag):
    more = f'<{tag}><xmin>2</xmin><ymin>2</ymin><xmax>4</xmax><ymax>4</ymax></{tag}>'
    dataset, annotations = annotations_of(write_one(tmp_path, object_xml('cat', (1, 1, 10, 5), 0, more)))
    assert annotations.bboxes.tolist() == [[0, 0, 10, 5]]
    assert dataset.skipped[0][1:3] == ('object 1', f'a second <{tag}> in an object, of which the first alone is read')


def test_a_folder_without_lists(tmp_path):
    write_voc(tmp_path, {'b': [CAT], 'a': [DOG]}, {})
    dataset = VOCDataset(data_root=str(tmp_path))
    assert [record.img_id for record in dataset.records] == ['a', 'b']
    flat = VOCDataset(data_root=str(tmp_path), images='JPEGImages', annotations='Annotations', test_mode=True)
    assert flat.metainfo['classes'] == ('cat', 'dog')


def test_images_alone(tmp_path):
    root = write_one(tmp_path, CAT)
    (root / 'Annotations' / 'a.xml').unlink()
    dataset, annotations = annotations_of(root, annotations=None, metainfo=dict(classes=('cat',)), test_mode=True)
    assert len(dataset) == 1 and len(annotations) == 0
    with pytest.raises(DataError, match='names no classes'):
        annotations_of(root, annotations=None)


def test_no_class_is_known_as_all_objects_are_broken(tmp_path):
    root = write_one(tmp_path, CAT.replace('<xmin>', '<xmin>nan'))
    with pytest.raises(DataError, match=r'names no classes: 1 skipped, the first, .*a\.xml, .*nan.*; set metainfo'):
        annotations_of(root)


def test_the_image_may_be_named_in_the_file_alone(tmp_path):
    root = write_one(tmp_path, CAT)
    (root / 'Annotations' / 'a.xml').rename(root / 'Annotations' / 'label1.xml')
    dataset = VOCDataset(data_root=str(root))
    assert dataset.records[0].img_path.endswith('a.jpg') and dataset.records[0].img_id == 'a'


@pytest.mark.parametrize(
    ('entry', 'reason'),
    [
        (object_xml('', (1, 1, 5, 5)), 'no <name>'),
        (object_xml('cat', (1, 1, 5)), 'does not hold the numbers xmin'),
        (object_xml('cat', (1, 1, 'five', 5)), 'does not hold the numbers xmin'),
        (object_xml('cat', (1, 1, 'nan', 5)), 'does not hold the numbers xmin'),
        (object_xml('cat', (1, 1, '1_0', 5)), 'does not hold the numbers xmin'),
        (object_xml('cat', (1, 1, 5, 5), 'maybe'), "<difficult> is 'maybe'"),
        (object_xml('cat', (9, 1, 5, 5)), 'its corners exchanged: xmin, ymin must be the smaller ones (9, 1, 5, 5)'),
        (object_xml('cat', (1, 1, '5,5', 5)), "<xmax> is '5,5', with a decimal comma"),
        (object_xml('cat', (1, 1, 5)), '<ymax> is missing'),
        ('<object><name>cat</name><polygon/></object>', 'it has <polygon>, which is not read'),
        (object_xml('cat', (25, 1, 30, 5)), 'no area inside the image'),
    ],
)
def test_an_object_that_breaks_a_rule_is_left_out_alone(tmp_path, entry, reason):
    dataset, annotations = annotations_of(write_one(tmp_path, entry, DOG), metainfo=dict(classes=('cat', 'dog')))
    assert annotations.labels.tolist() == [1]
    ((path, where, found, *_),) = dataset.skipped
    assert path.endswith('a.xml') and where == 'object 1' and reason in found


def test_boxes_end_at_the_border_and_repeats_are_left_out(tmp_path):
    twice = object_xml('dog', (5, 5, 99, 99))
    dataset, annotations = annotations_of(write_one(tmp_path, CAT, twice, twice))
    assert annotations.bboxes.tolist() == [[0, 0, 10, 5], [4, 4, 20, 10]]
    assert dataset.skipped == [] and sorted(skip.where for skip in dataset.unused) == ['object 2', 'object 3']
    assert any('reaches beyond the image' in skip.reason for skip in dataset.unused)


def test_boxes_that_count_from_0_are_named(tmp_path):
    root = write_one(tmp_path, object_xml('cat', (0, 3, 9, 9)), object_xml('cat', (1, 1, 9, 9)))
    dataset, _ = annotations_of(root)
    (skip,) = dataset.unused
    assert skip.where == 'object 1' and 'one_based=False reads files that count from 0' in skip.reason
    dataset, annotations = annotations_of(root, one_based=False)
    assert dataset.unused == [] and annotations.bboxes.tolist() == [[0, 3, 9, 9], [1, 1, 9, 9]]


@pytest.mark.parametrize(
    ('spoil', 'reason'),
    [
        (lambda root: (root / 'Annotations' / 'b.xml').unlink(), 'cannot be read'),
        (lambda root: (root / 'Annotations' / 'b.xml').write_text('<annotation><object>'), 'cannot be read as XML'),
        (lambda root: (root / 'Annotations' / 'b.xml').write_text('<html/>'), 'its root is <html>'),
        (lambda root: (root / 'JPEGImages' / 'b.jpg').unlink(), 'no image of this name'),
        (lambda root: (root / 'JPEGImages' / 'b.jpg').write_bytes(b'no'), 'the image cannot be read'),
        (
            lambda root: write_voc(
                root, {'b': [CAT]}, size_wh=(10, 20), stated='<size><width>20</width><height>10</height></size>'
            ),
            'states 20x10',
        ),
    ],
)
def test_an_image_that_cannot_be_used_is_left_out_alone(tmp_path, spoil, reason):
    write_voc(tmp_path, {'a': [CAT], 'b': [DOG]}, {'train': ['a', 'b']}, (20, 10))
    spoil(tmp_path)
    dataset = VOCDataset(splits='train', data_root=str(tmp_path), metainfo=dict(classes=('cat', 'dog')))
    assert [record.img_id for record in dataset.records] == ['a']
    assert len(dataset.skipped) == 1 and reason in dataset.skipped[0][2]
    if 'states' in reason:
        assert len(VOCDataset(splits='train', data_root=str(tmp_path), check_size=False)) == 2


@pytest.mark.parametrize('encoding', ['gb2312', 'GBK', 'utf8', 'UTF-16', 'windows-1252', 'shift_jis', 'iso-8859-1'])
def test_the_declared_encoding_is_read(tmp_path, encoding):
    name = {'gb2312': '螺栓', 'GBK': '螺栓', 'shift_jis': '猫'}.get(encoding, 'grüße')
    root = write_one(tmp_path, object_xml(name, (1, 1, 10, 5)))
    path = root / 'Annotations' / 'a.xml'
    text = f'<?xml version="1.0" encoding="{encoding}"?>\n' + path.read_text(encoding='utf-8')
    path.write_bytes(text.encode(encoding))
    dataset, annotations = annotations_of(root)
    assert dataset.metainfo['classes'] == (name,) and len(annotations) == 1 and not dataset.skipped


@pytest.mark.parametrize(
    ('declared', 'name', 'contradicts'),
    [
        ('gbk', '螺栓', True),
        ('gb2312', '螺栓，新', True),
        ('iso-8859-1', 'grüße', True),
        ('windows-1251', 'болт', True),
        ('utf-16', 'bolt', True),
        ('gb2312', 'ß', True),  # no character of GB2312
        ('gbk', 'bolt', False),
        ('utf-8', '螺栓', False),
    ],
)
def test_utf8_that_declares_another_encoding_is_read_and_named(tmp_path, declared, name, contradicts):
    root = write_one(tmp_path, object_xml(name, (1, 1, 10, 5)))
    path = root / 'Annotations' / 'a.xml'
    text = path.read_text(encoding='utf-8')
    path.write_text(f'<?xml version="1.0" encoding="{declared}"?>{text}', encoding='utf-8')
    dataset, annotations = annotations_of(root)
    assert dataset.metainfo['classes'] == (name,) and len(annotations) == 1 and not dataset.skipped
    assert [f"declares the encoding '{declared}', but is UTF-8" in skip.reason for skip in dataset.unused] == (
        [True] * contradicts
    )


def test_short_text_that_is_utf8_by_accident_keeps_its_encoding(tmp_path):
    root = write_one(tmp_path, object_xml('name', (1, 1, 10, 5)))
    path = root / 'Annotations' / 'a.xml'
    text = '<?xml version="1.0" encoding="gbk"?>' + path.read_text().replace('name>name', 'name>隆')
    assert '隆'.encode('gbk').decode('utf-8')
    path.write_bytes(text.encode('gbk'))
    dataset, _ = annotations_of(root)
    assert dataset.metainfo['classes'] == ('隆',) and not dataset.unused


def test_files_that_cannot_be_decoded_are_named_with_the_reason(tmp_path):
    root = write_voc(tmp_path, {'a': [CAT], 'b': [DOG]}, {'train': ['a']}, (20, 10))
    for name in 'ba':
        path = root / 'Annotations' / f'{name}.xml'
        path.write_bytes(path.read_text().replace('<folder>', '<folder>螺').encode('gbk'))
        if name == 'b':
            dataset, _ = annotations_of(root)
            assert dataset.metainfo['classes'] == ('cat',) and not dataset.skipped
            assert dataset.unused[0].path == str(path) and 'is no UTF-8 text' in dataset.unused[0].reason
    with pytest.raises(DataError, match='none of the 2 xml files.* names a class; 2 cannot be read.*is no UTF-8 text'):
        VOCDataset.peek(dict(data_root=root, splits='train'))
    with pytest.raises(DataError, match='has no image: 1 skipped.*is no UTF-8 text'):
        annotations_of(root)


@pytest.mark.parametrize(
    ('head', 'reason'),
    [
        ('<?xml version="1.0" encoding="idna"?>', "the encoding 'idna'"),
        ('<?xml version="1.0" encoding="utf-7"?>', "the encoding 'utf-7'"),
        ('<?xml version="1.0" encoding="zip"?>', "the encoding 'zip'"),
        ('<?xml version="1.0" encoding="klingon"?>', "the encoding 'klingon'"),
        ('<!DOCTYPE a [<!ENTITY b "c">]>', '<!DOCTYPE>'),
        ('<a>' * 5000, 'nested deeper than 100'),
        ('\0', 'cannot be read as XML'),
    ],
)
def test_a_file_in_no_known_encoding_is_left_out_with_the_reason(tmp_path, head, reason):
    write_voc(tmp_path, {'a': [CAT], 'b': [DOG]}, {'train': ['a', 'b']}, (20, 10))
    path = tmp_path / 'Annotations' / 'b.xml'
    path.write_text(head + path.read_text() + '</a>' * 5000 * head.startswith('<a>'))
    dataset = VOCDataset(splits='train', data_root=str(tmp_path))
    ((found, where, text, kind, _),) = dataset.skipped
    assert found == str(path) and where is None and reason in text and str(path) in text
    assert kind == 'an annotation file that cannot be read'


def test_other_classes_are_counted_and_a_misspelt_one_is_an_error(tmp_path):
    root = write_one(tmp_path, CAT, DOG, object_xml('class_1', (2, 2, 8, 8)), object_xml('class_1', (2, 2, 9, 9)))
    dataset, annotations = annotations_of(root, metainfo=dict(classes=('cat', 'class_2')), test_mode=True)
    assert len(annotations) == 1
    assert [(skip.where, skip.count) for skip in dataset.unused] == [("class 'class_1'", 2), ("class 'dog'", 1)]
    for wrong in ('Dog', 'dogs'):
        with pytest.raises(
            DataError, match=f"no object in .* is of the class {wrong!r} of metainfo. Did you mean 'dog'"
        ):
            annotations_of(root, metainfo=dict(classes=('cat', wrong)))


def test_images_without_an_annotation_file_and_pictures_that_are_not_read_are_counted(tmp_path):
    root = write_voc(tmp_path, {'a': [CAT], 'b': [CAT]}, {'train': ['a']}, (20, 10))
    (root / 'Annotations' / 'b.xml').unlink()
    (root / 'JPEGImages' / 'c.heic').write_bytes(b'x')
    dataset = VOCDataset(data_root=str(root))
    assert sorted(Path(skip.path).name for skip in dataset.unused) == ['b.jpg', 'c.heic'] and not dataset.skipped


def test_no_annotation_file_is_read_twice(tmp_path, monkeypatch):
    root = write_voc(tmp_path, {'a': [CAT], 'b': [DOG]}, {'train': ['a']}, (20, 10))
    read = []
    monkeypatch.setattr(voc_xml, 'read_voc_xml', lambda path: read.append(str(path)) or read_voc_xml(path))
    VOCDataset(data_root=str(root), splits='train')
    assert sorted(read) == [str(root / 'Annotations' / name) for name in ('a.xml', 'b.xml')]


@pytest.mark.realdata
@pytest.mark.parametrize('name', ['gb2312', 'gbk_ascii'])
def test_reported_encodings(real_data, name):
    root = real_data / 'reports' / '28-voc-gb2312' / name
    if not root.is_dir():
        pytest.skip(f'no {root}')
    dataset = VOCDataset(data_root=str(root), splits='train')
    assert len(dataset) > 0 and not dataset.skipped and sum(len(record.annotations) for record in dataset.records) > 0


def test_a_size_of_nought_is_none(tmp_path):
    sizes = '<size><width>0</width><height>0</height></size>', '', '<size><width>x</width></size>'
    for number, size in enumerate(sizes):
        root = write_one(tmp_path / str(number), CAT, stated=size)
        assert len(VOCDataset(splits='train', data_root=str(root))) == 1
        assert read_voc_xml(root / 'Annotations' / 'a.xml').size is None


def test_too_much_left_out_is_an_error(tmp_path):
    bad = object_xml('cat', (9, 9, 2, 2))
    with pytest.raises(DataError, match=r'2 of 4 images and objects.*max_skipped'):
        annotations_of(write_one(tmp_path, CAT, bad, bad))


def test_mistakes_in_the_config_name_the_remedy(tmp_path):
    root = write_one(tmp_path, CAT)
    with pytest.raises(DataError, match="'val.txt' cannot be read|val.txt.*there are train.*VOC2007/trainval"):
        annotations_of(root, splits='val')
    with pytest.raises(DataError, match='image folder .*pictures.* does not exist'):
        annotations_of(root, images='pictures')
    with pytest.raises(DataError, match='no annotation file'):
        VOCDataset(data_root=str(root), annotations='labels')
    for options in (dict(splits=()), dict(annotations=None)):
        with pytest.raises(ConfigError, match='splits'):
            VOCDataset(data_root=str(root), **options)


def test_a_config_finds_the_classes_in_the_files(tmp_path):
    root = write_tiny_voc(tmp_path) / 'voc'
    peeked = VOCDataset.peek(dict(data_root=root, splits=['VOC2007/trainval', 'none/train']))
    assert peeked['classes'] == ('dog', 'person')
    config = tmp_path / 'config.py'
    config.write_text(f"""
_base_ = [{str(CONFIGS / '_base_/models/yolov8_det.py')!r}, {str(CONFIGS / '_base_/datasets/voc.py')!r},
          {str(CONFIGS / '_base_/schedules/yolov8_500e.py')!r}, {str(CONFIGS / '_base_/default_runtime.py')!r}]
task = 'det'
""")
    options = dict(data_root=str(root), num_workers=0, batch_size=2, img_size=64)
    assert load_config(config, options).model.head.num_classes == 20
    config.write_text(
        config.read_text() + 'train_dataloader = dict(dataset=dict(metainfo=None))\n'
        'val_dataloader = dict(dataset=dict(metainfo=None))\ntest_dataloader = val_dataloader\n'
    )
    cfg = load_config(config, options)
    assert cfg.model.head.num_classes == 2
    batch = next(iter(build_dataloader(cfg.train_dataloader, seed=0)))
    assert batch['inputs'].shape == (2, 3, 64, 64)
