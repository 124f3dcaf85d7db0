"""What the tools share: a mistake ends in one sentence and exit code 2, never in a traceback."""

import os
import sys
from collections.abc import Callable

from detkit.utils.errors import DetkitError


def run_command(main: Callable[[], int | None]) -> int:
    """Run a tool's main function.

    Returns:
        Its exit code (0 for None); 2 after a mistake that the user can correct, 130 when interrupted.
    """
    try:
        return main() or 0
    except DetkitError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader of the output (head, less) has gone; Python must not flush to it when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        return 130
