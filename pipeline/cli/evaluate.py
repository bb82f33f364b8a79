"""`raxnet evaluate`: tables from files of per-slice or per-subject scores."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lesions.evaluation import Evaluation
    from lesions.grid import Grid

HELP = "tabulate files of per-slice or per-subject scores, each file a fold"
EXAMPLE = "raxnet evaluate published_axial_fold_*.csv --out tables"
PLANES = ("axial", "sagittal", "coronal")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "files",
        metavar="FILE.csv",
        type=Path,
        nargs="+",
        help="subject,slice,lesion_voxels,dice,precision,recall or subject,slice,tp,fp,fn; 3-D: without slice",
    )
    parser.add_argument(
        "--plane",
        choices=PLANES,
        help="of slices, for the size categories (default: what the files' names say)",
    )
    parser.add_argument(
        "--expected", metavar="FILE", type=Path, help="CSV with a column subject: names who is missing"
    )
    parser.add_argument("--spacing", metavar="MM", type=float, default=1.0, help="of the scans (default: 1)")
    parser.add_argument("--seed", metavar="S", type=int, default=0, help="of the bootstrap (default: 0)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="write tables (CSV, Markdown) and a figure there"
    )


def run(args: argparse.Namespace) -> int:
    """Prints the tables, or writes them; exit status 0."""
    from lesions import published
    from lesions.evaluation import evaluate
    from lesions.files import require_writable
    from lesions.score_files import read_score_files, read_subjects
    from reports.evaluation import as_page, notes, tables

    if args.out:
        require_writable(args.out)
    grid = _grid(args.spacing)
    expected = read_subjects(args.expected) if args.expected else None
    files = read_score_files(args.files)
    named = next((file.plane for file in files if file.plane), None)
    evaluation = evaluate(files, args.plane or named, grid, args.seed)
    # Only scores can be the original's: it published no counts.
    compared = published.compare(evaluation) if files[0].given == "scores" else None
    said = [*_plane_note(evaluation, args.plane, named), *notes(evaluation, compared, expected)]
    made = tables(evaluation, grid, compared)
    title = _title(evaluation)
    if args.out:
        _write(args.out, evaluation, compared, as_page(title, made, said, markdown=True))
    if args.json:
        _print_json(evaluation, compared, said, expected)
        return 0
    print(as_page(title, made, said), end="")
    if args.out:
        print(f"tables and figure: {args.out}")
    return 0


def _grid(spacing: float) -> Grid | None:
    import numpy as np

    from lesions.errors import InputError
    from lesions.grid import Grid

    if not (np.isfinite(spacing) and spacing > 0):
        raise InputError(f"--spacing: must be a positive number of mm, found {spacing}")
    return None if spacing == 1 else Grid.of((1, 1, 1), np.diag([spacing] * 3 + [1.0]))


def _title(evaluation: Evaluation) -> str:
    rows, folds = evaluation.rows, evaluation.rows["fold"].nunique()
    subjects = rows["subject"].nunique()
    if evaluation.unit == "subjects":
        return f"3-D scores: {len(rows):,} rows of {subjects:,} subjects, {folds} file{'s' * (folds > 1)}"
    lesion = int((rows["lesion_voxels"] > 0).sum())
    where = f"{evaluation.plane} slices" if evaluation.plane else "slices"
    return f"{len(rows):,} {where} ({lesion:,} with lesion) of {subjects:,} subjects, {folds} file{'s' * (folds > 1)}"


def _plane_note(evaluation: Evaluation, given: str | None, named: str | None) -> list[str]:
    if evaluation.unit == "subjects" or not evaluation.plane:
        return []
    if given is None:
        return [f"Plane: {named}, as the files say; --plane says otherwise."]
    return [
        f"Plane: {given}, as --plane says"
        + (f" (the files say {named})." if named and named != given else ".")
    ]


def _write(out: Path, evaluation: Evaluation, compared: Any, page: str) -> None:
    """All tables, the rows with their counts, and the figure."""
    from lesions.files import write_bytes, write_csv, write_table, write_text
    from reports.evaluation_figure import draw_dice
    from reports.style import png

    write_table(out / evaluation.unit, evaluation.rows)
    for name in ("folds", "over_folds", "summary", "pooled", "categories"):
        frame = getattr(evaluation, name)
        if len(frame):
            write_csv(out / f"{name}.csv", frame)
    if compared is not None and len(compared):
        write_csv(out / "published.csv", compared)
    write_bytes(out / "dice.png", png(draw_dice(evaluation)))
    write_text(out / "tables.md", f"{page}\n![Distributions of Dice](dice.png)\n")


def _print_json(evaluation: Evaluation, compared: Any, said: list[str], expected: list[str] | None) -> None:
    import json

    from lesions.evaluation import missing_subjects

    names = ("folds", "over_folds", "summary", "pooled", "categories")
    frames = {name: getattr(evaluation, name) for name in names}
    made: dict[str, Any] = {"unit": evaluation.unit, "plane": evaluation.plane, "rows": len(evaluation.rows)}
    made |= {"rows_with_counts": evaluation.exact, "subjects_in_several_folds": evaluation.several_folds}
    made |= {name: _records(frame) for name, frame in frames.items()}
    made["published"] = _records(compared) if compared is not None else []
    if expected is not None:
        missing, strangers, means = missing_subjects(evaluation.rows, expected)
        made |= {"missing": missing, "not_expected": strangers, "missing_as_0": _records(means)}
    print(json.dumps(made | {"notes": said}, indent=2, allow_nan=False))


def _records(frame: Any) -> list[dict[str, Any]]:
    """Rows as JSON has them: NaN is null."""
    import json

    return json.loads(frame.to_json(orient="records", double_precision=15))
