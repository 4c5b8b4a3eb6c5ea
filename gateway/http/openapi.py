"""The OpenAPI document, with complete examples."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute


class DocumentedApp(FastAPI):
    """A FastAPI app whose OpenAPI document keeps the nulls in examples; FastAPI itself would leave them out."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._documented: list[BaseRoute] = []

    def add_routes(self, router: APIRouter) -> None:
        """Include a router without a prefix."""
        self.include_router(router)
        self._documented += router.routes

    def openapi(self) -> dict[str, Any]:
        """Return the document; it is made at the first request."""
        made = self.openapi_schema is not None
        document = super().openapi()
        if not made:
            _put_examples(document, self._documented)
        return document


def _put_examples(document: dict[str, Any], routes: Iterable[BaseRoute]) -> None:
    for route in routes:
        assert isinstance(route, APIRoute)
        for method in route.methods or ():
            shown = document["paths"][route.path][method.lower()]["responses"]
            for status, answer in route.responses.items():
                for kind, content in answer.get("content", {}).items():
                    kept = {name: content[name] for name in ("example", "examples") if name in content}
                    shown[str(status)]["content"][kind].update(kept)
