"""A derivative is written whole, says what made it, and is not made twice."""

import csv
import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lesions import nifti
from lesions.errors import InputError, WorkError
from lesions.grid import Grid, Volume, template_grid
from lesions.phantom import make_subject
from reports import subject_page
from serving import derivative, sidecar, subject_pages
from serving.bids import find_scans
from serving.bids_app import group, participant

MASK = "sub-{0}/anat/sub-{0}_space-orig_label-L_desc-raxnet_mask"


@pytest.fixture(autouse=True)
def plain_pages(monkeypatch):
    """Pages without pictures, which take half a second each."""
    monkeypatch.setattr(subject_pages, "render", lambda subject, findings: subject)


@pytest.fixture
def scans(tmp_path, grid, scan_data):
    """A BIDS folder of three subjects."""
    root = tmp_path / "raw"
    for number in (1, 2, 3):
        name = f"sub-0{number}/anat/sub-0{number}_T1w.nii.gz"
        nifti.write(root / name, Volume(scan_data(seed=number), grid))
    return root


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def run(scans, out, predictor, **options):
    return list(participant(find_scans([scans]), out, predictor, **options))


def test_a_derivative_is_written(tmp_path, scans, spy, grid):
    outcomes = run(scans, tmp_path / "out", spy())
    assert [o.error for o in outcomes] == [None] * 3
    images = ("raxnet_mask", "raxnet_probseg", "uncertainty_probseg")
    endings = [f"{image}.{suffix}" for image in images for suffix in ("json", "nii.gz")]
    names = [f"sub-0{n}/anat/sub-0{n}_space-orig_label-L_desc-{e}" for n in (1, 2, 3) for e in endings]
    pages = [f"sub-0{n}.html" for n in (1, 2, 3)]
    assert files(tmp_path / "out") == sorted([".bidsignore", "dataset_description.json", *names, *pages])
    mask = nib.load(outcomes[0].mask)
    probability = nib.load(str(outcomes[0].mask).replace("mask", "probseg"))
    assert mask.get_data_dtype() == np.uint8
    assert probability.get_data_dtype() == np.float32
    np.testing.assert_array_equal(mask.affine, grid.matrix)
    data = np.asanyarray(mask.dataobj)
    np.testing.assert_array_equal(data, np.asanyarray(probability.dataobj) >= 0.5)
    assert 0 < data.mean() < 1


def test_sidecar_says_all(tmp_path, scans, spy):
    (outcome, *_) = run(scans, tmp_path / "out", spy())
    content = json.loads((tmp_path / "out" / f"{MASK.format('01')}.json").read_text())
    assert content == outcome.sidecar
    data = np.asanyarray(nib.load(outcome.mask).dataobj)
    assert content["Type"] == "Lesion"
    assert content["LesionVoxels"] == data.sum()
    assert content["LesionVolumeMm3"] == pytest.approx(27.0 * data.sum())
    assert content["LesionVolumeMl"] == pytest.approx(0.027 * data.sum())
    assert sum(content["LesionSizesMm3"]) == pytest.approx(content["LesionVolumeMm3"])
    assert len(content["LesionSizesMm3"]) == content["LesionCount"]
    assert content["Planes"] == ["axial", "sagittal", "coronal"]
    assert content["FusionRule"] == "mean"
    assert content["Threshold"] == 0.5
    assert content["FlipAveraged"] is False
    assert 0 < content["PlaneDisagreement"] <= 1
    assert content["MNICheck"]["Verdict"] == "not in MNI space"
    assert any("MNI space" in line for line in content["Warnings"])
    assert "phantom" in content["TrainingStatement"]
    assert "not fit for real scans" in content["Description"]
    assert content["Models"]["axial"]["Phantom"] is True
    assert content["Software"]["numpy"] == np.__version__
    link, _, name = content["Sources"][0].removeprefix("bids:").partition(":")
    description = json.loads((tmp_path / "out/dataset_description.json").read_text())
    assert (tmp_path / "out" / description["DatasetLinks"][link] / name).is_file()
    assert description["DatasetType"] == "derivative"
    assert description["GeneratedBy"][0]["Name"] == "raxnet"
    assert description["GeneratedBy"][0]["Version"]
    assert "phantom" in description["GeneratedBy"][0]["Description"]
    assert b"PHANTOM" in nib.load(outcome.mask).header["descrip"].tobytes()


