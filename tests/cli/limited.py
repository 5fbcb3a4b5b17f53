"""Runs command lines one after the other with little memory and time: `limited.py BYTES LINES`.

LINES is JSON, a list of lists of words. For each of them the exit code and what was written is
printed, as JSON too.
"""

import io
import json
import resource
import sys
from contextlib import redirect_stderr, redirect_stdout

SECONDS = 60
"""Of the processor, for all of them."""


def main():
    import graceline.cli
    import graceline.cli.files
    import graceline.dialects.yaml  # what is imported is not what is limited

    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()  # noqa: PTH123, SIM115
    limit = used + int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    done = []
    for line in json.loads(sys.argv[2]):
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = graceline.cli.main(line)
        done.append((code, out.getvalue(), err.getvalue()))
    json.dump(done, sys.stdout)


if __name__ == "__main__":
    main()
