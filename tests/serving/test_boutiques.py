"""The Boutiques descriptor: by Boutiques' own schema, in step with the command, and what it expands to runs."""

import argparse
import json
import re
import shlex
from pathlib import Path

import jsonschema
import pytest

from lesions import nifti
from lesions.grid import Volume, template_grid
from pipeline.cli import main, segment

ROOT = Path(__file__).parents[2]
DESCRIPTOR = json.loads((ROOT / "deploy/boutiques/raxnet-segment.json").read_text())
SCHEMA = json.loads((Path(__file__).parent / "boutiques/descriptor.schema.json").read_text())


def expand(**values):
    """The words of the command line, as Boutiques puts them together: each key by its flag and its values."""
    line = DESCRIPTOR["command-line"]
    for one in DESCRIPTOR["inputs"]:
        value = values.pop(one["id"], one.get("default-value"))
        flag = [one["command-line-flag"]] if "command-line-flag" in one else []
        if value is None or value is False:
            assert one.get("optional"), one["id"]
            words = []
        elif one["type"] == "Flag":
            words = flag
        else:
            words = [*flag, *(value if one.get("list") else [value])]
        line = line.replace(one["value-key"], shlex.join(map(str, words)))
    assert not values
    return shlex.split(line)


def test_schema():
    jsonschema.Draft4Validator(SCHEMA).validate(DESCRIPTOR)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft4Validator(SCHEMA).validate(DESCRIPTOR | {"inputs": []})


def test_keys_are_all_used_and_the_version_is_ours():
    keys = [one["value-key"] for one in DESCRIPTOR["inputs"]]
    assert DESCRIPTOR["command-line"].split() == ["raxnet", "segment", *keys]
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.M)[1]
    assert DESCRIPTOR["tool-version"] == DESCRIPTOR["custom"]["BIDSApplicationVersion"] == version


def test_options_are_those_of_the_command():
    parser = argparse.ArgumentParser()
    segment.add_arguments(parser)
    known = {flag: action for action in parser._actions for flag in action.option_strings}
    said = {one["command-line-flag"]: one for one in DESCRIPTOR["inputs"] if "command-line-flag" in one}
    told_apart = ("-h", "--help", "-v", "--version", "--json", "--skip-bids-validator")
    assert set(said) == {flag for flag in known if "_" not in flag and flag not in told_apart}
    for flag, one in said.items():
        assert list(one.get("value-choices", [])) == list(known[flag].choices or [])
        assert one.get("list", False) == (known[flag].nargs == "+")
        assert (one["type"] == "Flag") == (known[flag].nargs == 0)


def test_what_it_expands_to_runs(tmp_path, models, scan_data, capsys):
    for subject in ("1", "2"):
        name = tmp_path / f"my data/sub-{subject}/anat/sub-{subject}_T1w.nii.gz"
        nifti.write(name, Volume(scan_data(template_grid(6.0).shape), template_grid(6.0)))
    common = {"input": [tmp_path / "my data"], "output_dir": tmp_path / "out"}
    program, *words = expand(
        **common, models=models, participant_label=["2"], rule="majority", threshold=0.4, flip=True
    )
    assert program == "raxnet"
    assert main.main(words) == 0
    folder = tmp_path / "out/sub-2/anat"
    (sidecar,) = folder.glob("*_mask.json")
    said = json.loads(sidecar.read_text())
    assert (said["FusionRule"], said["Threshold"], said["FlipAveraged"]) == ("majority", 0.4, True)
    assert not (tmp_path / "out/sub-1").exists()
    assert main.main(expand(**common, level="group")[1:]) == 0
    for output in DESCRIPTOR["output-files"]:
        assert Path(output["path-template"].replace("[OUTPUT_DIR]", str(tmp_path / "out"))).exists()
