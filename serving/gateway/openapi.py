"""The API's description, OpenAPI 3.1. A test holds it against the routes and options that there are."""

from __future__ import annotations

from typing import Any

from serving.gateway.options import OPTIONS, OUTPUT, Option
from serving.gateway.results import FILES
from serving.sidecar import version

_ERROR = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
_SCAN = {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}
_ERRORS = {
    400: "Not a NIfTI file, a damaged one, or a bad option",
    401: "A bearer token is needed",
    403: "The Host or Origin header names another server",
    404: "There is no such job, file or page",
    408: "The body came too slowly",
    410: "The job has expired",
    413: "The file or the scan is too large",
    422: "The scan cannot be used, or strict and not in MNI space",
    429: "So many scans wait already; with Retry-After",
    502: "The models failed",
    503: "The models are not there; with Retry-After",
}
_SENDING = (400, 401, 403, 408, 413, 422, 429)
_ASKING = (401, 403)


def document() -> dict[str, Any]:
    """The whole description."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "RAX-Net gateway",
            "version": version(),
            "description": "A T1-weighted scan in, a mask of chronic stroke lesions out. For research.",
        },
        "paths": _paths(),
        "components": {
            "schemas": {"Error": _object(error="string"), "Job": _job(), "Summary": _summary()},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}, {}],
    }


def _paths() -> dict[str, Any]:
    job = [_in_path("id", {"type": "string", "pattern": "^[0-9a-f]{32}$"})]
    file = [*job, _in_path("file", {"type": "string", "enum": list(FILES.values())})]
    return {
        "/segment": {"post": _send("Segment a scan", {"output": OUTPUT} | OPTIONS, _segmented(), (502, 503))},
        "/jobs": {
            "post": _send("Submit a scan", OPTIONS, {"202": _json("The job; Location says where", "Job")})
        },
        "/jobs/{id}": {
            "get": _ask("How a job goes", _json("The job", "Job"), job, 404, 410),
            "delete": _operation(
                "Cancel a job, or remove its results", {"204": {"description": "Done"}}, job, 404, 410
            ),
        },
        "/jobs/{id}/{file}": {"get": _ask("A result of a job", _binary("The file"), file, 404, 410)},
        "/healthz": {"get": _ask("Whether the gateway is alive", _json("It is"))},
        "/readyz": {
            "get": _ask("Whether the models are there", _json("They are; their versions"), (), 502, 503)
        },
        "/models": {"get": _ask("What the models are", _json("Versions, training, grid"), (), 502, 503)},
        "/metrics": {"get": _ask("Metrics for Prometheus", _text("text/plain"))},
        "/openapi.json": {"get": _ask("This description", _json("OpenAPI 3.1"))},
        "/docs": {"get": _ask("This description, for people", _text("text/html"))},
        "/": {"get": _ask("The web page", _text("text/html"))},
        "/static/{path}": {
            "get": _ask("The page's files", _binary("The file"), [_in_path("path", {"type": "string"})], 404)
        },
        "/sample.nii.gz": {"get": _ask("A phantom scan to try", _binary("No person's scan"), (), 502, 503)},
    }


def _send(
    summary: str, options: dict[str, Option], answers: dict[str, Any], more: tuple[int, ...] = ()
) -> dict[str, Any]:
    """A request with a scan, as its body or in a form."""
    in_query = [
        {"name": name, "in": "query", "description": option.meaning, "schema": option.schema()}
        for name, option in options.items()
    ]
    fields = {name: option.schema() for name, option in options.items()}
    form = {
        "schema": {
            "type": "object",
            "required": ["file"],
            "properties": {"file": {"type": "string", "contentMediaType": "application/octet-stream"}}
            | fields,
        }
    }
    kinds = {"application/octet-stream": _SCAN, "application/gzip": _SCAN, "multipart/form-data": form}
    body = {
        "required": True,
        "description": "One NIfTI file, .nii or .nii.gz, by its content",
        "content": kinds,
    }
    return {**_operation(summary, answers, in_query, *_SENDING, *more), "requestBody": body}


def _operation(summary: str, answers: dict[str, Any], parameters: Any, *errors: int) -> dict[str, Any]:
    refused = {
        str(code): {"description": _ERRORS[code], "content": _ERROR} for code in sorted({*errors, *_ASKING})
    }
    return {"summary": summary, "parameters": list(parameters), "responses": answers | refused}


def _ask(summary: str, answer: dict[str, Any], parameters: Any = (), *errors: int) -> dict[str, Any]:
    return _operation(summary, {"200": answer}, parameters, *errors)


def _segmented() -> dict[str, Any]:
    found = _binary("The output; X-Model-Versions and X-Warnings say by what, and how surely")
    found["content"]["application/json"] = {"schema": {"$ref": "#/components/schemas/Summary"}}
    found["content"]["application/zip"] = {}
    headers = ("X-Model-Versions", "X-Warnings", "X-Request-ID", "Content-Disposition")
    return {"200": found | {"headers": {name: {"schema": {"type": "string"}} for name in headers}}}


def _in_path(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _json(description: str, name: str | None = None) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{name}"} if name else {"type": "object"}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _binary(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/gzip": {}}}


def _text(kind: str) -> dict[str, Any]:
    return {"description": "Text", "content": {kind: {}}}


def _object(**types: Any) -> dict[str, Any]:
    properties = {
        name: {"type": kind} if isinstance(kind, str | list) else kind for name, kind in types.items()
    }
    return {"type": "object", "required": list(types), "properties": properties}


def _job() -> dict[str, Any]:
    states = {"type": "string", "enum": ["queued", "running", "done", "failed", "cancelled"]}
    return _object(
        id="string",
        state=states,
        progress=_object(stage="string", done="integer", total="integer"),
        created="string",
        expires=["string", "null"],
        error=["string", "null"],
        warnings={"type": "array", "items": {"type": "string"}},
        summary={"anyOf": [{"$ref": "#/components/schemas/Summary"}, {"type": "null"}]},
        options=_options(),
        results={"type": "object", "additionalProperties": {"type": "string"}},
    )


def _summary() -> dict[str, Any]:
    numbers, texts = ({"type": "array", "items": {"type": kind}} for kind in ("number", "string"))
    model = _object(version="string", sha256="string")
    return _object(
        lesion_volume_ml="number",
        lesion_count="integer",
        lesion_sizes_ml=numbers,
        disagreement=["number", "null"],
        planes=texts,
        models={"type": "object", "additionalProperties": model},
        release=["string", "null"],
        training="string",
        mni_check=_object(verdict="string", similarity="number", offset_mm="number", message="string"),
        scan_to_template_mm={"type": ["array", "null"], "items": numbers},
        warnings=texts,
        grid=_object(shape={"type": "array", "items": {"type": "integer"}}, voxel_mm=numbers),
        options=_options(),
        seconds="number",
    )


def _options() -> dict[str, Any]:
    return {"type": "object", "properties": {name: option.schema() for name, option in OPTIONS.items()}}
