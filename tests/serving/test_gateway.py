"""The gateway's answers: outputs, options, uploads, refusals; the application in this process, over the formula."""

import argparse
import asyncio
import io
import json
import logging
import re
import threading
import zipfile
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from lesions import nifti
from lesions.errors import WorkError
from lesions.grid import Grid, Volume, template_grid
from lesions.phantom import make_subject
from pipeline.cli import serve
from serving.gateway import options, segmenting
from serving.gateway.models import Models
from serving.gateway.openapi import document
from serving.http_guard import Guard
from serving.rest_client import NotReadyError, VersionGoneError
from serving.segmenter import segment, to_grid
from tests.serving.conftest import ASYMMETRIC, Spy, formula
from tests.serving.gateway_tools import InProcessModels, error_of, image_of, nifti_bytes, running, until

ROOT = Path(__file__).parents[2]
OTHER = Grid.of((20, 17, 23), [[0, 0, -2, 20], [2, 0, 0, -19], [0, 1.5, 0, -12], [0, 0, 0, 1]])


@pytest.mark.parametrize("grid", options.GRIDS)
@pytest.mark.parametrize("rule", ["mean", "majority"])
def test_every_output_is_that_of_the_segmenter(ask, scan_data, grid, rule):
    volume = Volume(scan_data(OTHER.shape), OTHER)
    done = segment(volume, Spy(), rule, 0.4, flip=True)
    chosen = {"grid": grid, "rule": rule, "threshold": "0.4", "flip": "true"}
    sent = nifti_bytes(volume.data, OTHER.matrix)
    native = grid == "native"

    def check(content, expected, kind):
        image = image_of(content)
        np.testing.assert_array_equal(np.asanyarray(image.dataobj), expected)
        assert image.get_data_dtype() == kind
        np.testing.assert_allclose(image.affine, (OTHER if native else ASYMMETRIC).matrix, atol=1e-5)

    mask = done.mask.data if native else done.fused_mask
    probability = done.probability.data if native else done.fused_probability
    check(ask("POST", "/segment", params=chosen, content=sent).content, mask, np.uint8)
    answer = ask("POST", "/segment", params={**chosen, "output": "probability"}, content=sent)
    check(answer.content, probability, np.float32)
    everything = ask("POST", "/segment", params={**chosen, "output": "all"}, content=sent)
    with zipfile.ZipFile(io.BytesIO(everything.content)) as archive:
        planes = {f"{plane}_probability.nii.gz" for plane in done.planes}
        assert set(archive.namelist()) == {"mask.nii.gz", "probability.nii.gz", "summary.json"} | planes
        check(archive.read("mask.nii.gz"), mask, np.uint8)
    packed = ask("POST", "/segment", params={**chosen, "output": "planes"}, content=sent)
    with zipfile.ZipFile(io.BytesIO(packed.content)) as archive:
        assert len(archive.namelist()) == 3
        for plane, data in done.plane_probabilities.items():
            expected = to_grid(Volume(data, ASYMMETRIC), OTHER).data if native else data
            check(archive.read(f"{plane}_probability.nii.gz"), expected, np.float32)


def test_the_summary(ask, body):
    summary = ask("POST", "/segment?output=summary", content=body).json()
    schema = {**document()["components"]["schemas"]["Summary"], "components": document()["components"]}
    jsonschema.validate(summary, schema)
    assert summary["lesion_volume_ml"] == pytest.approx(sum(summary["lesion_sizes_ml"]))
    assert summary["lesion_count"] == len(summary["lesion_sizes_ml"]) > 0
    assert summary["models"]["axial"] == {"version": "1", "sha256": "axial1"}
    assert summary["grid"] == {"shape": [12, 14, 10], "voxel_mm": [3.0, 3.0, 3.0]}
    assert summary["mni_check"]["verdict"] != "in MNI space"
    assert [warning.startswith(summary["mni_check"]["message"]) for warning in summary["warnings"]] == [True]
    assert summary["options"] == options.Options().as_json()


