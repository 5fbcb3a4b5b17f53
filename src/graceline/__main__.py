"""`python -m graceline` is the command `graceline`."""

import sys

from graceline.cli import main

if __name__ == "__main__":
    sys.exit(main())
