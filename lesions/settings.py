"""What a person may set of the split, the fusion and the gates."""

from __future__ import annotations

from dataclasses import dataclass

FORBID = {"extra": "forbid"}  # read by pydantic where the configuration is composed


def require(name: str, holds: bool, rule: str, found: object) -> None:
    """Raises ValueError naming the parameter, its rule and what was found."""
    if not holds:
        raise ValueError(f"{name} must be {rule}, found {found!r}")


@dataclass(frozen=True)
class SplitSettings:
    """Hold-out and folds (docs/spec/method.md#hold-out-and-folds).

    Attributes:
        folds: Number of folds.
        holdout: Share of the subjects kept for the fused evaluation, never trained on.
        seed: Of the split.
    """

    folds: int = 5
    holdout: float = 0.2
    seed: int = 0

    __pydantic_config__ = FORBID

    def __post_init__(self) -> None:
        """Checks each value against its rule."""
        require("folds", 2 <= self.folds <= 10, "2 to 10", self.folds)
        require("holdout", 0 < self.holdout < 1, "above 0 and below 1", self.holdout)
        require("seed", self.seed >= 0, "0 or more", self.seed)


@dataclass(frozen=True)
class FusionSettings:
    """How folds become one model of a plane, and planes one mask.

    The defaults are the method's (docs/spec/method.md#training, docs/spec/method.md#fusion-and-3-d-evaluation).

    Attributes:
        rule: mean or majority.
        threshold: A voxel is lesion where the fused probability reaches it.
        ensemble: best: the best validated fold's model of each plane; all: the mean of all folds' probabilities.
        fold_rule: What the best fold has the highest of: mean (of Dice, recall and precision over the published
            protocol's slices, as in the method), lesion_dice (mean Dice of lesion slices) or dice_3d (mean Dice of
            the fold's subjects).
        flip: Average with the scan mirrored left to right; twice the time.
    """

    rule: str = "mean"
    threshold: float = 0.5
    ensemble: str = "best"
    fold_rule: str = "mean"
    flip: bool = False

    __pydantic_config__ = FORBID

    def __post_init__(self) -> None:
        """Checks each value against its rule."""
        require("rule", self.rule in ("mean", "majority"), "mean or majority", self.rule)
        require("threshold", 0 < self.threshold < 1, "above 0 and below 1", self.threshold)
        require("ensemble", self.ensemble in ("best", "all"), "best or all", self.ensemble)
        known = ("mean", "lesion_dice", "dice_3d")
        require("fold_rule", self.fold_rule in known, f"one of {', '.join(known)}", self.fold_rule)


@dataclass(frozen=True)
class GateSettings:
    """What a model must reach to be pushed, and what data must keep to be trained on.

    Attributes:
        slice_dice: Least mean Dice over the validation slices with lesion, unsmoothed.
        fused_dice: Least mean 3-D Dice over the hold-out, fused.
        released_drop: How far below the released model of its plane a model's mean Dice may lie, over the lesion
            slices of a fold that both were validated on.
        fold_drift: Largest Jensen-Shannon divergence between the size categories of a fold and of the others.
    """

    slice_dice: float = 0.3
    fused_dice: float = 0.4
    released_drop: float = 0.01
    fold_drift: float = 0.1

    __pydantic_config__ = FORBID

    def __post_init__(self) -> None:
        """Checks each value against its rule."""
        for name in ("slice_dice", "fused_dice", "released_drop", "fold_drift"):
            value = getattr(self, name)
            require(name, 0 <= value <= 1, "from 0 to 1", value)
