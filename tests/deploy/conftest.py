"""The engine, the images and the models that several modules use: each made once per run of the tests."""

import os
from pathlib import Path

import nibabel
import pytest

from lesions.phantom import make_subject
from tests.deploy import base_image, networks
from tests.deploy import engine as engines

ROOT = Path(__file__).parents[2]
STAGE = "raxnet.test.stage"  # label: the image of the stage that an image was made of


def _cannot(reason: object) -> None:
    """Skips; fails where the images have to be tested."""
    if "RAXNET_REQUIRE_IMAGES" in os.environ:
        pytest.fail(f"images must be tested here: {reason}", pytrace=False)
    pytest.skip(str(reason))


@pytest.fixture(scope="session")
def cannot():
    return _cannot


@pytest.fixture(scope="session")
def engine():
    """A Docker engine that has the base image."""
    try:
        with engines.available() as engine:
            base_image.require(engine)
            yield engine
    except engines.UnavailableError as reason:
        _cannot(reason)


@pytest.fixture(scope="session")
def image(engine):
    """The segmenting image's name.

    Its stage `build` keeps a name too, so that its layers are kept. The last stage copies 3 GB out of it, and the
    builder reads them all to find that nothing changed: it is passed over where the image says that it was made of
    this very stage, whose context holds the Dockerfile too.
    """
    engine.build(ROOT, "raxnet-build", "--network=host", "--target=build")
    stage = engine.inspect("raxnet-build", ".Id")
    made = engine.ask("inspect", "--format", f'{{{{index .Config.Labels "{STAGE}"}}}}', "raxnet")
    if made.stdout.strip() != stage:
        engine.build(ROOT, "raxnet", "--network=host", "--target=raxnet", f"--label={STAGE}={stage}")
    return "raxnet"


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """A RAX-Net for each plane, exported here, by the whole installation."""
    folder = tmp_path_factory.mktemp("models")
    networks.export(folder)
    folder.chmod(0o755)
    return folder


@pytest.fixture(scope="session")
def scan(tmp_path_factory):
    """A phantom's scan, alone in its folder."""
    folder = tmp_path_factory.mktemp("data")
    folder.chmod(0o755)
    volume, _ = make_subject(0, seed=2, spacing=networks.SPACING)
    nibabel.save(nibabel.Nifti1Image(volume.data, volume.grid.affine), folder / "scan.nii.gz")
    return folder / "scan.nii.gz"
