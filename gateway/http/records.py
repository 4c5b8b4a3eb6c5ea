"""Reads stored documents as the API shows them. What cannot be read is named in the log, and costs nothing else."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TypeVar

from pydantic import ValidationError

from gateway.http.shapes import SessionShape, Shape, TurnShape
from sessions.stores.contract import SESSION, BadDocument, Document
from sessions.stores.documents import TURN, known
from sessions.stores.fields import names_in

log = logging.getLogger("patchbay.api")
AnyShape = TypeVar("AnyShape", bound=Shape)


def session_shape(document: Document) -> SessionShape:
    """A session. Raises BadDocument, which names the field and no value."""
    return _shape(document, SESSION, SessionShape)


def session_shapes(documents: Iterable[Document]) -> list[SessionShape]:
    """The sessions that can be read."""
    return readable(documents, SESSION, SessionShape)


def turn_shapes(documents: Iterable[Document]) -> list[TurnShape]:
    """The turns that can be read, in order."""
    return sorted(readable(documents, TURN, TurnShape), key=lambda turn: turn.index)


def _shape(document: Document, kind: str, shape: type[AnyShape]) -> AnyShape:
    known(document, kind)
    try:
        return shape.model_validate(document)
    except ValidationError as error:  # its text would show values of the document
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise BadDocument(f"field {place!r} of a document of type {kind!r} is missing or of the wrong type") from None


def readable(documents: Iterable[Document], kind: str, shape: type[AnyShape]) -> list[AnyShape]:
    """The documents of this type that can be read, in this shape."""
    found: list[AnyShape] = []
    for document in documents:
        try:
            found.append(_shape(document, kind, shape))
        except BadDocument as error:
            fields = {"reason": str(error), **names_in(document)}
            log.error("a document in the store cannot be read and is left out", extra=fields)
    return found
