"""The page in a real browser, before a real gateway and a real model server: a scan goes in, its lesions are seen."""

import gzip
import io
import json
import os
import signal
from urllib.parse import urlsplit

import matplotlib.image
import nibabel as nib
import numpy as np
import pytest

from lesions.grid import template_grid
from tests.browser import HOW, Browser, find
from tests.serving.conftest import BRIGHT
from tests.serving.server import Gateway

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not find(), reason=HOW)]
GRID = template_grid(6.0)
SHOWN = "document.body.dataset.state === 'shown'"
ERROR = "document.querySelector('#error').textContent"
LARGE, SMALL = (8, 26, 22), (22, 12, 9)  # corners of two cubes, 5 and 2 voxels wide


def write(path, moved=0.0):
    """A head with two bright cubes, which the models take for lesions."""
    places = np.indices(GRID.shape) - np.array(GRID.shape)[:, None, None, None] / 2
    inside = (places**2 / (np.array(GRID.shape)[:, None, None, None] * 0.42) ** 2).sum(0) < 1
    data = np.where(inside, 0.2 * BRIGHT, 0).astype("float32")
    for (x, y, z), width in ((LARGE, 5), (SMALL, 2)):
        data[x : x + width, y : y + width, z : z + width] = BRIGHT
    matrix = GRID.matrix.copy()
    matrix[0, 3] += moved
    nib.save(nib.Nifti1Image(data, matrix), path)
    return path


@pytest.fixture(scope="module")
def gateway(models):
    running = Gateway(models=models)
    yield running
    running.stop()


@pytest.fixture
def scan(tmp_path):
    return write(tmp_path / "my scan_T1w.nii.gz")


@pytest.fixture
def browser(tmp_path):
    running = Browser(find(), tmp_path / "profile")
    yield running
    running.close()


@pytest.fixture
def page(browser, gateway):
    browser.open(gateway.url, 1280)
    return browser


def upload(page, scan, until=SHOWN):
    page.choose("#file", scan)
    page.run("document.querySelector('#submit').click()")
    page.wait(f"{until} || {ERROR}")


def enter(page, name, value, event="input"):
    """Gives a field a value, as typing or moving does."""
    page.run(
        f"(() => {{ const f = document.querySelector('#{name}'); f.value = '{value}';"
        f"f.dispatchEvent(new Event('{event}')) }})()"
    )


def cells(page):
    rows = page.run(
        "JSON.stringify([...document.querySelectorAll('#numbers tr')].map(r => [...r.cells].map(c => c.innerText)))"
    )
    return dict(json.loads(rows))


def reddish(page):
    """How many pixels of the picture are as red as an overlay over gray."""
    left, top, width, height = page.run(
        "(() => { const b = document.querySelector('#canvas').getBoundingClientRect();"
        "return [b.left + scrollX, b.top + scrollY, b.width, b.height] })()"
    )
    whole = matplotlib.image.imread(io.BytesIO(page.screenshot()), format="png")
    shown = whole[int(top) : int(top + height), int(left) : int(left + width), :3]
    return int(((shown[..., 0] > shown[..., 1] + 0.2) & (shown[..., 0] > shown[..., 2] + 0.2)).sum()), shown


def test_a_scan_is_uploaded_and_its_lesions_are_seen(page, gateway, scan, tmp_path):
    upload(page, scan)
    assert page.run(ERROR) == ""
    summary = gateway.client.post("/segment?output=summary", content=scan.read_bytes()).json()
    found = cells(page)
    assert summary["lesion_count"] == 2
    assert found["Lesions"] == "2"
    assert found["Lesion volume"] == f"{summary['lesion_volume_ml']:.2f} ml"
    assert found["Their volumes"] == ", ".join(
        f"{s:.2f} ml" for s in sorted(summary["lesion_sizes_ml"])[::-1]
    )
    assert found["Models"] == "axial 3, sagittal 3, coronal 3"
    assert found["Trained on"] == summary["training"]
    red, shown = reddish(page)
    assert 200 < red < shown[..., 0].size / 10
    assert shown.std() > 0.1  # and a head around them
    enter(page, "opacity", 0)
    page.wait("new Promise(done => requestAnimationFrame(() => done(true)))")
    assert reddish(page)[0] < red / 10
    page.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.run("document.querySelector('#downloads a').click()")
    file = tmp_path / "my_scan_T1w_mask.nii.gz"
    for _ in range(200):
        page.run("new Promise(done => setTimeout(done, 50))")
        if file.is_file():
            break
    mask = gateway.client.post("/segment", content=scan.read_bytes()).content
    assert gzip.decompress(file.read_bytes()) == gzip.decompress(mask)
    assert page.problems == []
    hosts = {urlsplit(url).netloc for url in page.requests if not url.startswith(("blob:", "data:"))}
    assert hosts == {urlsplit(gateway.url).netloc}


def test_the_crosshair_is_on_the_largest_lesion(page, scan):
    upload(page, scan)
    fractions = [(corner + 2.5) / size for corner, size in zip(LARGE, GRID.shape, strict=True)]

    def shown():
        return [page.run(f"Number(document.querySelector('#slice-{axis}').value) / 1000") for axis in "xyz"]

    np.testing.assert_allclose(shown(), fractions, atol=0.02)
    page.run("document.querySelector('#slice-x').focus()")
    before = reddish(page)[1]
    for _ in range(60):
        page.key("ArrowRight", 39)
    assert shown()[0] == pytest.approx(fractions[0] + 0.06, abs=0.02)
    assert np.abs(reddish(page)[1] - before).max() > 0.1  # another slice is shown
    page.run("document.querySelector('#jump').click()")
    np.testing.assert_allclose(shown(), fractions, atol=0.02)


