import json
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('av')
pytest.importorskip('trackers')

from small_models import write_images, write_shallow_checkpoint
from videos import draw_frame, read_all, write_video

from detkit import Detector
from detkit.cli.main import main
from detkit.inference import Area, AreaCounter, Result, Video
from detkit.inference.track_to_folder import mot_lines
from detkit.inference.trackers import build_tracker
from detkit.inference.tracking import Tracking
from detkit.registry import TRACKERS
from detkit.utils.errors import ConfigError, DataError, MissingPackageError
from detkit.visualization.palette import class_colour
from detkit.visualization.trails import Trails

BLANK = np.zeros((240, 320, 3), np.uint8)
NAMES = ('BoTSORT', 'ByteTrack', 'CBIoU', 'OCSORT', 'SORT')


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shallow_checkpoint(tmp_path_factory.mktemp('weights') / 'seg.pth')


@pytest.fixture
def benchmark(repo, monkeypatch):
    monkeypatch.syspath_prepend(str(repo / 'benchmarks'))
    import tracking

    return tracking


def found(bboxes, labels=None, scores=None, frame: int = 0, **fields) -> Result:
    bboxes = np.array(bboxes, np.float32).reshape(-1, 4)
    count = len(bboxes)
    labels = np.zeros(count, np.int64) if labels is None else np.array(labels)
    scores = np.full(count, 0.9, np.float32) if scores is None else np.array(scores, np.float32)
    shared = dict(frame=frame, seconds=frame / 25)
    return Result('clip.mp4', (240, 320), ('cat', 'dog'), labels, scores, bboxes, **shared, **fields)


def boxes_at(frame: int) -> list[list[float]]:
    """Return two boxes that move towards each other on lanes of their own."""
    return [[10 + 3 * frame, 10, 40 + 3 * frame, 60], [250 - 3 * frame, 100, 280 - 3 * frame, 150]]


def follow(tracking: Tracking, frames: range, **fields) -> list[list[int]]:
    updates = [tracking.update(found(boxes_at(i), frame=i, **fields), BLANK, i / 25).track_ids.tolist() for i in frames]
    return updates


@pytest.mark.parametrize('name', NAMES)
def test_each_tracker_keeps_identities(name):
    assert follow(Tracking(name, 25), range(20))[3:] == [[1, 2]] * 17
    assert follow(Tracking(name.lower(), 25), range(20))[3:] == [[1, 2]] * 17


@pytest.mark.parametrize('name', NAMES)
def test_frames_without_boxes_and_odd_boxes_are_no_error(name):
    tracking = Tracking(name, 25)
    nothing = tracking.update(found([]), BLANK, 0.0)
    assert len(nothing) == 0 and nothing.summary == 'no tracks'
    for frame in range(1, 8):
        odd = [[5, 5, 5, 5], [0, 0, 320, 240], [-20, -20, 4, 4], [300, 200, 420, 300]]
        result = tracking.update(found(odd, frame=frame), BLANK, frame / 25)
        assert len(set(result.track_ids.tolist())) == len(result)
    assert len(tracking.update(found([], frame=9), BLANK, 9 / 25)) == 0


@pytest.mark.parametrize('name', ['ByteTrack', 'SORT', 'BoTSORT', 'CBIoU'])
def test_noisy_boxes_of_known_tracks_score_above_nine_tenths(name, benchmark):
    pytest.importorskip('motmetrics')
    scene = benchmark.MovingScene.easy()
    score = benchmark.score_tracks(scene, benchmark.track_scene(name, scene, 0))
    assert score['idf1'] > 0.9 and score['num_switches'] == 0 and score['hota'] > 0.8


