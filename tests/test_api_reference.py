"""Every public name is in the API reference, and every tutorial of the docs is a script of `examples/`."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

import imle_opt
import imle_opt_solvers

ROOT = Path(__file__).parent.parent
PAGES = {page.stem: page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "api").glob("*.md")}


def resolved(path):
    """Return the module or the attribute of a module that a directive names."""
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        home, _, name = path.rpartition(".")
        return getattr(importlib.import_module(home), name)


def documented():
    """Return the ids of all objects that the directives show: what they name, or a module's own members."""
    shown = {}
    for text in PAGES.values():
        for path, options in re.findall(r"^::: (\S+)\n((?:    .*\n)*)", text + "\n", re.MULTILINE):
            found = resolved(path)
            if not isinstance(found, ModuleType):
                shown[id(found)] = found
                continue
            kept = re.search(r"members: \[(.*?)\]", options)
            hidden = re.findall(r'"!(.*?)"', options)
            for name, member in vars(found).items():
                own = getattr(member, "__module__", None) == path or name in getattr(found, "__all__", ())
                asked = name in kept[1].split(", ") if kept else not any(re.search(h, name) for h in hidden)
                if own and asked and member.__doc__:
                    shown[id(member)] = member
    return shown


@pytest.mark.parametrize("package", [imle_opt, imle_opt_solvers], ids=lambda package: package.__name__)
def test_every_public_name_is_in_the_reference(package):
    shown = documented()
    missing = []
    for name in package.__all__:
        value = getattr(package, name)
        known = f"`{package.__name__}.{name}`" in "".join(PAGES.values()) or f"::: {value.__name__}" in (
            "".join(PAGES.values())
        )
        if not (known if isinstance(value, ModuleType) else id(value) in shown):
            missing.append(name)
    assert missing == []


def test_every_example_is_a_tutorial():
    scripts = {path.name for path in (ROOT / "examples").glob("[0-9][0-9]_*.py")}
    pages = [page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "tutorials").glob("*.md")]
    assert {name for page in pages for name in re.findall(r'--8<-- "examples/(.+?)"', page)} == scripts
    assert (ROOT / "mkdocs.yml").read_text(encoding="utf-8").count(": tutorials/") == len(scripts)
