"""Templates in files: Jinja2's language, evaluated to native values within fixed bounds.

`parsing` reads a text with Jinja2's own lexer and parser and refuses what is not offered;
`evaluating` walks the tree, and `meter` counts what that does. `operators`, `access`, `filters`,
`texts` and `tests` are everything that a template can do. `names` says what it refers to.
"""

from graceline.dialects.templates.errors import TemplateError
from graceline.dialects.templates.template import Template, Value, compile_value

__all__ = ["Template", "TemplateError", "Value", "compile_value"]
