"""YOLO sets that people reported, rebuilt: each is read as meant, or refused with a sentence."""

import pytest
from format_helpers import write_yolo

from detkit.datasets import YoloTxtDataset
from detkit.datasets.skips import skip_lines
from detkit.utils.errors import DataError

WHOLE = (4, 8)  # images and objects of most training sets
READ = {
    '04-list-backslashes-bom/back.yaml': WHOLE,
    '04-list-backslashes-bom/backdir.yaml': WHOLE,
    '04-list-backslashes-bom/bom.yaml': WHOLE,
    '04-list-backslashes-bom/drive.yaml': WHOLE,
    '04-list-backslashes-bom/utf16.yaml': WHOLE,
    '06-labels-url-encoded/data.yaml': (7, 14),
    '09-yaml-variants/bom.yaml': WHOLE,
    '09-yaml-variants/int_names.yaml': WHOLE,
    '09-yaml-variants/names_path.yaml': WHOLE,
    '09-yaml-variants/nc_quoted.yaml': WHOLE,
    '09-yaml-variants/no_names.yaml': WHOLE,
    '09-yaml-variants/no_yes.yaml': WHOLE,
    '09-yaml-variants/str_keys.yaml': WHOLE,
    '09-yaml-variants/train_list.yaml': (6, 12),
    '10-capital-Images/data.yaml': WHOLE,
    '14-pose-labels-for-det/data.yaml': WHOLE,
    '31-image-modes/data.yaml': (33, 66),
    '35-no-objects/all/data.yaml': (4, 0),
    '35-no-objects/val/data.yaml': WHOLE,
}
REFUSED = {
    'dup_names': 'both bolt',
    'gaps': 'keys 0, 2',
    'glob': 'Patterns are not read',
    'latin1': 'Save it as UTF-8',
    'names_str': r'a list \(\[bolt\] for one class\)',
    'nc3': 'says nc: 3, but names 2',
    'nc_word': 'says nc: two',
    'nested': r'says names\[0\]: a list',
    'one_based_keys': 'count from 0',
    'tab': 'Indent with spaces',
    'train_listlist': 'says train: a list of lists',
    'train_null': "no key 'train'",
    'train_number': 'says train: 5',
    'zip': 'unpack it',
}
LEFT_OUT = {
    '14-pose-labels-for-det/data.yaml': ['8 × keypoints that this dataset is not asked for'],
    '35-no-objects/all/data.yaml': ['2 × a class without any object'],
    '31-image-modes/data.yaml': [
        '3 × an image whose labels are',
        '3 × the further frames or pages of an image',
        '1 × a picture of a kind that is not read (.heic)',
    ],
}


@pytest.mark.realdata
@pytest.mark.parametrize('name', [*READ, *(f'09-yaml-variants/{name}.yaml' for name in REFUSED)])
def test_reported_sets(real_data, name):
    file = real_data / 'reports' / name
    if not file.exists():
        pytest.skip(f'no {file}')
    if name not in READ:
        with pytest.raises(DataError, match=REFUSED[file.stem]) as error:
            YoloTxtDataset(data_yaml=str(file))
        assert file.name in str(error.value)
        return
    dataset = YoloTxtDataset(data_yaml=str(file))
    annotations = [record.annotations for record in dataset.records]
    assert (len(annotations), sum(map(len, annotations))) == READ[name] and dataset.skipped == []
    lines = list(skip_lines(dataset.unused))
    for line, start in zip(lines, LEFT_OUT.get(name, []), strict=True):
        assert line.startswith(start)
    for record in dataset.records:  # no box is the whole picture
        h, w = record.ori_shape
        assert ((record.annotations.bboxes[:, 2:] - record.annotations.bboxes[:, :2]) < (0.9 * w, 0.9 * h)).all()


def test_classes_without_objects_are_said_of_the_file_that_names_them(tmp_path):
    write_yolo(tmp_path, {'a': '0 0.5 0.5 0.2 0.4'})
    path = tmp_path / 'data.yaml'
    path.write_text('train: images/train\nval: images/train\nnames: [bolt, nut, washer]\n')
    dataset = YoloTxtDataset(data_yaml=str(path), class_map=dict(washer=None))
    assert [(skip.path, skip.where) for skip in dataset.unused] == [(str(path), "class 'nut'")]
