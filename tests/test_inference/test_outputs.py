"""The files of a prediction: label files that are read back, tables, crops, and folders written result by result."""

from __future__ import annotations

import csv
import json
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from color_detector import paint
from mmengine.structures import InstanceData
from small_models import CLASSES, write_images, write_shallow_checkpoint

from detkit import Detector
from detkit.datasets import YoloTxtDataset
from detkit.inference import FolderOutputs, Predictor, Result, ResultFolder, Results, SourceImage
from detkit.inference.reduced_result import reduced
from detkit.inference.to_folder import predict_to_folder
from detkit.models.detectors import ModelInfo
from detkit.structures import DetDataSample, InstanceMasks
from detkit.structures.rotated_bboxes import rbbox_hulls
from detkit.utils.errors import ConfigError, MissingPackageError

SHAPE = (60, 90)
BBOXES = [[5, 10, 20.5, 50], [30, 12, 84, 25.25], [60, 40, 70, 59]]
TASKS = ('det', 'seg', 'pose', 'obb', 'cls')


def make_result(task: str, img_path: str = 'photos/a.png', count: int = 3) -> Result:
    """Return a result with values that are easy to check; the first class has two objects."""
    sample = DetDataSample(metainfo=dict(ori_shape=SHAPE))
    keypoints = {'keypoint_names': ('left', 'right'), 'flip_pairs': ((0, 1),)} if task == 'pose' else {}
    if task == 'cls':
        sample.pred_scores = torch.tensor([0.2, 0.7, 0.1])
    else:
        bboxes = torch.tensor(BBOXES, dtype=torch.float32)
        found = InstanceData(bboxes=bboxes, scores=torch.tensor([0.9, 0.8, 0.3]), labels=torch.tensor([0, 2, 0]))
        if task == 'seg':
            masks = np.zeros((3, *SHAPE), bool)
            masks[0, 10:50, 5:20] = masks[1, 12:25, 30:84] = masks[2, 40:59, 60:70] = True
            masks[1, 14:18, 40:50] = masks[2, 48:50, :] = False  # a hole; two parts
            found.masks = InstanceMasks.from_bool(masks)
        if task == 'pose':
            found.keypoints = bboxes.view(-1, 2, 2)
            found.keypoint_scores = torch.tensor([[0.9, 0.2], [0.5, 0.6], [0.1, 0.1]])
        if task == 'obb':
            found.rbboxes = torch.tensor([[30.0, 30, 20, 10, 0.5], [50, 20, 12, 8, 2.0], [80, 50, 30, 6, -0.3]])
            found.bboxes = torch.from_numpy(rbbox_hulls(found.rbboxes.numpy())).clamp(min=0)
        sample.pred_instances = found[:count]
    img, _ = paint(SHAPE, [[round(value) for value in box] for box in BBOXES])
    return Result.of_sample(SourceImage(img_path, img), sample, ModelInfo({}, CLASSES, keypoints))


def read_labels(folder: Path, result: Result, labels: str):
    """Return what the reader of YOLO's label files makes of a result's."""
    (folder / 'images').mkdir(parents=True)
    cv2.imwrite(str(folder / 'images' / 'a.png'), result.img[..., ::-1])
    result.save_yolo(folder / 'labels' / 'a.txt')
    arguments = {'keypoint_shape': (2, 3)} if labels == 'pose' else {}
    dataset = YoloTxtDataset(
        images='images', data_root=str(folder), labels=labels, metainfo={'classes': CLASSES}, **arguments
    )
    assert dataset.skipped == []
    return dataset.records[0].annotations


@pytest.mark.parametrize(('task', 'labels'), [('det', 'outline'), ('seg', 'outline'), ('pose', 'pose'), ('obb', 'obb')])
def test_label_files_are_read_back(task: str, labels: str, tmp_path: Path):
    result = make_result(task)
    read = read_labels(tmp_path, result, labels)
    assert read.labels.tolist() == [0, 2, 0]
    if task in ('det', 'pose'):
        assert read.bboxes == pytest.approx(result.bboxes, abs=1e-4)
    if task == 'pose':
        assert read.keypoints[..., :2] == pytest.approx(result.keypoints[..., :2], abs=1e-4)
        assert read.keypoints[..., 2].tolist() == [[2, 1], [2, 2], [1, 1]]
    if task == 'obb':
        assert read.rbboxes == pytest.approx(result.rbboxes, abs=1e-3)
    if task == 'seg':
        assert read.polygons.areas(3).tolist() == [600, 54 * 13, 10 * 17]  # without the hole, with both parts
        assert read.bboxes.tolist() == [[5, 10, 20, 50], [30, 12, 84, 25], [60, 40, 70, 59]]


