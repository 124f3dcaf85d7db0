"""The numeric check of an exported file: the same pictures through PyTorch and through the file's runtime."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detkit.export.alignment import aligned_queries, at_the_border
from detkit.export.detector import ExportedDetector
from detkit.export.differences import Differences, Means
from detkit.export.plan import Plan, Suppression
from detkit.export.suppression import WHOLE, name_of_bboxes, takes_every_class
from detkit.export.tied_ranks import in_the_order_of
from detkit.export.ties import level_border, possible_and_certain, with_same_choice
from detkit.inference import Predictor, SourceImage
from detkit.inference.predictor import Prepared
from detkit.models.losses.rotated_boxes import prob_iou
from detkit.structures.data_sample import DetDataSample
from detkit.utils.errors import CheckpointError, DataError

# The detections that are compared have at least this score.
SCORE_THR = 0.05
# The priors of an image, the best ones, whose decoded boxes are compared.
_BEST_PRIORS = 300
# Detections of the two that overlap less are no match.
_LEAST_OVERLAP = 0.95
# Detections whose boxes differ by no more pixels match, whatever their overlap.
_SAME = 0.01
# Share of an overlap's and a score's range by which two may differ and yet count as equal, by precision.
_EQUAL = {'float32': 1e-3, 'half': 0.03, 'int8': 0.1}


def compare(model: nn.Module, exported: ExportedDetector, plan: Plan, images: Sequence[SourceImage]) -> Differences:
    """Run pictures through a model in PyTorch and through its exported file.

    Args:
        model: the detector that was exported, on the CPU in float32.
        exported: the file, loaded back.
        plan: what was exported, whose batch sizes are run; for any size also smaller images, and one larger.
        images: the pictures.

    Raises:
        DataError: none of them can be read.
        CheckpointError: the file cannot be run.
    """
    found = Differences(images=len(images))
    score_thr = SCORE_THR if plan.suppression is None else max(plan.suppression.score_thr, SCORE_THR)
    fixed = {} if plan.suppression is None else {'class_agnostic': plan.suppression.class_agnostic}
    shown: dict[int | None, Sequence[SourceImage]] = {None: images}
    if 'size' in plan.dynamic:
        shown = {max(plan.size): images, _scaled(plan, 2 / 3): images, _scaled(plan, 4 / 3): images[:1]}
    for img_size, chosen in shown.items():
        theirs = Predictor(model=exported, img_size=img_size, score_thr=score_thr, **fixed)
        head = theirs.model.head
        read = [name for name in ('iou_thr', 'max_per_img') if name in (head.TEST_KEYS or head.test_cfg)]
        thresholds = {name: head.test_cfg[name] for name in read}
        ours = Predictor(model=model, img_size=theirs.img_size, score_thr=score_thr, **thresholds, **fixed)
        for batch_size in plan.checked_batches:
            for batch in batches(theirs, chosen, batch_size):
                try:
                    _compare_batch(ours.model, theirs.model, batch, plan, found)
                except CheckpointError as error:
                    if img_size in (None, max(plan.size)):
                        raise
                    raise CheckpointError(
                        f'{error}; it runs with images of {max(plan.size)} px, but not with those of {img_size} px, '
                        'with which a file for any size is checked, too: export it with a larger img_size, such as '
                        f"{2 * max(plan.size)}, or without dynamic 'size'"
                    ) from error
    return found


def _scaled(plan: Plan, share: float) -> int:
    """Return a side that the network takes, of about a share of the plan's."""
    cells = max(plan.size) * share / plan.divisor
    return max((math.floor if share < 1 else math.ceil)(cells) * plan.divisor, 32)


def batches(predictor: Predictor, images: Sequence[SourceImage], batch_size: int) -> Iterator[dict]:
    """Yield the images in batches as prediction makes them, the last one filled up with the first images."""
    prepared = [predictor.prepare(image, i) for i, image in enumerate(images)]
    packed = [item.packed for item in prepared if isinstance(item, Prepared)]
    if not packed:
        raise DataError(f'none of the images to check with can be read: {prepared[0] if prepared else "there is none"}')
    for start in range(0, len(packed), batch_size):
        chosen = [packed[(start + i) % len(packed)] for i in range(batch_size)]
        yield predictor.make_batch(chosen)


