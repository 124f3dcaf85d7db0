from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from detkit.structures.data_sample import DetDataSample
from detkit.structures.masks import InstanceMasks
from detkit.visualization import draw_data_sample, draw_instances, text
from detkit.visualization.drawing_options import DrawingOptions
from detkit.visualization.palette import class_colour, object_colours, text_colour
from detkit.visualization.text import cut_text, draw_text, font_families, text_alpha

GREY = np.full((120, 160, 3), 90, np.uint8)


def test_box_has_its_class_colour_on_its_edges():
    drawn = draw_instances(GREY, np.array([[20.0, 30.0, 100.0, 90.0]]), np.array([5]), ['x'] * 6)
    for y, x in ((60, 20), (60, 99), (30, 90), (89, 60)):
        assert np.abs(drawn[y, x].astype(int) - class_colour(5)).max() < 60
    assert (drawn[60, 60] == 90).all() and (drawn[110, 150] == 90).all()  # inside and far outside


def test_image_given_is_not_changed():
    img = GREY.copy()
    draw_instances(
        img,
        np.array([[20.0, 30.0, 100.0, 90.0]]),
        np.array([0]),
        masks=InstanceMasks.from_bool(np.ones((1, 120, 160), bool)),
    )
    assert (img == 90).all()


def test_mask_tints_its_pixels_alone():
    frame = np.zeros((1, 120, 160), bool)
    frame[0, 40:80, 40:80] = True
    masks = InstanceMasks.from_bool(frame)
    drawn = draw_instances(GREY, np.array([[10.0, 20.0, 150.0, 110.0]]), np.array([0]), masks=masks)
    expected = np.rint(90 * 0.55 + 0.45 * np.array(class_colour(0)))
    assert (drawn[60, 60] == expected).all() and (drawn[60, 120] == 90).all()


def test_colours_by_instance_and_by_class():
    labels = [1, 1, 0, 1, 0]
    assert object_colours(labels, 'class') == [class_colour(label) for label in labels]
    own = object_colours(labels, 'instance')
    # The first of each class has the class's colour; the others the first numbers that no class here has.
    assert own == [class_colour(number) for number in (1, 2, 0, 3, 4)] and len(set(own)) == 5
    assert object_colours([], 'instance') == []
    with pytest.raises(ValueError, match="'class' or 'instance', not 'label'"):
        object_colours([0], 'label')


@pytest.mark.parametrize(('color_by', 'second'), [(None, 0), ('instance', 0), ('class', 3)])
def test_masks_of_one_class_are_distinguishable_unless_asked_otherwise(color_by, second):
    frames = np.zeros((2, 120, 160), bool)
    frames[0, 10:50, 10:70] = frames[1, 60:110, 90:150] = True
    bboxes = np.array([[10.0, 10.0, 70.0, 50.0], [90.0, 60.0, 150.0, 110.0]])
    masks = InstanceMasks.from_bool(frames)
    drawn = draw_instances(GREY, bboxes, np.array([3, 3]), masks=masks, options=DrawingOptions(color_by=color_by))
    for (y, x), number in (((30, 40), 3), ((95, 120), second)):
        assert (drawn[y, x] == np.rint(90 * 0.55 + 0.45 * np.array(class_colour(number)))).all()


def test_boxes_alone_have_their_class_colour():
    bboxes = np.array([[10.0, 10.0, 70.0, 50.0], [90.0, 60.0, 150.0, 110.0]])
    by_class, by_instance = (
        draw_instances(GREY, bboxes, np.array([3, 3]), options=DrawingOptions(color_by=by))
        for by in ('class', 'instance')
    )
    assert (draw_instances(GREY, bboxes, np.array([3, 3])) == by_class).all() and (by_class != by_instance).any()


def test_long_names_are_cut_and_tiny_images_have_no_labels():
    name = 'a class name as long as a sentence'
    cut = cut_text(name, 12, 100)
    assert cut.endswith('…') and name.startswith(cut[:-1]) and 60 < text_alpha(cut, 12).shape[1] <= 100
    assert cut_text('cat', 12, 100) == 'cat' and cut_text(name, 12, 1) == 'a…'
    bbox, label = np.array([[50.0, 60.0, 90.0, 100.0]]), np.array([0])
    drawn = draw_instances(GREY, bbox, label, [name])
    cut = cut_text(name, 11, 88)
    assert (drawn == draw_instances(GREY, bbox, label, [cut])).all()
    assert (drawn == class_colour(0)).all(2).any(0).sum() < 100
    tiny = draw_instances(np.full((40, 40, 3), 90, np.uint8), np.array([[10.0, 10.0, 30.0, 30.0]]), label, [name])
    assert (tiny[12:28, 12:28] == 90).all() and (tiny[:8] == 90).all() and (tiny[10] != 90).any()


