"""Pipelines in files on the command line: the file, its tools, and the inputs of a run.

The dialect is imported when a target is one of its files, or inputs are read from one.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import attrs

from graceline.cli.failures import ProblemsError, UsageError
from graceline.cli.loading import is_file, load, load_pipeline, read_value
from graceline.definitions import Pipeline
from graceline.definitions.checks import nearest
from graceline.dialects.strict import JsonError, read_json
from graceline.errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from graceline.bench import Suite
    from graceline.dialects.tools import Tools
    from graceline.dialects.yaml import PipelineFile  # noqa: TC004 - only the annotation of a field

__all__ = [
    "TOOLS_HINT",
    "Job",
    "dialect",
    "find_pipeline",
    "find_suite",
    "lacks_tool",
    "load_file",
    "load_job",
    "load_steps",
    "load_tools",
    "outline_file",
    "read_inputs",
]

TOOLS_HINT = "tools of a program are given by --tools FILE.py"
"""What to say of tools that are not there, where no module was named."""
_EXTRA = frozenset({"yaml", "jinja2", "markupsafe"})


@attrs.frozen
class Job:
    """What a command line wants to be run.

    Attributes:
        pipeline: the pipeline.
        value: its input.
        file: the file that it comes from; None for one in Python.
        given: the inputs that were given to a file, without its defaults.
    """

    pipeline: Pipeline
    value: Any
    file: PipelineFile | None = None
    given: dict[str, Any] = attrs.field(factory=dict)


@contextlib.contextmanager
def dialect() -> Iterator[None]:
    """Say which extra is missing, and all that is wrong with a file.

    Raises:
        UsageError: if a package is not installed.
        ProblemsError: for a `FileError`.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        raise UsageError(
            f"{error.name} is not installed; run: pip install 'graceline[yaml]'"
        ) from None
    except DefinitionError as error:
        if not hasattr(error, "problems"):
            raise
        raise ProblemsError(str(error).split("\n")) from error


def load_job(
    target: str,
    given: Mapping[str, str],
    inputs: Path | None = None,
    tools: Iterable[str] = (),
) -> Job:
    """Find the pipeline of a target, and read its input.

    Args:
        target: a file of the dialect, or a pipeline in Python; see `loading.load`.
        given: entries of the input as the command line has them; they win over those of a file.
        inputs: a file with the input, in JSON or YAML.
        tools: modules with tools, for a file.

    Raises:
        UsageError: for a target or an input that is wrong, before anything is run.
        Exception: whatever a module raises while it is imported.
    """
    if not is_file(target):
        pipeline = find_pipeline(target, tools)
        entries = {} if inputs is None else read_inputs(inputs)
        entries |= {key: read_value(key, text) for key, text in given.items()}
        return Job(pipeline, entries or None)
    file = load_steps(target, tools)
    from graceline.dialects.yaml.files import parts_of  # noqa: PLC0415 - it is known to be there

    entries = {} if inputs is None else read_inputs(inputs)
    for key, text in given.items():
        declared = parts_of(file).keys.inputs.get(key)
        # `-i topic=5` is the text "5" where the file wants a text.
        entries[key] = text if declared and declared.type == "string" else read_value(key, text)
    with dialect():
        return Job(file.pipeline(), file.inputs(entries), file, entries)


def find_pipeline(target: str, tools: Iterable[str] = ()) -> Pipeline:
    """The pipeline of a target, in a file or in Python; the arguments are those of `load_job`."""
    if is_file(target):
        return load_steps(target, tools).pipeline()
    if any(True for _ in tools):
        raise UsageError(
            "--tools is for pipelines in files; one in Python has imported what it needs"
        )
    return load_pipeline(target)


def find_suite(target: str) -> Suite:
    """The suite of a target: a file with phases, or one in Python.

    Raises:
        UsageError: if there is none; for a file with steps it says the command for that.
    """
    from graceline.bench import Suite  # noqa: PLC0415 - `graceline run` does not pay for it

    if not is_file(target):
        return load(target, Suite)
    file = load_file(target)
    if not file.is_suite:
        raise UsageError(
            f"{target} holds steps, so it is a pipeline; run it by: graceline run {target}"
        )
    return file.suite()


