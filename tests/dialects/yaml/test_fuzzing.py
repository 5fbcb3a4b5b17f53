"""Whatever is in a file, reading it gives a tree within its bounds or clear problems, and no more."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

import fuzzing

# For long: GRACELINE_FUZZ=1000000 pytest -o faulthandler_timeout=0 tests/dialects/yaml -k fuzzing
INPUTS = int(os.environ.get("GRACELINE_FUZZ", "2000"))
RARE = [HealthCheck.too_slow, HealthCheck.large_base_example]
many = settings(max_examples=INPUTS // 2, deadline=None, suppress_health_check=RARE)


@st.composite
def nearly_files(draw):
    """A file in which some bytes were replaced by what the grammar is made of."""
    data = draw(st.sampled_from(fuzzing.SEEDS))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = start + draw(st.integers(0, 6))
        token = draw(st.sampled_from(fuzzing.TOKENS)) * draw(st.sampled_from([1, 1, 1, 300]))
        data = data[:start] + token + data[end:]
    return data


@many
@given(nearly_files())
def test_a_file_that_was_damaged(data):
    """It is read, or refused, by both parsers alike; nothing is executed, opened or written."""
    fuzzing.compare(data)


@many
@given(st.lists(st.sampled_from(fuzzing.TOKENS), max_size=20).map(b"".join) | st.binary())
def test_tokens_and_bytes_in_any_order(data):
    """The same for what is no file at all."""
    fuzzing.compare(data)


def test_the_seeds_are_good_and_bad_files():
    """Else the tests above would look at one side only."""
    results = [fuzzing.check(seed) is None for seed in fuzzing.SEEDS]
    assert {True, False} == set(results)


@pytest.mark.parametrize(
    "call",
    [
        lambda: subprocess.run([sys.executable, "-c", ""], check=True),
        lambda: Path(os.devnull).read_bytes(),
        lambda: compile("1", "", "eval"),
    ],
    ids=["program", "file", "code"],
)
def test_what_touches_something_is_noticed(call):
    """Programs, files and code: the check would fail."""
    with pytest.raises(AssertionError, match=r"\['"), fuzzing.touching_nothing():
        call()