def test_the_scores_see_wrong_identities(benchmark):
    pytest.importorskip('motmetrics')
    scene = benchmark.MovingScene.easy()
    right = benchmark.track_scene('ByteTrack', scene, 0)
    mixed = [replace(result, track_ids=result.track_ids + 100 * (i // 10)) for i, result in enumerate(right)]
    score = benchmark.score_tracks(scene, mixed)
    assert score['idf1'] < 0.3 and score['num_switches'] > 20


def test_the_benchmark_prints_a_row_a_tracker(benchmark, capsys):
    pytest.importorskip('motmetrics')
    benchmark.main(['--trackers', 'ByteTrack', 'SORT', '--seeds', '1', '--frames', '40'])
    printed = capsys.readouterr().out
    assert 'IDF1' in printed and [line for line in printed.splitlines() if 'ByteTrack' in line or 'SORT' in line]


@pytest.mark.slow
def test_a_trained_detector_and_a_tracker_follow_a_drawn_video(benchmark, tmp_path):
    pytest.importorskip('motmetrics')
    scene = benchmark.MovingScene.easy()
    detector = benchmark.train_detector(tmp_path, scene, 50)
    benchmark.write_scene(tmp_path / 'scene.mp4', scene)
    results = detector.track(tmp_path / 'scene.mp4', tracker='botsort', img_size=160)
    assert benchmark.score_tracks(scene, results)['idf1'] > 0.9


def test_an_object_that_was_hidden_keeps_its_number_for_a_while():
    for gap, same in ((10, True), (60, False)):
        tracking = Tracking('ByteTrack', 25)
        assert follow(tracking, range(5))[-1] == [1, 2]
        still = boxes_at(4)
        for i in range(5, 5 + gap):
            tracking.update(found([], frame=i), BLANK, i / 25)
        # The boxes are where their motion has taken them.
        later = [[x0 + d, y0, x1 + d, y1] for (x0, y0, x1, y1), d in zip(still, (3 * gap, -3 * gap), strict=True)]
        for i in range(3):
            step = [[x0 + d * i, y0, x1 + d * i, y1] for (x0, y0, x1, y1), d in zip(later, (3, -3), strict=True)]
            ids = tracking.update(found(step, frame=6 + gap + i), BLANK, (6 + gap + i) / 25).track_ids.tolist()
        assert (ids == [1, 2]) is same


def test_classes_are_kept_apart_unless_asked_otherwise():
    apart, across = Tracking('ByteTrack', 25), Tracking('ByteTrack', 25, class_agnostic=True)
    for frame in range(12):
        labels = [frame // 6, 0]  # the first object changes its class
        own = apart.update(found(boxes_at(frame), labels, frame=frame), BLANK, frame / 25)
        same = across.update(found(boxes_at(frame), labels, frame=frame), BLANK, frame / 25)
    assert same.track_ids.tolist() == [1, 2] and sorted(own.track_ids.tolist()) == [2, 3]
    # Boxes of two classes at one place are two tracks.
    tracking = Tracking('ByteTrack', 25)
    for frame in range(5):
        result = tracking.update(found([boxes_at(frame)[0]] * 2, [0, 1], frame=frame), BLANK, frame / 25)
    assert result.track_ids.tolist() == [1, 2] and result.names == ['cat', 'dog']


def test_all_fields_of_an_object_stay_with_its_number():
    tracking = Tracking('ByteTrack', 25)
    rng = np.random.default_rng(0)
    tracks: dict[int, int] = {}
    for frame in range(10):
        order = rng.permutation(3)
        bboxes = np.array([*boxes_at(frame), [0, 200, 10, 210]], np.float32)[order]
        scores = np.array([0.9, 0.8, 0.12], np.float32)[order]
        keypoints = np.arange(3, dtype=np.float32)[order, None, None].repeat(2, 1).repeat(3, 2)
        rbboxes = np.array([[i, 0, 2, 1, 0] for i in order], np.float32)
        result = tracking.update(
            found(bboxes, scores=scores, frame=frame, keypoints=keypoints, rbboxes=rbboxes), BLANK, frame / 25
        )
        for track, bbox, score, points, rbbox in zip(
            result.track_ids, result.bboxes, result.scores, result.keypoints, result.rbboxes, strict=True
        ):
            index = int(points[0, 0])
            assert index < 2  # the box of low score begins no track
            assert bbox.tolist() == boxes_at(frame)[index] and score == np.float32([0.9, 0.8][index])
            assert rbbox[0] == index
            assert tracks.setdefault(index, int(track)) == track
    assert len(result) == 2


def test_a_variable_frame_rate_is_no_other_motion():
    """The time between frames, not their number, says how far an object moves."""
    rng = np.random.default_rng(0)
    moments = np.cumsum(rng.choice([0.04, 0.08, 0.2], 40))
    tracking = Tracking('ByteTrack', 25)
    for number, seconds in enumerate(moments):
        x = 5 + 60 * seconds
        result = tracking.update(found([[x, 10, x + 30, 60]], frame=number), BLANK, float(seconds))
    assert result.track_ids.tolist() == [1]


def test_two_trackings_share_nothing():
    first, second = Tracking('ByteTrack', 25), Tracking('ByteTrack', 25)
    for i in range(6):
        one = first.update(found(boxes_at(i), frame=i), BLANK, i / 25)
        other = second.update(found(boxes_at(i)[1:], frame=i), BLANK, i / 25)
    assert one.track_ids.tolist() == [1, 2] and other.track_ids.tolist() == [1]


@pytest.mark.parametrize(
    ('tracker', 'text'),
    [
        ('bytetrak', "there is no tracker 'bytetrak'; known are .*Did you mean 'ByteTrack'"),
        ({'type': 'SORT', 'low': 1}, 'low'),
        ({'type': 'SORT', 'iou_thr': 7}, 'threshold of a tracker is 7'),
        ({'type': 'SORT', 'max_lost': -1}, 'max_lost of a tracker is -1'),
        ({'max_lost': 1}, 'a tracker is a name'),
        (3, 'a tracker is a name'),
    ],
)
def test_wrong_trackers_are_refused(tracker, text):
    with pytest.raises(ConfigError, match=text):
        build_tracker(tracker, 25)


@pytest.mark.parametrize(
    ('numbers', 'text'),
    [
        (None, 'returned NoneType for 2 boxes'),
        ([0, 1], 'returned list for 2 boxes'),
        (np.zeros(1, np.int64), r'returned int64 \(1,\) for 2 boxes'),
        (np.array([0.5, 0.7]), r'returned float64 \(2,\) for 2 boxes'),
        (np.array([3, 3]), 'gave the track 3 to several boxes'),
    ],
)
def test_what_a_tracker_must_not_return_is_refused(numbers, text, monkeypatch):
    TRACKERS.names()  # registers detkit's own
    monkeypatch.setattr(TRACKERS, '_module_dict', dict(TRACKERS.module_dict))

    @TRACKERS.register_module()
    class Wrong:
        def __init__(self, frame_rate: float) -> None:
            pass

        def update(self, bboxes, scores, img, seconds):
            return numbers

    with pytest.raises(ConfigError, match=f'tracker Wrong {text}'):
        Tracking('Wrong', 25.0).update(found(boxes_at(0)), BLANK, 0.0)


@pytest.mark.parametrize(
    ('members', 'text'),
    [
        ({}, 'the tracker Lacking has no method update; give it update'),
        ({'update': 3}, 'has no method update'),
        ({'update': lambda self, detections: detections}, r'takes other arguments \(too many positional arguments\)'),
    ],
)
def test_a_tracker_without_the_method_is_refused(members, text, checkpoint, tmp_path, monkeypatch):
    TRACKERS.names()  # registers detkit's own
    monkeypatch.setattr(TRACKERS, '_module_dict', dict(TRACKERS.module_dict))
    members = {'__init__': lambda self, frame_rate: None, **members}
    TRACKERS.register_module(module=type('Lacking', (), members))
    with pytest.raises(ConfigError, match=text):
        Detector(checkpoint).track(write_video(tmp_path / 'a.mp4', 2), tracker='lacking')


@pytest.mark.parametrize('command', [['predict', '-'], ['track'], ['count']])
@pytest.mark.parametrize('option', [['--frame-stride', '2'], ['--start', '0.1'], ['--stop', '1']])
def test_options_of_videos_are_refused_for_images(command, option, checkpoint, tmp_path, capsys):
    write_images(tmp_path / 'images', 2)
    line = ['--line', 'gate', '0,0.5', '1,0.5'] if command == ['count'] else []
    arguments = [*command, str(checkpoint), str(tmp_path / 'images'), *option, *line]
    assert main([*arguments, '--out-dir', str(tmp_path / 'out')]) == 2
    assert 'leave --frame-stride, --start and --stop out' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_users_register_their_own_tracker(checkpoint, tmp_path, monkeypatch):
    TRACKERS.names()  # registers detkit's own
    monkeypatch.setattr(TRACKERS, '_module_dict', dict(TRACKERS.module_dict))

    @TRACKERS.register_module()
    class FirstBox:
        """Gives the first box the number 7, others none."""

        def __init__(self, frame_rate: float, wanted: int = 7) -> None:
            self.frame_rate, self.wanted = frame_rate, wanted

        def update(self, bboxes, scores, img, seconds):
            assert img.shape == (48, 64, 3) and self.frame_rate == 12.5
            return np.where(np.arange(len(bboxes)) == 0, self.wanted, -1)

    clip = write_video(tmp_path / 'a.mp4', 6)
    results = Detector(checkpoint).track(Video(clip, stride=2), tracker='firstbox', img_size=64, class_agnostic=True)
    assert [result.track_ids.tolist() for result in results] == [[1]] * 3


def test_a_detector_tracks_a_video(checkpoint, tmp_path):
    clip = write_video(tmp_path / 'a.mp4', 12)
    model = Detector(checkpoint)
    results = model.track(clip, img_size=64)
    assert [result.frame for result in results] == list(range(12))
    assert all(len(result.track_ids) == len(result) == len(result.instance_masks) for result in results)
    last = results[-1]
    assert len(last) > 0
    assert last.rows()[0]['track_id'] == last.track_ids[0] and last.to_dict()['objects'][0]['track_id'] >= 1
    assert last.to_coco()[0]['track_id'] == last.track_ids[0] and last.to_coco()[0]['image_id'] == 11
    assert last.to_supervision().tracker_id.tolist() == last.track_ids.tolist()
    assert last[:1].track_ids.tolist() == last.track_ids[:1].tolist() and last.plot().shape == (48, 64, 3)
    again = list(model.track([clip, clip], img_size=64, stream=True))
    ids = [result.track_ids.tolist() for result in again]
    assert ids[:12] == ids[12:] == [result.track_ids.tolist() for result in results]  # a video gets new tracks


@pytest.mark.parametrize(('task', 'field'), [('seg', 'instance_masks'), ('pose', 'keypoints'), ('obb', 'rbboxes')])
def test_each_task_is_tracked_and_drawn(task, field, tmp_path):
    clip = write_video(tmp_path / 'a.mp4', 6, (96, 128))
    weights = write_shallow_checkpoint(tmp_path / 'a.pth', task, ('cat',) if task == 'pose' else ('cat', 'dog'))
    results = Detector(weights).track(clip, img_size=64)
    assert len(results) == 6 and sum(map(len, results)) > 0
    for result in results:
        assert len(getattr(result, field)) == len(result) == len(result.track_ids) == len(result.bboxes)
        assert result.plot().shape == (96, 128, 3)


def test_tiles_and_views_are_tracked_too(checkpoint, tmp_path):
    clip = write_video(tmp_path / 'a.mp4', 4, (96, 128))
    for options in ({'tile': 64}, {'tta': True}):
        results = Detector(checkpoint).track(clip, img_size=64, **options)
        assert [result.frame for result in results] == [0, 1, 2, 3] and sum(map(len, results)) > 0


def test_videos_in_threads_do_not_disturb_each_other(checkpoint, tmp_path):
    model = Detector(checkpoint)
    clips = [write_video(tmp_path / f'{i}.mp4', 10, (48, 64 + 32 * i)) for i in range(2)]
    alone = [[r.track_ids.tolist() for r in model.track(clip, img_size=64)] for clip in clips]
    together: dict[int, list] = {}

    def track(i: int) -> None:
        together[i] = [r.track_ids.tolist() for r in model.track(clips[i], img_size=64, stream=True)]

    threads = [threading.Thread(target=track, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[i] for i in range(2)] == alone


def test_a_folder_of_frames_is_a_video(checkpoint, tmp_path):
    import cv2

    clip = write_video(tmp_path / 'a.mp4', 8)
    (tmp_path / 'frames').mkdir()
    for frame in Video(clip):
        cv2.imwrite(str(tmp_path / 'frames' / f'{frame.frame:04}.png'), frame.read()[..., ::-1])
    model = Detector(checkpoint)
    results = model.track(tmp_path / 'frames', img_size=64)
    assert [result.frame for result in results] == list(range(8))
    assert [r.track_ids.tolist() for r in results][-1] == [
        r.track_ids.tolist() for r in model.track(clip, img_size=64)
    ][-1]
    frames = (frame.read() for frame in Video(clip))
    streamed = list(model.track(frames, img_size=64, stream=True))  # an iterator of frames is a video, too
    assert [r.track_ids.tolist() for r in streamed] == [r.track_ids.tolist() for r in results]
    assert [r.frame for r in streamed] == list(range(8)) and streamed[3].img_path == 'image3'
    (tmp_path / 'frames' / '0003.png').write_bytes(b'no image')
    results = model.track(tmp_path / 'frames', img_size=64)
    assert results[3].error is not None and results[7].error is None and results[7].frame == 7
    assert results[3].track_ids.tolist() == []
    zone = AreaCounter([Area('all', ((0, 0), (1, 0), (1, 1), (0, 1)))], results[0].img_shape)
    entered = sum(len(zone.update(result)) for result in results)  # the frame that cannot be read counts nothing
    assert entered == len({track for result in results for track in result.track_ids.tolist()})
    with pytest.raises(ConfigError, match='the shape of the first frame is None'):
        AreaCounter([Area('gate', ((0.1, 0.5), (0.9, 0.5)))], results[3].img_shape)


def test_classifiers_and_wrong_arguments_are_refused(tmp_path, checkpoint):
    clip = write_video(tmp_path / 'a.mp4', 2)
    with pytest.raises(ConfigError, match='a classifier finds no objects'):
        Detector(write_shallow_checkpoint(tmp_path / 'cls.pth', 'cls')).track(clip)
    model = Detector(checkpoint)
    with pytest.raises(ConfigError, match='there is no tracker'):
        model.track(clip, tracker='deepsort')
    for word, hint in (('conf', 'score_thr'), ('persist', 'follows a whole video'), ('vid_stride', 'stride=2')):
        with pytest.raises(TypeError, match=hint):
            model.track(clip, **{word: 1})
    with pytest.raises(DataError, match='does not exist'):
        model.track(tmp_path / 'gone.mp4')


@pytest.mark.parametrize(('package', 'extra'), [('av', 'video'), ('trackers', 'track')])
def test_a_package_that_is_missing_is_named_with_its_extra(package, extra, checkpoint, tmp_path, monkeypatch):
    clip = write_video(tmp_path / 'a.mp4', 2)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=rf"needs? the package {package} .*pip install 'detkit\[{extra}\]'"):
        Detector(checkpoint).track(clip, img_size=64)


def test_the_lines_of_motchallenge():
    result = found([[10, 20, 40, 60]], frame=4, track_ids=np.array([3]))
    assert list(mot_lines(result)) == ['5,3,10.00,20.00,30.00,40.00,0.9000,-1,-1,-1\n']


def test_track_writes_a_video_and_motchallenges_text(checkpoint, tmp_path, capsys):
    for folder in ('one', 'two'):
        (tmp_path / folder).mkdir()
        write_video(tmp_path / folder / 'clip.mp4', 10)
    (tmp_path / 'two' / 'broken.mp4').write_bytes(b'x')
    write_images(tmp_path / 'frames', 3)
    out = tmp_path / 'out'
    sources = [str(tmp_path / name) for name in ('one', 'two', 'frames')]
    assert main(['track', str(checkpoint), *sources, '--out-dir', str(out), '--img-size', '64']) == 0
    names = sorted(path.name for path in out.iterdir())
    assert names == [
        '0.jpg', '1.jpg', '2.jpg', 'broken.txt', 'clip-2.mp4', 'clip-2.txt', 'clip.mp4', 'clip.txt', 'frames.txt'
    ]  # fmt: skip
    rows = np.loadtxt(out / 'clip.txt', delimiter=',', ndmin=2)
    assert rows.shape[1] == 10 and rows[:, 0].max() == 10 and rows[:, 1].min() == 1
    assert (out / 'clip.txt').read_text() == (out / 'clip-2.txt').read_text()
    assert len(read_all(out / 'clip.mp4')[0]) == 10
    printed = capsys.readouterr().out
    assert 'clip: 10 frames, tracks: ' in printed and 'skipped: ' in printed and 'broken.mp4' in printed
    assert (
        main(['track', str(checkpoint), sources[0], '--out-dir', str(out / 'b'), '--no-pictures', '--stop', '0.2']) == 0
    )
    assert [path.name for path in (out / 'b').iterdir()] == ['clip.txt']
    broken = [str(tmp_path / 'two' / name) for name in ('broken.mp4', 'worse.mp4')]
    (tmp_path / 'two' / 'worse.mp4').write_bytes(b'y')
    assert main(['track', str(checkpoint), *broken, '--out-dir', str(out / 'c'), '--img-size', '64']) == 2
    assert 'no image and no video could be read' in capsys.readouterr().err
    assert main(['track', str(checkpoint), str(tmp_path / 'two' / 'broken.mp4')]) != 0


def like(pixel: np.ndarray, colour: tuple[int, int, int]) -> bool:
    """Return whether a pixel of an anti-aliased line on black has a colour, but for its brightness."""
    drawn, wanted = pixel / np.linalg.norm(pixel), np.array(colour) / np.linalg.norm(colour)
    return bool(drawn @ wanted > 0.999)


def test_trails_follow_each_track_and_end():
    trails = Trails(seconds=1.0)
    for i in range(10):
        img = trails.draw(BLANK, [4], np.array([[10 * i, 100, 10 * i + 20, 120]]), i / 10)
    assert like(img[110, 55], class_colour(4)) and not img[110, 150].any() and not BLANK.any()
    gone = trails.draw(BLANK, [], np.zeros((0, 4)), 5.0)
    assert not gone.any() and trails._points == {}


@pytest.mark.parametrize('name', NAMES)
def test_identities_are_kept_when_frames_change_their_size(name):
    """A stream may change its resolution, and an adaptive one does."""
    tracking = Tracking(name, 25)
    assert follow(tracking, range(10))[3:] == [[1, 2]] * 7
    for i in range(10, 20):
        result = tracking.update(found(np.array(boxes_at(i)) / 2, frame=i), BLANK[::2, ::2], i / 25)
        assert result.track_ids.tolist() == [1, 2] and result.bboxes.tolist() == (np.array(boxes_at(i)) / 2).tolist()


def test_trails_go_on_when_frames_change_their_size():
    trails = Trails(seconds=1.0)
    trails.draw(BLANK, [4], np.array([[0, 100, 20, 120]]), 0.0)
    img = trails.draw(BLANK[::2, ::2], [4], np.array([[100, 50, 110, 60]]), 0.1)
    assert like(img[55, 50], class_colour(4)) and not img[70:].any() and not img[:45].any()


def test_tracks_are_drawn_in_their_colours():
    result = found([[20, 60, 120, 160], [180, 60, 280, 160]], track_ids=np.array([5, 9]))
    img = result.plot(np.zeros((240, 320, 3), np.uint8))
    assert like(img[110, 20], class_colour(5)) and like(img[110, 180], class_colour(9))
    same = result.plot(np.zeros((240, 320, 3), np.uint8), color_by='class')
    assert np.array_equal(same[110, 20], same[110, 180])


def test_an_error_in_the_middle_keeps_the_tracks(checkpoint, tmp_path):
    assert json.dumps(Detector(checkpoint).track([draw_frame(0), b'', draw_frame(1)], img_size=64)[1].to_dict())