def test_uncertainty_is_written_and_summarized(tmp_path, scans, spy):
    (outcome, *_) = run(scans, tmp_path / "out", spy())
    path = str(outcome.mask).replace("raxnet_mask", "uncertainty_probseg")
    apart, mask = (np.asanyarray(nib.load(file).dataobj) for file in (path, outcome.mask))
    scan = nib.load(scans / "sub-01/anat/sub-01_T1w.nii.gz").get_fdata()
    x, y = np.linspace(0, 0.1, 12)[:, None, None], np.linspace(0, 0.1, 14)[None, :, None]
    planes = [np.clip(share * scan / 1000 + rows, 0, 1) for share, rows in ((0.9, x), (0.6, y), (0.3, x))]
    np.testing.assert_allclose(apart, np.ptp(planes, axis=0), atol=0.0006)
    assert outcome.sidecar["UncertaintyInMask"] == pytest.approx(apart[mask > 0].mean(), abs=0.001)
    said = json.loads(Path(path.replace(".nii.gz", ".json")).read_text())
    assert "largest less the smallest" in said["Description"]
    assert said["Sources"] == outcome.sidecar["Sources"]


def test_one_plane_has_no_uncertainty(tmp_path, scans, spy):
    (outcome, *_) = run(scans, tmp_path / "out", spy(planes=("axial",)))
    assert outcome.sidecar["UncertaintyInMask"] is None
    assert not [name for name in files(tmp_path / "out") if "uncertainty" in name]


def test_real_models_are_not_called_phantom(tmp_path, scans, spy):
    (outcome, *_) = run(scans, tmp_path / "out", spy(phantom=False))
    assert "phantom" not in json.dumps(outcome.sidecar).lower().replace('"phantom": false', "")
    assert "not a medical device" in outcome.sidecar["TrainingStatement"]


def test_numbers_of_known_lesions(grid):
    mask = np.zeros((6, 6, 6), np.uint8)
    mask[0, 0, 0] = mask[1, 1, 1] = 1  # touch at a corner: one lesion
    mask[4:6, 4:6, 4:6] = 1
    numbers = sidecar.lesion_numbers(Volume(mask, Grid.of(mask.shape, np.diag([1, 2, 0.5, 1]))))
    assert numbers["LesionCount"] == 2
    assert numbers["LesionSizesMm3"] == [8.0, 2.0]
    assert numbers["LesionVolumeMl"] == 0.01
    empty = sidecar.lesion_numbers(Volume(np.zeros((3, 3, 3), np.uint8), grid))
    assert (empty["LesionCount"], empty["LesionVoxels"], empty["LesionSizesMm3"]) == (0, 0, [])


def test_header_geometry_is_the_scan_s(tmp_path, spy, scan_data):
    """Both forms and their codes, oblique, NIfTI-2; and nobody's name."""
    image = nib.Nifti2Image(scan_data((9, 8, 7)), None)
    turn = nib.affines.from_matvec(
        nib.eulerangles.euler2mat(0.1, 0.2, -0.3) @ np.diag([-1.1, 2.2, 3.3]), [9, 8, 7]
    )
    image.set_qform(turn, 1)
    image.set_sform(turn @ nib.affines.from_matvec(np.eye(3), [0.123, 0, 0]), 2)
    image.header["descrip"] = b"Jane Doe 1970"
    image.header["aux_file"] = b"Jane Doe"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Jane Doe"))
    nib.save(image, tmp_path / "scan.nii.gz")
    original = nib.load(tmp_path / "scan.nii.gz")
    (outcome,) = run(tmp_path / "scan.nii.gz", tmp_path / "out", spy())
    for name in ("mask", "probseg"):
        written = nib.load(str(outcome.mask).replace("mask", name))
        assert type(written) is nib.Nifti2Image
        np.testing.assert_array_equal(written.affine, original.affine)
        for field in ("sform_code", "qform_code", "srow_x", "srow_y", "srow_z", "quatern_b", "qoffset_x"):
            np.testing.assert_array_equal(written.header[field], original.header[field])
        np.testing.assert_array_equal(written.header["pixdim"][:4], original.header["pixdim"][:4])
        assert written.shape == (9, 8, 7)
        assert not written.header.extensions
        assert b"Jane" not in written.header.binaryblock


