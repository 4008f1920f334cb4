"""The commands shown in the docs print what the docs say; only timings may differ."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from imle_opt.cli import main

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r'^```\w+ title="(.+?)"\n(.*?)^```$', TEXT, re.DOTALL | re.MULTILINE))
SESSIONS = [
    session
    for text in (TEXT, (ROOT / "README.md").read_text(encoding="utf-8"))
    for session in re.findall(
        r"^```console\n\$ (imle-opt regret .*?)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE
    )
]


def without_timings(text):
    """Return the lines, with seconds masked."""
    return [re.sub(r"^(seconds +).*", r"\1...", line) for line in text.splitlines()]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        if name != "rows.csv":
            (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(("command", "shown"), SESSIONS, ids=[command for command, _ in SESSIONS])
def test_a_session_prints_what_is_shown(command, shown, capsys, folder):
    main(command.split()[1:])
    printed = capsys.readouterr()
    lines = without_timings(printed.out + printed.err)
    wanted = without_timings(shown)
    if "..." in wanted:
        wanted.remove("...")
        assert set(wanted) <= set(lines)
    else:
        assert lines == wanted
    if "--csv rows.csv" in command:
        assert (folder / "rows.csv").read_text(encoding="utf-8") == FILES["rows.csv"]


def test_sessions_are_found():
    assert len(SESSIONS) == 4
    assert set(FILES) == {"knapsack.py", "predicted.csv", "old.csv", "true.csv", "rows.csv"}