def test_the_probability_is_laid_over_too(page, scan):
    upload(page, scan)
    before = reddish(page)[0]
    enter(page, "overlay", "probability", "change")
    page.wait(
        "performance.getEntriesByType('resource').some(one => one.name.endsWith('/probability.nii.gz'))"
    )
    page.run("new Promise(done => setTimeout(done, 1500))")
    assert reddish(page)[0] > 2 * before  # these models give every voxel some probability
    assert page.run(ERROR) == ""


def test_with_the_keyboard_alone(page):
    for _ in range(12):
        page.key("Tab", 9)
        if page.run("document.activeElement.id") == "sample":
            break
    page.key("Enter", 13, "\r")
    page.wait(f"{SHOWN} || {ERROR}")
    assert page.run("document.activeElement.id") == "result-heading"  # where a screen reader goes on
    reached = []
    for _ in range(20):
        page.key("Tab", 9)
        reached.append(page.run("document.activeElement.id || document.activeElement.textContent"))
    wanted = {"slice-x", "slice-y", "slice-z", "opacity", "overlay", "Mask (1 = lesion)"}
    assert wanted <= set(reached)


def test_everything_has_a_name_for_a_screen_reader(page, scan):
    upload(page, scan)
    page.run("document.querySelector('details').open = true")
    page.wait("!!document.querySelector('#option-rule')")
    asked = {
        "button",
        "textbox",
        "spinbutton",
        "checkbox",
        "combobox",
        "slider",
        "link",
        "image",
        "table",
        "Canvas",
    }
    named = [(role, name) for role, name in page.names() if role in asked]
    assert len(named) >= 15
    assert [role for role, name in named if not name.strip()] == []
    assert page.run("document.querySelector('#status').getAttribute('role')") == "status"


def test_options_are_those_of_the_api_and_are_sent(page, gateway, scan):
    described = gateway.client.get("/openapi.json").json()["paths"]["/jobs"]["post"]["parameters"]
    page.wait("!!document.querySelector('#option-rule')")
    shown = page.run("[...document.querySelectorAll('#options [name]')].map(field => field.name)")
    assert shown == [one["name"] for one in described if one["name"] != "grid"]
    enter(page, "option-rule", "majority")
    enter(page, "option-threshold", 0.3)
    upload(page, scan)
    assert "rule majority, threshold 0.3" in cells(page)["Settings"]


def test_what_cannot_be_used_is_said(page, tmp_path):
    page.run("document.querySelector('#submit').click()")
    assert "Choose a scan first" in page.wait(ERROR)
    text = tmp_path / "letter.nii.gz"
    text.write_text("Dear reader")
    upload(page, text)
    assert "no NIfTI" in page.run(ERROR)
    assert page.run("document.querySelector('#result').hidden")
    assert not page.run("document.querySelector('#submit').disabled")


def test_a_job_that_fails_says_why(page, tmp_path):
    far = write(tmp_path / "far.nii.gz", moved=60.0)
    page.wait("!!document.querySelector('#option-strict')")
    page.run("document.querySelector('#option-strict').checked = true")
    upload(page, far)
    assert "MNI" in page.run(ERROR)
    page.run("document.querySelector('#option-strict').checked = false")
    upload(page, far)
    assert "MNI" in page.run("document.querySelector('#warnings').textContent")
    assert page.run(ERROR) == ""


def test_cancel(page, gateway, scan):
    os.kill(gateway.worker(), signal.SIGSTOP)
    try:
        page.choose("#file", scan)
        page.run("document.querySelector('#submit').click()")
        page.wait(
            "!document.querySelector('#work').hidden"
            " && document.querySelector('#status').textContent !== 'Sending the scan'"
        )
        page.run("document.querySelector('#cancel').click()")
        page.wait("document.querySelector('#work').hidden")
        assert page.run(ERROR) == ""
        job = next(url for url in page.requests if "/jobs/" in url)
        assert gateway.client.get(urlsplit(job).path).json()["state"] == "cancelled"
    finally:
        os.kill(gateway.worker(), signal.SIGCONT)


def test_without_webgl_there_are_numbers_and_files(browser, gateway, scan):
    browser.call(
        "Page.addScriptToEvaluateOnNewDocument", source="HTMLCanvasElement.prototype.getContext = () => null"
    )
    browser.open(gateway.url, 1280)
    upload(browser, scan)
    assert not browser.run("document.querySelector('#no-view').hidden")
    assert cells(browser)["Lesions"] == "2"
    assert browser.run("document.querySelectorAll('#downloads a').length") == 4


def test_on_a_phone_nothing_is_wider_than_it(browser, gateway, scan):
    browser.open(gateway.url, 360, phone=True)
    upload(browser, scan)
    assert browser.run("document.documentElement.scrollWidth") <= 360


def test_a_token_is_asked_for(browser, models, scan):
    gateway = Gateway(models=models, token="secret")
    try:
        browser.open(gateway.url, 1280)
        assert "token" in browser.wait(ERROR)
        browser.run("document.querySelector('#token').value = 'wrong'")
        upload(browser, scan)
        assert "token" in browser.run(ERROR)
        browser.run("document.querySelector('#token').value = 'secret'")
        upload(browser, scan, until=SHOWN)
        browser.wait(SHOWN)
        assert cells(browser)["Lesions"] == "2"
    finally:
        gateway.stop()


@pytest.mark.parametrize("path", ["/", "/static/app.js", "/docs"])
def test_the_policy_allows_nothing_from_elsewhere(gateway, path):
    policy = gateway.client.get(path).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert "script-src" not in policy or "script-src 'self';" in policy
