import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('av')
pytest.importorskip('trackers')

from small_models import write_shallow_checkpoint
from videos import read_all, write_video

from detkit.cli.main import main
from detkit.inference import Result
from detkit.inference.counting import Area, AreaCounter, parse_area
from detkit.utils.errors import ConfigError

SHAPE = (100, 200)


def at(points: dict[int, tuple[float, float]], frame: int, labels: dict[int, int] | None = None) -> Result:
    """Return tracked boxes of 10 pixels around points."""
    middles = np.array(list(points.values()), np.float32).reshape(-1, 2)
    bboxes = np.concatenate([middles - 5, middles + 5], 1)
    labels = np.array([(labels or {}).get(track, 0) for track in points], np.int64)
    ids = np.array(list(points), np.int64)
    scores = np.ones(len(points), np.float32)
    return Result('a', SHAPE, ('cat', 'dog'), labels, scores, bboxes, frame=frame, seconds=frame / 10, track_ids=ids)


def events_of(counter: AreaCounter, path: list[tuple[float, float]], track: int = 1) -> list[str]:
    return [event.event for i, point in enumerate(path) for event in counter.update(at({track: point}, i))]


LINE = Area('gate', ((20, 50), (180, 50)))  # from left to right: its right-hand side is below


@pytest.mark.parametrize(
    ('path', 'events'),
    [
        ([(100, 20), (100, 80)], ['in']),
        ([(100, 80), (100, 20)], ['out']),
        ([(100, 20), (100, 40), (100, 60), (100, 40), (100, 60)], ['in', 'out', 'in']),
        ([(100, 49), (100, 50), (100, 50.5), (100, 49.8), (100, 50.3)], []),  # it trembles on the line
        ([(100, 20), (100, 50), (100, 50), (100, 80)], ['in']),
        ([(10, 20), (10, 80)], []),  # beside the line
        ([(10, 20), (10, 80), (100, 80), (100, 20)], ['out']),
        ([(100, 50), (100, 80)], []),  # it began on the line
        ([(100, 20), (100, 30)], []),
    ],
)
def test_crossings_of_a_line(path, events):
    counter = AreaCounter([LINE], SHAPE)
    assert events_of(counter, path) == events
    counted = counter.summary()['lines']['gate']
    assert sum(counted['in'].values()) == events.count('in') and sum(counted['out'].values()) == events.count('out')


def test_the_direction_of_a_line_is_that_of_its_points():
    turned = Area('gate', LINE.points[::-1])
    assert events_of(AreaCounter([turned], SHAPE), [(100, 20), (100, 80)]) == ['out']
    upright = Area('gate', ((100, 90), (100, 10)))  # upwards: its right-hand side is to the right
    assert events_of(AreaCounter([upright], SHAPE), [(50, 50), (150, 50)]) == ['in']


def test_a_zone_counts_each_track_once_and_what_is_in_it_now():
    zone = Area('lane', ((50, 0), (150, 0), (150, 100), (50, 100)))
    counter = AreaCounter([zone], SHAPE)
    assert events_of(counter, [(20, 50), (60, 50), (20, 50), (60, 50), (140, 50)]) == ['enter', 'leave', 'enter']
    counter.update(at({1: (100, 50), 2: (110, 50), 3: (10, 50)}, 6, {2: 1}))
    assert counter.summary()['zones']['lane'] == {'enter': {'cat': 1, 'dog': 1}, 'leave': {'cat': 1}, 'most': 2}
    left = counter.update(at({1: (20, 50), 2: (20, 50)}, 7))  # one of them for the second time
    assert [event.event for event in left] == ['leave', 'leave']
    assert counter.summary()['zones']['lane'] == {'enter': {'cat': 1, 'dog': 1}, 'leave': {'cat': 2}, 'most': 2}


@pytest.mark.parametrize('shape', [(50, 100), (300, 600), (200, 200)])
def test_what_is_passed_is_counted_when_frames_change_their_size(shape):
    zone = Area('lane', ((50, 0), (150, 0), (150, 100), (50, 100)))
    counter = AreaCounter([LINE, zone], SHAPE)
    scale = np.array([shape[1] / SHAPE[1], shape[0] / SHAPE[0]] * 2)
    events = []
    for i, point in enumerate([(100, 20), (100, 30), (100, 80), (170, 80), (170, 20)]):
        result = at({1: point}, i)
        if i:
            result = replace(result, img_shape=shape, bboxes=(result.bboxes * scale).astype(np.float32))
        events += [event.event for event in counter.update(result)]
    assert events == ['enter', 'in', 'leave', 'out']
    black = np.zeros((*shape, 3), np.uint8)
    changed = np.flatnonzero(counter.draw(black)[round(0.15 * shape[0])].any(-1))  # both sides of the zone
    assert abs(changed[0] - 0.25 * shape[1]) < 4 and abs(changed[-1] - 0.75 * shape[1]) < 4


def test_points_are_shares_or_pixels():
    shares = Area('lane', ((0.25, 0), (0.75, 0), (0.75, 1), (0.25, 1)))
    assert shares.pixels(SHAPE).tolist() == [[50, 0], [150, 0], [150, 100], [50, 100]]
    assert LINE.pixels(SHAPE).tolist() == [[20, 50], [180, 50]]


def test_the_anchor_may_be_where_an_object_touches_the_ground():
    path = [(100, 40), (100, 47)]  # the lower side of the box goes from 45 to 52
    assert events_of(AreaCounter([LINE], SHAPE), path) == []
    assert events_of(AreaCounter([LINE], SHAPE, 'bottom'), path) == ['in']