@pytest.mark.parametrize('task', TASKS)
def test_label_files_with_scores(task: str):
    result = make_result(task)
    lines, plain = result.to_yolo(scores=True), result.to_yolo()
    if task == 'cls':
        assert lines == plain == ['0.700000 dog', '0.200000 cat', '0.100000 bird']
        return
    assert [float(line.split()[-1]) for line in lines] == pytest.approx([0.9, 0.8, 0.3])
    assert [len(line.split()) for line in lines] == [len(line.split()) + 1 for line in plain]
    if task == 'pose':
        assert [float(value) for value in lines[0].split()[7::3]] == pytest.approx([0.9, 0.2])


def test_objects_without_an_area_have_no_line():
    result = make_result('det')
    result.bboxes[1] = [90, 10, 95, 20]  # beyond the image
    assert [line.split()[0] for line in result.to_yolo()] == ['0', '0']
    assert make_result('seg', count=0).to_yolo() == []


@pytest.mark.parametrize('task', TASKS)
def test_tables(task: str, tmp_path: Path):
    parquet = pytest.importorskip('pyarrow.parquet')
    results = Results([make_result(task), make_result(task, 'b.png', 0), make_result(task, 'c\udcff.png')])
    path = results.save_csv(tmp_path / 'deep' / 'p.csv')
    with open(path, encoding='utf-8', newline='') as file:
        rows = list(csv.DictReader(file))
    table = parquet.read_table(results.save_parquet(tmp_path / 'p.parquet')).to_pylist()
    assert len(rows) == len(table) == sum(len(result) for result in results)
    assert list(rows[0]) == list(table[0]) == results[0].columns
    first = results[0].rows()[0]
    for name, value in first.items():
        if isinstance(value, str):
            assert rows[0][name] == table[0][name] == value
        else:
            assert float(rows[0][name]) == pytest.approx(value) and table[0][name] == pytest.approx(value)
    assert rows[-1]['img_path'] == table[-1]['img_path'] == 'c\\udcff.png'
    assert ('left_score' in first) == (task == 'pose') and ('angle' in first) == (task == 'obb')


def test_tables_of_nothing(tmp_path: Path):
    parquet = pytest.importorskip('pyarrow.parquet')
    nothing = Results([make_result('obb', count=0)])
    assert nothing.save_csv(tmp_path / 'p.csv').read_text().splitlines() == [','.join(nothing[0].columns)]
    assert parquet.read_table(nothing.save_parquet(tmp_path / 'p.parquet')).num_rows == 0


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__('sys').modules, 'pyarrow', None)
    with pytest.raises(MissingPackageError, match='a Parquet file needs the package pyarrow .*pip install pyarrow'):
        Results([make_result('det')]).save_parquet(tmp_path / 'p.parquet')
    assert list(tmp_path.iterdir()) == []


def test_crops(tmp_path: Path):
    results = Results([make_result('det', 'one/a.png'), make_result('det', 'two/a.png')])
    files = [str(path.relative_to(tmp_path)) for path in results.save_crops(tmp_path)]
    names = ['cat/a_0', 'bird/a_1', 'cat/a_2', 'cat/a-2_0', 'bird/a-2_1', 'cat/a-2_2']
    assert files == [f'{name}.jpg' for name in names]
    assert cv2.imread(str(tmp_path / 'bird' / 'a_1.jpg')).shape == (14, 54, 3)
    with pytest.raises(ConfigError, match='classifier'):
        make_result('cls').save_crops(tmp_path)


def test_a_class_name_is_no_path(tmp_path: Path):
    result = make_result('det')
    object.__setattr__(result, 'classes', ('../up', 'b', 'a/b:c'))
    files = result.save_crops(tmp_path / 'crops')
    assert all((tmp_path / 'crops') in path.resolve().parents for path in files)
    assert {path.parent.name for path in files} == {'_up', 'a_b_c'}


# -- folders --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope='module')
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp('weights')
    return {task: write_shallow_checkpoint(folder / f'{task}.pth', task) for task in TASKS}


ALL = FolderOutputs(save_txt=True, save_csv=True, save_parquet=True, save_crops=True)


