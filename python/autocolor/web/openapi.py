"""The document that describes the server's HTTP API (OpenAPI 3.1), made from its own limits."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import autocolor
from autocolor.control.edits import TRANSFERS
from autocolor.control.hints import RADIUS
from autocolor.histograms.decode import LOOKS
from autocolor.web.controls import (
    LARGEST_LEAN,
    LARGEST_RADIUS,
    LARGEST_STRENGTH,
    MOST_HINTS,
    MOST_VARIATIONS,
)
from autocolor.web.render import FINE_PIXELS

DOWNLOAD_SUFFIXES = (".png", ".jpg", ".tif", ".webp")

Endpoint = tuple[str, str, Callable[..., Any]]
"""Method, path below ``/api`` and the function that answers, whose docstring is the summary."""


def _number(low: float, high: float, text: str, **more: Any) -> dict[str, Any]:
    return {"type": "number", "minimum": low, "maximum": high, "description": text, **more}


def _object(required: Iterable[str] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


_STRING = {"type": "string"}
_SUFFIX = {"type": "string", "enum": list(DOWNLOAD_SUFFIXES), "default": DOWNLOAD_SUFFIXES[0]}
_BINARY = {"type": "string", "format": "binary"}

OPENED = {
    "height": {"type": "integer"},
    "width": {"type": "integer"},
    "colored": {"type": "boolean", "description": "Whether the photo had colours"},
    "pictures": {"type": "integer", "description": "In the file, of which the first is taken"},
}
"""What is told of a photo."""

_SCHEMAS = {
    "Error": _object(["error"], error={"type": "string", "description": "One line"}),
    "Hint": _object(
        ["x", "y", "color"],
        x=_number(0, 1, "From the left border to the right one"),
        y=_number(0, 1, "From the upper border to the lower one"),
        color={"type": "string", "pattern": "^#[0-9a-fA-F]{6}$"},
        radius=_number(0, LARGEST_RADIUS, "Part of the photo's larger side", default=RADIUS),
    ),
    "Controls": _object(
        strength=_number(0, LARGEST_STRENGTH, "Factor on the chroma; the model's unless given"),
        hue=_number(0, 1, "To lean towards, in turns", default=0),
        lean=_number(0, LARGEST_LEAN, "How much, in nats", default=0),
        hints={"type": "array", "items": _ref("Hint"), "maxItems": MOST_HINTS},
        reference={"type": "string", "description": "Id of a photo whose colours to take"},
        look={"type": "string", "enum": list(LOOKS)},
        transfer={"type": "string", "enum": list(TRANSFERS), "default": TRANSFERS[0]},
    ),
    "Photo": _object(["photo", "name"], photo=_STRING, name=_STRING),
    "Queued": _object(["job"], job=_STRING),
    "Job": _object(
        ["state", "progress", "error"],
        state={"enum": ["queued", "running", "done", "failed", "cancelled"]},
        progress=_number(0, 1, "Part that is done"),
        error={"type": "string", "description": "One line, where it has failed"},
        result={
            "description": "Of the photo, once it is open or rendered",
            "type": ["object", "null"],
            "required": list(OPENED),
            "properties": OPENED,
        },
    ),
    "Colors": _object(
        ["colors"],
        colors={
            "type": "array",
            "items": _object(["color", "share"], color=_STRING, share=_number(0, 1, "Likelihood")),
        },
    ),
    "Variations": _object(
        ["variations"],
        variations={
            "type": "array",
            "items": _object(
                ["hue", "lean", "image"],
                hue={"type": "number"},
                lean={"type": "number"},
                image={"type": "string", "description": "JPEG, as a data URL"},
            ),
        },
    ),
}


def _form(text: str, **properties: Any) -> dict[str, Any]:
    parts = _object(["file"], file={**_BINARY, "description": text}, **properties)
    return {"multipart/form-data": {"schema": parts}}


def _json_of(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


_CONTROLS = {"controls": _ref("Controls")}
_RAW = {"application/octet-stream": {"schema": _BINARY}}
_AS_JSON = {
    "type": "string",
    "contentMediaType": "application/json",
    "contentSchema": _ref("Controls"),
}

# Of each function: the content of a request, and status and content of the answer.
_BODIES = {
    "colorize": _form("The photo", controls=_AS_JSON, suffix=_SUFFIX),
    "upload": {**_form("The photo"), **_RAW},
    "preview": _json_of(
        _object(["pixels"], pixels=_number(1, FINE_PIXELS, "Largest size"), **_CONTROLS)
    ),
    "variations": _json_of(
        _object(
            ["count", "rotation"],
            count={"type": "integer", "minimum": 2, "maximum": MOST_VARIATIONS},
            rotation=_number(0, 1, "Of the first hue, in turns"),
            **_CONTROLS,
        )
    ),
    "download": _json_of(_object(suffix=_SUFFIX, **_CONTROLS)),
    "pack": _json_of(_object(["jobs"], jobs={"type": "array", "items": _STRING, "minItems": 1})),
}
_IMAGE = {"image/*": {"schema": _BINARY}}
_ANSWERS: dict[str, tuple[int, dict[str, Any]]] = {
    "colorize": (200, _IMAGE),
    "upload": (201, _json_of(_ref("Photo"))),
    "forget": (204, {}),
    "open": (202, _json_of(_ref("Queued"))),
    "colors": (200, _json_of(_ref("Colors"))),
    "picture": (200, _IMAGE),
    "preview": (200, _IMAGE),
    "variations": (200, _json_of(_ref("Variations"))),
    "download": (202, _json_of(_ref("Queued"))),
    "job": (200, _json_of(_ref("Job"))),
    "cancel": (204, {}),
    "file": (200, _IMAGE),
    "pack": (201, _json_of(_object(["archive"], archive=_STRING))),
    "zip": (200, {"application/zip": {"schema": _BINARY}}),
}
_QUERIES: dict[str, dict[str, dict[str, Any]]] = {
    "upload": {"name": {**_STRING, "description": "Of a file that is the whole body"}},
    "colors": {"x": _number(0, 1, "From the left"), "y": _number(0, 1, "From the top")},
}


def describe(endpoints: Iterable[Endpoint]) -> dict[str, Any]:
    """Return the OpenAPI document of some endpoints."""
    paths: dict[str, dict[str, Any]] = {}
    for method, path, answer in endpoints:
        paths.setdefault(f"/api{path}", {})[method.lower()] = _operation(path, answer)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "autocolor",
            "version": autocolor.__version__,
            "description": "Colorizes photos. Errors are JSON with one line in `error`.",
        },
        "paths": paths,
        "components": {"schemas": _SCHEMAS},
    }


def _operation(path: str, answer: Callable[..., Any]) -> dict[str, Any]:
    name = answer.__name__
    status, content = _ANSWERS.get(name, (200, _json_of({"type": "object"})))
    parameters: list[dict[str, Any]] = [
        {"name": part, "in": "path", "required": True, "schema": _STRING}
        for part in re.findall(r"{(\w+)}", path)
    ]
    for query, schema in _QUERIES.get(name, {}).items():
        required = name != "upload"
        parameters.append({"name": query, "in": "query", "required": required, "schema": schema})
    success: dict[str, Any] = {"description": "Success"}
    if content:
        success["content"] = content
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": " ".join((answer.__doc__ or "").split()),
        "parameters": parameters,
        "responses": {
            str(status): success,
            "default": {"description": "Error", "content": _json_of(_ref("Error"))},
        },
    }
    if name in _BODIES:
        operation["requestBody"] = {"required": True, "content": _BODIES[name]}
    return operation
