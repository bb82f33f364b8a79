"""How fast models are served, against the original's way and the machine's limit: python benchmarks/serving.py.

Sections, each alone with --only: `speed`: one scan in three planes, a call of Keras' `predict` per slice against ours,
and against FLOPs at the rate that this machine has in a large convolution. `wire`: a plane's slices as packed and as
nested JSON, in the client and in the server. `gateway`: a scan through `raxnet serve` against the same in process.
`load`: many clients at once. The networks are RAX-Nets that were trained for some steps on a phantom and the scans are
a phantom's, so all figures are phantom figures; ratios are of one run. Models are kept in --models and made there
first, which takes some minutes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from common import machine

if __name__ != "__main__":  # a benchmark beside this one means the package of the same name
    __path__ = [str(Path(__file__).parents[1] / "serving")]

SECTIONS = ("speed", "wire", "gateway", "load")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS, help="sections to run")
    parser.add_argument("--models", type=Path, help="folder to keep the models in (default: a temporary one)")
    parser.add_argument("--quick", action="store_true", help="small sizes: whether it runs, no figures")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        run(given.only, given.models or Path(scratch), given.quick)


def run(only: list[str], folder: Path, quick: bool) -> None:
    """Runs the sections."""
    import rest_wire
    import serving_load
    import serving_models
    import serving_speed

    full, small = (6.0, 6.0) if quick else (1.0, 3.0)
    asked = {"speed": full, "gateway": full, "load": small}
    start = time.perf_counter()
    spacings = sorted({asked[name] for name in only if name in asked})
    if spacings:
        serving_models.prepare(folder, spacings, steps=5 if quick else 150, trained_at=small)
    print(
        f"models made in {time.perf_counter() - start:.0f} s; {machine.processors()} processors", flush=True
    )
    sections = {
        "speed": lambda: serving_speed.speed(folder, full, 0.5 if quick else 3.0),
        "wire": lambda: rest_wire.compare(full),
        "gateway": lambda: serving_load.gateway(folder / f"{full:g}", full, 1 if quick else 2),
        "load": lambda: serving_load.load(folder / f"{small:g}", small, *((8, 4) if quick else (50, 8))),
    }
    for name in only:
        start = time.perf_counter()
        print(f"\n{name}", flush=True)
        sections[name]()
        print(f"({time.perf_counter() - start:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
