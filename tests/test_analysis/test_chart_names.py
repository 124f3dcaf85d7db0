r"""Names in charts: Matplotlib takes ``$\foo$`` for a formula, and leaves names that begin with '_' out of legends."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text
from test_analysis.results import random_results

from detkit.analysis.charts import label_text, save_figure
from detkit.analysis.data.dataset_charts import plot_class_counts
from detkit.analysis.errors.confusion import plot_confusion
from detkit.analysis.errors.matching import match
from detkit.analysis.errors.precision_recall import class_curves, plot_against_score
from detkit.analysis.runs.run_charts import plot_curves, plot_runs
from detkit.analysis.runs.run_logs import RunLog

NAMES = (r'$\foo$', '_hidden', 'a$b$ c')
LINE = np.array([1.0, 2.0]), np.array([0.1, 0.2])


def confusion():
    return plot_confusion(np.eye(3, dtype=np.int64), NAMES, basis=r'of $\foo$')


def counts():
    return plot_class_counts([np.array([3, 2, 1])] * 3, NAMES, NAMES, 'objects')


def against_score():
    matches = match(random_results(num_images=30, seed=3), NAMES)
    return plot_against_score(class_curves(matches), NAMES, 'precision', r'$\foo$')


def runs():
    return plot_runs([RunLog(name, Path(), {'loss': LINE}) for name in NAMES], ['loss'])


def curves():
    return plot_curves({f'train/{name}': LINE for name in NAMES})


@pytest.mark.parametrize('plot', [confusion, counts, against_score, runs, curves])
def test_names_are_drawn_as_they_are(tmp_path, plot):
    figure = plot()
    save_figure(figure, tmp_path / 'chart.png')
    shown = [text.get_text() for text in figure.findobj(Text)]
    for name in NAMES:
        assert any(label_text(name) in text for text in shown), (name, shown)


def test_the_text_of_a_label():
    assert label_text('cat') == 'cat' and label_text(7) == '7' and label_text('a_b') == 'a_b'
    assert label_text('_x') == ' _x' and label_text('5 $') == r'5 \$' and label_text('a\nb') == r'a\nb'
    assert label_text('x' * 61) == 'x' * 59 + '…' and len(label_text('$' * 60)) == 120