def test_the_answers_headers(ask, body):
    answer = ask("POST", "/segment", content=body, headers={"X-Request-ID": "mine-1"})
    assert answer.headers["content-type"] == "application/gzip"
    assert answer.headers["content-disposition"] == 'attachment; filename="mask.nii.gz"'
    assert answer.headers["x-model-versions"] == "axial=1,sagittal=1,coronal=1"
    assert answer.headers["x-warnings"] == "1"
    assert answer.headers["x-request-id"] == "mine-1"
    assert answer.headers["cache-control"] == "no-store"
    assert "content-encoding" not in answer.headers
    bad = ask("GET", "/healthz", headers={"X-Request-ID": "a b\tc"})
    assert re.fullmatch("[0-9a-f]{16}", bad.headers["x-request-id"])
    part = ask("POST", "/segment", content=body, headers={"Range": "bytes=0-1"})
    assert (part.status_code, part.content) == (200, answer.content)


def test_forms(ask, body):
    direct = ask("POST", "/segment?rule=majority&output=probability", content=body)
    form = ask(
        "POST",
        "/segment?rule=mean",
        files={"file": ("../../x", body)},
        data={"rule": "majority", "output": "probability"},
    )
    assert form.content == direct.content
    assert "field 'file'" in error_of(ask("POST", "/segment", files={"scan": body}), 400)
    assert "field 'file'" in error_of(ask("POST", "/segment", data={"file": "x"}, files={"x": b""}), 400)
    two = [("file", body), ("file", body)]
    assert "one file" in error_of(ask("POST", "/segment", files=two), 400)
    many = {f"f{number}": "x" for number in range(50)}
    assert "form" in error_of(ask("POST", "/segment", files={"file": body}, data=many), 400)
    assert "no option" in error_of(ask("POST", "/segment", files={"file": body}, data={"rul": "mean"}), 400)
    headers = {"Content-Type": "multipart/form-data"}
    assert "form" in error_of(ask("POST", "/segment", content=body, headers=headers), 400)
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    assert error_of(ask("POST", "/segment", content=body, headers=headers), 400)


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ({"output": "png"}, "output: expected mask or probability or planes or summary or all, found 'png'"),
        ({"grid": ""}, "grid: expected native or template, found ''"),
        ({"threshold": "nan"}, "threshold: expected a number above 0 and below 1, found 'nan'"),
        ({"threshold": "1"}, "found '1'"),
        ({"flip": "yes"}, "flip: expected true or false, found 'yes'"),
        ({"thresold": "0.5"}, "'thresold' is no option; known: grid, rule"),
    ],
)
def test_bad_options_are_told_before_the_body_is_read(ask, query, error):
    assert error in error_of(ask("POST", "/segment", params=query, content=b""), 400)
    if "output" not in query:
        assert error in error_of(ask("POST", "/jobs", params=query, content=b""), 400)


@pytest.mark.slow
def test_a_scan_elsewhere_is_registered_and_comes_back_on_its_own_grid(ask):
    pytest.importorskip("SimpleITK")
    scan, _ = make_subject(0, spacing=4.0)
    matrix = scan.grid.matrix
    matrix[:3, 3] += [30, -25, 40]
    moved = nifti_bytes(scan.data, matrix)
    spy = Spy(grid=template_grid(6.0))
    asked = {
        "models": InProcessModels(spy),
        "content": moved,
        "params": {"output": "all", "register": "affine"},
    }
    done = segment(
        Volume(scan.data.astype(np.float32), Grid.of(scan.grid.shape, matrix)), spy, register="affine"
    )
    with zipfile.ZipFile(io.BytesIO(ask("POST", "/segment", **asked).content)) as archive:
        summary = json.loads(archive.read("summary.json"))
        planes = [image_of(archive.read(f"{plane}_probability.nii.gz")) for plane in done.planes]
        mean = np.mean([plane.get_fdata() for plane in planes], axis=0)
        probability = image_of(archive.read("probability.nii.gz"))
        assert archive.read("scan_to_template_xfm.txt").startswith(b"#Insight Transform")
    np.testing.assert_allclose(probability.affine, matrix, atol=1e-4)
    np.testing.assert_array_equal(np.asanyarray(probability.dataobj), done.probability.data)
    np.testing.assert_allclose(mean, done.probability.data, atol=1e-4)
    np.testing.assert_allclose(np.array(summary["scan_to_template_mm"]), done.transform, atol=1e-5)
    np.testing.assert_allclose(np.array(summary["scan_to_template_mm"])[:3, 3], [-30, 25, -40], atol=6)
    assert summary["mni_check"]["verdict"] == "in MNI space"


