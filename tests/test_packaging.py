"""The wheel and the sdist: what they hold, and that an installed wheel works outside any clone."""

from __future__ import annotations

import email
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from detkit import __version__

SOURCES = ('detkit', 'configs', 'setup.py', 'pyproject.toml', 'MANIFEST.in', 'README.md', 'CHANGELOG.md', 'LICENSE')
# More interpreters whose environments hold detkit's requirements, beside the one that runs the tests.
PYTHONS = [sys.executable, *filter(None, os.environ.get('DETKIT_TEST_PYTHONS', '').split(os.pathsep))]


def build(kind: str, source: Path, target: Path) -> Path:
    """Build a 'wheel' or an 'sdist' of a source folder with the setuptools that is installed."""
    code = f'import setuptools.build_meta as backend; print(backend.build_{kind}({str(target)!r}))'
    done = subprocess.run([sys.executable, '-c', code], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target / done.stdout.splitlines()[-1]


@pytest.fixture(scope='module')
def sdist(repo, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('sources')
    for name in SOURCES:
        if (repo / name).is_dir():
            shutil.copytree(repo / name, folder / name, ignore=shutil.ignore_patterns('__pycache__'))
        else:
            shutil.copy(repo / name, folder)
    return build('sdist', folder, tmp_path_factory.mktemp('sdist'))


@pytest.fixture(scope='module')
def wheel(sdist, tmp_path_factory) -> Path:
    """The wheel of the sdist, as PyPI's users get it where no wheel fits."""
    return build('wheel', unpack(sdist, tmp_path_factory.mktemp('unpacked')), tmp_path_factory.mktemp('wheel'))


def unpack(sdist: Path, folder: Path) -> Path:
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter='data') if hasattr(tarfile, 'data_filter') else archive.extractall(folder)
    return next(folder.iterdir())


def files_of(folder: Path) -> set[str]:
    return {
        path.relative_to(folder.parent).as_posix()
        for path in folder.rglob('*')
        if path.is_file() and '__pycache__' not in path.parts
    }


def test_the_wheel_holds_the_package_and_every_config_and_no_more(repo, wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    info = f'detkit-{__version__}.dist-info'
    configs = {f'detkit/{name}' for name in files_of(repo / 'configs')}
    assert {name for name in names if not name.startswith(info)} == files_of(repo / 'detkit') | configs
    assert {'detkit/py.typed', 'detkit/analysis/assets/page.css', f'{info}/licenses/LICENSE'} <= names
    assert 'detkit/configs/yolov8/seg_n_coco8.py' in configs


def test_a_wheel_holds_nothing_of_an_earlier_build(sdist, wheel, tmp_path):
    source = unpack(sdist, tmp_path)
    for name in ('removed.py', 'configs/yolov8/removed.py'):
        path = source / 'build' / 'lib' / 'detkit' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('')
    again = build('wheel', source, tmp_path)
    assert zipfile.ZipFile(again).namelist() == zipfile.ZipFile(wheel).namelist()


def test_the_wheel_names_its_version_licence_and_command(wheel):
    archive = zipfile.ZipFile(wheel)
    info = f'detkit-{__version__}.dist-info'
    metadata = email.message_from_bytes(archive.read(f'{info}/METADATA'))
    assert (metadata['Name'], metadata['Version'], metadata['Requires-Python']) == ('detkit', __version__, '>=3.10')
    assert 'Apache-2.0' in (metadata['License-Expression'], metadata['License'])
    assert 'detkit=detkit.cli.main:main' in archive.read(f'{info}/entry_points.txt').decode().replace(' ', '')
    assert wheel.name == f'detkit-{__version__}-py3-none-any.whl'


def test_the_sdist_holds_what_a_wheel_is_built_from_and_no_tests(repo, sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition('/')[2] for name in archive.getnames()}
    assert {'setup.py', 'pyproject.toml', 'README.md', 'CHANGELOG.md', 'LICENSE'} <= names
    assert files_of(repo / 'configs') | files_of(repo / 'detkit') <= names
    assert not [name for name in names if name.startswith('tests')]


@pytest.mark.thorough
def test_a_wheel_can_be_built_again_byte_by_byte(sdist, tmp_path, monkeypatch):
    """As whoever doubts a release would: elsewhere, at another time, with the release's date."""
    monkeypatch.setenv('SOURCE_DATE_EPOCH', '1790000000')
    wheels = []
    for name, time in (('first', 1_800_000_000), ('second', 1_900_000_000)):
        (tmp_path / name / 'sources').mkdir(parents=True)
        source = unpack(sdist, tmp_path / name / 'sources')
        for path in source.rglob('*'):
            os.utime(path, (time, time))
        wheels.append(build('wheel', source, tmp_path / name))
    assert wheels[0].read_bytes() == wheels[1].read_bytes()


def test_the_changelog_has_the_version(repo):
    assert f'## {__version__} ' in (repo / 'CHANGELOG.md').read_text()


@pytest.fixture(scope='module', params=PYTHONS, ids=lambda python: Path(python).parents[1].name)
def installed(request, wheel, tmp_path_factory) -> Path:
    """The ``bin`` folder of a new environment with the wheel, which takes the requirements from another one."""
    python, folder = request.param, tmp_path_factory.mktemp('venv')
    subprocess.run([python, '-m', 'venv', '--without-pip', folder], check=True)
    own = folder / ('Scripts' if os.name == 'nt' else 'bin')
    query = 'import sysconfig; print(sysconfig.get_path("purelib"))'
    theirs, purelib = (
        subprocess.run([each, '-c', query], check=True, capture_output=True, text=True).stdout.strip()
        for each in (python, own / 'python')
    )
    Path(purelib, 'requirements.pth').write_text(theirs)
    pip = [python, '-m', 'pip', '--python', own / 'python', 'install', '--quiet', '--no-deps', '--no-index', wheel]
    subprocess.run(pip, check=True, env=environment())
    return own


def environment() -> dict[str, str]:
    """The variables of this process without those that lead to a clone."""
    return {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}


@pytest.mark.slow
def test_an_installed_wheel_works_outside_a_clone(installed, tiny_data, tmp_path):
    def detkit(*argv: object) -> str:
        command = [installed / 'detkit', *map(str, argv)]
        done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    options = ('--cfg-options', f'data_root={tiny_data}', 'img_size=64')
    assert detkit('--version') == f'detkit {__version__}\n'
    (path,) = detkit('configs', 'yolov8/seg_n_coco8', '--path').splitlines()
    assert Path(path).is_relative_to(installed.parent)
    detkit('check', 'yolov8/seg_n_coco8', '--device', 'cpu', '--seconds', 1, *options)
    detkit('train', 'yolov8/seg_n_coco8', '--device', 'cpu', *options, 'max_epochs=1')
    run = tmp_path / 'work_dirs' / 'seg_n_coco8'
    detkit('test', 'yolov8/seg_n_coco8', run / 'last.pth', '--device', 'cpu', *options)
    images = tiny_data / 'images' / 'val'
    detkit('predict', '-', run / 'last.pth', images, '--device', 'cpu', '--out-dir', 'shown')
    assert len(list((tmp_path / 'shown').glob('*.jpg'))) == len(list(images.iterdir()))
    (tmp_path / 'mine.py').write_text("_base_ = 'detkit::yolov8/seg_n_coco8'\nmax_epochs = 2\n")
    assert 'max_epochs = 2' in detkit('analyze', 'print-config', 'mine.py')
