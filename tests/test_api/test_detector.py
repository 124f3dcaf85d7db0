"""``Detector``: opening, predicting, training and testing without a config file."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import CONFIGS
from PIL import Image
from small_models import CLASSES, write_checkpoint, write_images

from detkit import Detector
from detkit.config import load_config
from detkit.engine import load_checkpoint
from detkit.inference import Results, sources, view_predictor
from detkit.utils.errors import CheckpointError, ConfigError, DataError


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp('weights') / 'seg.pth')


@pytest.fixture(scope='module')
def model(checkpoint: Path) -> Detector:
    return Detector(checkpoint, device='cpu')


@pytest.fixture(scope='module')
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('images')
    write_images(folder, 3)
    return folder


@pytest.fixture
def data_yaml(tiny_data: Path) -> Path:
    return tiny_data / 'data.yaml'


def test_the_old_line(checkpoint: Path, images: Path):
    picture = Detector(str(checkpoint))(str(images / '0.png'))[0].plot()
    assert picture.shape == (60, 90, 3) and (picture != np.asarray(Image.open(images / '0.png'))).any()


def test_what_a_detector_says(model: Detector, checkpoint: Path):
    assert model.classes == CLASSES and model.task == 'seg' and model.device == torch.device('cpu')
    assert repr(model) == f'<Detector {checkpoint} on cpu>' and not model.model.training


def test_sources_and_options(model: Detector, images: Path):
    img = np.asarray(Image.open(images / '1.png'))
    source = [images / '0.png', img, img[..., ::-1], torch.from_numpy(img.copy()).permute(2, 0, 1), images / 'none.png']
    results = model(source, img_size=64, max_per_img=4)
    assert isinstance(results, Results) and len(results) == 5
    assert [result.error is None for result in results] == [True] * 4 + [False]
    assert results[1].to_dict()['objects'] == results[3].to_dict()['objects']
    assert (results[1].scores != results[2].scores).any()  # a picture in other colours
    (turned,) = model(img[..., ::-1], channel_order='bgr', img_size=64, max_per_img=4)
    assert (turned.scores == results[1].scores).all() and (turned.img == img).all()
    (few,) = model(img, img_size=64, classes=['dog'], max_per_img=2, score_thr=0.01)
    assert len(few) == 2 and set(few.names) == {'dog'}
    assert model.predict(img, img_size=64)[0].to_dict() == model(img, img_size=64)[0].to_dict()
    assert model([]) == [] and len(model(images, img_size=64, batch_size=2)) == 3


def test_a_classifier_lists_the_classes_that_the_call_asks_for(images: Path, tmp_path: Path):
    model = Detector(write_checkpoint(tmp_path / 'cls.pth', 'cls'), device='cpu')
    image = images / '0.png'
    every = model(image, img_size=64)[0]
    assert len(every) == len(every.probs) == 3
    assert model(image, img_size=64, max_per_img=2)[0].labels.tolist() == every.labels[:2].tolist()
    second = float(every.scores[1])
    assert len(model(image, img_size=64, score_thr=second)[0]) == 2
    assert model(image, img_size=64, score_thr=1)[0].labels.tolist() == every.labels[:1].tolist()  # its best, always
    assert (model(image, img_size=64, score_thr=1)[0].probs == every.probs).all()


def test_a_stream_is_made_as_it_is_read(model: Detector, images: Path):
    stream = model(images, stream=True, img_size=64)
    assert not isinstance(stream, list) and next(stream).img_path == str(images / '0.png')
    assert len(list(stream)) == 2
    with pytest.raises(DataError, match='does not exist'):
        model('nowhere.jpg', stream=True)  # at once, and not when the stream is read


def test_an_iterator_is_read_no_further_than_two_batches_ahead(model: Detector, images: Path):
    taken = []

    def items(endless: bool) -> Iterator[object]:
        for number in itertools.count():
            taken.append(number)
            yield images / f'{number}.png' if number < 3 else None
            if number == 4 and not endless:
                return

    listed = model(items(endless=False), img_size=64, batch_size=2)
    assert [result.error is None for result in listed] == [True] * 3 + [False] * 2
    assert listed[:3].to_json() == model(images, img_size=64, batch_size=2).to_json()
    taken.clear()
    stream = model(items(endless=True), stream=True, img_size=64, batch_size=2)
    assert not taken
    assert [next(stream).to_dict() for _ in range(2)] == [result.to_dict() for result in listed[:2]]
    stream.close()
    assert len(taken) <= 6
    assert len(list(model(items(endless=False), stream=True, img_size=64, tta=['hflip']))) == 5

    def broken() -> Iterator[Path]:
        yield images / '0.png'
        raise RuntimeError('the camera fell over')

    with pytest.raises(RuntimeError, match='fell over'):
        model(broken(), img_size=64)


def test_a_list_of_results_holds_no_endless_iterator(model: Detector, monkeypatch):
    monkeypatch.setattr(sources, 'MAX_KEPT_BYTES', 3 * 64 * 64 * 4)
    with pytest.raises(ConfigError, match='hold more than 49.2 kB of images at image4; give stream=True'):
        model(itertools.repeat(np.zeros((64, 64, 3), np.uint8)), img_size=64)
    assert len(model([np.zeros((64, 64, 3), np.uint8)] * 5, img_size=64)) == 5  # the caller holds these anyway


def test_threads_do_not_change_each_other(model: Detector, images: Path):
    """Each thread has options of its own, and always gets what it gets alone."""
    settings = [dict(max_per_img=count, score_thr=thr, img_size=64) for count, thr in ((1, 0.1), (3, 0.3), (6, 0.5))]
    source = [images, images / 'none.png']
    alone = [model(source, **options).to_json() for options in settings]
    assert len(set(alone)) == 3
    seen: dict[int, list[str]] = {i: [] for i in range(len(settings))}
    begin = threading.Barrier(len(settings))

    def work(i: int) -> None:
        begin.wait()
        seen[i] += [model(source, **settings[i]).to_json() for _ in range(4)]

    threads = [threading.Thread(target=work, args=(i,)) for i in seen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {i: [text] * 4 for i, text in enumerate(alone)}


@pytest.mark.parametrize(
    ('word', 'right'),
    [
        ('conf', 'write score_thr='),
        ('iou', 'write iou_thr='),
        ('imgsz', 'write img_size='),
        ('max_det', 'write max_per_img='),
        ('agnostic_nms', 'write class_agnostic='),
        ('batch', 'write batch_size='),
        ('half', 'write amp='),
        ('device', r'give it to Detector\(\.\.\.\)'),
        ('scorethr', "Did you mean 'score_thr'"),
        ('zzz', 'It has stream, channel_order, score_thr'),
    ],
)
def test_a_word_of_another_toolbox_is_answered_with_the_right_one(model: Detector, images: Path, word, right):
    with pytest.raises(TypeError, match=f"no argument '{word}'.*{right}"):
        model(images, **{word: 1})


@pytest.mark.parametrize(
    ('word', 'right'),
    [
        ('imgsz', 'write img_size='),
        ('batch', 'write batch_size='),
        ('num_epochs', 'write epochs='),
        ('workers', 'write num_workers='),
        ('lr0', r"write options=\{'optim_wrapper.optimizer.lr'"),
        ('device', r'give device= to Detector'),
        ('name', 'write work_dir='),
    ],
)
def test_a_word_for_training_is_answered_likewise(model: Detector, word, right):
    for method in (model.train, model.val, model.config):
        with pytest.raises(TypeError, match=f"no argument '{word}'.*{right}"):
            method(**{word: 1})


def test_a_setting_is_answered_as_python_writes_it_and_given_once():
    model = Detector('yolov8/det_n_coco8', device='cpu')
    for settings, right in (
        ({'freeze': 3}, "Did you mean options={'train_cfg.freeze': 3}?"),
        ({'mosaic_porb': 0.5}, "Did you mean options={'mosaic_prob': 0.5}?"),
        (
            {'options': {'model.data_preprocessor.multi_scale': (0.5, 2)}},
            "write options={'+model.data_preprocessor.mul",
        ),
    ):
        with pytest.raises(ConfigError, match=re.escape(right)):
            model.config(**settings)
    for twice in ({'epochs': 2, 'max_epochs': 1}, {'epochs': 2, 'options': {'max_epochs': 1}}):
        with pytest.raises(TypeError, match=r'epochs \(max_epochs\) is given twice, as 2 and as 1'):
            model.config(**twice)


@pytest.mark.parametrize(
    ('name', 'kind', 'text'),
    [
        ('none.pth', CheckpointError, 'does not exist'),
        pytest.param('a' * 5000, CheckpointError, 'a…. with its 5000 characters is too long', id='long'),
        ('sge.pth', CheckpointError, "Did you mean 'seg.pth'"),
        ('empty', CheckpointError, 'without best.pth or last.pth'),
        ('text.pt', CheckpointError, 'text.pt'),
        ('yolov8/sog_n_coco8', ConfigError, "no file 'yolov8/sog_n_coco8', and .*Did you mean 'yolov8/seg_n_coco8'"),
        ('wrong.py', ConfigError, 'wrong.py'),
        (
            'yolov8m-seg.yaml',
            ConfigError,
            "'yolov8m-seg' names the published weights; 'yolov8/seg_m_coco' is that model",
        ),
        ('YOLOv8n', ConfigError, "'yolov8n' names the published weights; 'yolov8/det_n_coco' is"),
    ],
)
def test_a_name_that_is_no_model(name, kind, text, tmp_path: Path, checkpoint: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'text.pt').write_text('no weights')
    (tmp_path / 'wrong.py').write_text('nonsense = 1\nmodel = dict(type="Nothing")\n')
    shutil.copy(checkpoint, tmp_path / 'seg.pth')
    with pytest.raises(kind, match=text):
        Detector(name)


def test_things_that_are_no_name(checkpoint: Path):
    with pytest.raises(TypeError, match='not as int'):
        Detector(3)
    with pytest.raises(TypeError, match="Detector has no argument 'conf'"):
        Detector(checkpoint, conf=0.3)
    with pytest.raises(ConfigError, match='options change a config'):
        Detector(checkpoint, options={'size': 's'})
    with pytest.raises(ConfigError, match="device 'gpu7'"):
        Detector(checkpoint, device='gpu7')


def test_files_that_hold_no_model(checkpoint: Path, tmp_path: Path):
    """Nobody is sent to a DETR by a file that never was one, nor to an unsafe way of loading it."""
    contents = {'empty.pt': b'', 'text.pth': b'no weights', 'cut.pth': checkpoint.read_bytes()[:5000]}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=rf'{name} cannot be read .* damaged or cut off') as caught:
            Detector(tmp_path / name)
        assert 'published checkpoint' not in str(caught.value) and 'weights_only' not in str(caught.value)
    torch.save({'fc.weight': torch.zeros(3, 3)}, tmp_path / 'other.pth')
    with pytest.raises(
        CheckpointError, match=r'other.pth holds no model that detkit knows \(its tensors are fc.weight'
    ):
        Detector(tmp_path / 'other.pth')


def test_values_of_arguments_that_make_no_sense(model: Detector, images: Path, tmp_path: Path):
    for options, text in (
        ({'classes': 1.5}, 'classes is 1.5, but must be names or numbers'),
        ({'amp': 'fp8'}, "^amp is 'fp8'"),
        ({'class_agnostic': 'no'}, "class_agnostic is 'no', but must be True or False"),
        ({'retina_masks': 'x'}, "retina_masks is 'x'"),
    ):
        with pytest.raises(ConfigError, match=text):
            model(images, **options)
    with pytest.raises(TypeError, match='options are given as a dict'):
        Detector('yolov8/seg_n_coco8', options='size=s')
    for method in (model.train, model.val, model.config):
        with pytest.raises(TypeError, match='options are given as a dict'):
            method(options=['size=s'])
        with pytest.raises(TypeError, match='data are given as a path'):
            method(5)
    with pytest.raises(ConfigError, match=r"write '.*mine\.py' in place of '.*mine\.yaml'"):
        model.save_config(tmp_path / 'mine.yaml')
    for name, text in (('', 'is empty'), ('https://example.org/a.pt', 'is an address; fetch the file')):
        with pytest.raises((ConfigError, CheckpointError), match=text):
            Detector(name)


def test_the_home_folder(checkpoint: Path, images: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    shutil.copy(checkpoint, tmp_path / 'seg.pth')
    shutil.copy(images / '0.png', tmp_path / 'a.png')
    (result,) = Detector('~/seg.pth', device='cpu')('~/a.png', img_size=64)
    assert result.error is None and result.img_path == str(tmp_path / 'a.png')


def test_a_config_by_name_says_that_its_weights_are_random(capsys, images: Path):
    model = Detector('yolov8/det_s_coco8', device='cpu')
    assert len(model(images / '0.png', img_size=64)) == 1
    assert 'no weights are given' in capsys.readouterr().out
    model(images / '0.png', img_size=64)
    assert capsys.readouterr().out == ''  # once
    assert len(model.classes) == 80 and model.model.backbone.out_channels[-1] == 512
    with pytest.raises(ConfigError, match='random weights'):
        model.val()
    custom = Detector('yolov8/det_custom', device='cpu')  # its data are given to train()
    with pytest.raises(ConfigError, match='class names are unknown'):
        custom(images)


def test_a_config_that_starts_from_weights(checkpoint: Path, images: Path, tmp_path: Path, capsys, model: Detector):
    options = {'load_from': str(checkpoint), 'classes': list(CLASSES)}
    started = Detector('yolov8/seg_n_coco8', device='cpu', options=options)
    settings = dict(img_size=64, max_per_img=5)
    found, expected = started(images, **settings), model(images, **settings)
    assert [result.names for result in found] == [result.names for result in expected]
    assert f'weights of {checkpoint}' in capsys.readouterr().out


@pytest.mark.thorough
def test_training_without_a_config_file(checkpoint: Path, data_yaml: Path, images: Path, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = Detector(checkpoint, device='cpu')
    options = {'optim_wrapper.amp': False, 'default_hooks.pictures': None}
    settings = dict(img_size=64, batch_size=3, num_workers=0, options=options)
    run = model.train(data_yaml, epochs=1, **settings)
    assert run == tmp_path / 'work_dirs' / 'seg_custom' and (run / 'best.pth').is_file()
    assert len(model.classes) == 80 and model.classes[16] == 'dog'
    trained = load_checkpoint(run / 'best.pth')
    assert 'classes copied by name' in (run / 'train.log').read_text()
    own = Detector(run, device='cpu')
    assert own.classes == tuple(trained['meta']['classes'])
    look = dict(img_size=64, score_thr=0.001)
    assert own(images, **look).to_json() == model(images, **look).to_json()

    metrics = model.val(batch_size=1, out='found/val.json', show_dir=tmp_path / 'drawn')
    assert isinstance(json.loads(Path('found/val.json').read_text()), list) and any((tmp_path / 'drawn').iterdir())
    with pytest.raises(ConfigError, match="out='best.pth' is a json file"):
        model.val(out='best.pth')
    assert {'coco/bbox_mAP', 'coco/segm_mAP'} <= metrics.keys()
    # In the size of the model, whatever that of the config for such data is.
    assert model.val(data_yaml, num_workers=0) == pytest.approx(metrics, abs=1e-6)
    assert model.val(data_yaml, img_size=96, num_workers=0) == model.val(
        data_yaml, options={'img_size': 96}, num_workers=0
    )
    seen = []
    parts_of = view_predictor.parts_of
    monkeypatch.setattr(view_predictor, 'parts_of', lambda *given: seen.append(parts_of(*given)) or seen[-1])
    assert model.val(batch_size=2, tile=48, tta=['plain', 'hflip']).keys() == metrics.keys()
    assert [len(parts) > 1 for parts in seen] == [True, True]
    with pytest.raises(ConfigError, match='tile is 1, but must be'):
        model.val(tile=1)

    again = model.train(resume=True, epochs=2)
    assert again == run and len((run / 'results.csv').read_text().splitlines()) == 3
    with pytest.raises(ConfigError, match='leave data out'):
        model.train(data_yaml, resume=True)
    with pytest.raises(ConfigError, match='no checkpoint in the folder of a run'):
        Detector(checkpoint).train(resume=True)


def test_the_config_of_a_training_can_be_saved(checkpoint: Path, data_yaml: Path, tmp_path: Path):
    model = Detector(checkpoint, device='cpu')
    given = dict(epochs=7, img_size=96, mosaic_prob=0.5, options={'optim_wrapper.clip_grad_norm': 3.0})
    config = model.config(data_yaml, **given)
    assert config.max_epochs == config.train_cfg.max_epochs == 7 and config.load_from == str(checkpoint)
    assert config.optim_wrapper.clip_grad_norm == 3.0 and config.model.head.num_classes == 80
    assert config.model.backbone.widen_factor == 0.25 and config.train_pipeline[1]['prob'] == 0.5
    rate = model.config(data_yaml, options={'optim_wrapper.optimizer.lr': 0.01}).optim_wrapper.optimizer
    assert (rate.type, rate.lr) == ('auto', 0.01)
    with pytest.raises(ConfigError, match="optimizer.lr: SGD needs a number; only 'auto' chooses"):
        model.config(data_yaml, options={'optim_wrapper.optimizer.type': 'SGD'})
    path = model.save_config(tmp_path / 'made' / 'mine.py', data_yaml, **given)
    loaded = load_config(path)
    for key in ('model', 'train_dataloader', 'val_dataloader', 'train_cfg', 'optim_wrapper', 'load_from', 'classes'):
        assert loaded.get(key) == config.get(key), key
    assert load_config(path, ['max_epochs=9']).train_cfg.max_epochs == 9


def test_a_model_that_no_size_of_the_family_gives_is_trained_as_it_is(data_yaml: Path):
    own = Detector('yolov8/seg_n_coco8', options={'widen_factor': 0.125, 'model.head.loss_mask.loss_weight': 2.0})
    config = own.config(data_yaml)
    assert config.model.backbone.widen_factor == 0.125 and config.model.head.loss_mask.loss_weight == 2.0
    assert config.model.head.num_classes == 80 and config.filename == str(CONFIGS / 'yolov8' / 'seg_custom.py')
    larger = Detector('yolov8/seg_m_coco8').config(data_yaml)
    assert larger.size == 'm' and larger.model.backbone.widen_factor == 0.75