def test_four_dimensional_file_with_one_frame(tmp_path, spy, grid, scan_data):
    data = scan_data()
    nib.save(nib.Nifti1Image(data[..., None], grid.matrix), tmp_path / "one.nii")
    nib.save(nib.Nifti1Image(data, grid.matrix), tmp_path / "flat.nii")
    four, three = (run(tmp_path / name, tmp_path / "out", spy())[0] for name in ("one.nii", "flat.nii"))
    assert nib.load(four.mask).shape == grid.shape
    np.testing.assert_array_equal(nib.load(four.mask).dataobj, nib.load(three.mask).dataobj)


def test_second_run_does_nothing(tmp_path, scans, spy):
    first = run(scans, tmp_path / "out", spy())
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    predictor = spy()
    again = run(scans, tmp_path / "out", predictor)
    assert all(o.reused for o in again)
    assert predictor.calls == 0
    assert [o.sidecar for o in again] == [o.sidecar for o in first]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == times


@pytest.mark.parametrize(
    "change",
    [
        *("models", "rule", "threshold", "flip", "planes", "version"),
        *("lost mask", "lost uncertainty", "broken sidecar"),
    ],
)
def test_what_changed_is_made_again(tmp_path, scans, spy, change, monkeypatch):
    run(scans, tmp_path / "out", spy())
    predictor, options = spy(), {}
    stem = tmp_path / "out" / MASK.format("02")
    changed = [True, True, True]
    if change == "models":
        predictor.name = "2"
    elif change == "rule":
        options["rule"] = "majority"
    elif change == "threshold":
        options["threshold"] = 0.4
    elif change == "flip":
        options["flip"] = True
    elif change == "planes":
        predictor = spy(planes=("axial",))
    elif change == "version":
        monkeypatch.setattr(sidecar, "version", lambda package="": "99")
    else:
        changed = [False, True, False]
        if change == "lost mask":
            stem.with_suffix(".nii.gz").unlink()
        elif change == "lost uncertainty":
            stem.with_name("sub-02_space-orig_label-L_desc-uncertainty_probseg.nii.gz").unlink()
        else:
            stem.with_suffix(".json").write_text("{")
    outcomes = run(scans, tmp_path / "out", predictor, **options)
    assert [not o.reused for o in outcomes] == changed
    assert all(o.error is None and o.mask.is_file() for o in outcomes)


def test_replaced_scan_is_made_again(tmp_path, scans, spy, grid, scan_data):
    run(scans, tmp_path / "out", spy())
    nifti.write(scans / "sub-02/anat/sub-02_T1w.nii.gz", Volume(scan_data(seed=9), grid))
    outcomes = run(scans, tmp_path / "out", spy())
    assert [o.reused for o in outcomes] == [True, False, True]


def test_another_scan_of_the_same_name_overwrites_nothing(tmp_path, spy, grid, scan_data):
    for number, folder in enumerate(("a", "b")):
        nifti.write(tmp_path / folder / "T1.nii.gz", Volume(scan_data(seed=number), grid))
    (first,) = run(tmp_path / "a/T1.nii.gz", tmp_path / "out", spy())
    before = first.mask.read_bytes()
    (second,) = run(tmp_path / "b/T1.nii.gz", tmp_path / "out", spy())
    assert "another scan" in second.error
    assert second.bad_input
    assert first.mask.read_bytes() == before


