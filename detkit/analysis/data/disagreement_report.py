"""Lines, rows and pictures about labels that a trained model disagrees with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from detkit.analysis.data.label_disagreements import DISAGREEMENT_KINDS, SCORE_RANGE, Disagreement, LabelDisagreements
from detkit.analysis.errors.error_report import example_picture
from detkit.analysis.html_page import Cell, HtmlPage
from detkit.datasets.transforms.loading import UnreadableImageError, read_image
from detkit.visualization.sheets import fit

_SIDE = 220  # of a classifier's picture
_LISTED = 200  # rows of a table on the page

_THRESHOLD = {
    False: f'the lower quartile of the scores of the labels that the model finds in its class, {SCORE_RANGE[0]:g} at '
    f'least and {SCORE_RANGE[1]:g} at most',
    True: 'the mean score that the model gives to the labels of its class',
}
SEEN_IMAGES = (
    'a model that was trained on the same images has learnt their mistakes by heart and hides them; use a checkpoint '
    'that was trained on other images'
)


def disagreement_lines(own: LabelDisagreements) -> Iterator[str]:
    """Yield a sentence on each kind of disagreement, the image that most likely has a mistake, and a warning."""
    if not np.isfinite(own.thresholds).any():
        yield f'{own.split}: {own.model.checkpoint} agrees with no label, so that it says nothing about them'
        return
    for kind, number in Counter(one.kind for one in own.found).items():
        noun = 'object' if number == 1 else 'objects'
        if own.model.classifies:
            noun = 'image' if number == 1 else 'images'
        yield f'{own.split}: {number:,} {noun} {kind} as {own.model.checkpoint} sees it: {kind_meaning(own, kind)}'
    if own.found:
        scores = own.image_scores()
        worst = int(scores.argmax())
        path = own.model.results[worst].img_path
        yield f'{own.split}: the labels of {path} are the most likely to be wrong, with a score of {scores[worst]:.2f}'
    if own.split == 'train':
        yield f'{own.split}: {SEEN_IMAGES}'


def kind_meaning(own: LabelDisagreements, kind: str) -> str:
    """Return what a kind of disagreement means."""
    if own.model.classifies:
        return 'a confident prediction of another class'
    return DISAGREEMENT_KINDS[kind]


def disagreement_rows(own: LabelDisagreements) -> Iterator[list]:
    """Yield the split, image, object, class, kind, detail, score and score of the image of each disagreement."""
    classes, image_scores = own.model.classes, own.image_scores()
    for one in own.found:
        names = [classes[label] for label in (one.given, one.suggested) if label is not None]
        yield [
            own.split,
            own.model.results[one.image].img_path,
            one.object,
            ' / '.join(dict.fromkeys(names)),
            one.kind,
            one.detail,
            round(one.score, 4),
            round(float(image_scores[one.image]), 4),
        ]


def add_disagreements(page: HtmlPage, own: LabelDisagreements, max_pictures: int) -> None:
    """Add the disagreements of a split to a page: numbers, pictures of the worst of each kind, and tables."""
    page.heading(f'Labels of {own.split} that the model disagrees with')
    page.text(
        f'As {own.model.checkpoint} predicts {len(own.model.results):,} images. A prediction is confident if its score '
        f'reaches {_THRESHOLD[own.model.classifies]}. The score of a disagreement, 0 to 1, ranks them. Note that '
        f'{SEEN_IMAGES}.'
    )
    if not own.found:
        page.text('None.')
        return
    for kind in DISAGREEMENT_KINDS:
        chosen = [one for one in own.found if one.kind == kind]
        if not chosen:
            continue
        page.heading(f'{kind}: {len(chosen):,}', 3)
        meaning = kind_meaning(own, kind)
        page.text(
            f'{meaning[0].upper()}{meaning[1:]}.'
            + ' Labels on the left side, predictions on the right side.' * (not own.model.classifies)
        )
        page.pictures(_pictures(own, chosen[:max_pictures]))
    if own.joint is not None:
        _add_joint(page, own)
    rows = [
        [
            Cell(Path(row[1]).name, row[1]),
            '' if row[2] is None else str(row[2]),
            *row[3:5],
            Cell.wrapped(row[5]),
            *row[6:],
        ]
        for row in disagreement_rows(own)
    ]
    columns = ['image', 'object', 'class', 'kind', 'detail', 'score', 'of the image']
    page.table(columns, rows[:_LISTED], f'The first {_LISTED} of {len(rows):,}' * (len(rows) > _LISTED))
    _add_thresholds(page, own)


def _pictures(own: LabelDisagreements, chosen: list[Disagreement]) -> Iterator[tuple[np.ndarray, str]]:
    for one in chosen:
        sample = own.model.results[one.image]
        kind = 'rbbox' if 'rbbox' in own.model.metric.needs else 'bbox'
        objects, predictions = ([] if index is None else [index] for index in (one.object, one.prediction))
        try:
            picture = (
                fit(read_image(sample.img_path), _SIDE)
                if own.model.classifies
                else example_picture(own.model, sample, objects, predictions, kind)
            )
        except UnreadableImageError:
            continue  # which is listed as such
        given = '' if one.given is None else f', labelled {own.model.classes[one.given]}'
        yield picture, f'{one.score:.2f}: {Path(sample.img_path).name}{given}; {one.detail}'


def _add_joint(page: HtmlPage, own: LabelDisagreements) -> None:
    """Add the most frequent pairs of given and true classes as the confident joint estimates them."""
    wrong = own.joint * (1 - np.eye(len(own.joint)))
    order = np.argsort(-wrong, axis=None, kind='stable')[:_LISTED]
    rows = [
        [own.model.classes[given], own.model.classes[true], round(float(wrong[given, true]), 1)]
        for given, true in zip(*np.unravel_index(order, wrong.shape), strict=True)
        if wrong[given, true]
    ]
    page.table(
        ['labelled', 'probably', 'images, estimated'],
        rows,
        f'The confident joint estimates {wrong.sum():.0f} of {own.joint.sum():,.0f} labels to be wrong',
        digits=1,
    )


def _add_thresholds(page: HtmlPage, own: LabelDisagreements) -> None:
    """Add the threshold and the numbers of disagreements of each class that has any."""
    counts = Counter((one.suggested if one.given is None else one.given, one.kind) for one in own.found)
    kinds = [kind for kind in DISAGREEMENT_KINDS if any(one.kind == kind for one in own.found)]
    rows = [
        [own.model.classes[label], float(own.thresholds[label]), *(counts[label, kind] for kind in kinds)]
        for label in sorted({label for label, _ in counts})
    ]
    page.table(['class', 'confident from', *kinds], rows, 'Scores of confident predictions, and counts')