@pytest.mark.parametrize('task', TASKS)
def test_a_folder_of_each_task(task: str, checkpoints: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture):
    pytest.importorskip('pyarrow')
    for folder in ('one', 'two'):
        write_images(tmp_path / folder, 1)
    (tmp_path / 'two' / 'broken.png').write_bytes(b'no image')
    predictor = Predictor(None, checkpoints[task], img_size=64, max_per_img=3, score_thr=0.05)
    outputs = FolderOutputs(**{**vars(ALL), 'save_crops': task != 'cls'})
    assert predict_to_folder(predictor, [tmp_path / 'one', tmp_path / 'two'], tmp_path / 'out', outputs) == 2
    printed = capsys.readouterr().out
    assert '0.png: ' in printed and '(files: 0-2)' in printed and 'skipped: ' in printed and '1 could not be' in printed
    written = {str(path.relative_to(tmp_path / 'out')) for path in (tmp_path / 'out').rglob('*') if path.is_file()}
    crops = {name for name in written if name.startswith('crops/')}
    expected = {'0.jpg', '0-2.jpg', 'labels/0.txt', 'labels/0-2.txt', 'predictions.json', 'predictions.csv'}
    assert written - crops == expected | {'predictions.parquet'}
    assert len(crops) == (0 if task == 'cls' else 6)
    entries = json.loads((tmp_path / 'out' / 'predictions.json').read_text())
    results = Detector(checkpoints[task])(
        [tmp_path / 'one', tmp_path / 'two'], img_size=64, max_per_img=3, score_thr=0.05
    )
    assert entries == json.loads(json.dumps(results.to_coco()))
    assert (tmp_path / 'out' / 'predictions.csv').read_text() == results.save_csv(tmp_path / 'own.csv').read_text()
    for stem, result in (('0', results[0]), ('0-2', results[1])):
        assert (tmp_path / 'out' / 'labels' / f'{stem}.txt').read_text().splitlines() == result.to_yolo()


def test_crops_of_a_classifier_are_refused(checkpoints: dict[str, Path], tmp_path: Path):
    write_images(tmp_path / 'one', 1)
    with pytest.raises(ConfigError, match='save_crops'):
        predict_to_folder(Predictor(None, checkpoints['cls']), tmp_path / 'one', tmp_path / 'out', ALL)


def test_pictures_are_not_written_over_the_images(checkpoints: dict[str, Path], tmp_path: Path):
    images = write_images(tmp_path / 'other', 1) + write_images(tmp_path / 'photos', 2)
    own = [path.rename(path.with_suffix(suffix)) for path, suffix in zip(images, ('.jpg', '.png', '.JPG'), strict=True)]
    own[0] = own[0].rename(own[0].with_stem('1'))  # its picture would be that of another folder's image
    before = [path.read_bytes() for path in own]
    predictor = Predictor(None, checkpoints['det'], img_size=64)
    for out_dir in (tmp_path / 'photos', tmp_path / 'other' / '..' / 'photos'):
        with pytest.raises(ConfigError, match='1.JPG lies in the folder for the results'):
            predict_to_folder(predictor, [str(path) for path in own], out_dir)
    results = Detector(checkpoints['det'])(own, img_size=64)
    with pytest.raises(ConfigError, match='1.JPG lies in the folder'):
        results.save(tmp_path / 'photos')
    with pytest.raises(ConfigError, match='written over the file that it shows'):
        results[1].save(own[1])
    with pytest.raises(ConfigError, match='written over'), ResultFolder(tmp_path / 'other') as folder:
        folder.add(results[0])
    with pytest.raises(ConfigError, match='1.JPG is a file'):
        predict_to_folder(predictor, own[1], own[2])
    assert [path.read_bytes() for path in own] == before
    assert predict_to_folder(predictor, own[1], tmp_path / 'photos') == 1, 'a picture beside an image of another kind'
    assert predict_to_folder(predictor, own[2], tmp_path / 'photos', FolderOutputs(pictures=False)) == 1
    assert [path.read_bytes() for path in own] == before