def test_bad_scans_are_told_and_the_others_go_on(tmp_path, scans, spy, grid, scan_data):
    bad = scans / "sub-02/anat/sub-02_T1w.nii.gz"
    bad.write_bytes(bad.read_bytes()[:900])
    data = scan_data()
    data[0, 0, 0] = np.nan
    nifti.write(scans / "sub-00/anat/sub-00_T1w.nii.gz", Volume(data, grid))
    outcomes = run(scans, tmp_path / "out", spy())
    assert [bool(o.error) for o in outcomes] == [True, False, True, False]
    assert outcomes[0].error.startswith(str(scans / "sub-00"))
    assert "not finite" in outcomes[0].error
    assert "read" in outcomes[2].error
    assert all("\n" not in o.error and o.bad_input for o in outcomes if o.error)
    assert {path.split("/")[0] for path in files(tmp_path / "out")} == {
        ".bidsignore",
        "dataset_description.json",
        "sub-01",
        "sub-01.html",
        "sub-03",
        "sub-03.html",
    }


def test_a_bad_scan_alone_leaves_nothing(tmp_path, spy):
    (tmp_path / "scan.nii.gz").write_bytes(b"no image")
    (outcome,) = run(tmp_path / "scan.nii.gz", tmp_path / "out", spy())
    assert outcome.bad_input
    assert not (tmp_path / "out").exists()


def test_failing_model_is_not_the_scan_s_fault(tmp_path, scans, spy):
    def fail(plane, slices):
        raise WorkError("model: prediction failed")

    outcomes = run(scans, tmp_path / "out", spy(answer=fail))
    assert all(o.error and not o.bad_input for o in outcomes)

    def starve(plane, slices):
        raise MemoryError

    assert "memory" in run(scans, tmp_path / "out", spy(answer=starve))[0].error


def test_interrupted_writing_is_mended(tmp_path, scans, spy, monkeypatch):
    """Killed between the images and the sidecar: not even an older sidecar passes them for finished."""
    real = derivative.write_text

    def killed(path, text):
        if path.name.endswith("mask.json"):
            raise KeyboardInterrupt
        real(path, text)

    run(scans / "sub-01/anat/sub-01_T1w.nii.gz", tmp_path / "out", spy())
    monkeypatch.setattr(derivative, "write_text", killed)
    with pytest.raises(KeyboardInterrupt):
        run(scans, tmp_path / "out", spy(), threshold=0.4)
    monkeypatch.undo()
    outcomes = run(scans, tmp_path / "out", spy())
    assert not any(o.reused or o.error for o in outcomes)
    assert not [name for name in files(tmp_path / "out") if "partial" in name]


def test_output_that_cannot_be_written(tmp_path, scans, spy):
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file/deeper/out"):
        predictor = spy()
        with pytest.raises(InputError, match="cannot be written"):
            run(scans, out, predictor)
        assert predictor.calls == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_output_without_permission(tmp_path, scans, spy):
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(InputError, match="cannot be written"):
        run(scans, tmp_path / "closed/out", spy())


def test_somebody_else_s_data_set_is_not_written_into(tmp_path, scans, spy):
    (scans / "dataset_description.json").write_text('{"Name": "Our cohort", "BIDSVersion": "1.8.0"}')
    with pytest.raises(InputError, match="Our cohort"):
        run(scans, scans, spy())
    assert not list(scans.rglob("*raxnet*"))


def test_links_of_two_inputs_are_kept(tmp_path, scans, spy, grid, scan_data):
    nifti.write(tmp_path / "more/x.nii.gz", Volume(scan_data(), grid))
    run(scans, tmp_path / "out", spy())
    run(tmp_path / "more/x.nii.gz", tmp_path / "out", spy())
    links = json.loads((tmp_path / "out/dataset_description.json").read_text())["DatasetLinks"]
    assert sorted(links.values()) == ["../more", "../raw"]


