"""Files: a pipeline read from a file, checked as a whole, ready to be run."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from graceline.definitions.checks import brief
from graceline.dialects.tools import Tools
from graceline.dialects.yaml.building import Built, build
from graceline.dialects.yaml.checking import warnings_of
from graceline.dialects.yaml.explaining import explain_step
from graceline.dialects.yaml.explanations import Explanation
from graceline.dialects.yaml.inputs import check_defaults, coerce_inputs
from graceline.dialects.yaml.limits import StepLimits, limits_of
from graceline.dialects.yaml.linking import link
from graceline.dialects.yaml.links import Links
from graceline.dialects.yaml.problems import FileError, Problem
from graceline.dialects.yaml.reading import Tree, parse, read_bytes
from graceline.dialects.yaml.schema import FileKeys
from graceline.dialects.yaml.structuring import structure
from graceline.errors import DefinitionError, GracelineError

if TYPE_CHECKING:
    from graceline.bench import Suite
    from graceline.definitions import Pipeline
    from graceline.dialects.yaml.bodies import ToolSource

__all__ = ["Functions", "Parts", "PipelineFile", "check", "load", "loads", "outline", "parts_of"]

Functions: TypeAlias = Mapping[str, Callable[..., Any]]
"""Functions by the names that the steps of a file call them."""


@attrs.define(slots=False, eq=False)
class Parts:
    """What a file is made of.

    Attributes:
        keys: what it says.
        tree: the same with positions.
        links: which step needs which.
    """

    keys: FileKeys
    tree: Tree
    links: Links

    @cached_property
    def limits(self) -> dict[str, StepLimits]:
        """For each step every limit that can cut it, and where these come from."""
        return limits_of(self.tree, self.keys, self.links)


class PipelineFile:
    """A file that was read and checked; `load` and `loads` make it.

    Attributes:
        file: what messages call it.
        text: the text itself.
        root: the directory of programs; None for this process's.
    """

    def __init__(
        self, file: str, text: str, parts: Parts, tools: ToolSource, root: Path | None
    ) -> None:
        self.file: str = file
        self.text: str = text
        self.root: Path | None = root
        self._parts = parts
        self._tools = tools

    @property
    def name(self) -> str:
        """The name of the pipeline, or of the suite."""
        return self._parts.keys.id or self._parts.keys.name or ""

    @property
    def is_suite(self) -> bool:
        """Whether it holds phases for the benchmark runner, and no steps."""
        return bool(self._parts.keys.phases)

    def pipeline(self) -> Pipeline:
        """The pipeline: `await engine.run(file.pipeline(), {"topic": "trees"})`.

        Its input is a mapping of inputs, or None for none. It may be run many times, also at once.

        Raises:
            GracelineError: if the file holds phases.
        """
        return self._built.pipeline

    def suite(self) -> Suite:
        """The suite of a file with phases, for `graceline.bench.run_suite`.

        Raises:
            GracelineError: if the file holds steps.
        """
        if not self.is_suite:
            raise GracelineError(f"{self.file} holds steps; run it as a pipeline")
        return self._suite

    def inputs(self, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The inputs of a run as the pipeline will see them; to look before it is run.

        Raises:
            FileError: for what is not declared, is missing, or is of another type.
        """
        return coerce_inputs(self._parts.keys.inputs, given, self.file)

    def built(self) -> Built:
        """The pipeline and what belongs to it, for those who change it.

        Raises:
            GracelineError: if the file holds phases.
        """
        return self._built

    def explain(
        self,
        step: str,
        *,
        into_stage: float = 0.0,
        into_run: float = 0.0,
        backoff: float = 1.0,
    ) -> Explanation:
        """Which limit applies to a step and where it comes from, with the whole resolution.

        Args:
            step: its id.
            into_stage: seconds of its stage that have passed when it starts.
            into_run: the same of the run, at least `into_stage`.
            backoff: the share of each backoff that is waited, from 0 to 1.

        Raises:
            GracelineError: if there is no such step; if the file holds phases.
        """
        if self.is_suite:
            raise GracelineError(f"{self.file} holds phases, and no steps to explain")
        return explain_step(
            self._parts.keys,
            self._parts.links,
            self._parts.limits,
            self.file,
            step,
            into_stage=into_stage,
            into_run=into_run,
            backoff=backoff,
        )

    def warnings(self) -> list[Problem]:
        """What is valid, but hardly what was meant, in the order of the file."""
        return warnings_of(
            self._parts.keys, self._parts.tree, self._parts.links, self._parts.limits, self.file
        )

    @cached_property
    def _built(self) -> Built:
        if self.is_suite:
            raise GracelineError(f"{self.file} holds phases; run it with `graceline bench`")
        return build(
            self._parts.keys,
            self._parts.tree,
            self._parts.links,
            self._parts.limits,
            self.file,
            self._tools,
            self.root,
        )

    @cached_property
    def _suite(self) -> Suite:
        from graceline.dialects.yaml.suites import build_suite  # noqa: PLC0415 - few files need it

        return build_suite(self._parts.keys, self._parts.tree, self.file, self.root)


