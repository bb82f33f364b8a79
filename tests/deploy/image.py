"""A Dockerfile carried out without Docker: parsed, and every instruction done in roots by overlay and chroot.

The base image's place is taken by a Debian 13 root of the same release, made by debootstrap once and kept. Each
stage is a layer over it. `run` starts what the image says as its user, in namespaces of its own: a root that cannot be
written, no network, no capabilities. An instruction that is not known here is an error.
"""

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from dockerfile_parse import DockerfileParser

CACHE = Path(os.environ.get("RAXNET_ROOTS", Path.home() / ".cache/raxnet"))
CERTIFICATES = Path(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"))
SUITE = "trixie"


def unavailable():
    """Why images cannot be made here; empty where they can."""
    if os.geteuid() != 0:
        return "needs root, for chroot and mounts"
    if subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "true"], capture_output=True
    ).returncode:
        return "may not make namespaces here"
    return ""


def base_root():
    """A Debian 13 root as debian:trixie-slim is one, with how this machine reaches Debian and PyPI."""
    root = CACHE / f"{SUITE}-slim"
    if not root.is_dir():
        if not shutil.which("debootstrap"):
            subprocess.run(["apt-get", "install", "-y", "-q", "debootstrap"], check=True, capture_output=True)
        partial = CACHE / f"{SUITE}-slim.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        sources = "".join(p.read_text() for p in Path("/etc/apt").rglob("*.sources"))
        found = re.search(r"^URIs: *(\S+/debian)/?$", sources, re.M)
        mirror = found[1] if found else "http://deb.debian.org/debian"
        command = ["debootstrap", "--variant=minbase", SUITE, str(partial), mirror]
        subprocess.run(command, check=True, capture_output=True)
        partial.rename(root)
    return root


@dataclass
class Stage:
    """What an image says, and the layers that it is made of, the lowest first."""

    layers: list = field(default_factory=list)
    environment: dict = field(default_factory=dict)
    arguments: dict = field(default_factory=dict)
    labels: dict = field(default_factory=dict)
    shell: list = field(default_factory=lambda: ["/bin/sh", "-c"])
    workdir: str = "/"
    user: str = "0:0"
    entrypoint: list = field(default_factory=list)
    command: list = field(default_factory=list)
    healthcheck: list = field(default_factory=list)


