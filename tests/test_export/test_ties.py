"""Pairs and queries at the border of a selection, of which rounding may choose another one than PyTorch does."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from coverings import slow_unless
from every_task import build_task
from small_models import write_images
from torch import Tensor

from detkit.export import ExportSettings, export_detector, open_exported
from detkit.export.alignment import aligned_queries, at_the_border
from detkit.export.check import compare
from detkit.export.description import describe, parse_description
from detkit.export.format import find_format
from detkit.export.graph import ExportGraph
from detkit.export.opening import exported_detector
from detkit.export.plan import make_plan
from detkit.export.suppression import suppressed
from detkit.export.ties import possible_and_certain, with_same_choice
from detkit.inference import SourceImage

SIZE = 64
KEPT = 6  # of a level, of 4 classes


def raw_levels() -> list[Tensor]:
    """Scores of an image in a level of 12 pairs, whose sixth and seventh are nearly equal, and in one of 4 pairs."""
    first = torch.tensor([0.9, 0.8, 0.7, 0.65, 0.6, 0.5, 0.4999, 0.3, 0.2, 0.15, 0.12, 0.1]).view(1, 3, 4)
    return [first, torch.tensor([[[0.4, 0.3, 0.2, 0.1]]])]


def kept(levels: list[Tensor], lost: tuple[int, ...] = (), added: tuple[int, ...] = ()) -> Tensor:
    """Return the scores of all levels with the best of the first, or others, given by their ranks from 0."""
    ranks = (set(range(KEPT)) - set(lost)) | set(added)
    first = torch.zeros(12)
    first[sorted(ranks)] = levels[0].flatten()[sorted(ranks)]
    return torch.cat((first.view(1, 3, 4), levels[1]), 1)


def difference(given: Tensor, tolerance: float = 1e-3) -> float:
    levels = raw_levels()
    pair = with_same_choice(kept(levels), given, levels, KEPT, tolerance)
    return float((pair[0] - pair[1]).abs().max())


def test_either_of_two_equal_pairs_may_be_kept():
    levels = raw_levels()
    assert difference(kept(levels)) == 0
    assert difference(kept(levels, lost=(5,), added=(6,))) == pytest.approx(1e-4, abs=1e-6)


@pytest.mark.parametrize(
    ('lost', 'added', 'least'),
    [
        ((4,), (6,), 0.09),  # one that is no tie is left out
        ((5,), (7,), 0.1),  # one that is no tie is kept in its place
        ((5,), (), 0.4),  # nothing is kept in its place
        ((), (6,), 0.4),  # one more is kept
        ((0,), (6,), 0.3),
    ],
)
def test_another_choice_is_a_difference(lost, added, least):
    assert difference(kept(raw_levels(), lost, added)) > least


def test_wrong_scores_are_a_difference_beside_a_tie():
    swapped = kept(raw_levels(), lost=(5,), added=(6,))
    for position, value in [((0, 0, 1), 0.7), ((0, 1, 2), 0.55), ((0, 3, 0), 0.0), ((0, 0, 0), float('nan'))]:
        given = swapped.clone()
        given[position] = value
        assert not difference(given) <= 0.01


def test_rows_may_be_of_pairs_at_the_border_and_must_be_of_those_above_it():
    levels = raw_levels()
    possible, certain = possible_and_certain(kept(levels), levels, KEPT, 1e-3)
    assert (possible[0, :3].flatten() > 0).tolist() == [True] * 7 + [False] * 5
    assert (certain[0, :3].flatten() > 0).tolist() == [True] * 5 + [False] * 7
    assert torch.equal(possible[:, 3:], levels[1]) and torch.equal(certain[:, 3:], levels[1])


def queries() -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(0)
    return {'bboxes': torch.rand(1, 6, 4, generator=rng) * 64, 'scores': torch.rand(1, 6, 3, generator=rng)}


def test_the_last_query_may_be_another_cell_and_no_other_query():
    border = at_the_border(torch.tensor([[0.9, 0.8, 0.7, 0.6, 0.5004, 0.5]]), 1e-3)
    assert border.tolist() == [[False] * 4 + [True] * 2] and at_the_border(None, 1e-3) is None
    for query, rows, equal in [(5, 5, True), (4, 5, True), (2, 6, False)]:
        given = {name: value.clone() for name, value in queries().items()}
        given['bboxes'][0, query] += 30
        first, second = aligned_queries(queries(), given, (64, 64), replaceable=border, tolerance=1e-3)
        assert first['bboxes'].shape[1] == rows and torch.equal(first['bboxes'], second['bboxes']) == equal


class TorchSession:
    """A graph that PyTorch runs, and what a wrong or another runtime makes of its outputs."""

    runtime = 'PyTorch'

    def __init__(self, graph: ExportGraph, change) -> None:
        self.graph, self.change = graph, change

    def __call__(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        with torch.no_grad():
            arguments = [inputs[name] for name in self.graph.input_names]
            return self.change(self.graph, arguments)


def check(model, change, folder: Path, **settings) -> list[str]:
    """Return what the check has against a file that gives what ``change`` makes of a model's graph."""
    plan = make_plan(model, ExportSettings('onnx', img_size=SIZE, dynamic=False, **settings))
    graph = ExportGraph(model, plan).eval()
    with torch.no_grad():
        graph(*graph.example(plan))
    description = describe(model.info, plan, graph.input_names, graph.output_names, '', '')
    description = parse_description(description.text(), folder)
    exported = exported_detector(TorchSession(graph, change), description, folder)
    images = [SourceImage(str(path)) for path in write_images(folder / 'images', 2)]
    return compare(copy.deepcopy(model), exported, plan, images).failures(plan)