def test_group_table(tmp_path, scans, spy, grid, scan_data):
    outcomes = run(scans, tmp_path / "out", spy())
    nifti.write(tmp_path / "sub-9_ses-b_T1w.nii.gz", Volume(scan_data(), grid))
    outcomes += run(tmp_path / "sub-9_ses-b_T1w.nii.gz", tmp_path / "out", spy(planes=("axial",)))
    path = group(tmp_path / "out")
    assert path == tmp_path / "out/group_lesions.tsv"
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert [row["participant_id"] for row in rows] == ["sub-01", "sub-02", "sub-03", "sub-9"]
    assert [row["session_id"] for row in rows] == ["n/a", "n/a", "n/a", "ses-b"]
    assert rows[3]["plane_disagreement"] == rows[3]["uncertainty_in_mask"] == "n/a"
    assert float(rows[0]["uncertainty_in_mask"]) > 0
    assert rows[0]["flip"] == "False"
    for row, outcome in zip(rows, outcomes, strict=True):
        assert float(row["lesion_volume"]) == outcome.sidecar["LesionVolumeMl"]
        assert (tmp_path / "out" / row["mask"]) == outcome.mask
        assert "phantom" in row["training"]
        assert row["mni_check"] == "not in MNI space"
    dictionary = json.loads(path.with_suffix(".json").read_text())
    assert list(dictionary) == list(rows[0])
    assert dictionary["lesion_volume"]["Units"] == "ml"


def test_group_without_masks(tmp_path):
    with pytest.raises(InputError, match="participant"):
        group(tmp_path)


