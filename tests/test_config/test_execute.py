"""Inheritance and options: what a config's files define together."""

import codecs
from pathlib import Path

import pytest

from detkit.config.execute import execute
from detkit.utils.errors import ConfigError


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f'{name}.py').write_text(text)
    return folder / 'main.py'


def test_child_merges_into_base_key_by_key(tmp_path):
    main = write(
        tmp_path, base='a = dict(x=1, y=dict(z=2), w=[1])', main="_base_ = 'base.py'\na = dict(y=dict(u=3), w=[4, 5])"
    )
    assert execute(main, {}).values == {'a': {'x': 1, 'y': {'z': 2, 'u': 3}, 'w': [4, 5]}}


def test_bases_side_by_side_share_a_dict(tmp_path):
    main = write(
        tmp_path, base='a = dict(x=1, both=0)', other='a = dict(y=2, both=0)', main="_base_ = ['base.py', 'other.py']"
    )
    executed = execute(main, {})
    assert executed.values == {'a': {'x': 1, 'both': 0, 'y': 2}}
    assert [executed.origins.find(('a', key)).file.name for key in 'xy'] == ['base.py', 'other.py']


def test_delete_replaces_a_dict(tmp_path):
    main = write(
        tmp_path,
        base='a = dict(x=1, y=dict(z=2))',
        main="_base_ = ['base.py']\na = dict(y=dict(_delete_=True, u=3))\nb = dict(_delete_=True, v=1)",
    )
    assert execute(main, {}).values == {'a': {'x': 1, 'y': {'u': 3}}, 'b': {'v': 1}}


def test_base_values_are_readable_and_unchanged(tmp_path):
    main = write(
        tmp_path,
        base='size = 640\nnames = dict(a=1)',
        main="_base_ = 'base.py'\ndouble = _base_.size * 2\nold = {{_base_.names}}\nthird = _base_.names.a",
    )
    values = execute(main, {}).values
    assert values == {'size': 640, 'names': {'a': 1}, 'double': 1280, 'old': {'a': 1}, 'third': 1}
    assert type(values['old']) is dict


def test_base_of_a_base_in_another_folder(tmp_path):
    (tmp_path / 'deep').mkdir()
    (tmp_path / 'deep' / 'root.py').write_text('a = 1')
    main = write(tmp_path, middle="_base_ = 'deep/root.py'\nb = 2", main="_base_ = './middle.py'\nc = 3")
    executed = execute(main, {})
    assert executed.values == {'a': 1, 'b': 2, 'c': 3}
    assert [file.name for file in executed.files] == ['root.py', 'middle.py', 'main.py']


def test_helpers_modules_and_private_names_are_no_values(tmp_path):
    main = write(
        tmp_path,
        main='import math\nfrom pathlib import Path\n_hidden = int(Path("2").name)\n'
        'def twice(x):\n    y = x\n    return y * 2\na = twice(math.floor(_hidden))',
    )
    assert execute(main, {}).values == {'a': 4}


@pytest.mark.parametrize(
    'text, expected',
    [
        ("root = 'x'\nann = root + '/a'", {'root': 'y', 'ann': 'y/a'}),
        ("root: str = 'x'\nann = root + '/a'", {'root': 'y', 'ann': 'y/a'}),
        ("root, n = 'x', 2\nann = root + '/a'", {'root': 'y', 'n': 2, 'ann': 'y/a'}),
        ("root = 'x'\nroot += '/sub'\nann = root", {'root': 'y', 'ann': 'y'}),
        ("if True:\n    root = 'x'\n    ann = root", {'root': 'y', 'ann': 'y'}),
        ("def f():\n    root = 'inner'\n    return root\nroot = 'x'\nann = f()", {'root': 'y', 'ann': 'inner'}),
        ("(root := 'x')\nann = root", {'root': 'y', 'ann': 'y'}),
        ("print(root := 'x')\nann = root", {'root': 'y', 'ann': 'y'}),
        ("for root in ('x', 'z'):\n    ann = root", {'root': 'y', 'ann': 'y'}),
        ("match 'x':\n    case root:\n        ann = root", {'root': 'y', 'ann': 'y'}),
        (
            "import contextlib\nwith contextlib.nullcontext('x') as root:\n    ann = root",
            {'root': 'y', 'ann': 'y'},
        ),
        ("root = 'x'\ndef f():\n    return root\nann = f()", {'root': 'y', 'ann': 'y'}),
    ],
)
def test_a_variable_reaches_what_is_built_from_it(tmp_path, text, expected):
    assert execute(write(tmp_path, main=text), {'root': 'y'}).values == expected


