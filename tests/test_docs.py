"""The documents: what they say holds, some test holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def named_tests() -> list[tuple[str, str]]:
    return [
        (path.name, found)
        for path in DOCS
        for found in re.findall(r"`(tests/[\w/]+\.py(?:::\w+)?)`", path.read_text())
    ]


@pytest.mark.parametrize(("document", "named"), named_tests())
def test_a_test_that_is_named_is_there(document: str, named: str) -> None:
    file, _, function = named.partition("::")
    text = (ROOT / file).read_text()
    assert not function or f"def {function}(" in text


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), target
