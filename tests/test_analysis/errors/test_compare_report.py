import re
from html import unescape

import pytest
from test_analysis.models import answers, better_and_worse, model, with_pictures
from test_analysis.results import random_results, rotated

from detkit.analysis.errors.bootstrap import Interval
from detkit.analysis.errors.compare import compare
from detkit.analysis.errors.compare_report import write_report


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading."""
    part = page[page.index(f'>{heading}</h') :]
    body = part[part.index('<tbody>') : part.index('</tbody>')]
    return [re.findall(r'<td[^>]*>(.*?)</td>', line) for line in body.splitlines() if line.startswith('<tr')]


@pytest.fixture(scope='module')
def page(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp('report')
    exact, vague = better_and_worse(60)
    with_pictures(exact.results, folder)
    with_pictures(vague.results, folder)
    exact.config.merge_from_dict(dict(lr=0.1, work_dir='a', steps=[dict(type='Flip', prob=0.5)]))
    vague.config.merge_from_dict(dict(work_dir='b', steps=[dict(type='Flip', prob=0.2)], model=dict(depth=[1, 2])))
    found = compare([exact, vague], replicates=50)
    write_report(found, folder / 'deep' / 'page.html', [Interval(4.0, 3.8, 4.2), Interval(2.0, 1.9, 2.1)], max_images=3)
    return (folder / 'deep' / 'page.html').read_text()


def test_tables(page):
    assert [row[0] for row in rows(page, 'Metrics')] == ['exact', 'vague']
    assert rows(page, 'Metrics')[0][3] == '4.0 (3.8 to 4.2)'
    assert rows(page, 'Which is better?')[0][::3] == ['vague - exact', 'exact is better']
    assert [row[0] for row in rows(page, 'By size of the objects')] == ['small', 'medium', 'large']
    assert [row[0] for row in rows(page, 'By class')] == ['cat', 'dog', 'bird']
    differences = [['lr', '0.1', '(absent)'], ['model', '(absent)', "{'depth': [1, 2]}"]]
    assert [[unescape(cell) for cell in row] for row in rows(page, 'exact and vague')] == differences
    assert 'box mAP on 60 images: exact has the highest' in page and 'exact is better' in page


def test_few_images_colour_nothing(tmp_path):
    write_report(compare(better_and_worse(12), replicates=50), tmp_path / 'few.html', max_images=0)
    page = (tmp_path / 'few.html').read_text()
    assert rows(page, 'Which is better?')[0][3] == 'no verdict: 12 images, 30 needed'
    assert 'class="good"' not in page and 'class="bad"' not in page and 'evaluate on 30 images at least' in page
    assert all(int(row[1]) <= 12 for row in rows(page, 'By class'))


def test_pictures_show_the_truth_and_every_model(page):
    part = page[page.index('Images on which they differ most') : page.index('How the configs differ')]
    assert part.count('<h3>') == 3 and part.count('<img') == 9
    assert part.count('ground truth</figcaption>') == 3
    spreads = [
        abs(float(one) - float(other))
        for one, other in re.findall(r'exact: F1 ([\d.]+)</figcaption>.*?vague: F1 ([\d.]+)</figcaption>', part, re.S)
    ]
    assert len(spreads) == 3 and spreads == sorted(spreads, reverse=True) and spreads[-1] > 0


def test_accuracy_against_time(page):
    assert 'Accuracy against time' in page and 'ms/image' in page


@pytest.mark.parametrize('kind', ['rbbox', 'label'])
def test_other_tasks(kind, tmp_path):
    if kind == 'rbbox':
        parts = [rotated(with_pictures(random_results(4, noise=noise), tmp_path)) for noise in (1, 20)]
    else:
        parts = [with_pictures(answers(right), tmp_path) for right in ([True] * 6, [True, False] * 3)]
    models = [model(f'model {i}', part, (kind,), topk=[1]) for i, part in enumerate(parts)]
    write_report(compare(models, replicates=10), tmp_path / 'page.html', score_thr=0)
    page = (tmp_path / 'page.html').read_text()
    assert page.count('<img') == (9 if kind == 'label' else page.count('ground truth</figcaption>') * 3) > 0
    assert ('model 1: wrong' in page) == (kind == 'label')
    assert 'Accuracy against time' not in page and ('By size' in page) == (kind == 'rbbox')
    assert 'Not at all.' in page


def test_equal_models_and_a_single_one(tmp_path):
    results = random_results(5)
    write_report(compare([model('a', results), model('b', results)], replicates=5), tmp_path / 'equal.html')
    page = (tmp_path / 'equal.html').read_text()
    assert 'all are equally right on every image' in page and '<img' not in page
    write_report(compare([model('a', results)], replicates=5), tmp_path / 'one.html')
    page = (tmp_path / 'one.html').read_text()
    assert 'Comparison of a<' in page and 'Which is better' not in page and 'configs differ' not in page
