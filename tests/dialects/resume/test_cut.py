"""Wherever a journal ends, the run goes on from there to the same outputs, and does nothing twice."""

import json
import os
import tempfile
from pathlib import Path
from unittest import mock

import attrs
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from graceline import current, open_engine
from graceline.bench.journal import journal_of, read_lines
from graceline.dialects.resume import read_run, recording, resuming
from graceline.dialects.tools import Tools
from graceline.dialects.yaml import load

THOROUGH = os.environ.get("GRACELINE_PROFILE") == "thorough"


@st.composite
def steps(draw):
    """Some steps that need earlier ones, fail, are retried, are skipped, run over lists, clean up."""
    made = []
    for number in range(draw(st.integers(1, 6))):
        name = f"s{number}"
        needs = (
            draw(st.lists(st.sampled_from([step["id"] for step in made]), max_size=2, unique=True))
            if made
            else []
        )
        step = {
            "id": name,
            "tool": "do",
            "parameters": {
                "name": name,
                "seconds": draw(st.sampled_from([0, 1, 1.5])),
                "given": [f"{{{{ {need}.result }}}}" for need in needs],
                "fails": draw(st.sampled_from([0, 0, 0, 1, 9])),
            },
            "on_error": draw(st.sampled_from(["continue", "skip"])),
            "max_retries": draw(st.sampled_from([0, 1])),
        }
        if draw(st.booleans()):
            step["cleanup"] = {"tool": "do", "parameters": {"name": f"clean {name}"}}
        if draw(st.integers(0, 3)) == 0:
            step["for_each"] = draw(st.lists(st.integers(0, 2), max_size=3))
            step["max_parallel"] = draw(st.integers(1, 2))
            step["parameters"] |= {"item": "{{ item }}", "index": "{{ index }}"}
        if needs and draw(st.integers(0, 3)) == 0:
            step["condition"] = f"{{{{ {needs[0]}.error == None }}}}"
        made.append(step)
    return made


@attrs.define
class Bench:
    """A file, its journal, and who was called.

    Attributes:
        folder: where both are.
        done: what was called since it was emptied: names, with the index of an item.
    """

    folder: Path
    done: list = attrs.field(factory=list)

    @property
    def out(self):
        return self.folder / "out"

    def write(self, steps):
        outputs = {
            step["id"]: f"{{{{ [{step['id']}.status, {step['id']}.result, {step['id']}.error] }}}}"
            for step in steps
        }
        file = {"id": "p", "steps": steps, "outputs": outputs | {"id": "{{ execution.id }}"}}
        (self.folder / "f.yaml").write_text(json.dumps(file))  # JSON is YAML

    def tools(self):
        tools = Tools()

        @tools.tool("do")
        async def do(name, seconds=0, given=(), fails=0, item=None, index=None):
            self.done.append(name if index is None else (name, index))
            await trio.sleep(seconds)
            if current().attempt <= fails:
                raise ValueError(f"{name} failed")
            return {"name": name, "given": given, "item": item}

        return tools

    def run(self, steps=None):
        """Run the file, or go on with its run; gives the result, and the names that were called."""

        async def main(run):
            async with open_engine() as engine:
                result = await engine.run(run.pipeline, run.inputs)
            run.finish(result)
            return result

        self.done.clear()
        with (
            resuming(self.out, tools=self.tools())
            if steps is None
            else recording(load(self.folder / "f.yaml", tools=self.tools()), self.out)
        ) as run:
            return trio.run(main, run, clock=MockClock(autojump_threshold=0))

    def cut(self, data, beginning):
        """Cut the journal behind one of its lines, or in the middle of one."""
        lines = journal_of(self.out).read_bytes().splitlines(keepends=True)
        count = data.draw(st.integers(beginning, len(lines)), label="whole lines")
        torn = b""
        if count < len(lines):
            torn = lines[count][: data.draw(st.integers(0, len(lines[count]) - 2), label="torn")]
        journal_of(self.out).write_bytes(b"".join(lines[:count]) + torn)
        return count


@settings(max_examples=2000 if THOROUGH else 60, deadline=None)
@given(steps(), st.data())
def test_a_run_that_is_cut_anywhere(steps, data):
    """Outputs are those of an undisturbed run; what the journal had as finished is not done again."""
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch("os.fsync"),  # for the speed; no machine is switched off here
    ):
        bench = Bench(Path(folder))
        bench.write(steps)
        whole = bench.run(steps)
        assert whole.ok
        beginning = 2  # with its id, which is in the outputs
        for _ in range(data.draw(st.integers(1, 3), label="cuts")):
            beginning = max(beginning, bench.cut(data, beginning))
            before = read_run(bench.out)
            result = bench.run()
            assert result.value == whole.value
            finished = set(before.steps)
            finished |= {(name, index) for name in before.items for index in before.items[name]}
            finished |= {f"clean {name}" for name in before.cleaned if name in before.steps}
            called = {
                one[0] if isinstance(one, tuple) and one[0] in before.steps else one
                for one in bench.done
            }
            assert not finished & called
            # and all that was not kept, and was not skipped, was done
            for step in steps:
                name = step["id"]
                status = result.value[name][0]
                if name not in before.steps and status != "skipped" and "for_each" not in step:
                    assert name in bench.done
            ended = [
                line["step"]
                for line in read_lines(bench.out)
                if line["event"] == "step_ended" and line["status"] == "ok"
            ]
            assert len(ended) == len(set(ended))
