"""The store that the settings name, and how this process enters it."""

from __future__ import annotations

from gateway.config.settings import Settings
from gateway.entra.credential import load_credential
from sessions.ports import Clock
from sessions.stores.contract import Store
from sessions.stores.cosmos import CosmosAccess
from sessions.stores.opening import open_store
from sessions.stores.store_meter import StoreMeter


def cosmos_access(settings: Settings, meter: StoreMeter) -> CosmosAccess:
    """The account's key, or else the process's own identity; requests are counted in `meter`."""
    return CosmosAccess(
        key=settings.cosmos_key_text, credential=load_credential, plain_allowed=settings.store_plain, meter=meter
    )


def make_store(settings: Settings, clock: Clock, *, inline: bool) -> tuple[Store, StoreMeter]:
    """The store of call records, not open yet, and what counts its requests. Raises StoreFailed for a wrong setting."""
    meter = StoreMeter()
    return open_store(settings.store_url, clock, cosmos=cosmos_access(settings, meter), inline=inline), meter
