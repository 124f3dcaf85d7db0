"""The search space: what a config or the command line may state, and what is refused."""

import optuna
import pytest

from detkit.tuning import Parameter, parse_space, read_search_options
from detkit.utils.errors import ConfigError


def test_ranges_and_choices_from_the_command_line():
    found = read_search_options(['lr=1e-4:1e-1:log', 'size=n,s', 'img_size=320:640:32', 'x=0.5', '+a.b=true,false'])
    assert found == {
        'lr': {'low': 1e-4, 'high': 1e-1, 'log': True},
        'size': ['n', 's'],
        'img_size': {'low': 320, 'high': 640, 'step': 32},
        'x': [0.5],
        '+a.b': [True, False],
    }


def test_a_range_of_whole_numbers_ends_at_the_last_that_is_reached():
    assert parse_space({'img_size': dict(low=320, high=650, step=32)}) == [
        Parameter('img_size', low=320, high=640, step=32)
    ]
    assert parse_space({'lr': dict(low=1, high=2.5)})[0] == Parameter('lr', low=1.0, high=2.5)


@pytest.mark.parametrize(
    ('space', 'sentence'),
    [
        (5, 'search_space is 5, but must be a dict'),
        ({'lr': 5}, r"search_space\['lr'\] is 5, but must be a list of values"),
        ({'lr': 'a'}, r"search_space\['lr'\] is 'a'"),
        ({'lr': []}, 'at least one'),
        ({'lr': [1, 1]}, 'values that differ'),
        ({'lr': dict(low=1)}, 'high is None, but must be a number'),
        ({'lr': dict(low=1, hihg=2)}, "has the key 'hihg'. Did you mean 'high'"),
        ({'lr': dict(low=2, high=1)}, 'low is 2, but must be less than high, 1'),
        ({'lr': dict(low=0, high=1, log=True)}, 'needs low > 0'),
        ({'lr': dict(low=1, high=9, log=True, step=2)}, 'no step'),
        ({'lr': dict(low=0, high=1, step=0)}, 'greater than 0'),
        ({'lr': dict(low=0, high=float('inf'))}, 'high is inf'),
        ({'lr': dict(low=0, high=1, log='yes')}, "log is 'yes'"),
        ({'lr': dict(low=False, high=1)}, 'low is False'),
    ],
)
def test_a_wrong_space_is_a_sentence(space, sentence):
    with pytest.raises(ConfigError, match=sentence):
        parse_space(space)


@pytest.mark.parametrize('text', ['lr', '=1:2', 'lr=', '+=a,b'])
def test_a_wrong_option_is_a_sentence(text):
    with pytest.raises(ConfigError, match='is neither KEY=LOW:HIGH'):
        read_search_options([text])


@pytest.mark.parametrize('text', ['1e-4..1e-2', '1e-4-1e-2', '1e-4~1e-2', '1e-4 to 1e-2', '1e-4:1e-2:lin'])
def test_a_range_in_another_form_is_shown_as_it_is_written(text):
    with pytest.raises(ConfigError, match='write lr=1e-4:1e-2, with :log'):
        read_search_options([f'lr={text}'])


def test_values_are_the_choices_themselves_and_repeat():
    space = parse_space({'a': [{'type': 'X'}, None, (1, 2)], 'b': dict(low=1, high=3), 'c': dict(low=0.0, high=1)})
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    values = [parameter.suggest(trial) for parameter in space]
    assert values[0] in ({'type': 'X'}, None, (1, 2))
    assert isinstance(values[1], int) and 0 <= values[2] <= 1
    assert [parameter.suggest(trial) for parameter in space] == values
