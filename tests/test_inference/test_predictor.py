import copy
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from small_models import CLASSES, make_config, write_checkpoint, write_images, write_shallow_checkpoint
from torch import nn

from detkit.engine import load_checkpoint, save_checkpoint
from detkit.inference import Predictor, SourceImage, init_detector
from detkit.inference.predictor import _warn_once
from detkit.registry import TRANSFORMS
from detkit.structures.masks import InstanceMasks
from detkit.structures.scene import scale_matrix
from detkit.utils.errors import CheckpointError, ConfigError, DataError


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shallow_checkpoint(tmp_path_factory.mktemp('weights') / 'seg.pth')


@pytest.fixture(scope='module')
def model(checkpoint: Path) -> nn.Module:
    """A detector, for tests of which none loads or changes it."""
    return init_detector(None, checkpoint)


@pytest.fixture(scope='module')
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('images')
    write_images(folder, 3)
    return folder


def same(first, second, tolerance: float = 1e-3) -> bool:
    a, b = first.pred_instances, second.pred_instances
    return (
        len(a) == len(b) > 0
        and torch.equal(a.labels, b.labels)
        and torch.allclose(a.bboxes, b.bboxes, atol=tolerance * 100)
        and torch.allclose(a.scores, b.scores, atol=tolerance)
    )


def test_predicts_in_pixels_of_the_image(model: nn.Module, images: Path):
    samples = Predictor(model=model, img_size=128, max_per_img=20).predict(images)
    assert [Path(sample.img_path).name for sample in samples] == ['0.png', '1.png', '2.png']
    for sample in samples:
        found = sample.pred_instances
        assert 0 < len(found) <= 20 and sample.ori_shape == (60, 90) and sample.img_shape == (96, 128)
        assert found.scores.min() >= 0.25 and (found.scores.diff() <= 0).all()
        assert found.bboxes.min() >= 0 and found.bboxes[:, [0, 2]].max() <= 90 and found.bboxes[:, [1, 3]].max() <= 60
        assert isinstance(found.masks, InstanceMasks) and found.masks.img_shape == (60, 90)


@pytest.mark.parametrize('change', [{'batch_size': 2}, {'fuse': False}, {'batch_size': 5}])
def test_settings_that_change_no_result(checkpoint: Path, images: Path, change: dict):
    expected = Predictor(None, checkpoint, img_size=64, max_per_img=5).predict(images)
    samples = Predictor(None, checkpoint, img_size=64, max_per_img=5, **change).predict(images)
    assert len(samples) == 3 and all(map(same, samples, expected))


def outputs_of(predictor: Predictor, image: Path) -> list[torch.Tensor]:
    """All that the network gives for an image, before any box of equal scores is chosen."""
    batch = predictor.make_batch([predictor.prepare(SourceImage(str(image)), 0).packed])
    with torch.inference_mode():
        found = predictor.model(**predictor.model.data_preprocessor(batch), mode='tensor')
    return [tensor for value in found.values() for tensor in (value if isinstance(value, list) else [value])]


@pytest.mark.parametrize('task', ['seg', 'pose', 'obb', 'cls'])
def test_a_model_in_double_precision_gives_results_in_it(tmp_path: Path, images: Path, task: str):
    weights = write_checkpoint(tmp_path / 'model.pth', task, narrow=True)
    predictor = Predictor(None, weights, img_size=64, max_per_img=5, device='cpu')
    expected = outputs_of(predictor, images / '0.png')
    before = predictor.predict(images)
    predictor.model.double()
    for found, other in zip(outputs_of(predictor, images / '0.png'), expected, strict=True):
        assert found.dtype is torch.float64
        torch.testing.assert_close(found.float(), other, atol=1e-5, rtol=1e-4)
    for sample, other in zip(predictor.predict(images), before, strict=True):
        fields = sample if task == 'cls' else sample.pred_instances
        assert len(fields.get('scores', ())) == len(other.get('pred_instances', ()))
        assert fields.get('bboxes', fields.get('pred_scores')).dtype is torch.float64
    predictor.model.float()
    assert all(map(torch.equal, outputs_of(predictor, images / '0.png'), expected))


