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
    """The class path of the cluster's processes; its jars stay where Maven keeps them.

    Args:
        cache: Folder for the list, which is made anew for another pom.xml and where jars have gone.
        log: What Maven says.

    Raises:
        Missing: Maven is not there or cannot fetch them.
    """
    kept = cache / f"classpath-{hashlib.sha256(POM.read_bytes()).hexdigest()[:16]}.txt"
    if kept.is_file() and all(Path(jar).is_file() for jar in kept.read_text().split(os.pathsep)):
        return kept.read_text()
    cache.mkdir(parents=True, exist_ok=True)
    print("flink: Maven fetches Beam's Flink runner (150 MB where it has none of it)", file=sys.stderr)
    partial = kept.with_name(f".partial-{os.getpid()}")
    command = [maven(), "-B", "-f", str(POM), RESOLVE, f"-Dmdep.outputFile={partial}"]
    with log.open("w") as stream:
        done = subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        partial.unlink(missing_ok=True)
        raise Missing(f"Maven could not fetch the jars, exit status {done.returncode}; see {log}")
    partial.replace(kept)
    return kept.read_text()
