"""`python -m benchmarks.adaptive`: see `benchmarks.adaptive.command`."""

import sys

from benchmarks.adaptive.command import main

if __name__ == "__main__":
    sys.exit(main())
