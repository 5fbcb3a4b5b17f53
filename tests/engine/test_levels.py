"""A level of a live run is a `Level`, however fast it is set up."""

from types import SimpleNamespace

import pytest

from graceline.deadlines import Level, Limit, Source
from graceline.engine.levels import UNSET, LevelRun
from graceline.engine.plan import Plan
from graceline.telemetry.stats import PartStats

ENGINES_GRACE = 0.5
RUN = SimpleNamespace(shared=SimpleNamespace(grace=ENGINES_GRACE))

LIMITS = {
    "unlimited": Limit("node", "x"),
    "limited": Limit("node", "x", timeout=2.0, source=Source.NODE, stated=True),
    "with a grace": Limit("node", "x", timeout=2.0, grace=0.25),
    "with a grace of zero": Limit("node", "x", timeout=2.0, grace=0.0),
    "with a reserve": Limit("node", "x", timeout=2.0, reserve=0.5, grace=0.5),
    "not enforced": Limit("node", "x", timeout=2.0, enforced=False),
}
PARENTS = {
    "root": None,
    "below": Level(Limit("stage", "s", grace=0.125), None, 1.0),
}


def start(limit, parent):
    plan = Plan(
        name="x", label="x", limit=limit, strict=False, stop_before=None, handlers=(),
        stats=PartStats(),
    )  # fmt: skip
    return LevelRun(RUN, plan, parent, 3.0, "input")


@pytest.mark.parametrize("limit", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("parent", PARENTS.values(), ids=PARENTS)
def test_a_level_of_a_run_starts_as_the_pure_level_does(limit, parent):
    """Every attribute that decides when and whose has the value that a plain `Level` has."""
    live = start(limit, parent)
    pure = Level(limit, parent, 3.0, ENGINES_GRACE)
    names = {*Level.__slots__, *Level.__annotations__}
    assert {"start", "grace", "forced_at"} <= names
    assert {name: getattr(live, name) for name in names} == {
        name: getattr(pure, name) for name in names
    }


def test_a_level_of_a_run_has_all_its_attributes_from_the_start():
    """Whoever looks at a fresh level finds each attribute: nothing partial, ended, noticed or learned yet."""
    live = start(LIMITS["limited"], None)
    names = {*LevelRun.__slots__, *LevelRun.__annotations__} - Level.__annotations__.keys()
    own = {name: getattr(live, name) for name in names}
    assert own == {
        "run": RUN,
        "plan": live.plan,
        "input": "input",
        "partial": UNSET,
        "ended": False,
        "notice": None,
        "lease": None,
        "applied": None,
        "attempt": 0,
        "errors": (),
        "alternative": None,
        "hedge": False,
        "retried_inside": False,
        "_limit": None,
        "_grace": None,
    }
    assert live.limit is live.plan.limit is LIMITS["limited"]
