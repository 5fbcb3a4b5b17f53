import os

import pytest

NAMES = ["shop-dashboard.json", "shop-engine.rules.yml", "shop-objective.rules.yml"]


def test_export_writes_the_files_and_says_where(call, tmp_path):
    """One line per file on standard output, with the prefix, objective and period that were asked for."""
    code, out, err = call(
        "telemetry", "export", str(tmp_path / "to"), "--prefix", "shop", "--objective", "0.999",
        "--period", "7d",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert sorted(out.split()) == [str(tmp_path / "to" / name) for name in NAMES]
    written = (tmp_path / "to" / NAMES[2]).read_text("utf-8")
    assert "shop_pipelines_total" in written
    assert "14.4 * (1 - 0.999)" in written
    assert "[1m10s]" in written


def test_export_replaces_files_only_by_force(call, tmp_path):
    """A second time it names the files that are there, and how to replace them."""
    assert call("telemetry", "export", str(tmp_path))[0] == 0
    code, out, err = call("telemetry", "export", str(tmp_path))
    assert (code, out) == (2, "")
    assert str(tmp_path / "graceline-dashboard.json") in err
    assert "--force replaces them" in err
    assert call("telemetry", "export", str(tmp_path), "--force")[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--prefix", "9"], "begin with no digit, not '9'"),
        (["--objective", "99"], "such as 0.99 for 99 %, not 99.0"),
        (["--objective", "most"], "--objective"),
        (["--period", "1h"], "at least 2h24m, not '1h'"),
        (["--period", "soon"], "'soon'"),
        (["--period", "30"], "--period 30: a number needs its unit; write 30d"),
        (["another"], "too many words: 'another'; telemetry export takes one DIR"),
    ],
)
def test_export_says_what_is_wrong(call, tmp_path, words, message):
    """A word that cannot be ends with exit code 2 and a message, and nothing is written."""
    code, out, err = call("telemetry", "export", str(tmp_path / "to"), *words)
    assert (code, out) == (2, "")
    assert message in err
    assert not (tmp_path / "to").exists()


def test_export_needs_a_directory(call):
    """Without one it says so, and where help is."""
    code, _, err = call("telemetry", "export")
    assert code == 2
    assert "DIR" in err
    assert "graceline telemetry export --help" in err


@pytest.mark.parametrize("more", [[], ["--force"]])
def test_a_file_is_no_directory(call, tmp_path, more):
    """A file instead of the directory is told as such, and is not to be replaced by force."""
    (tmp_path / "file").write_text("mine")
    code, out, err = call("telemetry", "export", str(tmp_path / "file"), *more)
    assert (code, out) == (2, "")
    assert "file is a file, and a directory is wanted" in err
    assert "--force" not in err


def test_a_place_that_cannot_be_written_is_an_error(call, tmp_path):
    """Where the directory cannot be made the command says why."""
    (tmp_path / "file").write_text("")
    target = os.path.join(tmp_path, "file", "to")  # noqa: PTH118 - as it is typed
    code, _, err = call("telemetry", "export", target)
    assert code == 2
    assert f"{target} cannot be written: Not a directory" in err
