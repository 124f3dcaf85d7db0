"""The models of YOLOv8 and YOLOv5 have exactly the reference's numbers of trainable parameters."""

import pytest
from builders import build_model
from coverings import each_of_both, slow_unless
from yolov8_models import SIZES, build_yolov8

COUNTS = {
    ('det', 'n'): 3_157_184,
    ('det', 's'): 11_166_544,
    ('det', 'm'): 25_902_624,
    ('det', 'l'): 43_691_504,
    ('det', 'x'): 68_229_632,
    ('seg', 'n'): 3_409_952,
    ('seg', 's'): 11_821_040,
    ('seg', 'm'): 27_285_952,
    ('seg', 'l'): 45_997_712,
    ('seg', 'x'): 71_827_872,
    ('pose', 'n'): 3_295_454,
    ('pose', 's'): 11_626_030,
    ('pose', 'm'): 26_464_446,
    ('pose', 'l'): 44_489_180,
    ('pose', 'x'): 69_491_708,
    ('obb', 'n'): 3_228_851,
    ('obb', 's'): 11_452_723,
    ('obb', 'm'): 26_463_219,
    ('obb', 'l'): 44_540_339,
    ('obb', 'x'): 69_555_635,
    ('cls', 'n'): 2_719_288,
    ('cls', 's'): 6_361_736,
    ('cls', 'm'): 17_053_336,
    ('cls', 'l'): 37_480_744,
    ('cls', 'x'): 57_422_840,
}
NUM_CLASSES = {'pose': 1, 'cls': 1000}  # 80 otherwise; pose has 17 keypoints of 3 values


@pytest.mark.parametrize(('task', 'size'), each_of_both(['det', 'seg', 'pose', 'obb', 'cls'], SIZES))
def test_parameter_counts(task, size):
    # On 'meta' there is no memory and there are no initial values: only shapes count.
    model = build_yolov8(task, size, NUM_CLASSES.get(task, 80), device='meta')
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == COUNTS[task, size]
    assert all(p.requires_grad for p in model.parameters())


YOLOV5_COUNTS = {'n': 1_872_157, 's': 7_235_389, 'm': 21_190_557, 'l': 46_563_709, 'x': 86_749_405}


@pytest.mark.parametrize('size', YOLOV5_COUNTS)
def test_parameter_counts_of_yolov5(size):
    model = build_model('yolov5_det', device='meta', size=size)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == YOLOV5_COUNTS[size]


RTDETR_COUNTS = {
    'r18': 20_184_464,
    'r34': 31_441_668,
    'r50_m': 36_593_772,
    'r50': 42_891_372,
    'r101': 76_556_268,
    'hgnetv2_l': 32_925_036,
    'hgnetv2_x': 67_374_188,
}


@pytest.mark.parametrize('size', RTDETR_COUNTS)
def test_parameter_counts_of_rtdetr(size):
    # Frozen weights count, but those of frozen normalisation are buffers.
    model = build_model('rtdetr', device='meta', size=size)
    assert sum(p.numel() for p in model.parameters()) == RTDETR_COUNTS[size]


DEIM_COUNTS = {
    ('deim', 'n'): 3_782_693,
    ('deim', 's'): 10_321_877,
    ('deim', 'm'): 19_590_064,
    ('deim', 'l'): 31_289_848,
    ('deim', 'x'): 62_715_480,
    ('deimv2', 'atto'): 508_985,
    ('deimv2', 'femto'): 983_945,
    ('deimv2', 'pico'): 1_539_539,
    ('deimv2', 'n'): 3_600_421,
}


@pytest.mark.parametrize(('base', 'size'), DEIM_COUNTS)
def test_parameter_counts_of_deim(base, size):
    model = build_model(base, device='meta', size=size)
    assert sum(p.numel() for p in model.parameters()) == DEIM_COUNTS[base, size]


@pytest.mark.parametrize('size', ['r18', 'r34', 'r50_m', 'r50', 'r101'])
def test_deim_on_rtdetr_has_another_mlp_of_positions_and_normalisation_that_is_trained(size):
    plain = build_model('rtdetr', device='meta', size=size).state_dict()
    deim = build_model('deim_rtdetr', device='meta', size=size)
    shapes = {name: value.shape for name, value in deim.state_dict().items() if 'num_batches' not in name}
    assert {name for name, shape in shapes.items() if name not in plain or plain[name].shape != shape} == {
        f'head.decoder.position_mlp.layers.{name}' for name in ('0.weight', '0.bias', '1.weight', '2.weight', '2.bias')
    }
    assert all(p.requires_grad for p in deim.parameters())


YOLO26_COUNTS = {
    ('det', 80): (2_572_280, 10_009_784, 21_896_248, 26_299_704, 58_993_368),
    ('seg', 80): (3_126_280, 11_505_800, 27_112_072, 31_515_528, 70_693_800),
    ('pose', 80): (3_747_554, 11_870_498, 24_344_482, 28_747_938, 62_914_350),
    ('pose', 1): (3_679_464, 11_809_352, 24_222_664, 28_626_120, 62_731_860),
    ('obb', 80): (2_715_614, 10_582_142, 23_593_918, 27_997_374, 62_811_678),
    ('obb', 15): (2_652_984, 10_531_832, 23_493_688, 27_897_144, 62_661_528),
    ('cls', 1000): (2_812_104, 6_724_008, 11_634_216, 14_115_624, 29_637_064),
}


@pytest.mark.default_cases(1)
@pytest.mark.parametrize(
    ('task', 'num_classes'), [slow_unless(case not in (('pose', 80), ('obb', 80)), *case) for case in YOLO26_COUNTS]
)
def test_parameter_counts_of_yolo26(task, num_classes):
    for size, count in zip(SIZES, YOLO26_COUNTS[task, num_classes], strict=True):
        model = build_model(f'yolo26_{task}', num_classes, 'meta', size=size)
        assert sum(p.numel() for p in model.parameters()) == count, size


# As they are published, less the 16 fixed weights that the reference has in its distributions' integral.
YOLOV10_COUNTS = {
    'n': (2_775_520, 2_310_624),
    's': (8_128_272, 7_277_920),
    'm': (16_576_768, 15_389_968),
    'b': (20_574_384, 19_101_696),
    'l': (25_888_688, 24_416_000),
    'x': (31_808_960, 29_539_408),
}


@pytest.mark.parametrize('size', YOLOV10_COUNTS)
def test_parameter_counts_of_yolov10_in_training_and_in_prediction(size):
    model = build_model('yolov10_det', device='meta', size=size)
    both, one = YOLOV10_COUNTS[size]
    counts = {name: param.numel() for name, param in model.named_parameters()}
    many = sum(count for name, count in counts.items() if name.startswith(('head.bbox_branches', 'head.cls_branches')))
    assert (sum(counts.values()), sum(counts.values()) - many) == (both - 16, one - 16)


def test_other_class_counts_change_the_class_branches_only():
    few, many = (build_yolov8('seg', num_classes=n, device='meta').state_dict() for n in (3, 80))
    differing = {name for name in many if few[name].shape != many[name].shape}
    assert differing
    assert all(name.startswith('head.cls_branches.') for name in differing)
