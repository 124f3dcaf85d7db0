"""A command: its parser, its help with examples, and the exit status that it ends with."""

import argparse
import atexit
import errno
import gc
import inspect
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn, Protocol

from detkit.cli.argument_order import misplaced_file
from detkit.config.keys import WORDS
from detkit.utils.errors import DetkitError
from detkit.utils.files import WRITE_FAULTS
from detkit.utils.front_end import at_the_command_line
from detkit.utils.home import with_home
from detkit.utils.interrupts import Terminated, die_of_interrupts, end_as_interrupted
from detkit.utils.lost_streams import outlive_terminals
from detkit.utils.printable import escape_unencodable, open_closed_streams
from detkit.utils.processors import limit_threads

# System errors for a path that cannot be made, read or written; any other error is a bug of a command.
_WRONG_PATH = WRITE_FAULTS | {
    getattr(errno, name)
    for name in 'ENOENT EACCES EPERM EROFS ENOTDIR EISDIR EEXIST EBUSY ELOOP ENAMETOOLONG ESTALE'.split()
    if hasattr(errno, name)
}


class CommandParser(argparse.ArgumentParser):
    """A parser whose help keeps the lines of its texts, and which takes options by their full names only.

    An abbreviation such as ``--out`` would mean another option than its writer thought of, or one of a later version.

    Attributes:
        mistake: returns what is wrong with arguments that are right one by one; None for nothing.
    """

    def __init__(self, **kwargs: Any) -> None:
        defaults = {'formatter_class': argparse.RawDescriptionHelpFormatter, 'allow_abbrev': False}
        super().__init__(**{**defaults, **kwargs})
        self.mistake: Callable[[argparse.Namespace], str | None] | None = None
        self._given: list[str] = []
        self._rules: list[tuple[Callable[[argparse.Namespace], bool], tuple[str, ...], str]] = []

    def without_effect(self, when: Callable[[argparse.Namespace], bool], *options: str, why: str) -> None:
        """Refuse options that are given where they have no effect.

        Args:
            when: returns whether they have none, by all arguments.
            *options: their names.
            why: the end of the sentence "OPTION has no effect …".
        """
        self._rules.append((when, options, why))

    def _useless(self, args: argparse.Namespace) -> str | None:
        for when, options, why in self._rules:
            for option in options if when(args) else ():
                action = self._option_string_actions[option]
                if getattr(args, action.dest) != action.default:
                    return f'{option} has no effect {why}'
        return None

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self._given = list(sys.argv[1:] if args is None else args)
        found = super().parse_known_args(args, namespace)
        vars(found[0]).update(with_home(vars(found[0])))  # '--out=~/found', which no shell replaces
        # Unknown arguments come first: parse_args reports them.
        text = None if found[1] else self._empty_argument(found[0])
        if text is None and not found[1]:
            text = misplaced_file(self.prog, self._actions, found[0])
        if text is None and self.mistake is not None and not found[1]:
            text = self.mistake(found[0])
        if text is None and not found[1]:
            text = self._useless(found[0])
        if text is not None:
            self.error(text)
        return found

    def _empty_argument(self, args: argparse.Namespace) -> str | None:
        """Return what is wrong with an argument that is '', as a variable of the shell without a value makes it."""
        for action in self._actions:
            given = getattr(args, action.dest, None)
            if action.default != '' and (given == '' or (isinstance(given, list) and '' in given)):
                name = action.option_strings[0] if action.option_strings else action.metavar or action.dest
                return f'argument {name}: is empty; is a variable of the shell not set?'
        return None

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            command = getattr(found, 'command', None)  # of the parser of all commands
            parser = self if command is None else command.parser()
            parser.error(f'unrecognized arguments: {" ".join(unknown)}{parser.hint_on(unknown)}')
        return found

    def error(self, message: str) -> NoReturn:
        """End the process with an error; where an argument is missing, after a look at the order of the others."""
        if message.startswith('the following arguments are required'):
            words = [word for word in self._given if not word.startswith('-') or word == '-']
            names = [action.dest for action in self._actions if not action.option_strings]
            text = misplaced_file(self.prog, self._actions, argparse.Namespace(**dict(zip(names, words, strict=False))))
            message = text or message
        super().error(message)

    def hint_on(self, unknown: list[str]) -> str:
        """Return which arguments are meant by the first of some unknown ones that has a meaning; '' where none has."""
        known = self._option_string_actions
        for text in unknown:
            word, _, value = text.lstrip('-').partition('=')
            keys = WORDS.get(word.replace('-', '_'), ())
            names = [word, *(key.rpartition('.')[2] for key in keys)]
            option = next((name for each in names if (name := f'--{each.replace("_", "-")}') in known), None)
            # '--out-dir' means '--out' where there is that.
            option = option or next((name for name in known if text.startswith(f'{name}-') and name[2:]), None)
            if option is not None:
                return f'; write {option}'
            if keys and '--cfg-options' in known:
                key = next((key for key in keys if key == word), keys[0])  # a variable of many configs first
                return f'; write --cfg-options {key}={value or "…"}'
            alike = _alike(text.partition('=')[0], known) if text.startswith('--') else []
            if alike:
                return f'; did you mean {" or ".join(alike)}?'
        return ''

    def option_of(self, path: Path, args: argparse.Namespace) -> str | None:
        """Return the option whose value names a path, or a folder above it; None where there is none."""
        for action in self._actions:
            given = getattr(args, action.dest, None)
            if action.option_strings and isinstance(given, str) and Path(given).parts and path.is_relative_to(given):
                return action.option_strings[-1]
        return None


