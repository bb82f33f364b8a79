"""JSON text to values and to TensorFlow Serving's error messages (docs/spec/tensorflow_serving.md#predict-request)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from serving.rest_api.errors import RestError, invalid

EXCERPT = 256  # characters of the request quoted in an error
DEEPEST = 300  # levels that are read; a tensor has 254 at most
LONGEST_DEEP = 4 << 20  # characters of a deeper text that are read at all
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_SPACE = re.compile(r"[ \t\r\n]*")
_LITERALS = ("null", "true", "false", "NaN", "Infinity")
_MESSAGES = (  # how Python's message begins, what TensorFlow Serving says
    ("Expecting value", "Invalid value."),
    # Python 3.13 says so, and points at the comma; older ones point at the bracket, as TensorFlow Serving does.
    ("Illegal trailing comma before end of array", "Invalid value."),
    ("Illegal trailing comma before end of object", "Missing a name for object member."),
    ("Expecting property name", "Missing a name for object member."),
    ("Expecting ':'", "Missing a colon after a name of object member."),
    ("Unterminated string", "Missing a closing quotation mark in string."),
    ("Invalid control character", "Invalid encoding in string."),
    ("Invalid \\uXXXX", "Incorrect hex digit after \\u escape in string."),
    ("Invalid \\", "Invalid escape character in string."),
    ("Extra data", "The document root must not be followed by other values."),
)


class _TooBigError(Exception):
    """A number that no double holds."""


def parse(body: bytes) -> dict[str, Any]:
    """Reads a request's body.

    Args:
        body: UTF-8, a byte order mark is skipped; NaN, Infinity and -Infinity are read.

    Returns:
        The object in it; of a repeated key the first value.

    Raises:
        RestError: It is no JSON object.
    """
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused("Invalid encoding in string.", error.start) from None
    value = _decode(text)
    if not isinstance(value, dict):
        raise format_error(value, "Is not object")
    return value


def format_error(value: Any, message: str) -> RestError:
    """An error that quotes what it is about."""
    return invalid(f"JSON Value: {excerpt(value)} {message}")


def excerpt(value: Any) -> str:
    """The beginning of a value's JSON, objects indented, lists on one line."""
    text = ""
    for piece in _pieces(value, 0):
        text += piece
        if len(text) > EXCERPT:
            return text[:EXCERPT] + "..."
    return text


def _decode(text: str, again: bool = False) -> Any:
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise _translated(error) from None
    except _TooBigError as error:
        raise _refused(
            "Number too big to be stored in double.", _bytes(text, text.find(str(error)))
        ) from None
    except RecursionError:
        if again or len(text) > LONGEST_DEEP:
            raise invalid("JSON Parse error: nested too deeply") from None
        return _decode(_shallow(text), again=True)


def _real(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise _TooBigError(text)
    return value


def _integer(text: str) -> int:
    if len(text) > 300:
        _real(text)
    return int(text)


def _first_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else dict(reversed(pairs))


_DECODER = json.JSONDecoder(parse_float=_real, parse_int=_integer, object_pairs_hook=_first_wins)


def _shallow(text: str) -> str:
    """The text with null in place of what is nested deeper than `DEEPEST`: no tensor, so nobody reads it."""
    kept, depth, start = [], 0, 0
    for token in _TOKEN.finditer(text):
        if token[0] in "[{":
            depth += 1
            if depth == DEEPEST:
                kept.append(text[start : token.start()] + "null")
        elif token[0] in "]}":
            depth -= 1
            if depth == DEEPEST - 1:
                start = token.end()
    return "".join(kept) + (text[start:] if depth < DEEPEST else "")


def _translated(error: json.JSONDecodeError) -> RestError:
    """Python's complaint in the words of the parser that TensorFlow Serving uses."""
    text, position = error.doc, error.pos
    if not text.strip(" \t\r\n"):
        return _refused("The document is empty.", _bytes(text, len(text)))
    rest = text[position : position + 10]
    if error.msg.startswith("Expecting ',' delimiter"):
        if rest[:1] in (".", "e", "E") and text[position - 1 : position].isdigit():
            message = "Miss fraction part in number." if rest[0] == "." else "Miss exponent in number."
            return _refused(message, _bytes(text, position + 1))
        inside_list = _opened_last(text, position) == "["
        message = (
            "Missing a comma or ']' after an array element."
            if inside_list
            else "Missing a comma or '}' after an object member."
        )
        return _refused(message, _bytes(text, position))
    if error.msg.startswith("Illegal trailing comma"):
        position = _SPACE.match(text, position + 1).end()  # type: ignore[union-attr]
    if error.msg.startswith("Expecting value"):
        # What could have been a literal or a number is read until it cannot.
        position += max(_alike(rest, literal) for literal in (*_LITERALS, "-"))
    if error.msg.startswith("Unterminated"):
        position = len(text)
    message = next((ours for theirs, ours in _MESSAGES if error.msg.startswith(theirs)), "Invalid value.")
    return _refused(message, _bytes(text, position))


def _alike(text: str, literal: str) -> int:
    """How many characters of a literal the text begins with."""
    return next((n for n in range(len(literal), 0, -1) if text.startswith(literal[:n])), 0)


def _opened_last(text: str, position: int) -> str:
    """The bracket that is open at a position; "[" in long texts, where looking would take long."""
    opened = ["["]
    if position < 1_000_000:
        for token in _TOKEN.finditer(text, 0, position):
            if token[0] in "[{":
                opened.append(token[0])
            elif token[0] in "]}" and len(opened) > 1:
                opened.pop()
    return opened[-1]


def _refused(message: str, offset: int) -> RestError:
    return invalid(f"JSON Parse error: {message} at offset: {offset}")


def _bytes(text: str, position: int) -> int:
    return len(text[:position].encode("utf-8", "replace"))


def _pieces(value: Any, level: int) -> Iterator[str]:
    if isinstance(value, dict) and value:
        inner = "    " * (level + 1)
        for index, (key, item) in enumerate(value.items()):
            yield ("{\n" if index == 0 else ",\n") + inner + json.dumps(key, ensure_ascii=False) + ": "
            yield from _pieces(item, level + 1)
        yield "\n" + "    " * level + "}"
    elif isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield "[" if index == 0 else ", "
            yield from _pieces(item, level + 1)
        yield "]"
    elif isinstance(value, str):
        yield json.dumps(value[: EXCERPT + 1], ensure_ascii=False)
    else:
        yield json.dumps(value)