def test_registration_that_is_not_installed_is_told(ask, monkeypatch, body):
    monkeypatch.setitem(options.OPTIONS, "register", options.Option("none", "", ("none",)))
    answer = ask("POST", "/segment?register=affine", content=body)
    assert "needs SimpleITK" in error_of(answer, 400)


def test_strict_refuses_what_is_not_in_mni_space_before_it_is_segmented(ask, body):
    models = InProcessModels(Spy())
    message = error_of(ask("POST", "/segment?strict=true", models=models, content=body), 422)
    assert "register the scan" in message
    assert models.predictor.calls == 0


@pytest.mark.parametrize(
    ("failure", "status"),
    [(NotReadyError("axial is not ready"), 503), (WorkError("axial 1: broken"), 502)],
)
def test_models_that_are_not_there_or_fail(ask, body, failure, status):
    for method, path in (("POST", "/segment"), ("GET", "/readyz"), ("GET", "/sample.nii.gz")):
        models = InProcessModels(Spy())
        models.failures = [failure]
        answer = ask(method, path, models=models, content=body if method == "POST" else None)
        assert error_of(answer, status) == str(failure)
        assert ("retry-after" in answer.headers) is (status == 503)


def test_a_release_that_goes_away_in_mid_volume_is_replaced_for_the_whole_of_it(ask, body, monkeypatch):
    monkeypatch.setattr(segmenting, "POLL_SECONDS", 0.01)

    class Changing(Spy):
        gone, failures = False, ()

        def predict(self, plane, slices):
            if plane == "coronal" and not self.gone:
                self.gone, self.name = True, "2"
                models.failures = list(self.failures)
                raise VersionGoneError("coronal 1: no longer served")
            return super().predict(plane, slices)

    for failures, pins in (([], 2), ([NotReadyError("starting")] * 3, 5)):
        models, Changing.failures = InProcessModels(Changing()), failures
        answer = ask("POST", "/segment?output=summary", models=models, content=body)
        assert answer.headers["x-model-versions"] == "axial=2,sagittal=2,coronal=2"
        assert models.pins == pins
        assert len(models.predictor.asked["axial"]) == 2  # nothing of the first release is kept

    class Never(Spy):
        def predict(self, plane, slices):
            raise VersionGoneError(f"{plane}: no longer served")

    models = InProcessModels(Never())
    assert "no longer served" in error_of(ask("POST", "/segment", models=models, content=body), 502)
    assert models.pins == 2  # once more, and no more


@pytest.mark.parametrize("chunk", [1, 7, 16, 189])
def test_how_many_slices_go_at_once_does_not_matter(ask, body, chunk):
    class Chunked(Spy):
        slices_at_once = chunk

    whole = ask("POST", "/segment?output=probability", content=body).content
    answer = ask("POST", "/segment?output=probability", models=InProcessModels(Chunked()), content=body)
    assert answer.content == whole


