"""``python -m detkit``: the ``detkit`` command, also where no console script is on the path."""

import sys

from detkit.cli.main import main

if __name__ == '__main__':
    sys.exit(main())
