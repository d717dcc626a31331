"""Ends connections whose client does not go on: half a request would hold one for ever."""

from __future__ import annotations

import asyncio
import time

import h11
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

PATIENCE_SECONDS = 20.0
"""For the head of a request, and between two parts of its body."""

_LEAST_RATE = 1000.0  # bytes of a body a second, so that one byte now and then is not enough


class PatientProtocol(H11Protocol):
    """HTTP that waits `PATIENCE_SECONDS` for a request's head; uvicorn itself waits for ever."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Go on waiting for the rest of a head, or stop waiting once it is there."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._wait_for_head()
        else:
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait_for_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(
                PATIENCE_SECONDS, self.timeout_keep_alive_handler
            )

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class BodyDeadline:
    """Middleware that answers 408 where the body of a request does not come."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application answer, with a body that comes in time."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        complete, size, started = False, 0, time.monotonic()

        async def timely() -> Message:
            nonlocal complete, size
            if complete:  # this waits for the end of the connection
                return await receive()
            left = started + PATIENCE_SECONDS + size / _LEAST_RATE - time.monotonic()
            try:
                message = await asyncio.wait_for(receive(), min(left, PATIENCE_SECONDS))
            except TimeoutError:
                raise HTTPException(
                    408, "the rest of the request did not come", {"Connection": "close"}
                ) from None
            size += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            return message

        await self._app(scope, timely, send)