def test_small_mask_lies_on_a_large_one():
    frames = np.zeros((2, 120, 160), bool)
    frames[0, 50:70, 50:70] = True
    frames[1, 20:110, 20:140] = True
    bboxes = np.array([[50.0, 50.0, 70.0, 70.0], [20.0, 20.0, 140.0, 110.0]])
    drawn = draw_instances(GREY, bboxes, np.array([0, 1]), masks=InstanceMasks.from_bool(frames))
    alone = draw_instances(GREY, bboxes[:1], np.array([0]), masks=InstanceMasks.from_bool(frames[:1]))
    assert (drawn[60, 60] == alone[60, 60]).all()


def test_labels_do_not_cover_each_other():
    """Three boxes at one corner: with room around, each label has a place of its own."""
    bboxes = np.array([[40.0, 40.0, 150.0, 110.0], [41.0, 40.0, 149.0, 100.0], [42.0, 41.0, 140.0, 90.0]])
    one = [
        (draw_instances(GREY, bboxes[:1], np.array([label]), ['wide name'] * 3) == class_colour(label)).all(-1).sum()
        for label in range(3)
    ]
    drawn = draw_instances(GREY, bboxes, np.arange(3), ['wide name'] * 3)
    for label in range(3):
        assert (drawn == class_colour(label)).all(-1).sum() > 0.6 * one[label]


@pytest.mark.parametrize(
    'bbox',
    [
        [-50, -40, 20, 10],
        [150, 110, 300, 300],
        [0, 0, 160, 120],
        [5, 5, 5, 5],
        [200, 5, 220, 9],
    ],
)
def test_boxes_at_and_beyond_the_border(bbox):
    drawn = draw_instances(GREY, np.array([bbox], float), np.array([3]), ['long class name'] * 4, np.array([0.5]))
    assert drawn.shape == GREY.shape and (drawn != 90).any()


def test_nothing_to_draw():
    drawn = draw_instances(GREY, np.zeros((0, 4)), np.zeros(0, int), masks=InstanceMasks([], [], (120, 160)))
    assert (drawn == GREY).all()


def test_tiny_image():
    img = np.zeros((3, 2, 3), np.uint8)
    drawn = draw_instances(img, np.array([[0.0, 0.0, 2.0, 3.0]]), np.array([0]), ['a name'], np.array([1.0]))
    assert drawn.shape == img.shape and drawn.any()


def make_sample() -> DetDataSample:
    frame = np.zeros((2, 120, 160), bool)
    frame[:, 30:60, 30:60] = True
    sample = DetDataSample()
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor([[30.0, 30.0, 60.0, 60.0], [80.0, 30.0, 120.0, 60.0]]),
        labels=torch.tensor([0, 1]),
        ignored=torch.tensor([False, True]),
        masks=[[[30, 30, 60, 30, 60, 60, 30, 60]], InstanceMasks.from_bool(frame[:1]).to_rle()[0]],
    )
    sample.pred_instances = InstanceData(
        bboxes=torch.tensor([[30.0, 30.0, 60.0, 60.0], [90.0, 80.0, 150.0, 110.0]]),
        labels=torch.tensor([0, 0]),
        scores=torch.tensor([0.9, 0.1]),
        masks=InstanceMasks.from_bool(frame),
    )
    return sample


def test_data_sample_by_threshold():
    sample = make_sample()
    every, best = (draw_data_sample(GREY, sample, 'pred', ('a', 'b'), thr) for thr in (0.0, 0.5))
    assert (every[85:105, 90] != 90).any() and (best[85:105, 90] == 90).all()
    assert (best[31:59, 30] != 90).any()


def test_ground_truth_is_drawn_and_crowds_are_grey():
    drawn = draw_data_sample(GREY, make_sample(), 'gt', ('a', 'b'))
    assert (drawn[45, 45] != 90).any()
    edge = drawn[45, 120].astype(int)
    assert edge.max() - edge.min() == 0 and edge[0] > 100
    with pytest.raises(ValueError, match="'pred' or 'gt'"):
        draw_data_sample(GREY, make_sample(), 'truth')