def _alike(option: str, known: Iterable[str]) -> list[str]:
    """Return the options that one is the beginning of; where there are none, those with a similar name."""
    names = [name for name in known if name.startswith('--')]
    return [name for name in names if name.startswith(option)] or get_close_matches(option, names, 2, 0.7)


class CommandModule(Protocol):
    """The module of a command.

    The docstring is its help: a first line, paragraphs, and paragraphs of examples that begin with ``detkit NAME``. It
    imports nothing heavy before ``run``, so that help and completion are quick.
    """

    __doc__: str

    @staticmethod
    def add_arguments(parser: CommandParser) -> None:
        """Add the command's arguments, and set ``parser.mistake`` where they depend on each other."""

    @staticmethod
    def run(args: argparse.Namespace) -> int | None:
        """Do what the command is for; return the exit status, None for 0."""


@dataclass(frozen=True)
class Command:
    """A command by its name.

    Attributes:
        name: the words behind ``detkit``, such as ``'analyze pr-curves'``, whose module is
            ``detkit.cli.analyze.pr_curves``.
        prog: what is written to call it, for usage and examples; empty for ``detkit NAME``.
    """

    name: str
    prog: str = ''

    @property
    def module(self) -> CommandModule:
        """The command's module."""
        return import_module(f'detkit.cli.{self.name.replace("-", "_").replace(" ", ".")}')

    @property
    def summary(self) -> str:
        """The first line of the help."""
        return self.module.__doc__.partition('\n')[0]

    def texts(self) -> dict[str, str]:
        """Return the description and the epilog of the command's parser."""
        prog = f'detkit {self.name}'
        text = inspect.cleandoc(self.module.__doc__)
        summary, *paragraphs = (inspect.cleandoc(f'\n{part}') for part in text.split('\n\n'))
        examples = [part for part in paragraphs if part.startswith(prog)]
        description = '\n\n'.join([summary, *(part for part in paragraphs if part not in examples)])
        shown = '\n'.join(examples).replace(prog, self.prog or prog).replace('\n', '\n  ')
        return {'description': description, 'epilog': f'examples:\n  {shown}'}

    def parser(self) -> CommandParser:
        """Return the command's parser."""
        parser = CommandParser(prog=self.prog or f'detkit {self.name}', **self.texts())
        self.module.add_arguments(parser)
        return parser

    def parse_args(self, argv: list[str] | None = None) -> argparse.Namespace:
        """Return the arguments of the command; ``argv`` is those of the process by default."""
        return self.parser().parse_args(argv)

    def main(self, argv: list[str] | None = None) -> int | None:
        """Run the command; return its exit status, None for 0."""
        return self.run(self.parse_args(argv))

    def run(self, args: argparse.Namespace) -> int | None:
        """Run the command with parsed arguments; return its exit status, None for 0.

        Raises:
            DetkitError: a mistake that the user can correct; the system's errors for a path below one that an option
                names are such, too, with the option's name.
        """
        try:
            return self.module.run(args)
        except OSError as error:
            if error.errno not in _WRONG_PATH or not isinstance(error.filename, str):
                raise
            option = self.parser().option_of(Path(error.filename), args)
            if option is None:
                raise
            raise DetkitError(f'{error.filename}: {error.strerror} (see {option})') from error

    def exit_status(self) -> int:
        """Run the command with the arguments of the process; return its exit status, also after an error."""
        escape_unencodable(sys.stdout)
        return run_command(self.main, ends_process=True)


def run_command(main: Callable[[], int | None], ends_process: bool = False) -> int:
    """Call the main function of a command.

    Args:
        main: returns an exit status, None for 0.
        ends_process: whether the process ends after this. An interrupt ends it at once then; SIGTERM and SIGHUP end it
            when files are finished or removed, and a terminal that is gone does not.

    Returns:
        The exit status; 2 after a mistake that the user can correct, 130 when interrupted.
    """
    if ends_process:
        open_closed_streams()
        outlive_terminals()
        end_as_interrupted()
    limit_threads()  # before PyTorch is imported
    atexit.register(gc.freeze)  # else the interpreter looks for cycles in all of PyTorch as it ends, a second
    try:
        return _status_of(main)
    except Terminated as stop:
        stop.end_process()
        raise
    finally:
        if ends_process:
            die_of_interrupts()


def _status_of(main: Callable[[], int | None]) -> int:
    """Return the exit status of a main function, see ``run_command``, after a line on what went wrong."""
    try:
        with at_the_command_line():
            try:
                return main() or 0
            finally:
                sys.stdout.flush()  # where a reader that has gone is no error; at Python's end it is one
    except DetkitError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            # The reader of the output (head, less) has gone; Python must not flush to it when it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        if error.errno not in _WRONG_PATH:
            raise
        where = f'{error.filename}: ' if error.filename is not None else ''
        print(f'error: {where}{error.strerror}', file=sys.stderr)
        return 2
    except Terminated:
        raise
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return 130