def test_a_variable_reaches_the_bases(tmp_path):
    main = write(
        tmp_path,
        base="root = 'x'\ndata = dict(path=root + '/images')",
        main="_base_ = 'base.py'\nval = _base_.root + '/val'",
    )
    assert execute(main, {'root': 'y'}).values == {'root': 'y', 'data': {'path': 'y/images'}, 'val': 'y/val'}


def test_files_may_begin_with_a_byte_order_mark(tmp_path):
    main = write(tmp_path, main="_base_ = 'base.py'\nb = _base_.a + 1", base='a = 1')
    for file in tmp_path.glob('*.py'):  # as editors of Windows save text
        file.write_bytes(codecs.BOM_UTF8 + file.read_bytes())
    assert execute(main, {}).values == {'a': 1, 'b': 2}


@pytest.mark.parametrize(
    'files, sentence',
    [
        ({'main': "_base_ = 'bass.py'", 'base': 'a = 1'}, "no config file .*bass.py .*Did you mean 'base.py'"),
        ({'main': "_base_ = 'base.py'", 'base': "_base_ = 'main.py'"}, 'is its own base'),
        ({'main': 'a = 1\nb = (2'}, r'main.py:2: this is no valid Python'),
        ({'main': 'a = 1\nb = undefined'}, r"main.py:2: NameError: name 'undefined' is not defined"),
        (
            {'main': "_base_ = 'base.py'\n\nb = _base_.siz", 'base': 'size = 1'},
            r"main.py:3: _base_ has no 'siz'; it has size. Did you mean 'size'",
        ),
        ({'main': "_base_ = 'base.py'\n_base_.names.append(3)", 'base': 'names = [1]'}, 'changes _base_ in place'),
        (
            {'main': "_base_ = 'base.py'\na = dict(x=1)", 'base': 'a = [1]'},
            'main.py:2: a is a dict, .*base.py:1.*_delete_',
        ),
        ({'main': "_base_ = ['base.py', 'other.py']", 'base': 'a = 1', 'other': 'a = 2'}, "two bases set 'a'"),
        (
            {
                'main': "_base_ = ['base.py', 'other.py']",
                'base': 'a = dict(x=dict(y=1))',
                'other': 'a = dict(x=dict(y=2))',
            },
            r"two bases set 'a.x.y', to different values: .*base.py:1 and .*other.py:1",
        ),
        ({'main': '_base_ = 3'}, '_base_ must be a path'),
    ],
)
def test_mistakes_name_file_and_line(tmp_path, files, sentence):
    with pytest.raises(ConfigError, match=sentence):
        execute(write(tmp_path, **files), {})


def test_a_file_that_is_no_python_name(tmp_path):
    with pytest.raises(ConfigError, match='ends in .py is expected'):
        execute(tmp_path / 'config.yaml', {})


def test_origins_name_file_and_line(tmp_path):
    base = 'a = dict(\n    x=1,\n    y=2)\npipe = [\n    dict(k=1),\n    dict(k=2)]\nb = dict(p=pipe)'
    own = "_base_ = 'base.py'\n\na = dict(y=3)\nc = [*_base_.pipe]\nd = dict(q=_base_.pipe)"
    main = write(tmp_path, base=base, main=own)
    origins = execute(main, {}).origins
    places = {
        ('a', 'x'): ('base.py', 2),
        ('a', 'y'): ('main.py', 3),
        ('b', 'p', 1, 'k'): ('base.py', 6),
        ('c', 0, 'k'): ('main.py', 4),
        ('d', 'q', 0, 'k'): ('base.py', 5),
    }
    assert {path: (origins.find(path).file.name, origins.find(path).line) for path in places} == places


