"""Has atheris look for an input that breaks the reader, or the loader, guided by its coverage.

    pip install atheris
    python tests/dialects/yaml/guided.py -runs=1000000 -timeout=20 -rss_limit_mb=1000 -max_len=4000

With the word `loader` in front it is the loader of whole files, else the reader alone. The options are those of libFuzzer; a directory at the end keeps the inputs that it found useful.
"""

import sys

import atheris

with atheris.instrument_imports(include=["graceline.dialects.yaml", "yaml"]):
    import fuzzing
    import test_fuzzing_files

if __name__ == "__main__":
    whole = sys.argv[1:2] == ["loader"]
    if whole:
        del sys.argv[1]
    atheris.Setup(sys.argv, test_fuzzing_files.attempt if whole else fuzzing.check)
    atheris.Fuzz()
