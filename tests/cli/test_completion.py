import shutil
import subprocess

import pytest


def run(shell, *words, given=""):
    return subprocess.run(  # noqa: S603 - a shell, without the user's own settings
        [shutil.which(shell), *words],
        input=given,
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("shell", "flags"), [("bash", ["-n"]), ("zsh", ["-f", "-n"]), ("fish", ["--no-config", "-n"])]
)
def test_a_shell_can_read_it(call, shell, flags):
    """The script of each shell is one that this shell parses."""
    code, script, err = call("completion", shell)
    assert (code, err) == (0, "")
    assert "graceline" in script
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here")
    done = run(shell, *flags, given=script)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("ch", {"check"}),
        ("", {"run", "check", "schema", "bench", "report", "history", "plan", "completion"}),
        ("history sh", {"show"}),
        ("run --allow", {"--allow-degraded"}),
        ("run rese", {"research.yaml"}),
        ("check rese", {"research.yaml"}),
        ("bench rese", {"research.yaml"}),
        ("run a.yaml --tools too", {"tools.py"}),
        ("completion z", {"zsh"}),
        ("nothing --of", set()),
    ],
)
def test_bash_completes(call, put, words, expected):
    """Bash completes commands, their options, choices, and files where one may stand."""
    put("research.yaml", "")
    put("tools.py", "")
    script = call("completion", "bash")[1]
    typed = ["graceline", *words.split(" ")]
    ask = (
        f"COMP_WORDS=({' '.join(repr(word) for word in typed)}); COMP_CWORD={len(typed) - 1}\n"
        'COMPREPLY=(); _graceline; printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = run("bash", "--norc", given=script + ask)
    assert (done.returncode, done.stderr) == (0, "")
    answers = set(done.stdout.split())
    assert expected <= answers
    assert not words or len(answers) == len(expected)


def test_another_shell(call):
    """For a shell without a script the message names those that have one."""
    code, out, err = call("completion", "tcsh")
    assert (code, out) == (2, "")
    assert "bash" in err
    assert "zsh" in err