def test_a_model_that_trains_is_refused_and_stays_as_it_is(checkpoint: Path, images: Path):
    model = init_detector(None, checkpoint, 'cpu', fuse=False)
    predictor = Predictor(model=model, img_size=64, score_thr=0.0)
    (before, *_), statistics = predictor.predict(images), {k: v.clone() for k, v in model.named_buffers()}
    model.train()
    with pytest.raises(ConfigError, match='the model is in training mode'):
        predictor.predict(images)
    model.eval()
    assert all(torch.equal(value, statistics[name]) for name, value in model.named_buffers())
    assert torch.equal(predictor.predict(images)[0].pred_instances.scores, before.pred_instances.scores)


@pytest.mark.parametrize(('dtype', 'amp'), [(torch.float16, 'fp16'), (torch.bfloat16, 'bf16')])
def test_a_model_in_half_precision_is_refused_with_the_remedy(checkpoint: Path, images: Path, dtype, amp: str):
    predictor = Predictor(None, checkpoint, img_size=64, device='cpu')
    predictor.model.to(dtype)
    name = str(dtype).removeprefix('torch.')
    with pytest.raises(ConfigError, match=rf"converted to {name} as a whole .*model\.float\(\) .* amp='{amp}'"):
        predictor.predict(images)


def damaged(folder: Path, task: str, name: str, value: float) -> Path:
    """A checkpoint with a value in the first row of a tensor, whose name begins or ends so."""
    content = load_checkpoint(write_shallow_checkpoint(folder / f'{task}.pth', task))
    key = next(key for key in content['state_dict'] if key.startswith(name) or key.endswith(name))
    content['state_dict'][key][0] = value
    save_checkpoint(content, folder / f'{task}.pth')
    return folder / f'{task}.pth'


def test_weights_that_are_not_numbers_are_refused(tmp_path: Path):
    with pytest.raises(CheckpointError, match=r'det\.pth holds .*NaN.* in 1 of its .*backbone\.stem\.conv\.weight'):
        init_detector(None, damaged(tmp_path, 'det', 'backbone.stem.conv.weight', torch.nan), 'cpu')


@pytest.mark.parametrize('task', ['det', 'cls', 'obb'])
def test_a_network_that_overflows_is_reported_once(tmp_path: Path, images: Path, task: str, caplog):
    """Infinite weights make the products with 0 no numbers."""
    weights = damaged(tmp_path, task, 'backbone.stem.conv.weight', torch.inf)
    predictor = Predictor(None, weights, img_size=64, score_thr=0.01, device='cpu')
    samples = predictor.predict(images)
    assert [record.getMessage()[:51] for record in caplog.records] == [
        'the network computes values that are infinite or no'
    ]
    assert str(images / '0.png') in caplog.text
    for sample in samples:
        if task == 'cls':
            assert (sample.pred_scores == 0).all() and sample.pred_label == 0
        else:
            assert len(sample.pred_instances) == 0


def test_objects_with_boxes_that_are_no_numbers_are_left_out(tmp_path: Path, images: Path, caplog):
    whole = Predictor(None, write_shallow_checkpoint(tmp_path / 'whole.pth', 'obb'), img_size=64).predict(images)
    weights = damaged(tmp_path, 'obb', 'head.bbox_branches.0.2.bias', torch.inf)
    samples = Predictor(None, weights, img_size=64).predict(images)
    assert len(caplog.records) == 1
    for sample, expected in zip(samples, whole, strict=True):
        found = sample.pred_instances
        assert 0 < len(found) < len(expected.pred_instances) and found.rbboxes.isfinite().all()


def test_arrays_and_files_agree(model: nn.Module, images: Path):
    predictor = Predictor(model=model, img_size=64, max_per_img=5)
    img = cv2.cvtColor(cv2.imread(str(images / '0.png')), cv2.COLOR_BGR2RGB)
    from_array, from_file = predictor.predict([img, images / '0.png'])
    assert same(from_array, from_file, 0.0) and from_array.img_path == 'image0'


def test_stream_gives_the_image_too(model: nn.Module, images: Path):
    for _, img, sample in Predictor(model=model, img_size=64, batch_size=2).stream(images):
        expected = cv2.cvtColor(cv2.imread(sample.img_path), cv2.COLOR_BGR2RGB)
        assert (img == expected).all()


