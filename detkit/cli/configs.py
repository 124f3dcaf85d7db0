"""List the configs that come with detkit, or copy one to be edited.

    detkit configs
    detkit configs yolov8 coco8
    detkit configs yolov8/seg_n_coco8 --path
    detkit configs yolov8/seg_n_coco8 --copy my_configs

A name is accepted wherever a config file is. A size in it needs no file: yolov8/seg_m_coco8 is yolov8/seg_n_coco8 with
size=m. In a config of your own _base_ = 'detkit::yolov8/seg_n_coco8' inherits from one.
"""

import argparse
import ast
import re
from pathlib import Path

from detkit.cli.command import CommandParser


def add_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        'words', nargs='*', metavar='WORD', help='list the configs with these words in their name or description'
    )
    group = parser.add_mutually_exclusive_group()
    group.add_argument('--path', action='store_true', help='print the files instead of the descriptions')
    group.add_argument(
        '--copy',
        metavar='DIR',
        help='write the named configs to this folder, each as one file without bases',
    )
    parser.mistake = _mistake


def _mistake(args: argparse.Namespace) -> str | None:
    return 'which configs should be copied? Give their names' if args.copy and not args.words else None


def run(args: argparse.Namespace) -> None:
    from detkit.config.names import config_hint, config_names, configs_folder
    from detkit.utils.errors import ConfigError

    if args.copy:
        for name in args.words:
            print(_copy(name, Path(args.copy)))
        return
    found = {}
    for name in config_names():
        path = configs_folder() / f'{name}.py'
        text = _summary(path)
        if all(word.lower() in f'{name} {text}'.lower() for word in args.words):
            found[name] = str(path) if args.path else text
    if not found and len(args.words) == 1 and (path := _base_of_size(args.words[0])) is not None:
        found[args.words[0]] = str(path) if args.path else _summary(path)
    if not found:
        words = ' '.join(args.words)
        raise ConfigError(f'no config has {words!r} in its name or description.{config_hint(words)}')
    width = 0 if args.path else max(map(len, found))
    for name, text in found.items():
        print(text if args.path else f'{name:<{width}}  {text}')


def _base_of_size(name: str) -> Path | None:
    """Return the file that a name with a size in it is made from; None where it is no such name.

    Raises:
        ConfigError: there is no such size.
    """
    from detkit.config import find_config, load_config
    from detkit.config.source import sized_base
    from detkit.utils.errors import ConfigError

    try:
        path = find_config(name)
    except ConfigError:
        return None
    base = sized_base(path)
    if path.is_file() or base is None:
        return None
    load_config(path, need_classes=False)
    return path.with_name(base[0])


def _summary(path: Path) -> str:
    """Return the first line of a config's docstring, without its link and full stop."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''
    return re.sub(r' *\(http.*?\)', '', text.partition('\n')[0]).rstrip('.:')


def _copy(name: str, folder: Path) -> Path:
    """Write a config with its bases as one file, under its docstring; return the file."""
    from detkit.config import find_config, load_config, resolved_text
    from detkit.utils.errors import ConfigError
    from detkit.utils.files import write_text

    source = find_config(name)
    target = folder / source.name
    if target.exists():
        raise ConfigError(f'{target} exists already; remove it, or give another folder')
    text = resolved_text(load_config(source, need_classes=False))
    folder.mkdir(parents=True, exist_ok=True)
    write_text(target, text)
    return target