def load_steps(target: str, tools: Iterable[str] = ()) -> PipelineFile:
    """Load a file that holds steps; else as `load_file`.

    Raises:
        UsageError: for a suite; it says the command for that.
    """
    file = load_file(target, tools)
    if file.is_suite:
        raise UsageError(
            f"{target} holds phases, so it is a suite; run it by: "
            f"graceline bench {target} --out DIR"
        )
    return file


def load_file(target: str, tools: Iterable[str] = ()) -> PipelineFile:
    """Load a file of the dialect.

    Args:
        target: its path.
        tools: modules with tools that its steps may use, besides those built in.

    Raises:
        UsageError: if there is no such file, a package or module is missing, or tools are wrong.
        ProblemsError: with everything that is wrong with the file.
    """
    path = _existing(target)
    known = load_tools(tools)
    try:
        with dialect():
            from graceline.dialects.yaml import load as read  # noqa: PLC0415 - see above

            return read(path, tools=known)
    except ProblemsError as error:
        if known is None and any(map(lacks_tool, error.lines)):
            raise ProblemsError([*error.lines, f"graceline: {TOOLS_HINT}"]) from error.__cause__
        raise


def lacks_tool(message: str) -> bool:
    """Whether a problem of a file is a tool that is not there, and none is near."""
    return "there is no tool " in message and "did you mean" not in message


def outline_file(target: str) -> PipelineFile:
    """Read a file of the dialect to look at it; what its steps use need not be there.

    Args:
        target: its path.

    Raises:
        UsageError: if there is no such file, or a package is missing.
        ProblemsError: with everything that is wrong with the file.
    """
    path = _existing(target)
    with dialect():
        from graceline.dialects.yaml import outline  # noqa: PLC0415 - see above

        return outline(path)


def _existing(target: str) -> Path:
    path = Path(target)
    if not path.exists():
        nearby = path.parent.iterdir() if path.parent.is_dir() else ()
        names = sorted(str(other) for other in nearby if is_file(other.name))
        hint = f"; {nearest(target, names)}" if names else ""
        raise UsageError(f"there is no file {target!r}{hint}")
    return path


def load_tools(targets: Iterable[str]) -> Tools | None:
    """The tools of modules and those built in; None for no modules.

    Args:
        targets: `pkg.module:name` or `path/file.py:name`, each with a `Tools` object.

    Raises:
        UsageError: if a module has none, or two have a tool of the same name.
        Exception: whatever a module raises while it is imported.
    """
    from graceline.dialects.tools import Tools  # noqa: PLC0415 - see above

    all_tools: Tools | None = None
    for target in targets:
        try:
            found = load(target, Tools)
        except UsageError as error:
            raise UsageError(f"--tools {target}: {error}") from None
        all_tools = Tools.default() if all_tools is None else all_tools
        try:
            all_tools.include(found)
        except DefinitionError as error:
            raise UsageError(f"--tools {target}: {error}") from None
    return all_tools


def read_inputs(path: Path) -> dict[str, Any]:
    """The inputs in a file: a mapping, in JSON if its name ends so, else in YAML.

    Raises:
        ProblemsError: for what cannot be read, or is no mapping of inputs by name.
    """
    with dialect():
        from graceline.dialects.yaml.problems import FileError, Problem  # noqa: PLC0415 - see above
        from graceline.dialects.yaml.reading import parse, read_bytes  # noqa: PLC0415

        data = read_bytes(path)
        tree = None if path.suffix.lower() == ".json" else parse(data, path)
        value = _json(data, path) if tree is None else tree.plain()
        if not isinstance(value, dict):
            at = None if tree is None else tree.at
            message = "inputs are a mapping by name, such as {topic: trees}"
            raise FileError([Problem(message, str(path), at)])
        return value


def _json(data: bytes, path: Path) -> Any:
    """What a file in JSON holds."""
    from graceline.dialects.yaml.problems import FileError, Position, Problem  # noqa: PLC0415
    from graceline.dialects.yaml.reading import MAX_BYTES  # noqa: PLC0415

    def refuse(message: str, at: Position | None = None) -> NoReturn:
        raise FileError([Problem(message, str(path), at)])

    if len(data) > MAX_BYTES:
        refuse(f"is larger than {MAX_BYTES >> 20} MiB")
    try:
        return read_json(data.decode("utf-8"))
    except UnicodeDecodeError:
        refuse("is not UTF-8")
    except JsonError as error:
        at = None if error.line is None else Position(error.line, error.column or 1)
        refuse(str(error), at)
