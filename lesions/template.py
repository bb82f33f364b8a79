"""The MNI152 template and its tissue maps, which nilearn ships on the ATLAS grid."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from lesions import nifti
from lesions.errors import InputError
from lesions.grid import Volume

MAPS = ("t1", "gm", "wm")  # the brain without skull; grey matter; white matter


def read_template(kind: str, dtype: type = np.float32) -> Volume:
    """Reads one of `MAPS`, values 0 to 255, (197, 233, 189) voxels of 1 mm.

    nilearn itself is not imported: that takes longer than to read the file.

    Raises:
        InputError: nilearn is not installed, or its files are damaged.
    """
    spec = find_spec("nilearn")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("the MNI152 template comes with nilearn, which is not installed; install it")
    folder = Path(spec.submodule_search_locations[0]) / "datasets" / "data"
    return nifti.read(folder / f"mni_icbm152_{kind}_tal_nlin_sym_09a_converted.nii.gz", dtype)
