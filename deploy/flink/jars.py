"""Java and the jars of a Flink cluster: found, or fetched with Maven."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
POM = HERE / "pom.xml"
VERSION = 17
UNSTAGED = Path("gradle") / "wrapper"
RESOLVE = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:build-classpath"


class Missing(Exception):
    """The cluster cannot be had here; one line that says why and what to do."""


def java() -> str:
    """Path of Java 17: of JAVA_HOME, else the one on the path.

    Raises:
        Missing: There is none, or another version.
    """
    home = os.environ.get("JAVA_HOME")
    found = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    remedy = f"apt-get install openjdk-{VERSION}-jre-headless, or set JAVA_HOME"
    if found is None:
        raise Missing(f"Java {VERSION} is needed, found none; {remedy}")
    try:
        said = subprocess.run([found, "-version"], capture_output=True, text=True, check=True).stderr
    except (OSError, subprocess.CalledProcessError) as error:
        raise Missing(f"{found}: does not run ({error}); {remedy}") from None
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) != VERSION:
        raise Missing(f"{found}: Java {VERSION} is needed, found {said.splitlines()[0]}; {remedy}")
    return found


def maven() -> str:
    """Path of Maven.

    Raises:
        Missing: There is none.
    """
    found = shutil.which("mvn")
    if found is None:
        raise Missing("Maven is needed, found none; apt-get install maven")
    return found


def classpath(cache: Path, log: Path) -> str:
    """The class path of the cluster's processes.

    Beam's job server would send every jar of its own to Flink with each job, 150 MB that are there already. The one
    kind that it leaves out are those with `gradle/wrapper` in their path (PipelineResources.isStageable): so they lie
    in such a folder, as links to those that Maven keeps.

    Args:
        cache: Folder for them; another pom.xml has others.
        log: What Maven says.

    Raises:
        Missing: Maven is not there or cannot fetch them.
    """
    made = cache / f"jars-{hashlib.sha256(POM.read_bytes()).hexdigest()[:16]}"
    if not made.is_dir():
        print("flink: Maven fetches Beam's Flink runner (150 MB where it has none of it)", file=sys.stderr)
        partial = cache / f".partial-{os.getpid()}"
        shutil.rmtree(partial, ignore_errors=True)
        folder = partial / UNSTAGED
        folder.mkdir(parents=True)
        for jar in _resolve(partial / "classpath.txt", log):
            _link(jar, folder / jar.name)
        partial.rename(made)
    return f"{made / UNSTAGED}/*"


def _resolve(out: Path, log: Path) -> list[Path]:
    """The jars of pom.xml in Maven's own store."""
    command = [maven(), "-B", "-f", str(POM), RESOLVE, f"-Dmdep.outputFile={out}"]
    with log.open("w") as stream:
        done = subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise Missing(f"Maven could not fetch the jars, exit status {done.returncode}; see {log}")
    return [Path(jar) for jar in out.read_text().split(os.pathsep)]


def _link(jar: Path, link: Path) -> None:
    try:
        os.link(jar, link)
    except OSError:  # another file system
        shutil.copy2(jar, link)
