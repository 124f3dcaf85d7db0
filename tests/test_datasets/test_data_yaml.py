"""Data yamls as people write them: read, or refused with file, key and remedy."""

import codecs

import pytest
from format_helpers import write_yolo

from detkit.datasets import YoloTxtDataset
from detkit.datasets.formats.data_yaml import parse_data_yaml, read_data_yaml
from detkit.utils.errors import DataError

NAMES = 'names: [bolt, nut]\n'


@pytest.mark.parametrize(
    ('text', 'classes'),
    [
        ('names: [no, yes]', ('no', 'yes')),
        ('names: [on, 2020-01-01, 1, 0x1F, null]', ('on', '2020-01-01', '1', '0x1F', 'null')),
        ('names: {"0": bolt, "1": nut}', ('bolt', 'nut')),
        ('names: {1: nut, 0: bolt}', ('bolt', 'nut')),
        ('nc: "2"\nnames: [bolt, nut]', ('bolt', 'nut')),
        ('nc: 2', ('class_0', 'class_1')),
        ('nc:\nnames: [bolt]', ('bolt',)),
        ('train: images', None),
        ('a: &a [bolt, nut]\nnames: *a', ('bolt', 'nut')),
        ('names: !!python/name:os.system [bolt]', ('bolt',)),  # tags are not followed
    ],
)
def test_class_names(text, classes):
    assert parse_data_yaml(text, 'set/data.yaml').classes == classes


@pytest.mark.parametrize(
    ('text', 'sentence'),
    [
        ('nc: two', 'says nc: two, but it should be the number of classes'),
        ('nc: .inf', 'says nc: .inf, but'),
        ('nc: 99999999999', 'says nc: 99999999999, but'),
        ('nc: 0', 'says nc: 0, but'),
        ('nc: [2]', 'says nc: a list, but'),
        ('nc: 3\n' + NAMES, 'says nc: 3, but names 2 classes'),
        ('names: bolt', r'says names: bolt, but it should be a list \(\[bolt\] for one class\)'),
        ('names: []', 'says names: a list, but it should list at least one class'),
        ('names: {}', 'should list at least one class'),
        ('names: [[bolt], [nut]]', r'says names\[0\]: a list, but each class needs a name'),
        ('names: [bolt, ""]', r'says names\[1\]: , but each class needs a name'),
        ('names: ["bolt\\ud800"]', r'says names\[0\]: bolt\\ud800, but'),
        ('names: ["\\e[31m"]', r'says names\[0\]: \\x1b\[31m, but'),
        ('names: [bolt, nut, bolt]', 'names the classes 0 and 2 both bolt'),
        ('names: ["bolt ", bolt]', 'names the classes 0 and 1 both bolt'),
        ('names: [bolt, " bolt "]', 'names the classes 0 and 1 both bolt'),
        ('names: {0: a, 2: b}', 'have the keys 0, 2; expected is each whole number from 0 to 1$'),
        ('names: {1: a, 2: b}', 'have the keys 1, 2; .* count from 0'),
        ('names: {0: a, one: b, 2.5: c}', 'have the keys 0, one, 2.5'),
        ('names: {0: a, 0: b}', 'found a key twice'),
        ('{[1]: a}', 'found a key that is no word or number'),
        ('train: [[images/train]]', 'says train: a list of lists, but it should be a folder, an image list'),
        ('train: {a: b}', 'says train: a mapping, but'),
        ('train: [""]', 'says train: a list, but'),
        ('path: [a, b]', 'says path: a list, but it should be one folder'),
        ('names:\n\t- bolt', 'no valid YAML(.|\n)*line 2(.|\n)*Indent with spaces'),
        ('[' * 600, 'nested too deeply'),
        ('names: "\0"', 'no valid YAML'),
        ('a: &a [*a]', 'no valid YAML'),
        ('- bolt', 'should be a mapping'),
        ('', 'should be a mapping'),
        ('kpt_shape: 17', 'says kpt_shape: 17, but it should be'),
        ('kpt_shape: [a, 3]', 'says kpt_shape: a list, but'),
        ('kpt_shape: [999999999, 3]', 'says kpt_shape: a list, but'),
        ('kpt_shape: [3, 4]', 'kpt_shape'),
        ('kpt_shape: {0: 3}', 'says kpt_shape: a mapping, but'),
        ('kpt_shape: [3, 3]\nflip_idx: [a, 1, 2]', 'flip_idx .* each of the 3 keypoints'),
        ('kpt_shape: [3, 3]\nflip_idx: [a, 1, 0, 2]', 'flip_idx'),
        ('kpt_shape: [3, 3]\nflip_idx: {0: 1}', 'flip_idx'),
        ('kpt_shape: [3, 3]\nkpt_names: [a, [b], c]', 'kpt_names .* should list 3 names'),
        ('kpt_shape: [3, 3]\nkpt_names: 5', 'kpt_names .* should list 3 names'),
    ],
)
def test_what_is_refused(text, sentence):
    with pytest.raises(DataError, match=sentence) as error:
        parse_data_yaml(text, 'set/data.yaml')
    assert 'set/data.yaml' in str(error.value)


