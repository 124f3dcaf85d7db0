"""The page on dataset formats: its example loads, and what its table says of each type holds."""

import ast
import inspect
import re
from pathlib import Path

import pytest
from test_cvat import box, image, xml

from detkit.config import load_config
from detkit.config.signatures import arguments_of
from detkit.datasets import DetDataset, formats
from detkit.registry import DATASETS

REPO = Path(__file__).parents[2]
PAGE = (REPO / 'docs/dataset_formats.md').read_text(encoding='utf-8')
TABLE = PAGE.split('## Formats\n')[1].split('\n\n')[0]
LINES = re.findall(r'`(dict\(type=.*?\))`', TABLE)


def test_the_example_loads(tmp_path):
    text = re.search(r'```python\n# my_cvat.py\n(.*?)```', PAGE, re.DOTALL).group(1)
    for name in ('train.xml', 'val.xml'):
        (tmp_path / name).write_text(xml(image(box(1, 1, 5, 5))))
    text = text.replace('detkit/configs', str(REPO / 'configs')).replace('/data/mine', str(tmp_path))
    (tmp_path / 'my_cvat.py').write_text(text)
    config = load_config(tmp_path / 'my_cvat.py', ['+train_dataloader.dataset.image_subset=Train'])
    assert config.model.head.num_classes == 2 and config.train_dataloader.dataset.image_subset == 'Train'
    assert config.val_dataloader.dataset.ann_file == 'val.xml'


@pytest.mark.parametrize('line', LINES)
def test_the_keys_of_a_type_exist(line):
    call = ast.parse(line, mode='eval').body
    settings = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    known = arguments_of(DATASETS.get(settings.pop('type')))
    assert settings and set(settings) <= set(known.names)
    assert known.required <= set(settings)


@pytest.mark.parametrize('name', formats.__all__)
def test_no_argument_of_a_format_hides_one_of_all_datasets(name):
    own, shared = (set(inspect.signature(cls).parameters) for cls in (getattr(formats, name), DetDataset))
    assert own & shared <= {'kwargs'}


def test_every_type_is_on_the_page():
    elsewhere = {'Background', 'Coco', 'CocoPanoptic', 'Dota', 'ImageFolder', 'VOC', 'YoloTxt'}
    named = {re.search(r"type='(\w+)'", line)[1] for line in LINES}
    assert named == set(formats.__all__) - {f'{name}Dataset' for name in elsewhere}
