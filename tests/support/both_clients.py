"""One text for both clients: a facade that makes an AsyncClient look blocking."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import mqclient

if TYPE_CHECKING:
    from typing_extensions import Self

KINDS = ("blocking", "asyncio")


class _BlockingAsyncClient:
    """An AsyncClient on an event loop of its own, which runs during calls."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.loop = asyncio.new_event_loop()
        try:
            self.client = mqclient.AsyncClient(*arguments, **options)
        except BaseException:
            self.loop.close()
            raise

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.client, name)
        if not inspect.iscoroutinefunction(value):
            return value

        def call(*arguments: Any, **options: Any) -> Any:
            return self.loop.run_until_complete(value(*arguments, **options))

        return call

    def pipeline(self, **options: Any) -> _BlockingPipeline:
        return _BlockingPipeline(self.loop, self.client.pipeline(**options))

    def close(self) -> None:
        self.loop.run_until_complete(self.client.close())
        # One turn for what transports have put off.
        self.loop.run_until_complete(asyncio.sleep(0))

    def end(self) -> None:
        """Close the loop too."""
        self.close()
        self.loop.close()

    def __enter__(self) -> Self:
        self.loop.run_until_complete(self.client.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return repr(self.client)


class _BlockingPipeline:
    def __init__(self, loop: asyncio.AbstractEventLoop, pipeline: mqclient.AsyncPipeline) -> None:
        self._loop = loop
        self._pipeline = pipeline

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipeline, name)

    def __len__(self) -> int:
        return len(self._pipeline)

    def run(self) -> list[Any]:
        return self._loop.run_until_complete(self._pipeline.run())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: object) -> None:
        self._loop.run_until_complete(self._pipeline.__aexit__(*details))


class ClientMaker:
    """Makes clients of one kind and closes them all at the end."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._made: list[Any] = []

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        make = mqclient.Client if self.kind == "blocking" else _BlockingAsyncClient
        client = make(*arguments, **options)
        self._made.append(client)
        return client

    def close(self) -> None:
        for client in self._made:
            client.end() if self.kind == "asyncio" else client.close()
