"""The page of a small run in a real browser: opened as a reader does, on a phone, on paper, by keyboard."""

import io
import itertools
import json
import re

import pandas as pd
import pytest
from PIL import Image

from tests import browser

pytestmark = pytest.mark.slow
MOST = 12_000_000  # bytes of a page: docs/report.md
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    path = browser.find()
    if path is None:
        pytest.skip(browser.HOW)
    opened = browser.Browser(path, tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(params=[(360, True), (1280, False)], ids=["phone", "desktop"])
def page(request, chromium, small_page):
    width, phone = request.param
    chromium.open(small_page[1], width, phone=phone)
    return chromium


def test_it_opens_without_a_complaint_and_asks_nobody_for_anything(page):
    assert page.problems == []
    outside = [url for url in page.requests if not url.startswith(("file://", "data:"))]
    assert outside == []
    assert sum(url.startswith("file://") for url in page.requests) == 1


def test_every_picture_is_there_and_has_its_words(page):
    images = page.run("[...document.images].map(i => [i.naturalWidth, i.naturalHeight, i.alt])")
    assert len(images) > 15
    assert all(width > 0 and height > 0 and alt.strip() for width, height, alt in images)


def test_the_page_does_not_scroll_sideways_and_wide_things_do_so_in_their_own_box(page):
    assert page.run(OVERFLOW) == 0
    page.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert page.run(OVERFLOW) == 0
    wide = page.run(
        "[...document.querySelectorAll('.scroll')].map(b => "
        "[getComputedStyle(b).overflowX, b.scrollWidth > b.clientWidth])"
    )
    assert {style for style, _ in wide} == {"auto"}
    if page.run("innerWidth") < 400:
        assert any(scrolls for _, scrolls in wide)


def test_every_link_within_the_page_has_a_target(page):
    found = page.run(
        "[...document.links].map(a => [a.getAttribute('href'), !!document.getElementById(a.hash.slice(1))])"
    )
    assert len(found) > 16
    assert all(href.startswith("#") and target for href, target in found)


def test_headings_go_down_one_level_at_a_time(page):
    levels = page.run("[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(h => Number(h.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_text_is_dark_enough_on_what_is_behind_it(page):
    """WCAG 2.1, 1.4.3: 4.5 to 1 for text of this size."""
    pairs = json.loads(page.run(CONTRAST))
    assert len(pairs) > 5
    low = {tuple(pair) for pair in pairs if contrast(*pair) < 4.5}
    assert low == set()


def test_the_keyboard_reaches_the_content_the_contents_and_what_scrolls(page):
    page.run("document.activeElement.blur(); window.scrollTo(0, 0)")
    page.key("Tab", 9)
    assert page.run("document.activeElement.className") == "skip"
    page.key("Enter", 13, "\r")
    assert page.run("location.hash") == "#main"
    reached = page.run(
        "[...document.querySelectorAll('a, summary, .scroll, .picture, pre')].every(e => e.tabIndex === 0)"
    )
    assert reached


def test_it_prints_with_every_figure_whole(chromium, small_page):
    chromium.open(small_page[1], 1280)
    printed = chromium.pdf()
    assert printed.startswith(b"%PDF-")
    pages = len(re.findall(rb"/Type\s*/Page\b", printed))
    assert 8 < pages < 60
    chromium.call("Emulation.setEmulatedMedia", media="print")
    # A4 less its margins, in CSS pixels.
    chromium.call(
        "Emulation.setDeviceMetricsOverride", width=695, height=1024, deviceScaleFactor=1, mobile=False
    )
    boxes = chromium.run(
        "[...document.querySelectorAll('figure')].filter(f => f.checkVisibility())"
        ".map(f => [f.getBoundingClientRect().height, getComputedStyle(f).breakInside])"
    )
    tables = chromium.run(
        "[...document.querySelectorAll('section > .scroll')].map(b => b.scrollWidth - b.clientWidth)"
    )
    chromium.call("Emulation.setEmulatedMedia", media="")
    assert len(boxes) > 12
    assert all(0 < height < 1024 and inside == "avoid" for height, inside in boxes)
    assert max(tables) <= 0  # no column is cut off on paper


def test_the_file_is_one_and_not_too_large(small_page):
    _, path = small_page
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    assert path.stat().st_size < MOST / 4  # seven subjects on a coarse grid


def test_what_it_shows_is_what_the_components_wrote(chromium, small_page):
    root, path = small_page
    chromium.open(path, 1280)
    text = chromium.run("document.body.innerText")
    scores = pd.read_csv(root / "evaluation/scores.csv")
    fused = scores[(scores["prediction"] == "fused") & (scores["score"] == "dice")].iloc[0]
    assert f"{fused['mean']:.3f}" in text
    assert f"n = {fused['n']}" in text
    for subject in pd.read_csv(root / "evaluation/files.csv")["subject"]:
        assert subject in text
    release = json.loads((root / "release/release.json").read_text())
    facts = (
        "digest-of-the-data",
        "digest-of-the-trainer",
        release["id"],
        release["models"]["axial"]["sha256"],
    )
    for fact in facts:
        assert fact in text
    assert "Validation, optimistic" in text
    shown = Image.open(io.BytesIO(chromium.screenshot()))
    assert len(shown.convert("L").getcolors()) > 50  # something is painted


CONTRAST = """JSON.stringify([...new Set(
  [...document.querySelectorAll('p, td, th, li, a, figcaption, span, b, dt, h1, h2, h3, h4, pre')]
  .filter(e => e.checkVisibility() && e.innerText.trim()).map(e => {
    const color = one => getComputedStyle(one).backgroundColor;
    let behind = e;
    while (color(behind) === 'rgba(0, 0, 0, 0)' && behind.parentElement) behind = behind.parentElement;
    return getComputedStyle(e).color + '|' + color(behind);
  }))].map(t => t.split('|')))"""


def contrast(front, behind):
    """WCAG's contrast ratio of two CSS colors."""
    light, dark = sorted((luminance(front), luminance(behind)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(color):
    parts = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