def test_tracks_that_are_gone_are_forgotten():
    counter = AreaCounter([LINE], SHAPE)
    for frame in range(0, 20_000, 100):
        counter.update(at({frame: (100, 20)}, frame))
    assert len(counter._counts[0].seen) < 10


@pytest.mark.parametrize(
    ('make', 'text'),
    [
        (lambda: parse_area('a', ['1,2'], True), 'a line has two points'),
        (lambda: parse_area('0.5,0', ['0.5,1'], True), "begins with '0.5,0', but it begins with its name"),
        (lambda: parse_area('0.5', ['0', '0.5', '1'], True), "begins with '0.5', but it begins with its name"),
        (lambda: parse_area('a', ['1,2', '3,4'], False), 'a zone has at least three'),
        (lambda: parse_area('a', ['1;2', '3,4'], True), r"the point '1;2', but a point is x,y"),
        (lambda: parse_area('a', ['1,2', '1.2.3,4'], True), 'but a point is x,y'),
        (lambda: parse_area('a', ['1,2', '1,2'], True), 'has a point twice'),
        (lambda: parse_area('a', ['0.1,0.1', '0.3,0.3', '0.7,0.7'], False), 'the zone a has no area'),
        (
            lambda: parse_area('a', ['0,0', '9,9', '9,0', '0,9'], False),
            'sides of the zone a cross: that from point 1 and',
        ),
        (
            lambda: parse_area('a', ['0,0', '9,0', '9,9', '4,-1', '0,9'], False),
            'that from point 1 and that from point 3',
        ),
        (lambda: parse_area('a', ['-0.1,0.5', '1.1,0.5'], True), 'is smaller than 2 pixels'),
        (lambda: Area('a', ((1, 2, 3), (4, 5, 6))), 'no pair of numbers'),
        (lambda: Area('a', ((1, 2), (4, 'x'))), 'no pair of numbers'),
        (lambda: Area('a', [[1, 2], [1, 2]]), 'has a point twice'),
        (lambda: AreaCounter([LINE, LINE], SHAPE), "two lines or zones are named 'gate'"),
        (lambda: AreaCounter([], SHAPE), 'nothing is counted without a line or a zone'),
        (lambda: AreaCounter([LINE], SHAPE, 'top'), "anchor is 'top'"),
        (lambda: Area('a', ((float('nan'), 1), (2, 3))), 'no pair of numbers'),
        (
            lambda: AreaCounter([Area('far', ((300, 20), (300, 80)))], SHAPE),
            r'the line far \(300,20 300,80\) is wholly outside of the frames, which are 200 x 100 pixels; give points',
        ),
        (lambda: AreaCounter([Area('a', ((-50, 10), (20, -50)))], SHAPE), 'the line a .* is wholly outside'),
        (lambda: AreaCounter([Area('a', ((210, 0), (400, 0), (400, 90)))], SHAPE), 'the zone a .* is wholly outside'),
    ],
)
def test_wrong_areas_are_refused(make, text):
    with pytest.raises(ConfigError, match=text):
        make()


def test_areas_that_reach_into_the_frame_or_around_it():
    reaching = [((-20, 60), (60, -20)), ((-5, 50), (300, 50)), ((100, -9), (100, 400))]
    around = ((-100, -100), (300, -100), (300, 300), (-100, 300))
    areas = [Area(f'{i}', points) for i, points in enumerate([*reaching, around])]
    counter = AreaCounter(areas, SHAPE)
    counter.update(at({1: (100, 20)}, 0))
    assert counter.summary()['zones']['3']['most'] == 1


def test_counts_are_drawn():
    counter = AreaCounter([LINE, Area('lane', ((0, 60), (40, 60), (40, 99)))], SHAPE)
    counter.update(at({1: (100, 20)}, 0))
    img = np.zeros((*SHAPE, 3), np.uint8)
    drawn = counter.draw(img)
    assert drawn[50, 25].any() and drawn[60, 20].any() and not img.any()


def test_count_writes_events_and_counts(tmp_path, capsys):
    weights: Path = write_shallow_checkpoint(tmp_path / 'det.pth', 'det')
    clip = write_video(tmp_path / 'clip.mp4', 12)
    out = tmp_path / 'out'
    arguments = ['count', str(weights), str(clip), '--out-dir', str(out), '--img-size', '64']
    assert main([*arguments, '--line', 'gate', '0.5,0', '0.5,1', '--zone', 'all', '0,0', '1,0', '1,1', '0,1']) == 0
    assert sorted(path.name for path in out.iterdir()) == ['clip.csv', 'clip.json', 'clip.mp4', 'clip.txt']
    counts = json.loads((out / 'clip.json').read_text())
    assert set(counts['lines']) == {'gate'} and counts['zones']['all']['most'] >= 1
    with open(out / 'clip.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    entered = [row for row in rows if row['event'] == 'enter']
    assert len(entered) == sum(counts['zones']['all']['enter'].values()) >= 1
    assert set(rows[0]) == {'seconds', 'frame', 'area', 'event', 'track_id', 'name'}
    assert len(read_all(out / 'clip.mp4')[0]) == 12 and 'gate: in ' in capsys.readouterr().out
    assert main(arguments) != 0
    assert 'nothing is counted without a line or a zone' in capsys.readouterr().err
