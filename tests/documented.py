"""What the pages of the documentation show to be run: their blocks of code, and the commands in them.

Each block between fences states its language. One that no test can run is marked by a comment on the line before it,
which a reader of the page does not see: ``<!-- not run: needs two machines -->``.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from detkit.cli.main import COMMANDS, find_command

REPO = Path(__file__).resolve().parents[1]
PAGES = [REPO / 'README.md', *sorted((REPO / 'docs').rglob('*.md'))]
LANGUAGES = {'bash', 'python', 'text', 'yaml', 'json', 'ini', 'nginx'}
_MARK = re.compile(r'<!-- not run: (\S.*\S) -->')
_CALL = re.compile(r'`((?:detkit|python -m detkit|python tools/[\w/]+\.py) [^`]+)`')
# Words of a shell that do nothing by themselves.
_SHELL_WORDS = {'while', 'do', 'done', ':', '['}


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        page: the file.
        line: the number of its first line of code.
        language: what follows the opening fence.
        code: its lines, without the indentation of the fence.
        why_not: the reason why it is not run; empty for a block that is run.
    """

    page: Path
    line: int
    language: str
    code: str
    why_not: str

    @property
    def place(self) -> str:
        """The page and the line, for messages."""
        return f'{_name(self.page)}:{self.line}'

    @property
    def file_name(self) -> str:
        """The name of the file that a block of Python shows, which its first line says; empty for a snippet."""
        named = re.match(r'# (\S+\.py)\n', self.code)
        return named[1] if named else ''


@dataclass(frozen=True)
class Command:
    """A command that is to be run.

    Attributes:
        place: page and line of its block.
        words: the arguments of ``detkit``; of ``python -c`` its code behind a ``-c``.
        environment: variables that are set for it.
    """

    place: str
    words: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        """The command's name in detkit's table; '' for Python's ``-c``, and for options of ``detkit`` itself."""
        return next((name for name in (' '.join(self.words[:n]) for n in (2, 1)) if name in COMMANDS), '')

    @property
    def key(self) -> tuple[str, ...]:
        """The words with each of detkit's configs by its name: equal for commands that do the same."""
        return tuple(re.sub(r'^configs/(\w+/\w+)\.py$', r'\1', word) for word in self.words)


def _name(page: Path) -> str:
    return page.relative_to(REPO).as_posix() if page.is_relative_to(REPO) else page.name


def read_blocks(page: Path) -> list[Block]:
    """Return the blocks between fences, of whatever indentation."""
    blocks, start, lines = [], None, page.read_text(encoding='utf-8').splitlines()
    for number, line in enumerate(lines):
        if not line.strip().startswith('```'):
            continue
        if start is None:
            start = number
            continue
        indentation = len(lines[start]) - len(lines[start].lstrip())
        code = ''.join(f'{shown[indentation:]}\n' for shown in lines[start + 1 : number])
        mark = _MARK.fullmatch(lines[start - 1].strip()) if start else None
        blocks.append(Block(page, start + 2, lines[start].strip().strip('`'), code, mark[1] if mark else ''))
        start = None
    return blocks


def read_commands(page: Path) -> list[Command]:
    """Return the commands of a page that are to be run: those of its blocks, and whole ones in its sentences."""
    blocks = read_blocks(page)
    commands = [
        command
        for block in blocks
        if block.language == 'bash' and not block.why_not
        for command in parse_script(block.code, block.place, others=True)
    ]
    sentences = re.sub(r'^ *```.*?^ *```', '', page.read_text(encoding='utf-8'), flags=re.DOTALL | re.MULTILINE)
    for text in _CALL.findall(sentences):
        (command,) = parse_script(text, _name(page))
        placeholders = [word for word in command.words if re.search(r'…|\b[A-Z]{4,}\b', word)]
        if ' '.join(command.words) != command.name and not placeholders and len(command.words) > 1:
            commands.append(command)
    return commands


def parse_script(code: str, place: str, others: bool = False) -> list[Command]:
    """Return the commands of a shell script of the simplest kind: variables, ``&&``, ``;``, redirections, ``while``.

    Args:
        code: the script.
        place: its page and line, for messages.
        others: leave out other programs than detkit and Python; otherwise they are errors.

    Raises:
        ValueError: for such a program, if not ``others``.
    """
    commands, variables = [], {}
    for line in code.replace('\\\n', ' ').splitlines():
        for name, value in variables.items():
            line = line.replace(f'${name}', value)
        lexer = shlex.shlex(line, posix=True, punctuation_chars='<>|&;')
        lexer.whitespace_split = True
        calls: list[list[str]] = [[]]
        for token in lexer:
            if token in ('&&', ';', '|', '||'):
                calls.append([])
            else:
                calls[-1].append(token)
        for words in calls:
            words = [word for at, word in enumerate(words) if not {'>', '<'} & {word, *words[at - 1 : at]}]
            while words and words[0] in _SHELL_WORDS:
                words = [] if words[0] in (':', '[') else words[1:]
            environment = {}
            while words and re.match(r'[A-Za-z_]+=', words[0]):
                name, _, value = words.pop(0).partition('=')
                environment[name] = value
            if not words:
                variables |= environment
                continue
            called = _detkit_words(words)
            if called:
                commands.append(Command(place, called, environment))
            elif not others:
                raise ValueError(
                    f'{place} shows {shlex.join(words)!r}, which no test can run: write <!-- not run: REASON --> '
                    'before the block'
                )
    return commands


def _detkit_words(words: list[str]) -> tuple[str, ...] | None:
    if words[0] == 'detkit':
        return tuple(words[1:])
    if words[:3] == ['python', '-m', 'detkit']:
        return tuple(words[3:])
    if words[:2] == ['python', '-c']:
        return tuple(words[1:])
    if words[0] == 'python' and words[1].startswith('tools/'):
        text = (REPO / words[1]).read_text(encoding='utf-8')
        name = find_command(re.search(r"find_command\('(.*?)'", text)[1]).name
        return (*name.split(), *words[2:])
    return None
