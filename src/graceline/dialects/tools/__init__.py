"""Tools: what the steps of a file may use by name.

`registry` knows them, and `results` what they answer. `arguments` looks at what functions are
given, and `actions` is what those with actions share: `filesystem`, which stays `confined` to a
directory, `terminal`, `http` and `python`.
"""

from graceline.dialects.tools.registry import Found, Tool, Tools
from graceline.dialects.tools.results import ToolFailedError, ToolRefusedError, understand

__all__ = ["Found", "Tool", "ToolFailedError", "ToolRefusedError", "Tools", "understand"]