def test_images_of_different_shapes_in_a_batch(model: nn.Module, tmp_path: Path):
    write_images(tmp_path / 'wide', 1, (40, 120))
    write_images(tmp_path / 'high', 1, (120, 50))
    samples = Predictor(model=model, img_size=64, batch_size=2).predict(tmp_path)
    assert [sample.ori_shape for sample in samples] == [(120, 50), (40, 120)]
    for sample in samples:
        height, width = sample.ori_shape
        assert (sample.pred_instances.bboxes <= torch.tensor([width, height, width, height])).all()


@pytest.mark.parametrize('shape', [(2, 3000), (3000, 2), (1, 1)])
def test_extreme_shapes_cost_nothing(model: nn.Module, tmp_path: Path, shape: tuple[int, int]):
    """A side that would shrink to nothing keeps a pixel; the other images keep their results."""
    write_images(tmp_path / 'usual', 1, (40, 60))
    write_images(tmp_path / 'narrow', 1, shape)
    predictor = Predictor(model=model, img_size=64, batch_size=2, score_thr=0.0)
    samples = {sample.ori_shape: sample for sample in predictor.predict(tmp_path)}
    assert samples.keys() == {(40, 60), shape}
    bboxes = samples[shape].pred_instances.bboxes
    assert len(bboxes) and (bboxes <= torch.tensor([*shape[::-1], *shape[::-1]])).all()


def test_thresholds(model: nn.Module, images: Path):
    def count(**settings) -> int:
        (sample,) = Predictor(model=model, img_size=64, **settings).predict(images / '0.png')
        return len(sample.pred_instances)

    everything = count(score_thr=0.05)
    assert everything > count(score_thr=0.6) and everything > count(score_thr=0.05, iou_thr=0.3)
    assert count(max_per_img=2) == 2 and count(score_thr=1.0) == 0
    assert everything >= count(score_thr=0.05, class_agnostic=True)


def test_the_config_s_thresholds_hold_unless_others_are_given(checkpoint: Path, images: Path, tmp_path: Path):
    content = load_checkpoint(checkpoint)
    content['meta']['config'] += "predict_cfg = {'score_thr': 0.3, 'iou_thr': 0.4, 'max_per_img': 7}\n"
    save_checkpoint(content, tmp_path / 'own.pth')
    of_config = Predictor(None, tmp_path / 'own.pth', img_size=64)
    given = Predictor(None, checkpoint, img_size=64, score_thr=0.3, iou_thr=0.4, max_per_img=7)
    assert of_config.options.score_thr == 0.3 and Predictor(None, checkpoint, img_size=64).options.score_thr == 0.25
    assert all(map(same, of_config.predict(images), given.predict(images)))
    assert max(len(sample.pred_instances) for sample in of_config.predict(images)) == 7
    assert Predictor(None, tmp_path / 'own.pth', img_size=64, max_per_img=3).model.head.test_cfg['max_per_img'] == 3


def test_class_filter(model: nn.Module, images: Path):
    every = Predictor(model=model, img_size=64).predict(images / '0.png')[0].pred_instances
    assert set(every.labels.tolist()) == {0, 1, 2}
    for classes, labels in ((['dog'], {1}), ([2], {2}), (['cat', '1'], {0, 1})):
        found = Predictor(model=model, img_size=64, classes=classes).predict(images / '0.png')[0].pred_instances
        assert set(found.labels.tolist()) == labels
    with pytest.raises(ConfigError, match="Did you mean 'bird'"):
        Predictor(model=model, classes=['brid'])
    with pytest.raises(ConfigError, match='no class 3'):
        Predictor(model=model, classes=[3])
    with pytest.raises(ConfigError, match='classes is empty'):  # a list that a program made, of no class at all
        Predictor(model=model, classes=[])


@pytest.mark.parametrize(
    ('setting', 'text'),
    [
        ({'score_thr': 25}, 'score_thr is 25, but must be a number from 0 to 1'),
        ({'score_thr': '0.3'}, "score_thr is '0.3', but must be a number"),
        ({'iou_thr': float('nan')}, 'iou_thr is nan'),
        ({'max_per_img': 0}, 'max_per_img is 0, but must be a whole number of at least 1'),
        ({'max_per_img': 2.5}, 'max_per_img is 2.5'),
        ({'img_size': (640, 480)}, r'img_size is \(640, 480\), but must be a whole number of at least 32'),
        ({'img_size': 16}, 'img_size is 16'),
        ({'batch_size': 0}, 'batch_size is 0'),
        ({'batch_size': True}, 'batch_size is True'),
    ],
)
def test_settings_that_make_no_sense(model: nn.Module, setting: dict, text: str):
    with pytest.raises(ConfigError, match=text):
        Predictor(model=model, **setting)


