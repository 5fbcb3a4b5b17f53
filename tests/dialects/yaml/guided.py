"""Has atheris look for an input that breaks the reader, guided by the coverage of the reader.

    pip install atheris
    python tests/dialects/yaml/guided.py -runs=1000000 -timeout=20 -rss_limit_mb=1000 -max_len=4000

The options are those of libFuzzer; a directory at the end keeps the inputs that it found useful.
"""

import sys

import atheris

with atheris.instrument_imports(include=["graceline.dialects.yaml", "yaml"]):
    import fuzzing

if __name__ == "__main__":
    atheris.Setup(sys.argv, fuzzing.check)
    atheris.Fuzz()
