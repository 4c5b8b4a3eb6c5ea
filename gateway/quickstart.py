"""FastAPI, imported without what only its OpenAPI document needs: a tenth of a start.

Its module of OpenAPI's shapes holds some forty pydantic models. Building their validators is most of FastAPI's import,
and nobody asks for one before somebody asks for the document. Source: pydantic, `ConfigDict.defer_build`.
"""

from __future__ import annotations

from pydantic import BaseModel


def import_fastapi() -> None:
    """Import it first, here: the models that it defines are built when they are first used."""
    BaseModel.model_config["defer_build"] = True  # inherited by what is defined meanwhile, and no further
    try:
        import fastapi  # noqa: F401
    finally:
        del BaseModel.model_config["defer_build"]