def test_one_class_needs_no_list(model: nn.Module, images: Path):
    for one, many in (('dog', ['dog']), (np.int64(2), [2])):
        found, expected = (
            Predictor(model=model, img_size=64, classes=classes).predict(images / '0.png')[0].pred_instances
            for classes in (one, many)
        )
        assert len(found) > 0 and torch.equal(found.labels, expected.labels)


def test_coarse_masks_differ_from_fine_ones(model: nn.Module, tmp_path: Path):
    (image,) = write_images(tmp_path, 1, (240, 320))
    fine, coarse = (
        Predictor(model=model, img_size=64, retina_masks=retina).predict(image)[0].pred_instances
        for retina in (True, False)
    )
    assert torch.equal(fine.bboxes, coarse.bboxes)
    assert (fine.masks.to_bool() != coarse.masks.to_bool()).any()


def test_unreadable_images_are_noted(model: nn.Module, tmp_path: Path):
    good, broken = write_images(tmp_path, 2)
    broken.write_bytes(broken.read_bytes()[:200])
    (tmp_path / 'text.jpg').write_text('no image')
    (tmp_path / 'phone.HEIC').write_text('')
    for batch_size in (1, 3):
        predictor = Predictor(model=model, img_size=64, batch_size=batch_size)
        samples = {sample.img_path: sample for sample in predictor(tmp_path)}
        skipped = [str(tmp_path / name) for name in ('1.png', 'phone.HEIC', 'text.jpg')]
        assert list(samples) == [str(good), *skipped]
        assert [path for path, sample in samples.items() if 'skipped' in sample] == skipped
        assert all(len(samples[path].pred_instances) == 0 and path in samples[path].skipped for path in skipped)
        assert '(.heic)' in samples[skipped[1]].skipped and 'truncated' in samples[skipped[0]].skipped


def test_source_is_checked_at_once(model: nn.Module):
    predictor = Predictor(model=model, img_size=64)
    with pytest.raises(DataError):
        predictor('nowhere.jpg')
    assert predictor.predict([]) == []


def test_box_model_has_no_masks(images: Path, tmp_path: Path):
    path = write_shallow_checkpoint(tmp_path / 'det.pth', 'det')
    found = Predictor(None, path, img_size=64, retina_masks=True).predict(images / '0.png')[0].pred_instances
    assert len(found) and 'masks' not in found


@pytest.mark.parametrize(
    ('task', 'options', 'named'),
    [
        ('det', {'retina_masks': False, 'iou_thr': 0.6, 'class_agnostic': True}, ['retina_masks']),
        ('seg', {'retina_masks': True, 'iou_thr': 0.6, 'class_agnostic': True}, []),
        (
            'cls',
            {'retina_masks': True, 'iou_thr': 0.6, 'class_agnostic': True},
            ['iou_thr', 'class_agnostic', 'retina_masks'],
        ),
        ('cls', {'iou_thr': 0.6, 'tta': ['plain', 'hflip']}, ['iou_thr']),
        ('cls', {'score_thr': 0.5, 'max_per_img': 2, 'class_agnostic': False}, []),
    ],
)
def test_options_without_effect_are_named_once(task: str, options: dict, named: list[str], tmp_path: Path, caplog):
    _warn_once.cache_clear()
    path = write_shallow_checkpoint(tmp_path / 'some.pth', task)
    for _ in range(2):
        Predictor(None, path, img_size=64, **options)
    assert [record.getMessage().split(' has no effect on ')[0] for record in caplog.records] == named


def test_config_as_file_object_and_dict(checkpoint: Path, images: Path):
    config = make_config(shallow=True)
    expected = Predictor(None, checkpoint, img_size=64, max_per_img=3).predict(images)
    for form in (config, Config(config)):
        assert all(map(same, Predictor(form, checkpoint, img_size=64, max_per_img=3).predict(images), expected))


