"""A comparison of losses or networks: tables, plain words, and two figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lesions.bootstrap import RESAMPLES
from lesions.significance import ALPHA
from reports import style
from reports.tables import Table, as_markdown, duration, table

COLORS = (
    style.BLUE,
    style.VERMILION,
    style.GREEN,
    style.PURPLE,
    style.ORANGE,
    style.SKY,
    style.BLACK,
    style.GRAY,
)
DASHES = ("-", "--", "-.", ":")


def page(
    title: str, made: Mapping[str, pd.DataFrame], phantom: bool, device: str, failed: Sequence[str] = ()
) -> str:
    """The whole comparison in Markdown.

    Args:
        title: Heading.
        made: scores (variant, plane, and columns as `published_dice_mean`), costs (a row per training), significance
            (of `lesions.significance.compare`, with plane).
        phantom: Whether the scans are synthetic.
        device: That computed.
        failed: Trainings that are missing, and why.
    """
    parts = [f"# {title}"]
    if phantom:
        parts.append("**Phantom figures: the scans are synthetic. They say nothing of real scans.**")
    if failed:
        parts.append("Missing: " + "; ".join(failed) + ".")
    for plane, scores in made["scores"].groupby("plane", sort=False):
        parts += [f"## {str(plane).capitalize()}", as_markdown(score_table(scores, str(plane)))]
        tests = made["significance"][made["significance"]["plane"] == plane]
        parts += [verdict(tests), "\n".join(f"- {text}" for text in tests["sentence"])]
    parts += ["## Cost", as_markdown(cost_table(made["costs"], device))]
    parts += ["![3-D Dice of every validation subject](dice.png)\n\n![Validation Dice by epoch](curves.png)"]
    return "\n\n".join(part for part in parts if part) + "\n"


def score_table(scores: pd.DataFrame, plane: str) -> Table:
    """Slice scores beside their floor, lesion slices only, and 3-D per subject: never one for the other."""
    frame = pd.DataFrame({"Variant": scores["variant"]})
    for metric in ("dice", "recall", "precision"):
        frame[metric.capitalize()] = scores[f"published_{metric}_mean"]
    frame["Floor"] = scores["published_dice_floor"]
    for prefix, label in (("lesion", "Lesion slices: Dice"), ("subjects", "3-D Dice")):
        frame[label] = scores[f"{prefix}_dice_mean"]
        frame[f"{label}, 95 %"] = [
            f"{low:.3f} to {high:.3f}"
            for low, high in zip(
                scores[f"{prefix}_dice_ci_low"], scores[f"{prefix}_dice_ci_high"], strict=True
            )
        ]
    frame["3-D sd"] = scores["subjects_dice_sd_sample"]
    frame["Subjects"] = scores["subjects_dice_n"].astype(int)
    note = (
        "Dice, recall, precision: slices with lesion and as many without, smoothed by 1, in which a slice without "
        "lesion that stays empty scores 1. Floor: their Dice where nothing is ever found: read Dice against it. Lesion "
        "slices and 3-D: plain; 3-D of the plane's slices stacked, a subject each. 95 %: percentile bootstrap of the "
        f"mean, {RESAMPLES:,} draws of whole subjects. sd: sample. All of validation folds, which chose the epoch: "
        "the same for every variant, but no test."
    )
    return table(frame, f"Validation scores, {plane}", {}, note)


def verdict(tests: pd.DataFrame) -> str:
    """How many pairs differ, in plain words."""
    tested = tests[tests["p_holm"].notna()]
    if tested.empty:
        return "No pair has enough subjects to be tested."
    found = tested[tested["p_holm"] < ALPHA]
    text = (
        f"Pairs that differ significantly in 3-D Dice at {ALPHA:g}, after Holm's correction: "
        f"{len(found)} of {len(tested)}."
    )
    if len(found) == len(tested):
        return text
    return f"{text} Where a difference is not significant, these subjects do not show one; they do not show equality."


def cost_table(costs: pd.DataFrame, device: str) -> Table:
    """A row per training: what it has to compute, and what it took."""
    frame = pd.DataFrame(
        {"Training": costs["variant"], "Plane": costs["plane"], "Fold": costs["fold"].astype(int)}
    )
    frame["Parameters"] = costs["parameters"].astype(int)
    frame["GFLOPs a slice"] = costs["gflops"]
    frame["Seconds a slice"] = costs["seconds_per_slice"]
    frame["Epochs"], frame["Best"] = costs["epochs"].astype(int), costs["best_epoch"].astype(int)
    frame["An epoch"] = [duration(value) for value in costs["seconds_per_epoch"]]
    frame["To the best"] = [duration(value) for value in costs["seconds_to_best"]]
    note = (
        "GFLOPs: two per multiply-add of a forward pass on the padded slice. Seconds a slice: the exported model with "
        f"its scaling and padding, 16 slices at a time, on {device}. Times of training include validation, and "
        "compare only where the trainings had the machine alike."
    )
    return table(frame, "What each training took", {"Seconds a slice": 4, "GFLOPs a slice": 2}, note)


@style.settings()
def draw_dice(subjects: pd.DataFrame) -> Figure:
    """A panel per plane, a row per variant: 3-D Dice of every subject, quartiles, median and mean.

    Args:
        subjects: plane, variant, dice.
    """
    planes, names = list(dict.fromkeys(subjects["plane"])), list(dict.fromkeys(subjects["variant"]))
    figure = style.new_figure(2.2 + 2.9 * len(planes), 1.1 + 0.5 * len(names))
    rng = np.random.default_rng(0)
    for axes, plane in zip(
        figure.subplots(1, len(planes), sharey=True, squeeze=False)[0], planes, strict=True
    ):
        mine = subjects[subjects["plane"] == plane]
        for row, name in enumerate(names):
            values = mine.loc[mine["variant"] == name, "dice"].to_numpy()
            if not len(values):
                continue
            axes.scatter(
                values, row + 0.3 * (rng.random(len(values)) - 0.5), s=9, color=style.SKY, linewidths=0
            )
            first, median, third = np.percentile(values, [25, 50, 75])
            axes.plot([first, third], [row, row], color=style.BLACK, linewidth=3.5, solid_capstyle="butt")
            axes.plot([median], [row], marker="|", color="white", markersize=6, markeredgewidth=1.6)
            axes.plot([values.mean()], [row], "D", color=style.VERMILION, markersize=4.5)
        axes.set_title(f"{plane}, n = {mine['subject'].nunique()}")
        axes.set_xlim(-0.02, 1.02)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlabel("3-D Dice of a subject")
    style.footnote(figure, "Bar: quartiles; white line: median; diamond: mean; dots: validation subjects.")
    return figure


@style.settings()
def draw_curves(curves: Sequence[tuple[str, str, int, pd.DataFrame]]) -> Figure:
    """A panel per plane and fold: validation Dice of the epochs, a line per variant.

    Args:
        curves: variant, plane, fold, history (epoch, val_dice).
    """
    panels = list(dict.fromkeys((plane, fold) for _, plane, fold, _ in curves))
    names = list(dict.fromkeys(name for name, *_ in curves))
    columns = min(len(panels), 5)
    rows = -(-len(panels) // columns)
    figure = style.new_figure(max(4.2, 2.9 * columns), 0.7 + 2.3 * rows)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes, panel in zip(grid.flat, panels, strict=False):
        for name, plane, fold, history in curves:
            if (plane, fold) == panel:
                place = names.index(name)
                color, dashes = COLORS[place % len(COLORS)], DASHES[place % len(DASHES)]
                marker = "o" if len(history) < 3 else ""
                axes.plot(
                    history["epoch"], history["val_dice"], dashes, color=color, marker=marker, label=name
                )
        axes.set_title(f"{panel[0]}, fold {panel[1]}")
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.set_ylim(0, 1)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_visible(False)
    grid[0, 0].set_ylabel("Dice of the validation pixels")
    handles = {label: h for a in grid.flat for h, label in zip(*a.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=min(4, len(handles)))
    return figure
