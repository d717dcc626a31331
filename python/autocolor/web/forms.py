"""A photo in a form (multipart/form-data), as curl and most libraries send it."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from typing import NamedTuple
from urllib.parse import unquote

import python_multipart  # noqa: F401  (Starlette misses it only when a form comes)
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from autocolor.web.storage import TooLargeError

_OTHER_BYTES = 1024 * 1024  # of the fields beside the file, and of what divides them
_CHUNK = 1024 * 1024


_EXTENDED = re.compile(rb";\s*filename\*\s*=\s*([\w-]+)'[\w-]*'([^;\s]+)", re.IGNORECASE)
_PLAIN = re.compile(rb";\s*filename\s*=\s*(\"(?:[^\"\\]|\\.)*\"|[^;\s]*)", re.IGNORECASE)


class _Parser(MultiPartParser):
    """Takes names as RFC 5987 writes them too (``filename*=``), which Starlette passes over."""

    def on_header_end(self) -> None:
        """Write such a name as a plain one."""
        value = self._current_partial_header_value
        found = _EXTENDED.search(value)
        if found:
            try:
                name = unquote(found[2].decode("ascii"), found[1].decode("ascii"), "strict")
            except (UnicodeError, LookupError):
                raise MultiPartException("expected a filename* as of RFC 5987") from None
            quoted = name.replace("\\", "\\\\").replace('"', '\\"').encode()
            others = _PLAIN.sub(b"", value[: found.start()] + value[found.end() :])
            self._current_partial_header_value = others + b'; filename="' + quoted + b'"'
        super().on_header_end()


class Form(NamedTuple):
    """The one file of a form, and its fields that are texts."""

    file: UploadFile
    fields: dict[str, str]

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the content of the file."""
        while chunk := await self.file.read(_CHUNK):
            yield chunk

    async def aclose(self) -> None:
        """Delete the file that the form was kept in."""
        await self.file.close()


async def read_form(request: Request, largest_bytes: int) -> Form:
    """Read a form with one file, no larger than `largest_bytes`: a `TooLargeError` as soon as there is more."""

    async def limited() -> AsyncGenerator[bytes]:
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > largest_bytes + _OTHER_BYTES:
                raise TooLargeError(f"expected at most {largest_bytes / 1e6:g} MB, got more")
            yield chunk

    try:
        content = await _Parser(request.headers, limited(), max_files=1, max_fields=10).parse()
    except MultiPartException as error:
        raise HTTPException(400, f"form: {error.message}") from None
    files = [value for value in content.values() if isinstance(value, UploadFile)]
    if not files:
        raise HTTPException(400, "form: expected a file, as of curl -F file=@photo.jpg, got none")
    texts = {key: value for key, value in content.items() if isinstance(value, str)}
    return Form(files[0], texts)