def test_test_size_of_the_config(checkpoint: Path):
    pipeline = [{'type': 'LoadImageFromFile'}, {'type': 'LetterBox', 'size': 96}]
    config = {**make_config(shallow=True), 'val_dataloader': {'dataset': {'dataset': {'pipeline': pipeline}}}}
    assert Predictor(config, checkpoint).img_size == 96 and Predictor(None, checkpoint).img_size == 640


def test_detector_keeps_its_classes(checkpoint: Path):
    model = init_detector(None, checkpoint, 'cpu')
    assert model.info.classes == CLASSES and not model.info.keypoints and not model.training
    assert Predictor(model=model).classes == CLASSES


def test_config_of_other_classes(checkpoint: Path):
    with pytest.raises(ConfigError, match='describes 2 classes'):
        Predictor(make_config(classes=('a', 'b'), shallow=True), checkpoint)


def test_checkpoint_of_another_model(checkpoint: Path, tmp_path: Path):
    with pytest.raises(CheckpointError, match='are not in the model'):
        Predictor(make_config('det', shallow=True), checkpoint)
    config = make_config(shallow=True)
    config['model']['backbone']['widen_factor'] = 0.5
    with pytest.raises(CheckpointError, match='have another shape'):
        Predictor(config, checkpoint)


def test_damaged_checkpoint(checkpoint: Path, tmp_path: Path):
    broken = tmp_path / 'broken.pth'
    broken.write_bytes(checkpoint.read_bytes()[:5000])
    for path in (broken, tmp_path / 'missing.pth'):
        with pytest.raises(CheckpointError):
            Predictor(None, path)


@pytest.mark.parametrize('text', ['model = open("/etc/passwd")', 'import os', 'model = {'])
def test_config_text_is_never_run(checkpoint: Path, tmp_path: Path, text: str):
    content = load_checkpoint(checkpoint)
    content['meta']['config'] = text
    save_checkpoint(content, tmp_path / 'odd.pth')
    with pytest.raises(CheckpointError, match='config in checkpoint'):
        Predictor(None, tmp_path / 'odd.pth')


@pytest.mark.parametrize(
    ('settings', 'text'),
    [
        ({'device': 'cud'}, "device 'cud'"),
        ({'batch_size': 0}, 'at least 1'),
        ({'img_size': 8}, 'at least 32'),
    ],
)
def test_wrong_settings(checkpoint: Path, settings: dict, text: str):
    with pytest.raises(ConfigError, match=text):
        Predictor(None, checkpoint, **settings)


def test_no_config_anywhere():
    with pytest.raises(ConfigError, match='no config'):
        init_detector(None, None)


def test_input_is_letterboxed(checkpoint: Path):
    """A red image fills its part of the network's input; the rest is grey."""
    predictor = Predictor(None, checkpoint, img_size=64)
    seen = []
    predictor.model.backbone.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    predictor.predict(np.full((30, 60, 3), (255, 0, 0), np.uint8))
    assert seen[0].shape == (1, 3, 32, 64)
    assert torch.equal(seen[0][0, :, 16, 32], torch.tensor([1.0, 0.0, 0.0]))
    predictor.predict(np.full((20, 60, 3), (255, 0, 0), np.uint8))
    assert torch.allclose(seen[1][0, :, 0, 0], torch.tensor(114 / 255))


def test_two_predictors_over_one_model_do_not_change_each_other(checkpoint: Path, images: Path):
    model = init_detector(None, checkpoint, 'cpu')
    before = dict(model.head.test_cfg)
    many = Predictor(model=model, img_size=64, score_thr=0.0, max_per_img=7)
    few = Predictor(model=model, img_size=64, score_thr=0.0, max_per_img=2)
    assert [len(sample.pred_instances) for sample in many.predict(images)] == [7, 7, 7]
    assert [len(sample.pred_instances) for sample in few.predict(images)] == [2, 2, 2]
    assert dict(model.head.test_cfg) == before
    assert many.model.backbone is few.model.backbone is model.backbone  # the weights are shared


