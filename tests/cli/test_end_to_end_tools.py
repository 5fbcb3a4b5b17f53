"""What steps of files can use, by the command line: the tools built in, those of modules, programs."""

import os

FILE = """
id: tools
config: {default_timeout: 1m}
steps:
  - {id: write, tool: filesystem, action: write, parameters: {path: "notes/a b.md", content: "one\\n"}}
  - id: append
    tool: filesystem
    action: append
    parameters: {path: notes/a b.md, content: "two\\n"}
    dependencies: [write]
  - {id: read, tool: filesystem, action: read, parameters: {path: "notes/a b.md"}, dependencies: append}
  - {id: list, tool: filesystem, action: list, parameters: {path: notes}, dependencies: [append]}
  - id: delete
    tool: filesystem
    action: delete
    parameters: {path: "notes/{{ list.result.entries[0].name }}"}
    dependencies: read
  - {id: there, tool: filesystem, action: exists, parameters: {path: notes/a b.md}, dependencies: [delete]}

  - {id: above, tool: filesystem, action: read, parameters: {path: ../secret}, on_error: continue, max_retries: 2}
  - {id: absolute, tool: filesystem, action: write, parameters: {path: "{{ '/' }}tmp/x", content: x}, on_error: continue}
  - {id: link, tool: filesystem, action: read, parameters: {path: link/secret}, on_error: continue}

  - {id: terminal, tool: terminal, parameters: {command: [cat], stdin: given}}
  - {id: registered, tool: python, parameters: {function: say, arguments: {value: [1]}}}
  - {id: process, tool: square, runs_on: process, parameters: {x: "{{ terminal.result.stdout | length }}"}}
  - {id: alone, action: say, parameters: {value: "{{ process.result.y }}"}}

  - id: program
    command: [sh, -c, "cat; pwd; echo $COLOUR-${TAKEN-none}", "$(touch executed)"]
    cwd: notes
    env: {COLOUR: "{{ 'red' | upper }}", TAKEN: null}
    stdin: "{{ list.result.entries | map(attribute='name') }}"
outputs:
  read: "{{ read.result.content }}"
  there: "{{ there.result.exists }}"
  refused: "{{ [above.error, absolute.error, link.error] }}"
  terminal: "{{ terminal.result.stdout }}"
  registered: "{{ registered.result }}"
  alone: "{{ alone.result }}"
  elsewhere: "{{ process.result.pid }}"
  program: "{{ program.result.stdout.split('\\n') }}"
"""


def test_what_steps_can_use(start_file, tmp_path, monkeypatch):
    """Files below the directory and not beside it, programs, functions of a module, also in a process."""
    monkeypatch.setenv("TAKEN", "yes")
    folder = tmp_path / "work"
    (tmp_path / "secret").write_text("secret")
    (folder / "notes").mkdir(parents=True)
    (folder / "link").symlink_to(tmp_path)
    started = start_file(FILE, "--json", folder=folder)
    ran = started.ended()
    assert (ran.code, ran.err, ran.document["status"]) == (1, "", "ok")
    assert {*ran.document["degraded"]} == {"above", "absolute", "link"}
    value = ran.document["value"]
    refused = value.pop("refused")
    assert value.pop("elsewhere") not in (os.getpid(), started.process.pid)
    assert value == {
        "read": "one\ntwo\n",
        "there": False,
        "terminal": "given",
        "registered": [1],
        "alone": 25,
        "program": ['["a b.md"]' + str(folder / "notes"), "RED-none", ""],
    }
    assert refused == [
        "filesystem: '../secret' holds '..', which no path may",
        "filesystem: '/tmp/x' is absolute; write it relative to the root",
        "filesystem: 'link/secret' leads out of the root through a link",
    ]
    assert [ran.nodes[name]["attempts"] for name in ("above", "absolute", "link")] == [1, 1, 1]
    assert "secret" not in ran.out.replace("../secret", "").replace("link/secret", "")
    assert not list(tmp_path.rglob("executed"))
