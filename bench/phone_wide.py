"""`python -m bench.phone_wide serve`: Patchbay with models that take PCM at 24 kHz only, for the rows with resampling.

Every model that Patchbay knows takes G.711 as well, so a telephone's sound goes untouched. This changes that one fact,
as a model without G.711 would, and starts the gateway.
"""

from __future__ import annotations

from audio.formats import PCM16_24K
from gateway.models import registry


def only_24_khz() -> None:
    """Let the models of this process take PCM at 24 kHz and nothing else."""
    setattr(registry, "REALTIME_FORMATS", (PCM16_24K,))  # noqa: B010  # a name that the module does not offer


if __name__ == "__main__":
    from gateway.cli.main import main

    only_24_khz()
    main()
