"""The API's description as a page: plain HTML, made here, so that it works without a network."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }}
h2 {{ font: bold 1.1rem ui-monospace, monospace; border-top: 1px solid #ccc; padding-top: 1rem; }}
table {{ border-collapse: collapse; }}
td, th {{ text-align: left; padding: 0.1rem 1rem 0.1rem 0; vertical-align: top; }}
code, pre {{ background: #f3f3f3; padding: 0.1rem 0.3rem; }} pre {{ overflow-x: auto; padding: 0.7rem; }}
</style></head><body><main>
<h1>{title}</h1><p>{description} The same for programs: <a href="/openapi.json">openapi.json</a>.</p>
<pre>curl --data-binary @scan.nii.gz "http://127.0.0.1:8080/segment" -o mask.nii.gz
curl --data-binary @scan.nii.gz "http://127.0.0.1:8080/segment?output=summary&amp;strict=true"</pre>
{body}
</main></body></html>
"""


def render(document: dict[str, Any]) -> str:
    """A page of an OpenAPI document."""
    operations = [
        _operation(path, method, said)
        for path, methods in document["paths"].items()
        for method, said in methods.items()
    ]
    info = document["info"]
    return _PAGE.format(
        title=escape(info["title"]), description=escape(info["description"]), body="\n".join(operations)
    )


def _operation(path: str, method: str, said: dict[str, Any]) -> str:
    parts = [f"<h2>{method.upper()} {escape(path)}</h2><p>{escape(said['summary'])}.</p>"]
    if "requestBody" in said:
        parts.append(
            f"<p>Body: {escape(said['requestBody']['description'])}, or a form's field <code>file</code>.</p>"
        )
    if said["parameters"]:
        rows = [_parameter(one) for one in said["parameters"]]
        parts.append(_table(("parameter", "values", "meaning"), rows))
    answers = [(code, one["description"]) for code, one in said["responses"].items()]
    parts.append(_table(("answer", ""), answers))
    return "\n".join(parts)


def _parameter(one: dict[str, Any]) -> tuple[str, ...]:
    schema = one["schema"]
    values = " | ".join(map(str, schema.get("enum", [schema["type"]])))
    if "default" in schema:
        values += f" (default {str(schema['default']).lower()})"
    return one["name"], values, one.get("description", "in the path")


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"
