"""Round trips COCO -> labelme, CVAT, Label Studio, LVIS, Open Images, CrowdHuman -> COCO."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from other_formats import (
    bitmap,
    needs_bitmap,
    write_crowdhuman,
    write_cvat,
    write_label_studio,
    write_labelme,
    write_lvis,
    write_open_images,
)
from writer_helpers import by_stem, kinds, named, read_back, read_coco, rings_of, write_everything

from detkit.converters.dataset_source import datasets_of_folder
from detkit.datasets import CocoDataset
from detkit.datasets.writers import convert_dataset

# Format -> its writer, the options that read it, and what it holds: outlines, and objects that are not to be learnt.
FORMATS = {
    'labelme': (write_labelme, [], True, True),
    'cvat': (write_cvat, ['images=images'], True, False),
    'label_studio': (write_label_studio, ['images=images', 'ann_file=export.json'], True, False),
    'lvis': (write_lvis, ['ann_file=lvis.json', 'img_prefix=images'], True, False),
    'open_images': (write_open_images, ['ann_file=boxes.csv'], False, True),
    'crowdhuman': (write_crowdhuman, ['ann_file=annotation_train.odgt'], False, True),
}


def only_first_class(source: CocoDataset) -> CocoDataset:
    """CrowdHuman has one class."""
    return CocoDataset(
        source.ann_file,
        source.img_prefix,
        data_root=source.data_root,
        test_mode=True,
        metainfo={'classes': source.metainfo['classes'][:1]},
    )


def there_and_back(source: CocoDataset, name: str, folder: Path) -> CocoDataset:
    write, options, _, _ = FORMATS[name]
    write(source, folder / 'other')
    other = datasets_of_folder(name, str(folder / 'other'), options, ['train'])
    assert other['train'].skipped == []
    done = convert_dataset(other, folder / 'coco', 'coco')
    assert set(kinds(done.lost)) <= {'how frequent the classes are'}
    return read_back(folder / 'coco')


def check(source: CocoDataset, back: CocoDataset, name: str) -> int:
    """Compare object by object; return how many there are."""
    _, _, outlines, flags = FORMATS[name]
    found, shapes = by_stem(back), {Path(record.img_path).stem: record.ori_shape for record in source.records}
    total = 0
    assert set(found) <= set(shapes) and {stem for stem, own in by_stem(source).items() if len(own)} <= set(found)
    for stem, after in found.items():
        own, shape = by_stem(source)[stem], shapes[stem]
        if name == 'lvis':
            own = own.select(
                np.array([not (own.ignored[i] or needs_bitmap(own, i, 99)) for i in range(len(own))], bool)
            )
        if not outlines:
            own = own.select(_first_of_each(own.labels, own.bboxes.clip(0, [*shape[::-1]] * 2)))
        names = ['person'] * len(own) if name == 'crowdhuman' else named(source, own)
        assert names == named(back, after), stem
        assert (after.ignored == (own.ignored if flags else False)).all()
        for i in range(len(own)):
            compare(own, after, i, shape, name)
        total += len(after)
    return total


def _first_of_each(labels: np.ndarray, bboxes: np.ndarray) -> np.ndarray:
    """``(N,)`` bool: the objects whose class and box are no earlier one's; readers of boxes leave the others out."""
    firsts = np.unique(np.column_stack([labels, bboxes]), axis=0, return_index=True)[1]
    return np.isin(np.arange(len(labels)), firsts)


def compare(own: Any, after: Any, i: int, shape: tuple[int, int], name: str) -> None:
    rings = rings_of(own)[i]
    as_bitmap = needs_bitmap(own, i, 99 if name in ('labelme', 'lvis') else 1)
    if not FORMATS[name][2] or not (as_bitmap or rings):
        np.testing.assert_allclose(after.bboxes[i], own.bboxes[i].clip(0, [*shape[::-1]] * 2), atol=1e-3)
    elif as_bitmap:
        np.testing.assert_array_equal(bitmap(after, i, shape), bitmap(own, i, shape))
    else:
        np.testing.assert_allclose(
            np.concatenate(rings_of(after)[i]), np.concatenate(rings), atol=1e-4 if name == 'label_studio' else 0
        )
        assert [len(ring) for ring in rings_of(after)[i]] == [len(ring) for ring in rings]
        assert np.abs(after.bboxes[i] - own.bboxes[i]).max() < 1


@pytest.mark.parametrize('name', FORMATS)
def test_all_that_a_format_holds_comes_back(name, tmp_path):
    source = read_coco(write_everything(tmp_path / 'in'))
    if name == 'crowdhuman':
        source = only_first_class(source)
    count = check(source, there_and_back(source, name, tmp_path), name)
    assert count == {'lvis': 3, 'crowdhuman': 3}.get(name, 6)


@pytest.mark.realdata
@pytest.mark.parametrize('name', FORMATS)
def test_coco128_comes_back(name, tmp_path, real_data):
    root = real_data / 'coco128'
    if not root.is_dir():
        pytest.skip('no coco128')
    source = read_coco(root, 'annotations/instances_train2017.json', 'train2017')
    if name == 'crowdhuman':
        source = only_first_class(source)
    count = check(source, there_and_back(source, name, tmp_path), name)
    whole = sum(len(own) for own in by_stem(source).values())
    assert count == {'lvis': whole - 10}.get(name, whole)
