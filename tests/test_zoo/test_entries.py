"""The table of published weights: complete, right in itself, and the same in the documentation."""

import re

import pytest
from builders import CONFIGS

from detkit.config import load_config
from detkit.utils.errors import ConfigError
from detkit.zoo.entries import find_entry, list_entries, read_entries
from detkit.zoo.table import describe, markdown_table, text_list

TABLE = """
families:
- {family: F, converter: none, licence: %s, url: 'https://example.com/{name}.pth', task: det, entries: {%s}}
"""


def test_the_documentation_has_the_table(repo):
    text = (repo / 'docs' / 'zoo.md').read_text(encoding='utf-8')
    expected = markdown_table(list_entries().values())
    assert text.partition('<!-- table -->')[2].strip() == expected.strip(), (
        'replace the table of docs/zoo.md by that of detkit.zoo.table.markdown_table(list_entries().values())'
    )


def test_entries_are_right_in_themselves():
    entries = list_entries()
    assert len(entries) > 50
    configs = {}
    addresses = [file.url for entry in entries.values() for file in entry.files]
    assert len(set(addresses)) == len(addresses)
    for entry in entries.values():
        assert all(file.url.startswith('https://') and '{' not in file.url for file in entry.files), entry.name
        assert entry.permissive or entry.licence_note
        assert not entry.metrics or (entry.measured and entry.page.startswith('https://'))
        if entry.config:
            config = configs.get(entry.config) or load_config(CONFIGS / f'{entry.config}.py', need_classes=False)
            configs[entry.config] = config
            assert entry.task in (config.task, 'panoptic'), entry.name
            assert entry.size in config.get('sizes', (entry.size,)), entry.name
        assert entry.name in describe(entry.name) and entry.licence in describe(entry.name)


def test_published_metrics_are_those_of_the_configs():
    """The docstring of each family's config cites them as well."""
    for entry in list_entries().values():
        if entry.family in ('YOLOv8', 'YOLOv5'):
            text = (CONFIGS / f'{entry.config}.py').read_text(encoding='utf-8')
            values = '/'.join(f'{value}' for value in entry.metrics.values())
            assert re.search(rf'\b{entry.size} {re.escape(values)}\b', text), (entry.name, values)


def test_detectors_of_torchvision_are_those_that_it_lists():
    from torchvision.models import get_model_weights, list_models

    listed = {
        weights.url: weights.meta['_metrics']['COCO-val2017']
        for name in list_models()
        if 'rcnn' in name or 'retinanet' in name or 'fcos' in name
        for weights in get_model_weights(name)
    }
    entries = [entry for entry in list_entries().values() if entry.converter == 'torchvision']
    assert {entry.files[0].url for entry in entries} == {*listed}
    for entry in entries:
        file = entry.files[0]
        assert file.name.endswith(f'-{file.sha256}.pth')
        values = list(listed[file.url].values())
        assert list(entry.metrics.values()) == values, entry.name


def test_digests_are_those_that_backbones_are_checked_by():
    from detkit.models.backbones import pretrained

    for entry in list_entries().values():
        digest = entry.files[0].sha256
        if entry.family == 'ResNet' and len(digest) == 64:
            assert pretrained._SHA256[digest[:8]] == digest
            assert entry.files[0].name.endswith(f'-{digest[:8]}.pth')


@pytest.mark.parametrize(
    ('licence', 'entries', 'said'),
    [
        ('Nobody-1', 'a: {}', "has the licence 'Nobody-1', about which"),
        ('Apache-2.0', '../a: {}', 'is no name'),
        ('Apache-2.0', 'a: {sha256: XY}', 'expected 8 to 64 hexadecimal digits'),
        ('Apache-2.0', 'a: {sha256: 12345678}', 'Expected `str | null`, got `int`'),
        ('Apache-2.0', 'a: {bytes: -1}', 'has -1 bytes'),
        ('Apache-2.0', 'a: {values: [1.0]}', '1 values for 0 metrics'),
        ('Apache-2.0', 'a: {sise: n}', 'unknown field `sise`'),
        ('Apache-2.0', "a: {url: 'https://example.com/'}", 'files whose names cannot be kept'),
        (
            'Apache-2.0',
            "a: {url: 'ftp://example.com/a.pth'}",
            'a path, or an address that begins with http:// or https://',
        ),
        ('Apache-2.0', "a: {url: 'https://[::1/a.pth'}", 'which is none (Invalid IPv6 URL)'),
        ('Apache-2.0', '!!python/object/apply:os.getcwd []: {}', 'is no table of weights'),
        ('Apache-2.0', 'a: {}}', 'this is no table of weights (expected <block end>'),
    ],
)
def test_a_wrong_table_is_named(tmp_path, licence, entries, said):
    path = tmp_path / 'own.yaml'
    path.write_text(TABLE % (licence, entries))
    with pytest.raises(ConfigError, match=re.escape(said)) as caught:
        read_entries(path)
    assert 'own.yaml' in str(caught.value)


def test_own_tables(tmp_path, monkeypatch):
    path = tmp_path / 'own.yaml'
    path.write_text(TABLE % ('Apache-2.0', 'mine: {}, yolov8n: {}'))
    monkeypatch.setenv('DETKIT_ZOO_FILE', str(path))
    assert find_entry('mine').family == find_entry('yolov8n').family == 'F'
    assert find_entry('yolov8s').family == 'YOLOv8' and '| mine ' in text_list(family='f')
    monkeypatch.setenv('DETKIT_ZOO_FILE', str(tmp_path / 'none.yaml'))
    with pytest.raises(ConfigError, match=r'none.yaml does not exist \(DETKIT_ZOO_FILE'):
        list_entries()


def test_lists():
    assert 'yolov8n-seg' in text_list('seg') and 'yolov8n-pose' not in text_list('seg')
    with pytest.raises(ConfigError, match="no task 'segm'.*Did you mean 'seg'"):
        text_list('segm')
    with pytest.raises(ConfigError, match='the families are YOLOv8'):
        text_list(family='yolov99')
