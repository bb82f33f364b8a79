"""Where the two stacks that this code runs on (docs/stacks.md) behave differently, and what is done about it."""

from __future__ import annotations

import faulthandler
import importlib.util
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

LEVEL = "TF_CPP_MIN_LOG_LEVEL"
FATAL = "3"  # the least severity that is shown; 2 is an error, as TensorFlow calls a missing GPU


def quiet_import() -> None:
    """Keeps TensorFlow's messages off standard error; to be called before it is imported.

    Only what ends the process is shown, because exceptions carry all else, unless the environment has said another
    level; 0 shows everything. TensorFlow 2.16 heeds the variable. 2.21 writes its first lines (oneDNN is on, no CUDA
    driver) whatever it says, so that standard error is closed to them while the module is being imported. A process
    that dies meanwhile, on a processor without AVX for example, still says where.
    """
    os.environ.setdefault(LEVEL, FATAL)
    if "tensorflow" not in sys.modules and not any(isinstance(one, _Finder) for one in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds TensorFlow, once, and lays the silence around its loader."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None and os.environ.get(LEVEL, "0") != "0":
            spec.loader = _Silent(spec.loader)
        return spec


class _Silent(Loader):
    """A loader that runs another one in silence; everything else of it is the other's."""

    def __init__(self, loader: Any):
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        with _silence():
            self._loader.exec_module(module)


@contextmanager
def _silence() -> Iterator[None]:
    """Nothing reaches standard error, from C++ neither, but the last words of a process that dies."""
    sys.stderr.flush()
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    watched = faulthandler.is_enabled()
    try:
        os.dup2(nowhere, 2)
        if not watched:
            faulthandler.enable(saved)
        yield
    finally:
        if not watched:
            faulthandler.disable()
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
