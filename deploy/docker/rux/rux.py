"""The method's own container: a mask for each scan of data/ in /results, named like the scan, owned like that folder.

Run by the Dockerfile beside it: `import` and `check` when the image is built, `segment` when it is run.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lesions import nifti
from lesions.errors import InputError, WorkError
from lesions.progress import to_log
from pipeline import console
from pipeline.cli.main import main as raxnet
from serving import sidecar, submission
from serving.bids import InputScan, entities_of, scans_below
from serving.predictor import Predictor, open_models
from serving.segmenter import segment as segmented

HERE = Path(__file__).resolve().parent
SCANS, WEIGHTS, MODELS = HERE / "data", HERE / "trained_models", HERE / "models"
RESULTS = Path("/results")
AGAIN = "and run `docker build -t rux .` again"
OPTIONS = {"rule": "mean", "threshold": 0.5}


def import_weights() -> int:
    """Turns the weights of trained_models/ into models. Raises InputError where there are none."""
    weights = sorted(WEIGHTS.glob("*.h5"))
    if not weights:
        raise InputError(
            f"no weights: put axial.h5, sagittal.h5 and coronal.h5 into {WEIGHTS.name}/ beside the Dockerfile, {AGAIN}"
        )
    return raxnet(["import", *map(str, weights), str(MODELS)])


def check() -> int:
    """Makes the scans readable for the user that will own the masks. Raises InputError where there is no scan."""
    for path in (SCANS, *SCANS.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
    scans = _scans()
    print(f"{len(scans)} scan{'s' if len(scans) > 1 else ''} in {SCANS.name}/")
    return 0


def segment() -> int:
    """Segments every scan; one that fails is told and the others go on. Returns 0, or 1 where one failed."""
    if not RESULTS.is_dir():
        raise InputError(f'{RESULTS} is not there, so masks would be lost: add -v "$(pwd)/results:{RESULTS}"')
    _become_owner(RESULTS)
    scans, predictor, failed = _scans(), open_models(MODELS), 0
    print(sidecar.statement(predictor), flush=True)
    for scan in scans:
        name = scan.relative_to(SCANS)
        try:
            print(f"{name}  {_one(scan, RESULTS / name, predictor)}", flush=True)
        except (InputError, WorkError) as error:
            failed += 1
            _say(str(error) if str(error).startswith(str(scan)) else f"{name}: {error}")
        except MemoryError:
            failed += 1
            _say(f"{name}: not enough memory; free some, or give a smaller scan")
    return 1 if failed else 0


def _one(scan: Path, mask: Path, predictor: Predictor) -> str:
    """Writes a scan's mask, and says so; a finished one of the same scan and models is kept."""
    began = time.monotonic()
    if scan.is_symlink() and not scan.exists():
        raise InputError("a link that leads out of the image; put the file itself there")
    source = InputScan(scan, SCANS, entities_of(scan))
    facts = sidecar.key(source, predictor, **OPTIONS)
    if former := submission.former(mask, facts):
        return f"{former['LesionVolumeMl']:.2f} ml  done before  {mask}"
    if mask.exists() and not submission.marked(mask):
        raise InputError(f"{mask} is there and no mask of ours; move it away, or give an empty folder")
    done = segmented(nifti.read(scan), predictor, progress=to_log("segmenting"), **OPTIONS)
    nifti.write(mask, done.mask, submission.mark(predictor, facts), scan)
    for message in done.messages:
        _say(f"warning: {scan.relative_to(SCANS)}: {message}")
    volume = sidecar.lesion_numbers(done.mask)["LesionVolumeMl"]
    return f"{volume:.2f} ml  {time.monotonic() - began:.1f} s  {mask}"


def _scans() -> list[Path]:
    found = scans_below(SCANS)
    if not found:
        raise InputError(
            f"no scan: put .nii or .nii.gz files into {SCANS.name}/ beside the Dockerfile, {AGAIN}"
        )
    return found


def _become_owner(folder: Path) -> None:
    """Gives root's rights up for those of a folder's owner. Raises InputError where they do not suffice."""
    owner = folder.stat()
    if os.geteuid() == 0:
        with suppress(PermissionError):  # root without capabilities stays what it is
            os.setgroups([])
            os.setgid(owner.st_gid)
            os.setuid(owner.st_uid)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(
            f"{folder} cannot be written by user {os.geteuid()}: change its rights, or mount another"
        )


def _say(text: str) -> None:
    print(f"rux: {' '.join(text.split())}", file=sys.stderr, flush=True)


ACTIONS: dict[str, Callable[[], int]] = {"import": import_weights, "check": check, "segment": segment}


def main(words: list[str]) -> int:
    """Does one of the actions. Returns 0; 1 where a scan or the work failed; 2 where something is missing."""
    console.to_terminal()
    action = ACTIONS.get(words[0] if words else "segment")
    if action is None:
        _say(f"{words[0]}: expected {', '.join(ACTIONS)}")
        return 2
    try:
        return action()
    except (InputError, WorkError) as error:
        _say(str(error))
        return 2 if isinstance(error, InputError) else 1
    except KeyboardInterrupt:
        _say("interrupted; the same command goes on from here")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