@pytest.mark.parametrize(
    'text, line',
    [
        ("names = []\nnames.append('x')\nfirst = names[0]", 2),
        ("names = ['x']\nnames[0] = 'z'\nfirst = names[0]", 2),
        ("globals()['names'] = ['x']\nfirst = names[0]", 1),
        ("names = ['x']\ndef f():\n    global names\n    names = ['z']\nf()\nfirst = names[0]", 2),
    ],
)
def test_a_variable_that_a_file_changes_in_place_cannot_be_replaced(tmp_path, text, line):
    with pytest.raises(ConfigError, match=rf'main.py(:{line})? changes names in place'):
        execute(write(tmp_path, main=text), {'names': ['y']})


@pytest.mark.parametrize(
    'text, expected',
    [
        ('with open(__file__) as f:\n    first = f.read(4)', {'first': 'with'}),
        ("letters = (letter for letter in 'ab')\nnames = list(letters)", {'names': ['a', 'b']}),
        ('import threading\nlock = threading.Lock()\nwith lock:\n    a = 1', {'a': 1}),
        (
            'import numpy as np\nedges = np.arange(3)\nn = np.int64(5)\na = dict(b=[np.float32(0.5)], c=(n, edges))',
            {'edges': [0, 1, 2], 'n': 5, 'a': {'b': [0.5], 'c': (5, [0, 1, 2])}},
        ),
    ],
)
def test_objects_that_a_file_computes_with_are_no_values(tmp_path, text, expected):
    values = execute(write(tmp_path, main=text), {}).values
    assert values == expected
    assert {type(value) for value in values.values()} <= {str, int, list, dict}


@pytest.mark.parametrize(
    'text, expected',
    [
        ("classes = (name for name in 'ab')", r'main.py:2: classes is a value of the type generator'),
        ('model = dict(a=[1, open(__file__)])', r'main.py:2: model.a.1 is a value of the type TextIOWrapper'),
        ("size = map(str, 'ab')", r'main.py:2: size is a value of the type map'),
    ],
)
def test_objects_are_no_settings(tmp_path, text, expected):
    with pytest.raises(ConfigError, match=expected):
        execute(write(tmp_path, base='size = 640', main=f"_base_ = 'base.py'\n{text}"), {})


def test_a_base_may_be_annotated(tmp_path):
    main = write(tmp_path, base='a = 1', main="_base_: list[str] = ['base.py']\nb = _base_.a + 1")
    assert execute(main, {}).values == {'a': 1, 'b': 2}


@pytest.mark.parametrize(
    'text, line',
    [
        ("_base_ = ['base.py']\n_base_ += ['other.py']", 2),
        ("_base_ = 'base.py'\n_base_ = 'other.py'", 2),
        ("if True:\n    _base_ = 'base.py'", 2),
        ("bases = _base_ = 'base.py'", 1),
        ("(_base_ := 'base.py')", 1),
        ("_base_ = 'base.py'\ndel _base_", 2),
        ('_base_: str', 1),
    ],
)
def test_bases_that_are_not_one_statement_are_refused(tmp_path, text, line):
    main = write(tmp_path, base='a = 1', other='b = 1', main=text)
    with pytest.raises(ConfigError, match=rf'main.py:{line}: .*_base_ is set once, by a statement of its own'):
        execute(main, {})


def test_a_file_that_ends_the_process(tmp_path):
    with pytest.raises(ConfigError, match=r'main.py:2: SystemExit: 3'):
        execute(write(tmp_path, main='import sys\nsys.exit(3)'), {})


@pytest.mark.parametrize('text', ['import time\na = time.time_ns()', 'import uuid\na = str(uuid.uuid4())'])
def test_a_value_that_differs_from_run_to_run(tmp_path, text):
    with pytest.raises(ConfigError, match=r'main.py:3: a is another value whenever the file runs'):
        execute(write(tmp_path, base='a = 1\nb = a', main=f"_base_ = 'base.py'\n{text}"), {})
