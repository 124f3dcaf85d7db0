"""The differences of an exported file from PyTorch, and whether they are above the format's tolerances."""

from __future__ import annotations

from dataclasses import dataclass, field

from detkit.export.plan import Plan
from detkit.utils.numbers import count_text

# Greatest difference of other tensors as a share of their greatest value, by precision.
_RELATIVE = {'float32': 1e-3, 'half': 0.05, 'int8': 0.5}


@dataclass
class Means:
    """Mean differences over what either of the two finds, by which int8 is judged.

    With 256 steps for all values of a layer, single predictions differ much in a network that is as accurate as before.

    Attributes:
        totals: sum and count of each: 'bboxes' in pixels of the network's input, 'scores', and of other outputs the
            difference and the size of the values, whose quotient is their relative difference.
    """

    totals: dict[str, tuple[float, float]] = field(default_factory=dict)

    def add(self, name: str, value: float, weight: float) -> None:
        """Add a sum and the count, or the size of the values, that it is divided by."""
        total, weights = self.totals.get(name, (0.0, 0.0))
        self.totals[name] = (total + value, weights + weight)

    def __getitem__(self, name: str) -> float:
        total, weight = self.totals.get(name, (0.0, 0.0))
        return total / weight if weight else total

    def others(self) -> dict[str, float]:
        """Return the relative differences of the outputs that are neither boxes nor scores."""
        return {name: self[name] for name in self.totals if name not in ('bboxes', 'scores')}


@dataclass
class Differences:
    """The greatest differences of a file from PyTorch.

    Attributes:
        bboxes: pixels of the network's input, over the best decoded boxes of each image, clipped to the input.
        scores: over all decoded scores.
        tensors: of each output, as a share of its greatest value.
        matched, unmatched: detections with and without a partner in the other's results. Where the decoded tensors are
            equal, one without a partner is of two whose scores are equal but for their last digits: either of them may
            suppress the other.
        misplaced: rows of a suppression in the graph that PyTorch's candidates do not explain.
        images: images compared.
        batches: sizes (B, H, W) of the inputs.
        means: mean differences, of int8 only.
    """

    bboxes: float = 0.0
    scores: float = 0.0
    tensors: dict[str, float] = field(default_factory=dict)
    matched: int = 0
    unmatched: int = 0
    misplaced: int = 0
    images: int = 0
    batches: list[tuple[int, int, int]] = field(default_factory=list)
    means: Means = field(default_factory=Means)

    def numbers(self) -> dict[str, float]:
        """Return what a file's description holds of them."""
        own = {'bboxes': self.bboxes, 'scores': self.scores, 'matched': self.matched, 'unmatched': self.unmatched}
        means = {f'mean {name}': self.means[name] for name in self.means.totals}
        return {**own, **means, **{f'tensor {name}': value for name, value in self.tensors.items()}}

    def lines(self) -> list[str]:
        """Return lines for people."""
        sizes = ', '.join(dict.fromkeys(f'{b} x {h} x {w}' for b, h, w in self.batches))
        total = self.matched + self.unmatched
        found = f'{self.matched} of {total} detections have the same partner' if total else ''
        tensors = ', '.join(f'{name} {value:.1e}' for name, value in self.tensors.items())
        means = (
            f'mean difference of what is found: boxes {self.means["bboxes"]:.2g} px, scores {self.means["scores"]:.2g}'
        )
        if not total and not self.tensors:  # of a suppression in the graph, whose rows alone are compared
            nothing = 'nothing is found in them at this score_thr, so that nothing was compared: give other images'
            return [f'checked on {count_text(self.images, "image")} in batches of {sizes}', nothing]
        return [
            f'checked on {count_text(self.images, "image")} in batches of {sizes}',
            f'largest difference: boxes {self.bboxes:.2g} px, scores {self.scores:.2g}{"; " * bool(found)}{found}',
            *([means] if self.means.totals else []),
            *([f'of raw tensors, as a share of their largest value: {tensors}'] if tensors else []),
        ]

    def failures(self, plan: Plan, tolerance: float | None = None) -> list[str]:
        """Return what is above its tolerance.

        Args:
            plan: what was exported.
            tolerance: greatest difference of boxes in pixels; None for the format's.
        """
        most_bboxes, most_scores = plan.format.tolerances(plan.precision)
        most_bboxes = most_bboxes if tolerance is None else tolerance
        bboxes, scores, others = self.bboxes, self.scores, self.tensors
        if plan.int8:
            bboxes, scores, others = self.means['bboxes'], self.means['scores'], self.means.others()
        on_average = ' on average' * plan.int8
        found = []
        # Written so that NaN fails.
        if not bboxes <= most_bboxes:
            found.append(f'boxes differ by {bboxes:.3g} px{on_average}, more than {most_bboxes:g}')
        if not scores <= most_scores:
            found.append(f'scores differ by {scores:.3g}{on_average}, more than {most_scores:g}')
        if self.misplaced:
            found.append(f'{self.misplaced} detections are kept or suppressed otherwise')
        found += [
            f'{name} differs by {value:.3g} of its {"mean" if plan.int8 else "largest"} value, more than '
            f'{_RELATIVE[plan.precision]:g}'
            for name, value in others.items()
            if name not in ('bboxes', 'rbboxes', 'scores') and not value <= _RELATIVE[plan.precision]
        ]
        return found
