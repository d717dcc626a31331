"""Numbers about a running server, as Prometheus reads them."""

from __future__ import annotations

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autocolor.web.jobs import Job, RenderPool


class Metrics(Collector):
    """Counts requests and the jobs of a pool, and reads the state of its workers when asked."""

    def __init__(self, pool: RenderPool) -> None:
        self._pool = pool
        self._registry = CollectorRegistry()
        self._requests = Histogram(
            "autocolor_http_request_seconds",
            "Time from a request to its whole answer",
            ["method", "handler", "status"],
            registry=self._registry,
        )
        self._jobs = Counter(
            "autocolor_jobs",
            "Jobs that are over: done, failed or cancelled",
            ["kind", "state"],
            registry=self._registry,
        )
        self._registry.register(self)
        pool.on_finish = self._count

    def _count(self, job: Job) -> None:
        self._jobs.labels(job.request.kind, job.state).inc()

    def collect(self) -> Iterator[Metric]:
        """Yield what is read when asked."""
        for name, text, value in (
            ("workers_ready", "Workers that have loaded the model", self._pool.ready),
            ("workers", "Workers", self._pool.size),
            ("worker_crashes", "Workers that died and were started again", self._pool.crashes),
            ("jobs_waiting", "Jobs that are not over", self._pool.load),
        ):
            yield GaugeMetricFamily(f"autocolor_{name}", text, value)

    def answer(self) -> Response:
        """Return all in Prometheus' text format."""
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)

    def middleware(self, app: ASGIApp) -> ASGIApp:
        """Return an application that counts the requests of another."""

        async def counting(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            started, status = time.perf_counter(), 500

            async def noting(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            try:
                await app(scope, receive, noting)
            finally:
                # The function that answers, of which there are few, and not the path.
                handler = getattr(scope.get("endpoint"), "__name__", "page")
                seconds = time.perf_counter() - started
                self._requests.labels(scope["method"], handler, status).observe(seconds)

        return counting
