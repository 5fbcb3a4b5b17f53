"""The tools of research.yaml: two plain functions, which run in worker threads."""

from __future__ import annotations

import re
from typing import Any

from graceline.dialects.tools import Tools

tools = Tools.default()


@tools.tool("extract")
def extract(pages: list[dict[str, Any]]) -> list[dict[str, str]]:
    """The text of each page that was there."""
    return [
        {"url": page["url"], "text": re.sub(r"<[^>]+>", " ", page["text"]).strip()}
        for page in pages
        if page["success"] and page["status_code"] == 200
    ]


@tools.tool("summarise")
def summarise(texts: list[dict[str, str]], topic: str) -> dict[str, Any]:
    """The sentences about a topic; a failure if there are none, as tools say it."""
    sentences = [
        sentence.strip() + "."
        for text in texts
        for sentence in text["text"].split(".")
        if topic in sentence.lower()
    ]
    if not sentences:
        return {"success": False, "error": f"no page says anything about {topic!r}"}
    return {"success": True, "text": " ".join(sentences), "sentences": len(sentences)}
