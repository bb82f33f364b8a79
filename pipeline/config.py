"""The configuration of a run: typed YAML, composed of the settings that the layers below define."""

from __future__ import annotations

from dataclasses import field, fields
from pathlib import Path
from typing import Any, get_type_hints

import pydantic
import yaml
from pydantic.dataclasses import dataclass

from lesions.errors import InputError
from lesions.parallel import default_workers
from lesions.settings import FORBID, FusionSettings, GateSettings, SplitSettings, require
from lesions.slices import PLANES
from pipeline.kubeflow_settings import KubeflowSettings
from trainer.settings import TrainingSettings

DATABASE = "metadata.db"  # of ML Metadata, in the root
RECORDS = "records"  # kept by content, in the root
COMPARE = "compare"  # what `raxnet compare` leaves, in the root
DEVICES = ("auto", "cpu", "gpu")
# docs/spec/tfx_stack.md#arguments-for-the-local-runner
BEAM_LOCAL = ("--runner=FnApiRunner", "--sdk_container_image=unused")


RECIPES = ("common", "published", "both")


@dataclass(frozen=True, config=FORBID)  # type: ignore[call-overload]
class CompareSettings:
    """What `raxnet compare` holds against each other; everything else is as in a run.

    Attributes:
        losses: Those compared, with the configuration's network.
        models: The networks compared, each with its published options.
        recipes: How the networks are trained: common: as the configuration says. published: each as its authors did,
            for as many epochs as the configuration says at most. both: either.
    """

    losses: tuple[str, ...] = ("focal_tversky", "tversky", "focal", "dice")
    models: tuple[str, ...] = ("raxnet", "dunet", "clcinet", "xnet")
    recipes: str = "common"

    def __post_init__(self) -> None:
        """Checks what needs no list of the networks and losses."""
        for name in ("losses", "models"):
            found = getattr(self, name)
            require(name, len(set(found)) == len(found) >= 2, "two or more, named once each", found)
        require("recipes", self.recipes in RECIPES, f"one of {', '.join(RECIPES)}", self.recipes)


@dataclass(frozen=True, config=FORBID)  # type: ignore[call-overload]
class Config:
    """What `raxnet run` does.

    Attributes:
        data: Folder of the data set; relative to the configuration's folder.
        root: Folder of everything that the run writes; relative likewise.
        metadata: Sheet with lesion counts by location, relative likewise; None: looked for in the data's folder.
        planes: Those trained; records are made of all three.
        train_folds: Validation folds for which a model is trained, each.
        split: Hold-out and folds.
        training: Network, loss, optimizer.
        fusion: How planes become one mask.
        gates: What models and data must reach.
        compare: What `raxnet compare` compares.
        kubeflow: Image, storage and resources of what `raxnet compile` writes.
        strict: True stops at the first unusable file; False puts it aside and says so.
        device: auto, cpu or gpu.
        workers: Processes for reading scans; 0: one per processor, as far as memory allows.
        parallel_trainings: Trainings at a time, each in a process of its own with an equal share of the processors;
            1: one after the other with all of them. Two threads train little faster than one; it takes memory for each.
        beam: Arguments of Beam's pipelines; empty: the local runner.
    """

    data: Path
    root: Path
    metadata: Path | None = None
    planes: tuple[str, ...] = PLANES
    train_folds: tuple[int, ...] = (1,)
    split: SplitSettings = field(default_factory=SplitSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    fusion: FusionSettings = field(default_factory=FusionSettings)
    gates: GateSettings = field(default_factory=GateSettings)
    compare: CompareSettings = field(default_factory=CompareSettings)
    kubeflow: KubeflowSettings = field(default_factory=KubeflowSettings)
    strict: bool = False
    device: str = "auto"
    workers: int = 0
    parallel_trainings: int = 1
    beam: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Checks what no single layer can check."""
        require(
            "planes", len(self.planes) > 0 and set(self.planes) <= set(PLANES), f"among {PLANES}", self.planes
        )
        require("planes", len(set(self.planes)) == len(self.planes), "named once each", self.planes)
        allowed = range(1, self.split.folds + 1)
        inside = len(self.train_folds) > 0 and all(fold in allowed for fold in self.train_folds)
        require("train_folds", inside, f"among 1 to split.folds = {self.split.folds}", self.train_folds)
        require(
            "train_folds",
            len(set(self.train_folds)) == len(self.train_folds),
            "named once each",
            self.train_folds,
        )
        require("device", self.device in DEVICES, f"one of {', '.join(DEVICES)}", self.device)
        require("workers", self.workers >= 0, "0 or more", self.workers)
        require("parallel_trainings", self.parallel_trainings >= 1, "1 or more", self.parallel_trainings)

    @property
    def processes(self) -> int:
        """Worker processes for reading scans."""
        return self.workers or default_workers()

    @property
    def serving_models(self) -> Path:
        """Where the pushed models are."""
        return self.root / "serving_models"


def load(path: Path) -> Config:
    """Reads and checks a configuration.

    Raises:
        InputError: Not there, not YAML, an unknown or wrong setting: says which, and what is allowed.
    """
    try:
        content: Any = yaml.safe_load(path.read_text())
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); `raxnet init` writes one to start from"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(content, dict):
        raise InputError(
            f"{path}: expected settings as `name: value`; `raxnet init` writes one to start from"
        )
    try:
        config = pydantic.TypeAdapter(Config).validate_python(content)
    except pydantic.ValidationError as error:
        raise InputError(f"{path}: " + "; ".join(_said(one) for one in error.errors())) from None
    here = path.resolve().parent
    given = {name: getattr(config, name) for name in ("data", "root", "metadata")}
    found = {name: here / path for name, path in given.items() if path is not None}
    return pydantic.TypeAdapter(Config).validate_python({**vars(config), **found})


def _said(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    text = error["msg"].removeprefix("Value error, ")
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        text = f"no such setting; there are {', '.join(_settings(error['loc'][:-1]))}"
    return f"{where}: {text}" if where else text


def _settings(where: tuple[Any, ...]) -> list[str]:
    """Names of the settings at a place in the configuration."""
    kind: Any = Config
    for name in where:
        kind = get_type_hints(kind)[name]
    return [one.name for one in fields(kind)]


def dump(config: Config) -> str:
    """The configuration as YAML."""
    content = pydantic.TypeAdapter(Config).dump_python(config, mode="json")
    return yaml.safe_dump(content, sort_keys=False)