def with_another_pair(rank: int):
    """Return a change that leaves out one of the pairs that the first level keeps, by its rank, for the next best."""

    def run(graph: ExportGraph, arguments: list[Tensor]) -> dict[str, Tensor]:
        head, preds = graph.model.head, graph.model.undecoded(*arguments)
        levels, count = head.level_scores(preds)
        decoded = head.decode(preds, *arguments[1:])
        for image, scores in enumerate(levels[0]):
            order = scores.flatten().argsort(descending=True)
            assert len(order) > count and float(scores.flatten()[order[count - 1]]) > 0.1
            flat = decoded['scores'][image].flatten()  # a view
            flat[order[rank if rank >= 0 else count + rank]] = 0
            flat[order[count]] = scores.flatten()[order[count]]
        return decoded if graph.suppression is None else suppressed(decoded, head, graph.suppression)

    return run


def count_with_ties(model, folder: Path) -> int:
    """Return a number of pairs of the first level whose last one has nearly the next one's score in all images."""
    seen = []

    def record(graph: ExportGraph, arguments: list[Tensor]) -> dict[str, Tensor]:
        preds = graph.model.undecoded(*arguments)
        seen.append(graph.model.head.level_scores(preds)[0][0].flatten(1))
        return graph.model.head.decode(preds, *arguments[1:])

    assert check(model, record, folder) == []
    ranked = torch.cat(seen).sort(1, descending=True).values
    near = (ranked[:, :-1] - ranked[:, 1:] < 5e-4).all(0).nonzero().flatten() + 1
    return int(near[near > 50][0])


@pytest.mark.default_cases(1)
@pytest.mark.parametrize('nms', [False, True], ids=['plain', 'nms'])
@pytest.mark.parametrize('name', ['retinanet det', 'fcos det'])
def test_the_check_takes_ties_of_a_level_and_no_other_pair(name, nms, tmp_path):
    model = build_task(name, SIZE)
    model.head.test_cfg['nms_pre'] = count_with_ties(model, tmp_path)
    settings = dict(nms=True, iou_thr=1.0, max_per_img=5000, score_thr=0.05) if nms else {}
    assert check(model, with_another_pair(-1), tmp_path, **settings) == []
    wrong = check(model, with_another_pair(0), tmp_path, **settings)
    assert any(('otherwise' if nms else 'scores differ') in line for line in wrong)


@pytest.mark.parametrize('name', ['rtdetr det', 'rfdetr det'])
def test_the_check_takes_queries_in_another_order_and_no_other_ones(name, tmp_path):
    model = build_task(name, SIZE)

    def swapped(graph, arguments):
        decoded = graph.model.decode(*arguments)
        order = [1, 0, *range(2, decoded['scores'].shape[1])]
        return {key: value[:, order] for key, value in decoded.items()}

    def moved(graph, arguments):
        decoded = swapped(graph, arguments)
        decoded['bboxes'][:, 1] += 5
        return decoded

    assert check(model, swapped, tmp_path) == []
    assert any('boxes differ' in line for line in check(model, moved, tmp_path))


def in_order(*swaps: tuple[int, ...], moved: float = 0.0):
    """Return a change that gives cells the ranks of each other, and moves the box of the first exchanged rank."""

    def run(graph, arguments):
        order = torch.arange(graph.model.head.num_queries).repeat(len(arguments[0]), 1)
        for ranks in swaps:
            order[:, list(ranks)] = order[:, list(ranks[1:] + ranks[:1])]
        with graph.model.head.selecting_in(order):
            decoded = graph.model.decode(*arguments)
        decoded[graph.model.head.BBOXES][:, swaps[0][0], :2] += moved
        return decoded

    return run


