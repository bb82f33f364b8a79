"""A line per package of a CycloneDX file: name, version, license; and what is shipped besides Python's packages."""

import json
import sys
from pathlib import Path

VENDORED = ("NiiVue (serving/web/static/vendor)", "0.69.0", "BSD-2-Clause")


def license_of(component: dict) -> str:
    """Its license as it is declared, or what stands in for it."""
    declared = component.get("licenses", [])
    found = [d.get("expression") or d["license"].get("id") or d["license"].get("name", "") for d in declared]
    return " and ".join(" ".join(text.split())[:60] for text in found if text) or "not declared"


def main(path: Path) -> None:
    """Prints the table."""
    components = json.loads(path.read_text())["components"]
    rows = [(one["name"], one.get("version", ""), license_of(one)) for one in components]
    for row in sorted([*rows, VENDORED], key=lambda row: row[0].lower()):
        print("\t".join(row))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