@torch.no_grad()
def _compare_batch(ours: nn.Module, theirs: ExportedDetector, batch: dict, plan: Plan, found: Differences) -> None:
    padded, img_shapes = theirs.padded(batch['inputs']), batch['gt'].img_shapes
    found.batches.append((padded.shape[0], *padded.shape[-2:]))
    known_shapes = img_shapes if ours.needs_img_shapes else None
    preds = ours.undecoded(padded, known_shapes)
    expected, levels = ours.head.decode(preds, known_shapes), ours.head.level_scores(preds)
    given = theirs.decode(batch['inputs'], img_shapes)
    metas = [{**sample.metainfo, 'input_shape': tuple(padded.shape[-2:])} for sample in batch['data_samples']]
    if plan.suppression is None:
        if plan.precision == 'float32' and _alike(expected, given):
            scores = ours.head.query_scores(preds)
            expected = in_the_order_of(given, expected, ours, (padded, known_shapes), scores)
        size, tolerance, most = padded.shape[-2:], _score_tolerance(plan), _BEST_PRIORS
        pair = (expected, given)
        if _alike(expected, given) and levels is not None:
            scores = with_same_choice(expected['scores'], given['scores'], *levels, tolerance)
            pair = tuple({**own, 'scores': values} for own, values in zip(pair, scores, strict=True))
        if _alike(expected, given) and ours.head.SELECTS:
            if plan.precision == 'float32':
                last = at_the_border(ours.head.query_scores(preds), tolerance)
                pair = aligned_queries(expected, given, size, replaceable=last, tolerance=tolerance)
            else:
                pair = aligned_queries(expected, given, size, SCORE_THR)
            most *= len(padded)  # the queries of all images are in one row
        _compare_tensors(*pair, size, found, most)
        if plan.int8:
            _add_means(*pair, size, found.means)
    else:
        _compare_rows(expected, given, ours.head, plan, found, levels)
    pairs = zip(ours.head.results(expected, metas), theirs.predict(given, batch['data_samples']), strict=True)
    for first, second in pairs:
        _count_matches(first, second, found)


def _alike(expected: dict[str, Tensor], given: dict[str, Tensor]) -> bool:
    return all(value.shape == given[name].shape for name, value in expected.items())


def _compare_tensors(
    expected: dict[str, Tensor],
    given: dict[str, Tensor],
    size: tuple[int, int],
    found: Differences,
    most: int = _BEST_PRIORS,
) -> None:
    """Compare decoded tensors; boxes as far as they lie inside inputs of ``size`` (h, w), as results are clipped.

    Of each row of predictions the boxes of the ``most`` best ones are compared.
    """
    for name, value in expected.items():
        if value.shape != given[name].shape:
            found.tensors[name] = float('inf')
            continue
        difference = (value - given[name]).abs()
        share = float(difference.max() / value.abs().max().clamp(min=1e-12)) if value.numel() else 0.0
        found.tensors[name] = _larger(found.tensors.get(name, 0.0), share)
        if name == 'scores' and value.numel():
            found.scores = _larger(found.scores, float(difference.max()))
        if name in ('bboxes', 'rbboxes') and value.numel():
            best = expected['scores'].amax(2)
            index = best.topk(min(most, best.shape[1]), 1).indices.unsqueeze(-1).expand(-1, -1, 4)
            if name == 'bboxes':
                limits = value.new_tensor([size[1], size[0]] * 2)
                difference = (_clipped(value, limits) - _clipped(given[name], limits)).abs()
            found.bboxes = _larger(found.bboxes, float(difference[..., :4].gather(1, index).max()))


def _add_means(expected: dict[str, Tensor], given: dict[str, Tensor], size: tuple[int, int], means: Means) -> None:
    """Add the differences of decoded tensors at the predictions that either finds, or at the likeliest one."""
    best = torch.maximum(expected['scores'], given['scores']).amax(-1)  # (B, P), of classifiers (B,)
    found = ~(best < min(SCORE_THR, float(best.max())))  # so that NaN counts
    limits = torch.tensor([size[1], size[0]] * 2)
    for name, value in expected.items():
        pair = (value, given[name])
        if value.shape[: best.dim()] == best.shape and name not in WHOLE:
            pair = tuple(each[found] for each in pair)
        if name == 'bboxes':
            pair = tuple(_clipped(each, limits) for each in pair)
        elif name == 'rbboxes':
            pair = tuple(each[:, :4] for each in pair)
        difference = (pair[0] - pair[1]).abs()
        if name == 'scores':
            means.add('scores', float(difference.amax(-1).sum()), len(difference))
        elif name in ('bboxes', 'rbboxes'):
            means.add('bboxes', float(difference.amax(-1).sum()), len(difference))
        else:
            means.add(name, float(difference.sum()), float(pair[0].abs().sum()))


def _clipped(bboxes: Tensor, limits: Tensor) -> Tensor:
    return bboxes.clamp(min=0).minimum(limits)  # both keep NaN


def _larger(first: float, second: float) -> float:
    """Return the larger number, NaN where one is."""
    return second if second > first or second != second else first


def _count_matches(first: DetDataSample, second: DetDataSample, found: Differences) -> None:
    """Count the detections of an image that have a partner of the same class in the other's results."""
    if 'pred_instances' not in first:
        return
    from torchvision.ops import box_iou

    ours, theirs = first.pred_instances, second.pred_instances
    # Boxes that were clipped to a line have no area: their overlap is NaN, also with themselves.
    overlaps = box_iou(ours.bboxes, theirs.bboxes).nan_to_num()
    overlaps[(ours.bboxes[:, None] - theirs.bboxes).abs().amax(-1) <= _SAME] = 1
    overlaps[(ours.labels[:, None] != theirs.labels) | (overlaps < _LEAST_OVERLAP)] = 0
    matched = 0
    for row in overlaps if len(theirs) else ():
        if row.max() > 0:
            overlaps[:, int(row.argmax())] = 0
            matched += 1
    found.matched += matched
    found.unmatched += len(ours) + len(theirs) - 2 * matched