@pytest.mark.default_cases(1)
@pytest.mark.parametrize('name', ['rfdetr det', 'rfdetr seg', 'rfdetr obb'])
def test_the_check_takes_another_rank_of_cells_that_tie_and_no_other_one(name, tmp_path, monkeypatch):
    """Each rank has an embedding of its own, so that other predictions follow: those of PyTorch in that order."""
    model = build_task(name, SIZE)
    gaps = []

    def record(graph, arguments):
        preds = graph.model.undecoded(*arguments)
        gaps.append(-graph.model.head.query_scores(preds).diff(dim=1).amin(0))
        return graph.model.head.decode(preds, *arguments[1:])

    assert check(model, record, tmp_path) == []
    gap = torch.stack(gaps).amax(0)  # of each rank to the next
    first = int(gap[:9].argmin())
    pairs = (first, first + 1), (first + 4, first + 5)
    tie = float(max(gap[a] for a, _ in pairs)) * 1.01
    assert check(model, in_order(*pairs), tmp_path), 'no other predictions follow'
    monkeypatch.setattr('detkit.export.tied_ranks._TIE', tie)
    assert check(model, in_order(*pairs), tmp_path) == []
    far = int(gap.argmax())
    assert gap[far] > tie and check(model, in_order((far, far + 1)), tmp_path)
    if name == 'rfdetr det':
        assert any('boxes differ' in line for line in check(model, in_order(*pairs, moved=5.0), tmp_path))


@pytest.mark.thorough
@pytest.mark.default_cases(1)
@pytest.mark.parametrize(
    ('name', 'shift'),
    [
        slow_unless((name == 'rfdetr obb') == (shift == 2), name, shift)
        for name in ('rfdetr det', 'rfdetr obb')
        for shift in (1, 2, 3)
    ],
)
def test_the_check_takes_a_cycle_of_cells_that_tie(name, shift, tmp_path, monkeypatch):
    model = build_task(name, SIZE)
    cycle = tuple(range(2, 7))
    cycle = cycle[shift:] + cycle[:shift]
    gaps = []

    def record(graph, arguments):
        order = torch.arange(graph.model.head.num_queries).repeat(len(arguments[0]), 1)
        order[:, 2:7] = order[:, list(cycle)]
        gaps.append(graph.model.head.query_scores(graph.model.undecoded(*arguments)).diff(dim=1)[:, 2:6].abs().max())
        with graph.model.head.selecting_in(order):
            return graph.model.decode(*arguments)

    assert check(model, record, tmp_path)
    monkeypatch.setattr('detkit.export.tied_ranks._TIE', float(max(gaps)) * 4.01)
    assert check(model, record, tmp_path) == []

    def moved(graph, arguments):
        decoded = record(graph, arguments)
        decoded[graph.model.head.BBOXES][:, 4, :2] += 5
        return decoded

    assert check(model, moved, tmp_path)


# A torch.export takes sides of one cell for fixed ones, so that its example must have more in every level.
@pytest.mark.default_cases(1)
@pytest.mark.parametrize(
    ('fmt', 'sizes'),
    [
        ('onnx', (64, 32, 128)),
        ('torchscript', (64, 32, 128)),
        pytest.param('openvino', (64, 32, 128), marks=pytest.mark.slow),
        pytest.param('torch_export', (256, 192, 448), marks=pytest.mark.slow),
    ],
)
def test_a_level_keeps_as_many_pairs_whatever_it_had_when_the_file_was_made(fmt, sizes, tmp_path):
    """A level had fewer pairs than are kept when the graph was made, and more at another size, and the other way."""
    model = build_task('fcos det', SIZE)
    for package in {**find_format(fmt).packages, **find_format(fmt).converters}:
        pytest.importorskip(package)
    images = [str(path) for path in write_images(tmp_path / 'images', 2)]
    model.head.test_cfg['nms_pre'] = 100  # of (size / 8) ** 2 * 4 pairs
    path = tmp_path / f'model{find_format(fmt).suffix}'
    export_detector(model, path, ExportSettings(fmt, img_size=sizes[0], dynamic=True), images)
    exported = open_exported(path, runtime=fmt)
    for size in sizes:
        pixels = torch.randint(256, (2, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        shapes = torch.tensor([[size, size]] * 2)
        given = exported.decode(pixels, shapes)['scores']
        with torch.no_grad():
            expected = model.decode(pixels, shapes)['scores']
        assert ((given > 0).sum((1, 2)) == (expected > 0).sum((1, 2))).all()
