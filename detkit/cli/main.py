"""The ``detkit`` command, and the table of its commands."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from detkit import __version__
from detkit.cli.command import Command, CommandParser, run_command
from detkit.utils.errors import nearest
from detkit.utils.printable import escape_unencodable

# The commands in the order of the help. A command needs its entry here and its module, see CommandModule:
# 'analyze pr-curves' is detkit/cli/analyze/pr_curves.py.
COMMANDS = (
    'train',
    'test',
    'predict',
    'track',
    'count',
    'export',
    'serve',
    'tune',
    'compare',
    'configs',
    'check',
    'zoo',
    'convert',
    'convert-dataset',
    'tile-dota',
    'analyze benchmark',
    'analyze browse-dataset',
    'analyze compare',
    'analyze complexity',
    'analyze confusion-matrix',
    'analyze dataset-stats',
    'analyze error-analysis',
    'analyze feature-maps',
    'analyze optimize-anchors',
    'analyze plot-logs',
    'analyze plot-schedule',
    'analyze pr-curves',
    'analyze print-config',
    'analyze summarize-runs',
)
_SHELLS = ('bash', 'zsh', 'fish', 'tcsh', 'powershell')


def find_command(name: str, prog: str = '') -> Command:
    """Return a command of the table; ``prog`` is what is written to call it, where that is not ``detkit NAME``."""
    if name not in COMMANDS:
        raise KeyError(f'detkit has no command {name!r}')
    return Command(name, prog)


def make_parser() -> CommandParser:
    """Return the parser of all commands; what it returns holds the :class:`Command` as ``command``."""
    parser = CommandParser(
        prog='detkit',
        description='Train, test and compare detectors that are composed in config files.',
        epilog="'detkit COMMAND --help' shows the arguments of a command, and examples.",
    )
    parser.add_argument('--version', action='version', version=f'detkit {__version__}')
    parser.add_argument(
        '--print-completion',
        action=_PrintCompletion,
        metavar='SHELL',
        help=f'print the script that completes commands and options in a shell: {", ".join(_SHELLS)}',
    )
    groups = {'': parser.add_subparsers(metavar='COMMAND', required=True)}
    for name in COMMANDS:
        group, _, last = name.rpartition(' ')
        if group not in groups:
            text = import_module(f'detkit.cli.{group}').__doc__.strip()
            child = groups[''].add_parser(group, help=_as_help(text), description=text)
            groups[group] = child.add_subparsers(metavar='QUESTION', required=True)
        command = Command(name)
        child = groups[group].add_parser(last, help=_as_help(command.summary), **command.texts())
        command.module.add_arguments(child)
        child.set_defaults(command=command)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``detkit``; return its exit status.

    Args:
        argv: the arguments; those of the process by default.
    """
    escape_unencodable(sys.stdout)
    words = _with_known_command(list(sys.argv[1:] if argv is None else argv))

    def run() -> int | None:
        args = make_parser().parse_args(words or ['--help'])
        return args.command.run(args)

    return run_command(run, ends_process=argv is None)


def _as_help(summary: str) -> str:
    return summary.replace('%', '%%').rstrip('.')


# Commands of other toolboxes, and the command here that does the same.
_OTHER_WORDS = {
    **dict.fromkeys(('val', 'validate', 'eval', 'evaluate'), 'test'),
    **dict.fromkeys(('detect', 'infer', 'inference', 'demo'), 'predict'),
    'version': '--version',
    'models': 'zoo list',
    'download': 'zoo fetch',
}


def _with_known_command(argv: list[str]) -> list[str]:
    """Return the arguments with the command's name as the table writes it; end the process if there is no such one."""
    groups = {name.rpartition(' ')[0] for name in COMMANDS}
    count = 2 if argv[:1] and argv[0] in groups else 1
    words = [word.replace('_', '-') for word in argv[:count] if not word.startswith('-')]
    name = ' '.join(words)
    if not argv or argv[0].startswith('-') or name in COMMANDS or name in groups:
        return words + argv[len(words) :]
    group = f'{words[0]} ' if len(words) == 2 else ''
    last_words = {known.rpartition(' ')[2]: f'detkit {known}' for known in COMMANDS}
    alike = get_close_matches(words[-1], last_words, 2, 0.7)
    meant = [last_words[word] for word in alike]
    meant = [f'detkit {_OTHER_WORDS[name]}'] if name in _OTHER_WORDS else meant
    if not meant and argv[1:] and argv[1] in COMMANDS:  # 'segment train': the config says the task
        meant = [f'detkit {argv[1]}']
    hint = f' Did you mean {" or ".join(map(repr, meant))}?' if meant else ''
    print(f"error: detkit has no command '{name}'.{hint} 'detkit {group}--help' lists all.", file=sys.stderr)
    sys.exit(2)


class _PrintCompletion(argparse.Action):
    """Prints the completion script of a shell, and ends the process."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: Any = None) -> None:
        if values not in _SHELLS:
            parser.error(
                f'there is no completion for {values!r}.{nearest(values, _SHELLS)} One of {", ".join(_SHELLS)}'
            )
        print(_completion(values))
        parser.exit()


def _completion(shell: str) -> str:
    """Return the completion script of a shell; bash and zsh complete names of configs too."""
    import shtab

    from detkit.config.names import config_names

    names = ' '.join(config_names())
    functions = {
        'bash': f'_detkit_configs() {{\n  compgen -W "{names}" -- "$1"\n  compgen -f -- "$1"\n}}',
        'zsh': f'_detkit_configs() {{\n  compadd -- {names}\n  _files\n}}',
    }
    parser = make_parser()
    for action in _actions(parser):
        if action.dest in ('config', 'configs'):
            action.complete = {**shtab.FILE, **dict.fromkeys(functions, '_detkit_configs')}
    return shtab.complete(parser, shell, preamble=functions.get(shell, ''))


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of a parser and of its commands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from _actions(child)


if __name__ == '__main__':
    sys.exit(main())
