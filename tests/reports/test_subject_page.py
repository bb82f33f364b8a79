"""A subject's page: what was found, with pictures, and what a reader must be warned of."""

import html
import re

import numpy as np
import pytest

from lesions import nifti
from lesions.grid import Volume, template_grid
from reports.subject_page import Finding, render

SAID = {
    "Warnings": [],
    "Models": {"axial": {"Phantom": False, "Version": "3", "SHA256": "0123456789abcdef"}},
    "TrainingStatement": "Trained on 12 subjects.",
    "LesionSizesMm3": [2345.0, 10.0],
    "LesionVolumeMl": 2.355,
    "LesionCount": 2,
    "PlaneDisagreement": 0.25,
    "Planes": ["axial", "sagittal"],
    "MNICheck": {"Verdict": "in MNI space", "Message": "the scan lies in MNI space"},
    "Registered": None,
    "Sources": ["bids:x:sub-1_T1w.nii.gz"],
    "FusionRule": "mean",
    "Threshold": 0.5,
    "FlipAveraged": False,
    "GeneratedBy": {"Name": "raxnet", "Version": "0.1.0"},
}


@pytest.fixture
def finding(tmp_path):
    def make(label="sub-1", **said):
        grid = template_grid(8.0)
        data = np.random.default_rng(0).uniform(1, 100, grid.shape).astype(np.float32)
        mask = np.zeros(grid.shape, np.uint8)
        mask[8:12, 9:14, 10:12] = 1
        for name, volume in (("scan", data), ("mask", mask), ("apart", mask * np.float32(0.5))):
            nifti.write(tmp_path / f"{name}.nii.gz", Volume(volume, grid))
        paths = (tmp_path / f"{name}.nii.gz" for name in ("scan", "mask", "apart"))
        return Finding(label, *paths, SAID | said)

    return make


def words(page):
    page = re.sub(r"<style>.*?</style>", "", page, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


@pytest.mark.heavy
def test_numbers_and_a_picture_for_each_scan(finding):
    page = render("sub-1", [finding("sub-1 ses-1"), finding("sub-1 ses-2")])
    said = words(page)
    assert page.count("<img ") == 2
    assert all(f"sub-1 ses-{n}" in said for n in (1, 2))
    assert "2.35 ml" in said or "2.36 ml" in said
    assert "Trained on 12 subjects." in said
    assert "phantom" not in said.lower()
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)


@pytest.mark.heavy
def test_warnings_and_phantom_models_are_told(finding):
    models = {"axial": SAID["Models"]["axial"] | {"Phantom": True}}
    said = words(render("sub-1", [finding(Warnings=["the scan <is> not in MNI space"], Models=models)]))
    assert "the scan <is> not in MNI space" in said
    assert "not fit for real scans" in said


def test_scan_that_is_gone_leaves_a_line(finding, tmp_path):
    made = finding()
    (tmp_path / "scan.nii.gz").unlink()
    page = render("sub-1", [made])
    assert "No picture." in words(page)
    assert "<img " not in page


def test_empty_mask_and_one_plane(finding, tmp_path):
    made = finding(PlaneDisagreement=None, LesionSizesMm3=[], LesionCount=0, LesionVolumeMl=0.0)
    nifti.write(made.mask, Volume(np.zeros(template_grid(8.0).shape, np.uint8), template_grid(8.0)))
    said = words(render("sub-1", [Finding(made.label, made.image, made.mask, None, made.sidecar)]))
    assert "the mask is empty" in said
    assert "largest: none" in said