def test_progress_of_each_scan_ends_at_the_whole(tmp_path, scans, spy):
    told = []
    run(scans, tmp_path / "out", spy(), progress=lambda *now: told.append(now))
    assert told.count((36, 36)) == 3
    assert told == 3 * told[: len(told) // 3]


@pytest.mark.usefixtures("coarse_registration")
def test_registered_scan_has_its_transform_beside_the_mask(tmp_path, spy):
    """Written, told of in the sidecar, and needed for the work to count as done."""
    scan, _ = make_subject(0, 0, 6.0)
    shifted = scan.grid.matrix
    shifted[:3, 3] += [12, -20, 9]
    path = tmp_path / "raw/sub-1/anat/sub-1_T1w.nii.gz"
    nifti.write(path, Volume(scan.data, Grid.of(scan.grid.shape, shifted)))
    (outcome,) = run(tmp_path / "raw", tmp_path / "out", spy(template_grid(6.0)), register="affine")
    assert outcome.error is None
    xfm = tmp_path / "out/sub-1/anat/sub-1_from-T1w_to-MNI152NLin2009aSym_mode-image_desc-raxnet_xfm.txt"
    said = outcome.sidecar["Registration"]
    assert outcome.sidecar["Registered"] == "affine"
    assert said["Transform"] == f"bids::{xfm.relative_to(tmp_path / 'out')}"
    assert said["Template"] == "MNI152NLin2009aSym"
    numbers = np.array(xfm.read_text().splitlines()[3].split()[1:], float)
    pull = np.vstack([np.c_[numbers[:9].reshape(3, 3), numbers[9:]], [0, 0, 0, 1]])
    turn = np.diag([-1, -1, 1, 1])
    np.testing.assert_allclose(turn @ np.linalg.inv(pull) @ turn, said["ScanToTemplateMm"], atol=1e-4)
    middle = np.array(said["ScanToTemplateMm"]) @ [12, -20, 9, 1]
    assert np.linalg.norm(middle[:3]) < 8
    np.testing.assert_array_equal(nib.load(outcome.mask).affine, nib.load(path).affine)
    assert group(tmp_path / "out").read_text().splitlines()[1].split("\t")[-3] == "affine"
    words = {"register": "affine"}
    assert run(tmp_path / "raw", tmp_path / "out", spy(template_grid(6.0)), **words)[0].reused
    xfm.unlink()
    assert not run(tmp_path / "raw", tmp_path / "out", spy(template_grid(6.0)), **words)[0].reused
    assert xfm.is_file()
    assert not run(tmp_path / "raw", tmp_path / "out", spy(template_grid(6.0)))[0].reused
    assert not xfm.exists()


def test_strict_refuses_what_is_not_in_mni_space(tmp_path, scans, spy):
    predictor = spy()
    outcomes = run(scans, tmp_path / "out", predictor, strict=True)
    assert all(o.bad_input and "MNI space" in o.error for o in outcomes)
    assert predictor.calls == 0
    assert not (tmp_path / "out").exists()
    run(scans, tmp_path / "out", spy())
    assert all("MNI space" in o.error for o in run(scans, tmp_path / "out", spy(), strict=True))


def test_link_to_nothing_is_told(tmp_path, scans, spy):
    (scans / "sub-02/anat/sub-02_T1w.nii.gz").unlink()
    (scans / "sub-02/anat/sub-02_T1w.nii.gz").symlink_to("../nothing")
    outcomes = run(scans, tmp_path / "out", spy())
    assert [bool(o.error) for o in outcomes] == [False, True, False]
    assert "datalad get" in outcomes[1].error


def test_link_in_the_output_leads_nowhere_else(tmp_path, scans, spy):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/sub-02").symlink_to(tmp_path / "elsewhere")
    outcomes = run(scans, tmp_path / "out", spy())
    assert [bool(o.error) for o in outcomes] == [False, True, False]
    assert "leads out of" in outcomes[1].error
    assert not list((tmp_path / "elsewhere").iterdir())


def test_description_names_its_sources(tmp_path, scans, spy):
    (outcome, *_) = run(scans, tmp_path / "out", spy())
    content = json.loads((tmp_path / "out/dataset_description.json").read_text())
    assert [source["URL"] for source in content["SourceDatasets"]] == [f"bids:{outcome.scan.link}:"]
    assert outcome.sidecar["SpatialReference"] == outcome.sidecar["Sources"][0]


def test_page_of_a_subject_shows_all_its_scans(tmp_path, spy, grid, scan_data, monkeypatch):
    """Also those of an earlier run; it is made again where it is lost or a mask is new, and else left alone."""
    for n in (1, 2):
        name = f"raw/sub-1/ses-{n}/anat/sub-1_ses-{n}_T1w.nii.gz"
        nifti.write(tmp_path / name, Volume(scan_data(seed=n), grid))
    page = tmp_path / "out/sub-1.html"
    monkeypatch.setattr(subject_pages, "render", subject_page.render)
    first, second = find_scans([tmp_path / "raw"])
    list(participant([first], tmp_path / "out", spy()))
    assert page.read_text().count("<img ") == 1
    list(participant([second], tmp_path / "out", spy()))
    assert page.read_text().count("<img ") == 2
    page.write_text("mine")
    list(participant([first, second], tmp_path / "out", spy()))
    assert page.read_text() == "mine"
    page.unlink()
    list(participant([first, second], tmp_path / "out", spy()))
    assert page.read_text().count("<img ") == 2
    sidecar_path = second.output(tmp_path / "out", "mask.json")
    whole = sidecar_path.read_text()
    for damage in ("{", "[]", "{}", json.dumps({"Sources": json.loads(whole)["Sources"]})):
        sidecar_path.write_text(damage)
        page.unlink()
        assert all(o.reused for o in participant([first], tmp_path / "out", spy()))
        assert page.read_text().count("<img ") == 1
    sidecar_path.write_text(whole)
    list(participant([first], tmp_path / "out", spy(), threshold=0.4))
    assert "threshold 0.4" in page.read_text()


def test_page_that_cannot_be_written_is_told_and_the_others_go_on(tmp_path, scans, spy):
    (tmp_path / "out/sub-02.html").mkdir(parents=True)
    outcomes = run(scans, tmp_path / "out", spy())
    assert [bool(o.error) for o in outcomes] == [False, True, False]
    assert "sub-02.html" in outcomes[1].error
