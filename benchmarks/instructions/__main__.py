"""`python -m benchmarks.instructions`: see `benchmarks.instructions.command`."""

import sys

from benchmarks.instructions.command import main

if __name__ == "__main__":
    sys.exit(main())
