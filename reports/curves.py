"""Learning curves."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reports import style
from reports.content import Training

_LINES = {  # column -> color, dashes, label
    "loss": (style.BLUE, "-", "training loss"),
    "val_loss": (style.VERMILION, "--", "validation loss"),
    "val_dice": (style.GREEN, "-", "validation Dice (pooled pixels)"),
}


def by_figure(trainings: Sequence[Training]) -> list[list[Training]]:
    """Which trainings share a figure: all, where no plane has several folds; else one figure per plane."""
    ordered = sorted(trainings, key=lambda t: t.fold)
    planes = list(dict.fromkeys(t.plane for t in trainings))
    together = [[t for t in ordered if t.plane == plane] for plane in planes]
    if all(len(group) == 1 for group in together):
        return [[group[0] for group in together]] if together else []
    return together


@style.settings()
def draw_curves(trainings: Sequence[Training]) -> Figure:
    """A column per training: losses above, validation Dice below, the kept epoch marked.

    Args:
        trainings: One to about six; their axes share their ranges, so that they can be compared.
    """
    figure = style.new_figure(max(min(2.6 * len(trainings), 10.0), 3.6), 3.8)
    axes = figure.subplots(2, len(trainings), sharex="col", sharey="row", squeeze=False)
    for column, training in enumerate(trainings):
        upper, lower = axes[0, column], axes[1, column]
        upper.set_title(f"{training.plane}, fold {training.fold}")
        _lines(upper, training, ("loss", "val_loss"))
        _lines(lower, training, ("val_dice",))
        lower.set_xlabel("epoch")
        lower.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        if len(training.history) == 1:
            lower.set_xlim(0, 2)
    axes[0, 0].set_ylabel("loss")
    axes[1, 0].set_ylabel("Dice")
    axes[1, 0].set_ylim(0, 1)
    _legend(figure, list(axes[:, 0]))
    return figure


def _lines(axes: Axes, training: Training, columns: Sequence[str]) -> None:
    history = training.history
    for name in columns:
        if name not in history or not len(history):
            continue
        color, dashes, label = _LINES[name]
        marker = "o" if len(history) < 3 else ""
        axes.plot(
            history["epoch"], history[name], dashes, color=color, label=label, linewidth=1.4, marker=marker
        )
    if training.best_epoch is None:
        return
    axes.axvline(training.best_epoch, color=style.GRAY, linewidth=0.9, linestyle=":", label="epoch kept")
    best = value_at(history, columns[-1], training.best_epoch)
    if best is not None:
        axes.plot([training.best_epoch], [best], "D", color=_LINES[columns[-1]][0], markersize=4.5)


def value_at(history: pd.DataFrame, column: str, epoch: int) -> float | None:
    """A column's value in an epoch, None where either is missing."""
    if column not in history or "epoch" not in history:
        return None
    row = history.loc[history["epoch"] == epoch, column].dropna()
    return float(row.iloc[0]) if len(row) else None


def _legend(figure: Figure, axes: Sequence[Axes]) -> None:
    handles = {label: h for a in axes for h, label in zip(*a.get_legend_handles_labels(), strict=True)}
    order = [label for _, _, label in _LINES.values() if label in handles]
    order += [label for label in handles if label not in order]
    if order:
        columns = 4 if figure.get_figwidth() > 6 else 2
        figure.legend([handles[label] for label in order], order, loc="outside lower center", ncols=columns)