def test_only_so_many_wait_and_the_next_are_told_to_come_back(tmp_path, body):
    go, asked = threading.Event(), threading.Event()

    def answer(plane, slices):
        asked.set()
        assert go.wait(60)
        return formula(plane, slices)

    async def work():
        async with running(InProcessModels(Spy(answer=answer)), tmp_path, queue=2) as (gateway, client):
            first = asyncio.create_task(client.post("/segment", content=body))
            await until(asked.is_set)
            waiting = [asyncio.create_task(client.post("/segment", content=body)) for _ in range(2)]
            await until(lambda: gateway.workplace.waiting == 2)
            refused = await client.post("/segment", content=body)
            assert "2 scans are waiting" in error_of(refused, 429)
            assert int(refused.headers["retry-after"]) > 0
            seen = (await client.get("/metrics")).text
            assert "raxnet_gateway_running 1.0" in seen
            assert "raxnet_gateway_waiting 2.0" in seen
            go.set()
            for one in (first, *waiting):
                assert (await one).status_code == 200
            assert gateway.workplace.running == gateway.workplace.waiting == 0

    asyncio.run(work())


def test_who_may_ask(ask, body):
    guard = Guard(token="secret")
    for method, path in (
        ("POST", "/segment"),
        ("POST", "/jobs"),
        ("GET", "/models"),
        ("GET", "/metrics"),
        ("GET", "/nope"),
    ):
        answer = ask(method, path, guard=guard, content=body)
        assert "bearer" in error_of(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
        assert error_of(ask(method, path, guard=guard, headers={"Authorization": "Bearer secre"}), 401)
    for path in ("/", "/healthz", "/readyz", "/docs", "/openapi.json"):
        assert ask("GET", path, guard=guard).status_code == 200
    good = {"Authorization": "Bearer secret"}
    assert ask("POST", "/segment", guard=guard, content=body, headers=good).status_code == 200
    for path in ("/segment", "/jobs", "/healthz", "/", "/readyz", "/static/x"):
        method = "POST" if path in ("/segment", "/jobs") else "GET"
        assert "Host" in error_of(ask(method, path, headers={"Host": "evil.example"}), 403)
        assert "Origin" in error_of(ask(method, path, headers={"Origin": "http://evil.example"}), 403)
        assert "Origin" in error_of(ask(method, path, headers={"Origin": "null"}), 403)
    assert (
        ask("POST", "/segment", content=body, headers={"Origin": "http://localhost:8080"}).status_code == 200
    )


def test_addresses_and_methods_that_are_none(ask):
    up = ("/static/%2e%2e/app.py", "/static/%2e%2e%2f%2e%2e%2fgateway/app.py", "/static//etc/passwd")
    for path in ("/nope", "/segment/", "/jobs/", "/static/", *up):
        assert error_of(ask("GET", path), 404)
    for method, path in (
        ("GET", "/segment"),
        ("PUT", "/segment"),
        ("POST", "/healthz"),
        ("TRACE", "/"),
        ("GET", "/jobs"),
    ):
        assert "Only" in error_of(ask(method, path), 405)


def test_what_it_says_of_itself(ask):
    assert ask("GET", "/healthz").json() == {"status": "alive"}
    assert ask("HEAD", "/healthz").status_code == 200
    assert ask("GET", "/readyz").json() == {
        "status": "ready",
        "versions": {"axial": "1", "sagittal": "1", "coronal": "1"},
    }
    seen = ask("GET", "/metrics")
    assert seen.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "raxnet_gateway_jobs_waiting 0.0" in seen.text


def test_metrics_and_log_name_routes_not_addresses(tmp_path, body, caplog):
    async def work():
        async with running(InProcessModels(Spy()), tmp_path) as (_, client):
            for path in ("/secret-name", "/jobs/" + "0" * 32):
                await client.get(path)
            await client.post("/segment?threshold=0.7", content=body, headers={"X-Request-ID": "abc"})
            text = (await client.get("/metrics")).text
            assert 'requests_total{route="/segment",status="200"} 1.0' in text
            assert 'requests_total{route="unknown",status="404"} 1.0' in text
            assert 'requests_total{route="/jobs/{id}",status="410"} 1.0' in text
            assert "secret-name" not in text

    with caplog.at_level("INFO", "raxnet"):
        logging.getLogger("raxnet").propagate = True
        asyncio.run(work())
    assert "[abc] POST /segment: 200" in caplog.text
    assert "secret-name" not in caplog.text


def test_a_defect_is_a_500_without_its_story(ask, body, caplog):
    class Broken(Spy):
        def predict(self, plane, slices):
            raise KeyError("inside story")

    answer = ask("POST", "/segment", models=InProcessModels(Broken()), content=body)
    assert "inside" not in error_of(answer, 500)


def test_the_api_description_has_every_route_and_option(ask, tmp_path):
    said = ask("GET", "/openapi.json").json()
    assert said == json.loads(json.dumps(document()))

    async def routes():
        async with running(InProcessModels(Spy()), tmp_path) as (gateway, _):
            return {
                (one.path.replace(":path", ""), m.lower())
                for one in gateway.routes
                for m in one.methods - {"HEAD"}
            }

    described = {(path, method) for path, methods in said["paths"].items() for method in methods}
    assert described == asyncio.run(routes())
    for path, more in (("/segment", {"output"}), ("/jobs", set())):
        operation = said["paths"][path]["post"]
        expected = set(options.OPTIONS) | more
        assert {one["name"] for one in operation["parameters"]} == expected
        form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]["properties"]
        assert set(form) == expected | {"file"}
    assert set(options.Options().as_json()) == set(options.OPTIONS)
    assert {name: one.default for name, one in options.OPTIONS.items()} == options.Options().as_json()


