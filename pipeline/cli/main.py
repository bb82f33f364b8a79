"""The command `raxnet`: one module per sub-command, imported only when it is asked for."""

from __future__ import annotations

import argparse
import importlib
import sys
import traceback
from collections.abc import Sequence

from lesions.errors import InputError, WorkError

COMMANDS = (
    "demo",
    "init",
    "run",
    "train",
    "segment",
    "serve",
    "rollback",
    "import_",
    "check",
    "stats",
    "folds",
    "batches",
    "export",
    "compare",
    "compile",
    "evaluate",
    "report",
    "gc",
    "phantom",
)

# What the small installation lacks (pyproject.toml), by the extra that brings it.
TFX = ("tfx", "ml_metadata", "apache_beam", "tensorflow_data_validation", "tensorflow_model_analysis")
EXTRAS = {"pipeline": (*TFX, "tensorflow_metadata", "pyarrow"), "kubeflow": ("kfp",)}


def parser() -> argparse.ArgumentParser:
    """All commands with their help and an example each."""
    whole = argparse.ArgumentParser(
        prog="raxnet", description="Stroke-lesion segmentation in T1-weighted MRI."
    )
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = importlib.import_module(f"pipeline.cli.{name}")
        one = commands.add_parser(
            name.rstrip("_"),  # `import` cannot be a module's name
            help=module.HELP,
            description=module.HELP,
            epilog=f"example: {module.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(one)
        one.set_defaults(run=module.run)
    return whole


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command.

    Returns:
        0; 1 where the work failed; 2 where usage or input is bad.
    """
    from pipeline import console

    arguments = parser().parse_args(argv)
    console.to_terminal()
    try:
        return int(arguments.run(arguments))
    except InputError as error:
        return _failed(arguments.command, error, 2)
    except WorkError as error:
        return _failed(arguments.command, error, 1)
    except KeyboardInterrupt:
        print(f"raxnet {arguments.command}: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
    except Exception as error:
        if isinstance(error, ImportError) and (extra := _extra_of(error)):
            return _failed(arguments.command, InputError(extra), 2)
        # A defect of ours: the traceback is for whoever mends it.
        traceback.print_exc()
        return _failed(arguments.command, WorkError(f"defect: {type(error).__name__}: {error}"), 1)


def _extra_of(error: ImportError) -> str | None:
    """What to install, where a package is missing that the small installation leaves out."""
    for extra, packages in EXTRAS.items():
        for package in packages:
            if package == (error.name or "").partition(".")[0] or f"'{package}'" in str(error):
                remedy = f"run `./dev setup`, or install raxnet-pipeline[{extra}]"
                return f"{package} is not in this installation; {remedy}"
    return None


def _failed(command: str, error: Exception, status: int) -> int:
    print(f"raxnet {command}: {' '.join(str(error).split())}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