def parts_of(file: PipelineFile) -> Parts:
    """What a file is made of: for `dialects.resume` and the command line, and for nobody else."""
    return file._parts  # noqa: SLF001 - this is the way to it


def load(
    path: str | os.PathLike[str],
    *,
    tools: ToolSource | Functions | None = None,
    root: str | os.PathLike[str] | None = None,
) -> PipelineFile:
    """Read a file; nothing is run or written.

    Nothing that it names is imported, but tools that an installed package offers as entry points of
    the group `graceline.tools`.

    Args:
        path: a regular file of at most 1 MiB.
        tools: the tools that its steps may use: a `Tools`, or functions by their names, such as
            `engine.tools`, besides those of every program; None for the latter alone.
        root: the directory of programs and of the tool `filesystem`; None for this process's.

    Raises:
        FileError: with everything that is wrong, each at its line and column.
        DefinitionError: for arguments of another type.
    """
    if not isinstance(path, str | os.PathLike):
        raise DefinitionError(f"load(): {brief(path)} is no path; give one, or a text to loads()")
    return loads(read_bytes(path), file=os.fsdecode(path), tools=tools, root=root)


def loads(
    text: str | bytes,
    *,
    file: str = "<text>",
    tools: ToolSource | Functions | None = None,
    root: str | os.PathLike[str] | None = None,
) -> PipelineFile:
    """Read the text of a file; all else is as in `load`.

    Args:
        text: UTF-8 if it is bytes.
        file: what messages call it.
        tools: as in `load`.
        root: as in `load`.

    Raises:
        FileError: with everything that is wrong, each at its line and column.
        DefinitionError: for arguments of another type.
    """
    read = _read(text, file, tools, root)
    _ = read.suite() if read.is_suite else read.pipeline()  # nothing can be wrong with it later
    return read


def outline(path: str | os.PathLike[str]) -> PipelineFile:
    """Read a file to look at it: as `load`, but its tools need not be there.

    Args:
        path: as in `load`.

    Raises:
        FileError: with everything that is wrong apart from its tools.
        DefinitionError: for what is no path.
    """
    if not isinstance(path, str | os.PathLike):
        raise DefinitionError(f"outline(): {brief(path)} is no path; give that of a file")
    return _read(read_bytes(path), os.fspath(path), None, None)


def _read(
    text: str | bytes,
    file: str,
    tools: ToolSource | Functions | None,
    root: str | os.PathLike[str] | None,
) -> PipelineFile:
    if not isinstance(text, str | bytes):
        raise DefinitionError(f"loads(): {brief(text)} is no text; give a str, or UTF-8 as bytes")
    if not isinstance(root, str | os.PathLike | None):
        raise DefinitionError(f"root= takes the path of a directory, not {brief(root)}")
    tree = parse(text, file)
    keys, problems = structure(tree, FileKeys, file)
    links = link(tree, file)
    problems += links.problems
    if keys is not None:
        problems += check_defaults(keys.inputs, tree, file)
    if problems or keys is None:
        raise FileError(problems)
    place = None if root is None else Path(root)
    plain = text if isinstance(text, str) else text.decode("utf-8-sig")
    return PipelineFile(file, plain, Parts(keys, tree, links), _source(tools, place), place)


def _source(tools: ToolSource | Functions | None, root: Path | None) -> ToolSource:
    """What finds the tools of a file."""
    if tools is None or isinstance(tools, Mapping):
        return Tools.default(Path() if root is None else root, tools or {})
    if isinstance(tools, str | bytes) or not callable(getattr(tools, "find", None)):
        raise DefinitionError(
            f"tools= takes a Tools, or functions by their names such as engine.tools, not "
            f"{brief(tools)}"
        )
    return tools


def check(
    path: str | os.PathLike[str],
    *,
    tools: ToolSource | Functions | None = None,
    root: str | os.PathLike[str] | None = None,
) -> list[Problem]:
    """Everything that is wrong with a file, or hardly what was meant; empty if it is fine.

    The arguments are those of `load`.
    """
    try:
        return load(path, tools=tools, root=root).warnings()
    except FileError as error:
        return list(error.problems)
