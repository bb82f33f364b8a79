"""What a repository must have besides code: license, notices, citation, hooks, and a guide whose commands exist."""

import hashlib
import importlib.metadata
import json
import re
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml

from tests.git import in_git

ROOT = Path(__file__).resolve().parents[1]
# As ./dev installed it, which it does again when pyproject.toml changes; not the egg-info that a build leaves here.
(PROJECT,) = importlib.metadata.distributions(name="raxnet-pipeline", path=[sysconfig.get_path("purelib")])
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
NOTICES = (ROOT / "THIRD_PARTY_NOTICES.md").read_text()
HOOKS = {
    hook["id"]: hook
    for repository in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    for hook in repository["hooks"]
}
APACHE = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"  # of apache.org/licenses/LICENSE-2.0.txt
PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md")


def copied():
    """The notices' table of what is copied: folder -> (component, version, license, part of)."""
    rows = [[cell.strip(" `") for cell in line.split("|")[1:-1]] for line in NOTICES.splitlines()]
    return {row[3]: (*row[:3], row[4]) for row in rows if len(row) == 5 and (ROOT / row[3]).is_dir()}


def test_the_license_is_apaches_own_text_and_ships_with_the_notices():
    text = (ROOT / "LICENSE").read_text()
    assert hashlib.sha256(text.encode()).hexdigest() == APACHE
    assert PROJECT.read_text("licenses/LICENSE") == text
    assert PROJECT.metadata.get_all("License-File") == ["LICENSE", "THIRD_PARTY_NOTICES.md"]
    assert "NiiVue" in PROJECT.read_text("licenses/THIRD_PARTY_NOTICES.md")


def test_license_and_version_are_the_same_wherever_they_are_said():
    tool = json.loads((ROOT / "deploy/boutiques/raxnet-segment.json").read_text())
    versions = (CITATION["version"], tool["tool-version"], tool["custom"]["BIDSApplicationVersion"])
    assert set(versions) == {PROJECT.version}
    assert PROJECT.metadata["License-Expression"] == CITATION["license"] == "Apache-2.0"


@pytest.mark.heavy
def test_the_citation_is_valid():
    """By the schema that cffconvert uses."""
    import jsonschema  # here, because it takes three seconds that no other test of this file needs

    schema = json.loads((ROOT / "tests/data/citation/schema.json").read_text())
    jsonschema.Draft7Validator(schema).validate(CITATION)
    assert CITATION["type"] == "software"


def test_all_that_is_copied_has_its_license_beside_it_and_its_row_in_the_notices():
    rows = copied()
    assert {"serving/web/static/vendor", "tests/serving/boutiques"} <= set(rows)
    for folder in {path.parent for path in ROOT.glob("[a-z]*/**/vendor/*")}:
        assert folder.relative_to(ROOT).as_posix() in rows, f"{folder}: not in THIRD_PARTY_NOTICES.md"
    for folder, (component, _, terms, _) in rows.items():
        family = terms.partition("-")[0]  # BSD, MIT, CC0
        texts = [path for path in (ROOT / folder).iterdir() if re.search("LICENSE|README", path.name)]
        assert any(re.search(rf"\b{family}\b", path.read_text()) for path in texts), (
            f"{component}: {folder} does not say {terms}"
        )


def test_the_notices_name_the_published_versions():
    component, version, *_ = copied()["serving/web/static/vendor"]
    assert f"@niivue/niivue@{version} " in (ROOT / "dev").read_text()
    beside = (ROOT / "serving/web/static/vendor/niivue.LICENSE.txt").read_text()
    assert beside.startswith(f"{component} {version},")
    assert beside[beside.index("Copyright") :].strip() in NOTICES


def test_an_images_list_of_licenses_has_what_the_notices_say_is_in_it(tmp_path, capsys, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "deploy/docker")
    import licenses

    bill = tmp_path / "sbom.json"
    bill.write_text(
        '{"components": [{"name": "numpy", "version": "2", "licenses": [{"expression": "BSD-3-Clause"}]}]}'
    )
    licenses.main(bill)
    assert capsys.readouterr().out.splitlines() == [
        "NiiVue (serving/web/static/vendor)\t0.69.0\tBSD-2-Clause",
        "numpy\t2\tBSD-3-Clause",
    ]


def test_the_hooks_need_no_other_repository_and_call_commands_that_exist():
    configuration = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repository["repo"] for repository in configuration["repos"]] == ["local"]
    scripts = Path(sys.executable).parent
    for hook in HOOKS.values():
        if hook["language"] == "system":
            folder, _, command = hook["entry"].split()[0].rpartition("/")
            assert folder == ".venv/bin"
            assert (scripts / command).is_file(), f"{hook['id']}: no {command}"
        if hook["language"] == "python":
            assert all("==" in one for one in hook["additional_dependencies"]), f"{hook['id']}: not pinned"


@pytest.mark.parametrize(
    "name",
    ["sub-01_T1w.nii.gz", "a/scan.NII", "IM1.dcm", "orig.mgz", "docs/axial.h5", "x.mha", "tests/scan.nii"],
)
def test_scans_and_weights_are_refused(name):
    assert _refused(name)


@pytest.mark.parametrize("name", ["tests/data/layout.h5", "nii.md", "lesions/nifti.py", "scan.nii.gz.json"])
def test_other_files_are_not(name):
    assert not _refused(name)


@pytest.mark.heavy
def test_nobodys_scan_is_committed():
    names = in_git(ROOT)
    if names is None:
        pytest.skip("not a checkout with Git: nothing is committed here")
    assert len(names) > 100
    assert [name for name in names if _refused(name)] == []
    dicom = re.compile(HOOKS["no-dicom"]["entry"].encode(), re.DOTALL)
    assert dicom.match(bytes(128) + b"DICM")
    for name in names:
        with (ROOT / name).open("rb") as file:
            assert not dicom.match(file.read(132)), f"{name}: DICOM"


def _refused(name):
    hook = HOOKS["no-scans"]
    return bool(re.search(hook["files"], name)) and not re.search(hook["exclude"], name)


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_dev_that_a_page_names_exists(page):
    named = set(re.findall(r"(?<![\w/])\./dev ([a-z]+)", (ROOT / page).read_text()))
    (cases,) = re.findall(
        r'^case "\$command" in\n(.*)^esac', (ROOT / "dev").read_text(), re.DOTALL | re.MULTILINE
    )
    there = set(re.findall(r"^    ([a-z]+)\)", cases, re.MULTILINE))
    assert {"setup", "test", "slow"} <= there
    assert named - there == set()