def test_the_documents_name_every_option_flag_and_path():
    pages = [(ROOT / "docs" / name).read_text() for name in ("gateway.md", "serving.md")]
    for name in (*options.OPTIONS, "output"):
        assert f"| `{name}` |" in pages[0]
    for path in document()["paths"]:
        assert re.sub(r"{\w+}", "", path).rstrip("/") in pages[0]
    parser = argparse.ArgumentParser()
    serve.add_arguments(parser)
    flags = {flag for action in parser._actions for flag in action.option_strings} - {"-h", "--help"}
    assert {flag for flag in flags if flag not in "".join(pages)} == set()


def test_pages_ask_nothing_of_other_servers(ask):
    for path in ("/", "/docs"):
        page = ask("GET", path)
        assert page.headers["content-type"].startswith("text/html")
        outside = [url for url in re.findall(r"(?:src|href)=\"([^\"]+)\"", page.text) if "//" in url]
        assert not outside
    docs = ask("GET", "/docs").text
    for name in options.OPTIONS:
        assert name in docs


def test_the_sample_is_a_scan_that_can_be_sent_back(ask, tmp_path):
    answer = ask("GET", "/sample.nii.gz")
    assert answer.status_code == 200
    (tmp_path / "sample.nii.gz").write_bytes(answer.content)
    assert nifti.read(tmp_path / "sample.nii.gz").grid.spacing == (3.0, 3.0, 3.0)
    again = ask("POST", "/segment?output=summary&strict=true", content=answer.content)
    assert again.json()["mni_check"]["verdict"] == "in MNI space"


def test_the_release_is_named_where_there_is_one_of_just_these_versions(tmp_path):
    def write(name, created, **versions):
        models = {plane: {"version": version} for plane, version in versions.items()}
        content = {"id": name, "created": created, "models": models}
        (tmp_path / f"releases/{name}.json").write_text(json.dumps(content))

    (tmp_path / "releases").mkdir()
    write("a", "2026-01-01", axial=3, coronal=3)
    write("b", "2026-01-02", axial=3, coronal=3)
    write("c", "2026-01-03", axial=4, coronal=3)
    (tmp_path / "releases/d.json").write_text("[]")
    models = Models(None, "x", tmp_path)
    assert models.release({"axial": "3", "coronal": "3"}) == "b"
    assert models.release({"axial": "4", "coronal": "3"}) == "c"
    assert models.release({"axial": "5", "coronal": "3"}) is None
    assert Models(None, "x").release({"axial": "3"}) is None