def _compare_rows(
    expected: dict[str, Tensor],
    given: dict[str, Tensor],
    head: nn.Module,
    plan: Plan,
    found: Differences,
    levels: tuple[list[Tensor], int] | None = None,
) -> None:
    """Compare the rows that a graph's suppression left with all candidates of PyTorch.

    Each row must be one of the candidates, and each candidate that is missing must overlap a better one that suppresses
    it, or rank behind the last row. That holds for every order of candidates with equal scores.

    Args:
        expected: the decoded predictions of PyTorch.
        given: the outputs of the graph.
        head: the head that decoded.
        plan: what was exported.
        found: takes the differences.
        levels: what ``BaseHead.level_scores`` returns. Of candidates that equal the lowest one that their level keeps
            any may be a row.
    """
    from torchvision.ops import box_iou

    possible = certain = expected['scores']
    if levels is not None:
        possible, certain = possible_and_certain(possible, *levels, _score_tolerance(plan))
    options, name = plan.suppression, name_of_bboxes(expected)
    overlap = _prob_iou_matrix if head.SUPPRESSION == 'prob_iou' else box_iou
    equal = _EQUAL[plan.precision]
    lowest = _lowest_that_count(possible, head, options, max(equal, _score_tolerance(plan)))
    for image, (scores, sure, bboxes) in enumerate(zip(possible, certain, expected[name], strict=True)):
        most = _most_rows(scores, head, options)
        if takes_every_class(head, options):
            prior, label = (scores >= lowest[image]).nonzero(as_tuple=True)
            # A pair of a prior and a class is a candidate: a prior whose other classes have a score of 0.
            own = F.one_hot(label, scores.shape[1]).to(scores.dtype)
            scores, sure, bboxes = scores[prior] * own, sure[prior] * own, bboxes[prior]
        best, required = scores.amax(1), sure.amax(1)  # (P,)
        count = int(given['counts'][image])
        rows = {key: given[key][image][:count] for key in (name, 'scores', 'labels')}
        near = scores[:, rows['labels']].T  # (N, P)
        near = torch.where(near >= required - _score_tolerance(plan), (rows['scores'][:, None] - near).abs(), torch.inf)
        distances = (rows[name][:, None, :4] - bboxes[:, :4]).abs().amax(-1)
        distances = torch.where(near <= _score_tolerance(plan), distances, torch.inf)
        partner = distances.argmin(1)
        if count:
            found.bboxes = _larger(found.bboxes, float(distances.amin(1).max()))
            found.scores = _larger(found.scores, float(near[torch.arange(count), partner].max()))
        missing = required > options.score_thr + equal
        missing[partner] = False
        if count == most:
            missing &= best > rows['scores'][-1] + equal
        if head.SUPPRESSION == 'none' or not missing.any():
            found.misplaced += int(missing.sum())
            continue
        # A kept row may suppress others, with rotated boxes any better candidate.
        greedy = head.SUPPRESSION == 'iou'
        rivals = partner if greedy else (best > options.score_thr - equal).nonzero().squeeze(1)
        lost = missing.nonzero().squeeze(1)
        beaten = overlap(bboxes[lost], bboxes[rivals]) > options.iou_thr - equal
        beaten &= (best[rivals] >= best[lost, None] - equal) & (rivals != lost[:, None])
        if not options.class_agnostic:
            likely = (scores >= best[:, None] - equal).to(torch.float32)  # (P, C), several where they are equal
            beaten &= likely[lost] @ likely[rivals].T > 0
        found.misplaced += int((~beaten.any(1)).sum())


def _lowest_that_count(scores: Tensor, head: nn.Module, options: Suppression, tolerance: float) -> Tensor:
    """Return the scores ``(B,)`` of ``(B, P, C)`` from which on a pair of a prior and a class may matter."""
    lowest = scores.new_full(scores.shape[:1], options.score_thr - tolerance)
    border = level_border(scores, _most_rows(scores[0], head, options)) if head.SUPPRESSION == 'none' else None
    if border is not None:  # without a suppression the best ones alone are rows
        lowest = lowest.maximum(border[:, 0] - tolerance)
    return lowest.clamp(min=torch.finfo(scores.dtype).tiny).minimum(scores.flatten(1).amax(1))


def _most_rows(scores: Tensor, head: nn.Module, options: Suppression) -> int:
    """Return how many rows an image with scores ``(P, C)`` may have."""
    return min(options.max_per_img, len(scores)) if head.CAPPED_BY_PRIORS else options.max_per_img


def _prob_iou_matrix(rbboxes: Tensor, others: Tensor) -> Tensor:
    """Return ``prob_iou`` of every pair, ``(N, M)``."""
    return prob_iou(rbboxes[:, None], others[None])


def _score_tolerance(plan: Plan) -> float:
    """Return the greatest difference of scores that the format may have."""
    return plan.format.tolerances(plan.precision)[1]
