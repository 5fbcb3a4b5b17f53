"""Text in SVG: its style sheet for light and dark, and what fits where nobody knows the font."""

from __future__ import annotations

from unicodedata import east_asian_width

from graceline.timelines.look import DARK, LIGHT, STATUSES

__all__ = ["BOLD", "cropped", "style", "wide"]

BOLD = 1.15
"""So many times as wide as others are bold letters."""
_CHAR = 0.6  # of the size of the font that a character is wide, by and large


def style() -> str:
    """Colours as classes: programs that know no custom properties draw it all the same."""

    def rules(palette: dict[str, str]) -> str:
        return " ".join(
            f".f-{name} {{ fill: {colour}; }} .s-{name} {{ stroke: {colour}; }}"
            for name, colour in palette.items()
            if name in ("page", "card", "ink", "soft", "line", "grid", *STATUSES)
        )

    return (
        "text { font: 13px system-ui, 'Segoe UI', 'Liberation Sans', 'DejaVu Sans', sans-serif; }"
        " .c { font-size: 13px; } .e { text-anchor: end; } .m { font-size: 11px; } "
        ".h { font-size: 19px; font-weight: 650; } .b { font-weight: 600; } .n { fill: none; }"
        f" {rules(LIGHT)} @media (prefers-color-scheme: dark) {{ {rules(DARK)} }}"
    )


def wide(text: str, size: float) -> float:
    """How wide a text is, more or less: nobody knows which font there will be."""
    return sum(map(_factor, text)) * _CHAR * size


def _factor(char: str) -> float:
    return 1.8 if east_asian_width(char) in "WF" else 1.3 if char.isupper() else 1.0


def cropped(text: str, room: float, size: float = 13) -> str:
    """A text that fits; its middle is left out, since ends tell names apart."""
    if wide(text, size) <= room:
        return text
    keep = max(2, int(room / (_CHAR * size)) - 1)
    while keep > 2 and wide(text[: keep - keep // 3] + "…" + text[-(keep // 3) :], size) > room:
        keep -= 1
    return f"{text[: keep - keep // 3]}…{text[len(text) - keep // 3 :]}"
