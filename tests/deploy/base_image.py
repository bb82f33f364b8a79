"""The image that ours are built on, for engines that reach no registry: a Debian 13 root, made by debootstrap."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.deploy.engine import CACHE, Engine, UnavailableError

NAME, SUITE = "debian:trixie-slim", "trixie"
PULL_SECONDS = 60
CERTIFICATES = "/etc/ssl/certs/build-machine.crt"


def require(engine: Engine) -> None:
    """Sees to it that the engine has the image: as it is published, or else a root with how this machine reaches
    Debian and PyPI. Raises UnavailableError with the reason."""
    if engine.ask("image", "inspect", NAME).returncode == 0 or _pulled(engine):
        return
    if os.geteuid() != 0 or not shutil.which("debootstrap"):
        raise UnavailableError(
            f"{NAME} cannot be pulled; to make one, root and debootstrap are needed: apt-get install debootstrap"
        )
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="base-", dir=CACHE) as folder:
        root = Path(folder) / "root"
        command = ["debootstrap", "--variant=minbase", SUITE, str(root), _mirror()]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise UnavailableError(f"debootstrap failed: {done.stdout[-1000:]}{done.stderr[-1000:]}")
        _prepare(root)
        _load(engine, root)


def _pulled(engine: Engine) -> bool:
    try:
        return engine.ask("pull", NAME, timeout=PULL_SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _mirror() -> str:
    """Where this machine gets Debian from."""
    files = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
    text = "\n".join(path.read_text() for path in files if path.is_file())
    found = re.search(r"^(?:URIs: *|deb (?:\[[^]]*\] )?)(\S+/debian)/?(?:\s|$)", text, re.M)
    return found[1] if found else "http://deb.debian.org/debian"


def _prepare(root: Path) -> None:
    """Certificates and pip's settings of this machine, and no packages that are installed already."""
    certificates = Path(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"))
    for here, there in ((certificates, CERTIFICATES), (Path("/etc/pip.conf"), "/etc/pip.conf")):
        if here.is_file():
            target = root / there.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(here, target)
    for folder in ("var/cache/apt/archives", "var/lib/apt/lists"):
        for path in (root / folder).iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _load(engine: Engine, root: Path) -> None:
    """Hands a root to the engine under the image's name."""
    changes = ['CMD ["bash"]']
    if (root / CERTIFICATES.lstrip("/")).is_file():
        changes.append(f"ENV SSL_CERT_FILE={CERTIFICATES} PIP_CERT={CERTIFICATES}")
    words = [
        engine.client,
        "import",
        *(word for change in changes for word in ("--change", change)),
        "-",
        NAME,
    ]
    with subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE) as tar:
        subprocess.run(words, stdin=tar.stdout, env=engine.environment, check=True, capture_output=True)
    assert tar.returncode == 0
