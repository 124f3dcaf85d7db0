"""Names of the configs that come with detkit, such as ``yolov8/seg_n_coco8``."""

from pathlib import Path

from detkit.config.origins import Origin
from detkit.config.source import sized_base
from detkit.utils.errors import ConfigError, nearest, refuse_long_name

# The prefix of a name that means one of detkit's configs even where a file has that name; ``_base_`` needs it.
SCHEME = 'detkit::'
_BASE = '_base_/'
_PACKAGE = Path(__file__).resolve().parents[1]


def configs_folder() -> Path:
    """Return the folder of detkit's configs: part of an installed package, beside the package in a clone."""
    installed = _PACKAGE / 'configs'
    return installed if installed.is_dir() else _PACKAGE.parent / 'configs'


def config_names() -> list[str]:
    """Return the names of the configs that come with detkit, in alphabetical order."""
    folder = configs_folder()
    paths = (path.relative_to(folder).with_suffix('') for path in folder.rglob('*.py'))
    return sorted(path.as_posix() for path in paths if not path.parts[0].startswith('_') and len(path.parts) > 1)


def config_name(path: str | Path) -> str | None:
    """Return the name of a file that is one of detkit's configs; None for any other file."""
    path, folder = Path(path).resolve().with_suffix(''), configs_folder().resolve()
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else None


def find_config(name: str | Path, by_whom: str = '') -> Path:
    """Return the file of a config.

    Args:
        name: the path of a file; or the name of one of detkit's configs, with ``detkit::`` before it to mean no other
            file, and with ``configs/`` before it or ``.py`` behind it as in a clone. A file that exists wins. A size
            in a name needs no file: ``yolov8/seg_m_coco8`` stands for ``yolov8/seg_n_coco8`` with the size m.
        by_whom: who names it, to be added to the error's text, with a leading space.

    Raises:
        ConfigError: there is neither such a file nor such a name.
    """
    text = Path(name).as_posix() if isinstance(name, Path) else name
    path = Path(text)
    refuse_long_name(path, ConfigError)
    if not text.startswith(SCHEME) and (path.is_file() or path.suffix == '.py' and sized_base(path) is not None):
        return path
    own = _own_config(_plain_name(text))
    if own is not None:
        return own
    what = f'no config {text}' if text.startswith(SCHEME) else f'no config file {Origin(path)}'
    from detkit.registry import WEIGHTS_BY_NAME  # names are also listed without PyTorch

    hint = config_hint(text, SCHEME if by_whom else '') + WEIGHTS_BY_NAME.get('config_of_name')(text)
    raise ConfigError(f'there is {what}{by_whom}.{hint}')


def config_hint(text: str, prefix: str = '') -> str:
    """Return a hint at files beside a path that does not exist, or at detkit's configs of similar names.

    Args:
        text: what was given.
        prefix: what stands before a name of detkit's where the hint is to be followed.
    """
    if text == '-':
        return " '-' stands for a checkpoint's own config, in detkit predict alone: give the file of that config"
    path, tail = Path(text), _plain_name(text).rpartition('configs/')[2].rpartition(':')[2]
    if not text.startswith(SCHEME) and path.parent.is_dir():
        beside = nearest(path.name, [other.name for other in path.parent.glob('*.py')])
        if beside:
            return beside
    if _BASE in text:  # such as that of another toolbox
        bases = [file.relative_to(configs_folder()) for file in sorted((configs_folder() / _BASE).rglob('*.py'))]
        names = [prefix + base.with_suffix('').as_posix() for base in bases]
        hint = nearest(prefix + _BASE + text.rpartition(_BASE)[2].removesuffix('.py'), names)
        if hint:
            return hint
    same = [name for name in config_names() if tail in (name, name.rpartition('/')[2])]
    hint = nearest(prefix + tail, [prefix + name for name in same or config_names()])
    return hint or " The command 'detkit configs' lists the names of those that come with detkit."


def _plain_name(text: str) -> str:
    """Return a name without what may stand before and behind it."""
    return text.removeprefix('./').removeprefix(SCHEME).removeprefix('configs/').removesuffix('.py')


def _own_config(name: str) -> Path | None:
    """Return the file of one of detkit's configs, which need not exist where a size is part of the name."""
    path = configs_folder() / f'{name}.py'
    if '..' in path.parts or Path(name).is_absolute() or not (path.is_file() or sized_base(path) is not None):
        return None
    return path