def test_colours_of_neighbours_differ():
    colours = np.array([class_colour(label) for label in range(80)], int)
    assert np.abs(np.diff(colours, axis=0)).max(1).min() > 60
    assert len(np.unique(colours, axis=0)) == 80
    for colour in colours:
        red, green, blue = colour
        text = 255 if text_colour(tuple(colour)) == (255, 255, 255) else 0
        assert abs(text - (0.299 * red + 0.587 * green + 0.114 * blue)) > 100


def test_characters_that_the_first_font_lacks_are_drawn_in_another(monkeypatch):
    own = font_families()['DejaVu Sans']
    serif = str(Path(own).with_name('DejaVuSerif.ttf'))
    letter, square = '\u1d24', '\U0010ffff'  # the former is in the serif font alone, the latter in none
    monkeypatch.setattr(text, 'font_families', lambda: {'DejaVu Sans': own})
    text_alpha.cache_clear()
    assert np.array_equal(text_alpha(letter, 20), text_alpha(square, 20))
    monkeypatch.setattr(text, 'font_families', lambda: {'DejaVu Sans': own, 'DejaVu Serif': serif})
    plain = text_alpha('cat', 20)
    text_alpha.cache_clear()
    assert not np.array_equal(text_alpha(letter, 20), text_alpha(square, 20))
    assert text_alpha(letter, 20).shape[0] == plain.shape[0]
    assert np.array_equal(text_alpha('cat', 20), plain)
    text_alpha.cache_clear()


def test_text():
    assert text_alpha('Ay', 14).max() > 0.9 and text_alpha('A', 28).shape[0] > 1.8 * text_alpha('A', 14).shape[0]
    assert text_alpha('größe 猫', 14).shape[1] > text_alpha('gr', 14).shape[1]
    img = np.zeros((20, 20, 3), np.uint8)
    draw_text(img, 'outside', (100, 100), 12, (255, 255, 255))
    assert not img.any()
    draw_text(img, 'half', (-5, -5), 12, (255, 255, 255), (0, 0, 200), 2)
    assert img[:5].any() and not img[15:].any()


@pytest.mark.parametrize('name', ['labels', 'scores', 'bboxes', 'masks'])
def test_each_part_can_be_left_out(name):
    bboxes, scores = np.array([[20.0, 40.0, 100.0, 90.0]]), np.array([0.5])
    frame = np.zeros((1, *GREY.shape[:2]), bool)
    frame[0, 50:80, 40:90] = True
    given = dict(classes=['dog'], scores=scores, masks=InstanceMasks.from_bool(frame))

    def draw(**options):
        return draw_instances(GREY, bboxes, np.array([0]), **given, options=DrawingOptions(**options))

    everything, without = draw(), draw(**{name: False})
    assert (everything != without).any()
    inside, line = (60, 60), (65, 20)  # (y, x): within the mask, and on the box
    assert (without[inside] == 90).all() == (name == 'masks')
    assert (without[line] == 90).all() == (name == 'bboxes')
    nothing = draw(labels=False, scores=False, bboxes=False, masks=False)
    assert (nothing == GREY).all()


def test_lines_are_as_wide_as_asked_for():
    def covered(width: int) -> int:
        options = DrawingOptions(labels=False, line_width=width)
        drawn = draw_instances(GREY, np.array([[50.0, 40.0, 150.0, 100.0]]), np.array([0]), options=options)
        return (drawn[70, :100] != 90).any(1).sum()

    assert covered(9) - covered(3) == 6


def test_text_has_one_line_whatever_is_in_it():
    for given, shown in (('a\nb', r'a\nb'), ('a\tb', r'a\tb'), ('\x1b[2Jx\r', r'\x1b[2Jx\r'), ('\x00', r'\x00')):
        assert np.array_equal(text_alpha(given, 14), text_alpha(shown, 14))
        assert cut_text(given, 14, 500) == shown


def test_a_text_is_cut_where_it_becomes_too_wide():
    font = text._font_of('', 14)
    for given in ('W' * 3000, 'ab cd ef' * 9, 'Schraube ü'):
        for width in (5, 40, 301):
            cut = cut_text(given, 14, width)
            longest = max((n for n in range(1, 80) if font.getlength(given[:n] + '…') <= width), default=1)
            assert cut == given[:longest].rstrip() + '…' or (cut == given and font.getlength(given) <= width)
