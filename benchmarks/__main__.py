"""`python -m benchmarks`: see `benchmarks.command`."""

import sys

try:
    from benchmarks.command import main
except ModuleNotFoundError as error:
    missing = (error.name or "").partition(".")[0]
    if missing in ("", "benchmarks"):
        raise
    print(f"error: {missing} is not installed: pip install -e '.[dev]'", file=sys.stderr)
    sys.exit(2)

if __name__ == "__main__":
    sys.exit(main())
