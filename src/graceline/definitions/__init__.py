"""Definitions: what is run, checked when it is written down. Frozen, and without a clock."""

from graceline.definitions.adaptive import Adaptive
from graceline.definitions.breaker import Breaker
from graceline.definitions.bulkhead import Bulkhead
from graceline.definitions.choice import Choice
from graceline.definitions.command import Command
from graceline.definitions.compose import choose, each, parallel, sequence
from graceline.definitions.graph import Graph
from graceline.definitions.hedge import Hedge
from graceline.definitions.inherit import INHERIT, Defaults, Inheritable, resolve, stated_policies
from graceline.definitions.nodes import Each, Node, node
from graceline.definitions.part import PASS_INPUT, Part
from graceline.definitions.pipeline import Pipeline, Stage, check_learned_limit
from graceline.definitions.retry import Retry
from graceline.definitions.timeouts import Timeouts

__all__ = [
    "INHERIT",
    "PASS_INPUT",
    "Adaptive",
    "Breaker",
    "Bulkhead",
    "Choice",
    "Command",
    "Defaults",
    "Each",
    "Graph",
    "Hedge",
    "Inheritable",
    "Node",
    "Part",
    "Pipeline",
    "Retry",
    "Stage",
    "Timeouts",
    "check_learned_limit",
    "choose",
    "each",
    "node",
    "parallel",
    "resolve",
    "sequence",
    "stated_policies",
]
