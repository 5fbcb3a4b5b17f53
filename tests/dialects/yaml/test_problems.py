"""Problems are told in the order of the file, once each."""

import pickle

from graceline import DefinitionError
from graceline.dialects.yaml.problems import FileError, Position, Problem


def test_a_problem_is_one_line_that_editors_understand():
    """`file:line:column: message`, with the severity only where it is no error."""
    assert str(Problem("bad", "f.yaml", Position(3, 7))) == "f.yaml:3:7: bad"
    assert str(Problem("odd", "f.yaml", severity="warning")) == "f.yaml: warning: odd"


def test_an_error_tells_every_problem_once_and_in_order():
    """Those of the whole file come first; what was found twice is told once."""
    second = Problem("b", "f.yaml", Position(2, 1))
    error = FileError([second, Problem("c", "f.yaml", Position(10, 1)), second, Problem("a", "f")])
    assert str(error).splitlines() == ["f: a", "f.yaml:2:1: b", "f.yaml:10:1: c"]
    assert isinstance(error, DefinitionError)


def test_many_problems_are_counted():
    """A message does not become longer than anybody reads."""
    error = FileError([Problem(f"{n:03}", "f") for n in range(103)])
    assert str(error).splitlines()[-1] == "... and 3 more"
    assert len(error.problems) == 103


def test_an_error_survives_the_way_to_another_process():
    """It is pickled with its problems."""
    error = pickle.loads(pickle.dumps(FileError([Problem("a", "f", Position(1, 2))])))  # noqa: S301
    assert error.problems == (Problem("a", "f", Position(1, 2)),)
