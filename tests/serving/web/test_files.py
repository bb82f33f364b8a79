"""The page's files are complete, unchanged where they are others', and hold nothing that its policy forbids."""

import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import serving

STATIC = Path(serving.__file__).parent / "web" / "static"


def test_niivue_is_the_one_that_was_published():
    digest, name = (STATIC / "vendor" / "SHA256SUMS").read_text().split()
    assert hashlib.sha256((STATIC / "vendor" / name).read_bytes()).hexdigest() == digest
    assert "BSD 2-Clause" in (STATIC / "vendor" / "niivue.LICENSE.txt").read_text()


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found, self.within, self.inline = [], None, []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self.within = tag

    def handle_endtag(self, tag):
        self.within = None

    def handle_data(self, data):
        if self.within in ("script", "style") and data.strip():
            self.inline.append(data)


@pytest.fixture
def page():
    tags = Tags()
    tags.feed((STATIC / "index.html").read_text())
    return tags


def test_nothing_is_written_into_the_page(page):
    assert not page.inline
    for _, attributes in page.found:
        assert not [name for name in attributes if name.startswith("on") or name == "style"]


def test_all_that_the_page_names_is_here(page):
    named = [a[key] for _, a in page.found for key in ("src", "href") if key in a]
    scripts = list(STATIC.glob("*.js"))
    named += [
        f"/static/{one}" for path in scripts for one in re.findall(r'from "\./(.+?)"', path.read_text())
    ]
    files = [STATIC / name.removeprefix("/static/") for name in named if name.startswith("/static/")]
    assert len(files) >= 7
    assert [file for file in files if not file.is_file()] == []
    assert {name for name in named if not name.startswith("/static/")} == {"/docs"}
    assert set(scripts) <= set(files)  # none is left over


def test_every_field_has_a_label(page):
    labeled = {a["for"] for tag, a in page.found if tag == "label"}
    fields = {a["id"] for tag, a in page.found if tag in ("input", "select")}
    assert fields
    assert fields <= labeled