def test_the_labels_of_a_dataset_are_not_written_over(tmp_path: Path, checkpoints):
    (image,) = write_images(tmp_path / 'set' / 'images', 1)
    labels = tmp_path / 'set' / 'labels' / f'{image.stem}.txt'
    labels.parent.mkdir()
    predictor = Predictor(None, checkpoints['det'], img_size=64)
    outputs = FolderOutputs(pictures=False, save_txt=True)
    assert predict_to_folder(predictor, image, tmp_path / 'set', outputs) == 1 and labels.is_file()
    labels.write_text('0 0.5 0.5 0.1 0.1\n')
    with pytest.raises(ConfigError, match=r'is the label file of .*choose another folder'):
        predict_to_folder(predictor, image, tmp_path / 'set', outputs)
    (result,) = Detector(checkpoints['det'])(image, img_size=64)
    with pytest.raises(ConfigError, match='is the label file of'):
        result.save_yolo(tmp_path / 'set' / 'images' / '..' / 'labels' / labels.name)
    assert labels.read_text() == '0 0.5 0.5 0.1 0.1\n'
    for _ in range(2):  # predictions are written over predictions
        assert predict_to_folder(predictor, image, tmp_path / 'out', outputs) == 1
    with pytest.raises(ConfigError, match='is a file; results are written into a folder'):
        predict_to_folder(predictor, image, labels, outputs)


def test_nothing_but_what_is_asked_for(tmp_path: Path):
    outputs = FolderOutputs(pictures=False, save_json=False, save_txt=True, save_scores=True)
    with ResultFolder(tmp_path / 'out', outputs) as folder:
        assert folder.add(make_result('det')) is None
    (path,) = (path for path in (tmp_path / 'out').rglob('*') if path.is_file())
    assert path.name == 'a.txt' and path.read_text().splitlines() == make_result('det').to_yolo(scores=True)


def test_tables_appear_whole_or_not_at_all(tmp_path: Path):
    outputs = FolderOutputs(pictures=False, save_csv=True)
    with ResultFolder(tmp_path, outputs) as folder:
        folder.add(make_result('det'))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(KeyboardInterrupt), ResultFolder(tmp_path, outputs) as folder:
        folder.add(make_result('det', 'b.png'))
        raise KeyboardInterrupt
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.thorough
def test_memory_does_not_grow_with_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """All that is kept of a result is the name of its files."""
    pytest.importorskip('pyarrow')
    monkeypatch.setattr('detkit.inference.result_files._ROW_GROUP', 500)
    result = make_result('det')
    held = []
    with ResultFolder(tmp_path, FolderOutputs(pictures=False, save_csv=True, save_parquet=True)) as folder:
        for i in range(5000):
            folder.add(result)
            if i == 1000:
                tracemalloc.start()
            if i in (2000, 4999):
                held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert held[1] - held[0] < 1.5e6  # 500 bytes an image
    assert (tmp_path / 'predictions.csv').read_text().count('\n') == 15001


@pytest.mark.parametrize('task', TASKS)
def test_pictures_of_very_large_images_are_smaller(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    result = make_result(task)
    small, img = reduced(result, result.img, 45)
    assert small.img_shape == img.shape[:2] == (30, 45)
    if task != 'cls':
        assert small.bboxes == pytest.approx(result.bboxes / 2)
    if task == 'seg':
        assert small.masks.shape == (3, 30, 45) and small.masks.sum() == pytest.approx(result.masks.sum() / 4, rel=0.1)
        assert (small.masks & ~cv2_reduced(result.masks)).sum() < 20
    if task == 'pose':
        assert small.keypoints == pytest.approx(result.keypoints * [0.5, 0.5, 1])
    if task == 'obb':
        assert small.rbboxes == pytest.approx(result.rbboxes * [0.5, 0.5, 0.5, 0.5, 1])
    monkeypatch.setattr('detkit.inference.to_folder._LONGEST_SIDE', 45)
    with ResultFolder(tmp_path) as folder:
        folder.add(result)
    assert cv2.imread(str(tmp_path / 'a.jpg')).shape == (30, 45, 3)


def cv2_reduced(masks: np.ndarray) -> np.ndarray:
    return masks.reshape(len(masks), 30, 2, 45, 2).any((2, 4))


@pytest.mark.parametrize('name', ['pictures', 'save_txt', 'save_parquet'])
def test_switches_are_true_or_false(name: str):
    with pytest.raises(ConfigError, match=f"{name} is 'no', but must be True or False"):
        FolderOutputs(**{name: 'no'})


def test_scores_without_label_files_are_a_mistake():
    with pytest.raises(ConfigError, match='set save_txt, too'):
        FolderOutputs(save_scores=True)
