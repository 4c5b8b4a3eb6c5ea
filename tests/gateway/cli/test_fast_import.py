"""FastAPI's fast import, in a process of its own because it is already imported here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from fastapi import FastAPI

ROOT = Path(__file__).parents[3]

APP = """
app = FastAPI()

@app.get("/things/{thing_id}", responses={404: {"description": "none"}})
def thing(thing_id: int, q: str | None = None) -> dict[str, int]:
    return {}
"""
SCRIPT = f"""
import json, sys
from gateway.cli.fast_import import import_fastapi
import_fastapi()
from pydantic import BaseModel
from fastapi.openapi.models import OpenAPI

class Own(BaseModel):
    size: int

built = [OpenAPI.__pydantic_complete__, Own.__pydantic_complete__]
from fastapi import FastAPI
{APP}
print(json.dumps([built, app.openapi(), OpenAPI.__pydantic_complete__]))
"""


def test_models_of_the_openapi_document_are_built_on_demand_and_the_document_is_the_same() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, cwd=ROOT)
    names: dict[str, FastAPI] = {}
    exec(compile("from fastapi import FastAPI\n" + APP, "app", "exec"), names)
    assert json.loads(done.stdout) == [[False, True], names["app"].openapi(), True]
