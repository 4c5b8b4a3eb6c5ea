"""A pause for everybody else, in work that comes in crowds."""

from __future__ import annotations

import asyncio

BREATH_S = 0.002  # short, because several such jobs may go on in one turn of the loop


class Breath:
    """Lets the loop's other tasks run between pieces of work that would not wait by themselves."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._since_s = self._loop.time()

    async def taken(self) -> None:
        """Return at once, or after the others have had their turn."""
        if self._loop.time() - self._since_s > BREATH_S:
            await asyncio.sleep(0)
            self._since_s = self._loop.time()