def test_prediction_runs_the_own_transforms_of_the_test_pipeline(checkpoint: Path, images: Path):
    config = make_config(shallow=True)
    steps = [
        dict(type='LoadImageFromFile'),
        dict(type='LetterBox', size=640),
        dict(type='Render'),
        dict(type='RandomErasing', prob=1.0, scale=(0.5, 0.6), fill=255),
        dict(type='PackInputs'),
    ]
    config['test_dataloader'] = dict(dataset=dict(type='YoloTxtDataset', images='images', pipeline=steps))
    plain = Predictor(make_config(shallow=True), checkpoint, img_size=64)
    changed = Predictor(config, checkpoint, img_size=64)
    image = SourceImage(str(images / '0.png'))
    ours, theirs = changed.prepare(image, 0).packed['inputs'], plain.prepare(image, 0).packed['inputs']
    assert ours.shape == theirs.shape == (3, 64, 64)
    assert (ours == 255).all(0).float().mean() > 0.3 > (theirs == 255).all(0).float().mean()
    assert torch.equal(ours, changed.prepare(image, 0).packed['inputs'])  # draws depend on the image's number alone

    mixing = {**config, 'test_dataloader': dict(dataset=dict(pipeline=[steps[0], dict(type='Mosaic'), *steps[2:]]))}
    left = Predictor(mixing, checkpoint, img_size=64).prepare(image, 0).packed['inputs']
    assert left.shape == (3, 640, 640)  # one image alone is not mixed


@TRANSFORMS.register_module()
class SquareOf:
    """An own transform that scales the image to a square."""

    stage = 'geometry'
    size_arguments = ('side', 'size')

    def __init__(self, size: int = 128, side: int | None = None):
        self.size = size

    def __call__(self, sample):
        matrix = scale_matrix(self.size / sample.scene.size[1], self.size / sample.scene.size[0])
        return replace(sample, scene=sample.scene.moved(matrix, (self.size, self.size)))


def test_an_own_resize_follows_the_image_size(checkpoint: Path, images: Path):
    steps = [dict(type=name) for name in ('LoadImageFromFile', 'SquareOf', 'Render', 'PackInputs')]
    config = {**make_config(shallow=True), 'val_dataloader': dict(dataset=dict(pipeline=steps))}
    for img_size, expected in ((None, 128), (96, 96)):
        predictor = Predictor(config, checkpoint, img_size=img_size)
        packed = predictor.prepare(SourceImage(str(images / '0.png')), 0).packed
        assert predictor.img_size == expected and packed['inputs'].shape == (3, expected, expected)
    steps[1] = dict(type='SquareOff')
    with pytest.raises(ConfigError, match="no transform 'SquareOff'. Did you mean 'SquareOf'"):
        Predictor(config, checkpoint)


def test_images_are_taken_as_they_are_needed(model):
    """An endless source is read two batches ahead at most, and its results come in its order."""
    taken = []

    def endless():
        while True:
            taken.append(len(taken))
            yield SourceImage(f'{taken[-1]}', np.full((32, 32, 3), taken[-1], np.uint8))

    stream = Predictor(model=model, img_size=64, batch_size=3).stream_images(endless())
    for number in range(4):
        image, img, sample = next(stream)
        assert image.name == sample.img_path == str(number) and (img == number).all()
        assert len(taken) <= (number // 3 + 2) * 3
    stream.close()
    assert len(taken) <= 9


def test_an_error_of_the_images_comes_after_the_results_before_it(model):
    def failing():
        yield SourceImage('a', np.zeros((32, 32, 3), np.uint8))
        raise DataError('the camera is gone')

    stream = Predictor(model=model, img_size=64).stream_images(failing())
    assert next(stream).image.name == 'a'
    with pytest.raises(DataError, match='camera is gone'):
        next(stream)


@torch.no_grad()
def test_weights_changed_by_hand_count_in_the_next_prediction(checkpoint: Path, images: Path):
    predictor = Predictor(None, checkpoint, img_size=64, score_thr=0, device='cpu')
    predictor.predict(images)
    for weight in predictor.model.parameters():
        weight.data.mul_(-2)
    scores = [sample.pred_instances.scores for sample in predictor.predict(images)]
    fresh = Predictor(model=copy.deepcopy(predictor.model), img_size=64, score_thr=0)  # a copy packs its weights anew
    for own, wanted in zip(scores, fresh.predict(images), strict=True):
        torch.testing.assert_close(own, wanted.pred_instances.scores)
