"""The messages in the docs' page of troubles are those that the code prints."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
MESSAGES = re.findall(r"^### `+ ?(.+?) ?`+$", PAGE, re.MULTILINE)


def texts(path):
    """Return all string literals of a file; what an f-string fills in becomes `…`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


PRINTED = [
    text
    for folder in (ROOT / "src", ROOT / "solvers")
    for path in sorted(folder.rglob("*.py"))
    for text in texts(path)
]


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_of_the_page_is_printed_by_the_code(message):
    pieces = [piece for piece in message.split("…") if piece]
    assert max(map(len, pieces)) >= 12, "a message is told by more than a word"
    pattern = re.compile(".*".join(map(re.escape, pieces)), re.DOTALL)
    assert any(pattern.search(text) for text in PRINTED)


def test_messages_are_found():
    assert len(MESSAGES) == len(set(MESSAGES)) == PAGE.count("\n### ") >= 30