def test_a_message_does_not_repeat_what_is_endless():
    bomb = 'a: &a [x, x, x, x, x, x, x, x]\n'
    for before, name in zip('abcdefgh', 'bcdefghi', strict=True):
        bomb += f'{name}: &{name} [{", ".join(f"*{before}" for _ in range(8))}]\n'
    with pytest.raises(DataError) as error:
        parse_data_yaml(f'{bomb}names: *i', 'data.yaml')
    assert len(str(error.value)) < 200


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16'])
def test_encodings(tmp_path, encoding):
    (tmp_path / 'data.yaml').write_text('names: [größe]\r\n', encoding=encoding)
    assert read_data_yaml(tmp_path / 'data.yaml').classes == ('größe',)


def test_an_encoding_that_is_not_read(tmp_path):
    (tmp_path / 'data.yaml').write_text('names: [größe]', encoding='latin-1')
    with pytest.raises(DataError, match='data.yaml.*no UTF-8 text.*Save it as UTF-8'):
        read_data_yaml(tmp_path / 'data.yaml')


def test_names_in_a_text_file(tmp_path):
    (tmp_path / 'classes.txt').write_bytes(codecs.BOM_UTF8 + b'bolt\r\nwing nut\r\n\r\n')
    (tmp_path / 'data.yaml').write_text('names: classes.txt')
    assert read_data_yaml(tmp_path / 'data.yaml').classes == ('bolt', 'wing nut')
    (tmp_path / 'classes.txt').write_text('bolt\n\nnut')  # ids would shift
    with pytest.raises(DataError, match=r'says names\[1\]: , but each class needs a name'):
        read_data_yaml(tmp_path / 'data.yaml')


@pytest.mark.parametrize(
    'train',
    [
        'images/train',
        r'images\train',
        'Images/TRAIN/',
        '../images/train',
        r'D:\work\set\images\train',
        '/home/me/set/images/train',
        '[images/train]',
    ],
)
def test_folders_as_other_systems_write_them(tmp_path, train):
    write_yolo(tmp_path, {'one': '0 0.5 0.5 0.2 0.4\n1 0.5 0.5 0.2 0.4'})
    (tmp_path / 'data.yaml').write_text(f'train: {train}\n{NAMES}')
    dataset = YoloTxtDataset(data_yaml=str(tmp_path / 'data.yaml'))
    assert len(dataset) == 1 and len(dataset.records[0].annotations) == 2 and dataset.unused == []


@pytest.mark.parametrize(
    ('train', 'sentence'),
    [
        ('5', "data.yaml' says train: 5, but in .* no such folder or image list. Correct this key, or path"),
        ('2020-01-01', 'says train: 2020-01-01'),
        ('"a\\0b"', 'says train: a'),
        ('images/train/*.jpg', 'Patterns are not read: write the folder'),
        ('elsewhere/train', 'no such folder'),
        ('/other/train', 'no such folder'),  # a last part alone is found anywhere
        ('', "has no key 'train' with a folder or a list; it has val"),
        ('~', "has no key 'train'"),
        ('[]', "has no key 'train'"),
        ('images.zip', 'Archives are not read: unpack it'),
    ],
)
def test_folders_that_are_not_there(tmp_path, train, sentence):
    write_yolo(tmp_path, {'one': ''})
    (tmp_path / 'train').mkdir()
    (tmp_path / 'images.zip').write_bytes(b'PK')
    (tmp_path / 'data.yaml').write_text(f'train: {train}\nval: images/train\n{NAMES}')
    data = read_data_yaml(tmp_path / 'data.yaml')
    with pytest.raises(DataError, match=sentence):
        data.sources('train')
    assert data.sources('val') == [tmp_path / 'images/train']


@pytest.mark.parametrize('key', ['valid', 'validation', 'Val'])
def test_a_part_that_is_called_otherwise_is_hinted_at(key):
    data = parse_data_yaml(f'train: images/train\n{key}: images/val\n{NAMES}', 'set/data.yaml')
    with pytest.raises(DataError, match=f"no key 'val' .* The key {key} should be called val"):
        data.sources('val')


def test_a_path_that_does_not_exist_is_said(tmp_path):
    write_yolo(tmp_path, {'one': '0 0.5 0.5 0.2 0.4\n1 0.5 0.5 0.2 0.4'})
    file = tmp_path / 'data.yaml'
    file.write_text(f'path: ../datasets/gone\ntrain: images/train\n{NAMES}')
    (note,) = YoloTxtDataset(data_yaml=str(file)).unused
    assert note.location() == f'{file}:path' and 'no folder ../datasets/gone' in note.reason
    assert YoloTxtDataset(data_yaml=str(file), data_root=str(tmp_path)).unused == []


def test_a_path_of_the_home_folder(tmp_path, monkeypatch):
    write_yolo(tmp_path, {'one': ''})
    monkeypatch.setenv('HOME', str(tmp_path.parent))
    data = parse_data_yaml(f'path: ~/{tmp_path.name}\ntrain: ~/{tmp_path.name}/images/train\n{NAMES}', 'data.yaml')
    assert data.root == tmp_path and data.sources('train') == [tmp_path / 'images/train'] and not data.notes


def test_an_image_in_the_place_of_a_folder(tmp_path):
    write_yolo(tmp_path, {'one': ''})
    image = next((tmp_path / 'images/train').iterdir())
    (tmp_path / 'data.yaml').write_text(f'train: images/train/{image.name}\n{NAMES}')
    with pytest.raises(DataError, match='is an image; give its folder, or a text file'):
        YoloTxtDataset(data_yaml=str(tmp_path / 'data.yaml'))