class Build:
    """Carries a Dockerfile out, up to one of its stages."""

    def __init__(self, context, folder, target, arguments=None):
        """Args: context: Folder with the Dockerfile. folder: For layers. target: Stage. arguments: --build-arg."""
        self.context, self.folder, self.given = Path(context), Path(folder), arguments or {}
        self.ignored = [
            line
            for line in (self.context / ".dockerignore").read_text().split("\n")
            if line and line[0] != "#"
        ]
        self.stages, self.now, self.defaults = {}, None, {}
        instructions = DockerfileParser(str(self.context / "Dockerfile")).structure
        for number, one in enumerate(instructions):
            if one["instruction"] == "FROM" and target in self.stages:
                break
            if one["instruction"] != "COMMENT":
                getattr(self, f"_{one['instruction'].lower()}")(one["value"], number)
        self.image = self.stages[target]

    def _filled(self, text):
        known = self.defaults | self.now.arguments | self.now.environment if self.now else self.defaults
        return re.sub(r"\$\{(\w+)\}", lambda found: known[found[1]], text)

    def _from(self, value, _):
        source, _, name = value.partition(" AS ")
        source = self._filled(source)
        layer = self.folder / name
        layer.mkdir(parents=True)
        if source in self.stages:
            under = self.stages[source]
            kept = {key: getattr(under, key) for key in ("workdir", "user", "shell")}
            self.now = Stage(
                [*under.layers, layer], dict(under.environment), labels=dict(under.labels), **kept
            )
        else:
            assert source == self.defaults["BASE"] == "debian:trixie-slim"
            self.now = Stage([base_root(), layer])
        self.stages[name] = self.now

    def _arg(self, value, _):
        name, _, default = value.partition("=")
        chosen = self.given.get(name, default)
        if self.now:
            self.now.arguments[name] = chosen
        else:
            self.defaults[name] = chosen

    def _env(self, value, _):
        self.now.environment |= dict(word.split("=", 1) for word in shlex.split(self._filled(value)))

    def _label(self, value, _):
        self.now.labels |= dict(word.split("=", 1) for word in shlex.split(value))

    def _shell(self, value, _):
        self.now.shell = json.loads(value)

    def _workdir(self, value, _):
        self._inside(["/bin/mkdir", "-p", value])
        self.now.workdir = value

    def _user(self, value, _):
        self.now.user = value

    def _expose(self, value, _):
        assert all(word.isdigit() for word in value.split())

    def _healthcheck(self, value, _):
        self.now.healthcheck = [] if value == "NONE" else json.loads(value.partition("CMD ")[2])

    def _entrypoint(self, value, _):
        self.now.entrypoint = json.loads(value)

    def _cmd(self, value, _):
        self.now.command = json.loads(value)

    def _run(self, value, _):
        self._inside([*self.now.shell, value])

    def _copy(self, value, _):
        words = shlex.split(self._filled(value))
        source = self.context
        if words[0].startswith("--from="):
            source = None
            under = self.stages[words.pop(0).removeprefix("--from=")]
        assert not words[0].startswith("--")
        *names, target = words
        into = self.now.layers[-1] / str(Path(self.now.workdir) / target).lstrip("/")
        for name in names:
            if source is None:
                with mounted(under, self.folder / "from") as root:
                    copy(root / name.lstrip("/"), into)
            elif (source / name).is_dir():
                copy(source / name, into, self._ignores)
            else:
                into.mkdir(parents=True, exist_ok=True)
                copy(source / name, into / Path(name).name)

    def _ignores(self, path):
        inner = path.relative_to(self.context).as_posix()
        return any(
            fnmatch.fnmatch(inner, pattern.removeprefix("**/"))
            or (pattern.startswith("**/") and fnmatch.fnmatch(path.name, pattern.removeprefix("**/")))
            for pattern in self.ignored
        )

    def _inside(self, command):
        """As `docker build` does it: as root, with the network, in the layers as they are."""
        with mounted(self.now, self.folder / "now") as root:
            prepare = (
                f"mount -t proc proc {root}/proc; mount --rbind /dev {root}/dev; "
                f"for f in /etc/resolv.conf /etc/hosts /etc/pip.conf; do [ ! -f $f ] || "
                f"{{ touch {root}$f; mount --bind $f {root}$f; }}; done; mkdir -p {root}/run/certs; "
                f"touch {root}/run/certs/all.crt; mount --bind {CERTIFICATES} {root}/run/certs/all.crt; "
            )
            outer = {
                "SSL_CERT_FILE": "/run/certs/all.crt",
                "PIP_CERT": "/run/certs/all.crt",
            }  # of this machine
            words = [
                f"{key}={value}" for key, value in (self.now.environment | self.now.arguments | outer).items()
            ]
            inner = [
                "chroot",
                str(root),
                "/usr/bin/env",
                "-i",
                *words,
                "/bin/sh",
                "-c",
                'cd "$0" && exec "$@"',
            ]
            done = subprocess.run(
                [
                    "unshare",
                    "--mount",
                    "sh",
                    "-ec",
                    prepare + 'exec "$@"',
                    "sh",
                    *inner,
                    self.now.workdir,
                    *command,
                ],
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, f"{command[-1][:200]}: {done.stdout[-2000:]}{done.stderr[-2000:]}"


class mounted:
    """An image's layers as one folder; what is written goes to the last."""

    def __init__(self, stage, place):
        self.layers, self.place = stage.layers, Path(place)

    def __enter__(self):
        work = self.layers[-1].with_name(f"{self.layers[-1].name}.work")
        for folder in (work, self.place):
            folder.mkdir(parents=True, exist_ok=True)
        lower = ":".join(str(layer) for layer in reversed(self.layers[:-1]))
        options = f"lowerdir={lower},upperdir={self.layers[-1]},workdir={work}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(self.place)], check=True)
        return self.place

    def __exit__(self, *_):
        subprocess.run(["umount", "-l", str(self.place)], check=True)


def copy(source, target, ignored=lambda path: False):
    """As COPY: a folder's content into a folder, links kept."""
    if source.is_dir() and not source.is_symlink():
        target.mkdir(parents=True, exist_ok=True)
        shutil.copystat(source, target)
        for one in source.iterdir():
            if not ignored(one):
                copy(one, target / one.name, ignored)
    elif source.is_symlink():
        target.symlink_to(source.readlink())
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def run(image, place, arguments=(), mounts=None, user=None, instead=None):
    """Starts an image: its entry point, its user, a root that cannot be written, no network.

    Args:
        image: The stage.
        place: Where its root is mounted.
        arguments: After the image's name.
        mounts: Folder here -> (folder there, "ro" or "rw").
        user: Instead of the image's.
        instead: A command for the entry point, such as the health check.
    """
    top = Path(tempfile.mkdtemp(prefix="container-", dir=Path(place).parent))
    top.chmod(0o755)
    hosts = top.with_name(f"{top.name}.hosts")
    hosts.write_text("127.0.0.1 localhost\n")  # as Docker writes them
    with mounted(Stage([*image.layers, top]), place) as root:
        lines = [
            "ip link set lo up 2>/dev/null || true",
            f"mount -t proc proc {root}/proc",
            f"mount --rbind /dev {root}/dev",
        ]
        (root / "etc/hosts").touch()
        lines.append(f"mount --bind {hosts} {root}/etc/hosts")
        for here, (there, _) in (mounts or {}).items():
            (root / there.lstrip("/")).mkdir(parents=True, exist_ok=True)
            lines.append(f"mount --bind {here} {root}{there}")
        lines.append(f"mount -t tmpfs -o mode=1777 tmpfs {root}/tmp")
        lines.append(f"mount -o remount,ro {root}")
        lines += [
            f"mount -o remount,bind,ro {root}{there}"
            for there, mode in (mounts or {}).values()
            if mode == "ro"
        ]
        words = [f"{key}={value}" for key, value in image.environment.items()]
        program = instead or [*image.entrypoint, *(arguments or image.command)]
        inner = [
            "chroot",
            f"--userspec={user or image.user}",
            "--groups=",
            str(root),
            "/usr/bin/env",
            "-i",
            *words,
        ]
        inner += ["/bin/sh", "-c", 'cd "$0" && exec "$@"', image.workdir, *map(str, program)]
        command = [
            "unshare",
            "--mount",
            "--net",
            "--pid",
            "--fork",
            "sh",
            "-ec",
            "\n".join(lines) + '\nexec "$@"',
            "sh",
        ]
        return subprocess.run([*command, *inner], capture_output=True, text=True)


def size_mb(image):
    """What the image adds to its base, and the base, in MB (10^6 bytes)."""

    def size(layer):
        return sum(path.lstat().st_size for path in layer.rglob("*") if path.is_file() or path.is_symlink())

    base, *own = map(size, image.layers)
    return round(sum(own) / 1e6), round(base / 1e6)
