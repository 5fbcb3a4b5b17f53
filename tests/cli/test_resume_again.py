"""`graceline resume` of runs that have ended: degraded ones, and finished ones of a changed file."""

from pathlib import Path

FLOW = """
id: flow
steps:
  - {id: a, command: [sh, -c, "echo a >> ledger; test -e ok"], on_error: continue}
  - {id: b, command: [sh, -c, "echo b >> ledger"]}
"""
HINT = "hint      to go on from here: graceline resume out\n"


def ledger():
    return Path("ledger").read_text().split()


def test_a_degraded_run_goes_on(put, call):
    """A run that is ok without one of its steps says how to go on, and that step is done again."""
    flow = put("flow.yaml", FLOW)
    code, out, err = call("run", flow, "--journal", "out")
    assert (code, err) == (1, "")
    assert HINT in out
    code, out, _ = call("resume", "out")
    assert code == 1
    assert HINT in out
    assert "hint      kept, and not done again: b\n" in out
    code, out, _ = call("resume", "out", "--allow-degraded")
    assert code == 0
    assert HINT in out
    Path("ok").touch()
    code, out, _ = call("resume", "out")
    assert code == 0
    assert HINT not in out
    assert sorted(ledger()) == ["a", "a", "a", "a", "b"]


def test_a_degraded_run_that_is_allowed(put, call):
    """Whoever allows for it has exit code 0 and the hint; nothing is taken for finished."""
    flow = put("flow.yaml", FLOW)
    code, out, _ = call("run", flow, "--journal", "out", "--allow-degraded")
    assert code == 0
    assert HINT in out
    code, out, _ = call("resume", "out", "--allow-degraded")
    assert code == 0
    assert "nothing was run" not in out
    assert sorted(ledger()) == ["a", "a", "b"]


def test_a_finished_run_of_a_changed_file(put, call):
    """By force what has changed is done again, though the run has ended well."""
    Path("ok").touch()
    flow = put("flow.yaml", FLOW)
    assert call("run", flow, "--journal", "out")[0] == 0
    put("flow.yaml", FLOW.replace("echo b", "echo B"))
    code, out, _ = call("resume", "out")
    assert code == 0
    assert "nothing was run" in out
    code, out, _ = call("resume", "out", "--force")
    assert code == 0
    assert "hint      done again: b\n" in out
    assert sorted(ledger()) == ["B", "a", "b"]


def test_a_text_of_digits_stays_a_text(put, call):
    """`-i word=5` is the text "5" for an input that is a text, also when the run goes on."""
    flow = put(
        "text.yaml",
        """
        id: text
        inputs: {word: {type: string, required: true}}
        steps: [{id: a, command: [test, -e, ok]}]
        outputs: {twice: "{{ word ~ inputs.word }}", is_text: "{{ word is string }}"}
        """,
    )
    assert call("run", flow, "-i", "word=5", "--journal", "out")[0] == 1
    Path("ok").touch()
    code, out, _ = call("resume", "out")
    assert code == 0
    assert "'is_text': True" in out
