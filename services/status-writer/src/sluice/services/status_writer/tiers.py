"""The system tiers as Kubernetes objects: created where missing, and corrected."""

import asyncio
from typing import Any

import msgspec
import structlog

from sluice.contracts.antrea import STATIC_TIERS
from sluice.contracts.kinds import RESOURCES, Kind
from sluice.contracts.system_tiers import system_tier
from sluice.drivers.kubernetes.client import Client, Refused, Unreachable, path

log = structlog.get_logger()

_TIERS = RESOURCES[Kind.TIER]


async def keep(client: Client, interval_s: float) -> None:
    """Maintain the system tiers; waits until the API server knows their kind. Never returns."""
    said = ""
    while True:
        try:
            for name in STATIC_TIERS:
                await ensure(client, name)
            said = ""
        except (Refused, Unreachable) as error:
            if str(error) != said:
                said = str(error)
                log.warning("system_tiers_not_made", reason=said)
        await asyncio.sleep(interval_s)


async def ensure(client: Client, name: str) -> None:
    """Create or correct the tier.

    Raises:
        Refused, Unreachable: see `client`.
    """
    wanted = system_tier(name)
    try:
        held: Any = msgspec.json.decode(await client.ask("GET", path(_TIERS, "", name)))
    except Refused as error:
        if error.code != 404:
            raise
        await _make(client, name, msgspec.json.encode(wanted))
        return
    if held.get("spec", {}).get("priority") == wanted.spec.priority:
        return
    patch = {"spec": {"priority": wanted.spec.priority}}
    body = msgspec.json.encode(patch)
    await client.ask("PATCH", path(_TIERS, "", name), body=body, content="application/merge-patch+json")
    log.warning("system_tier_put_right", tier=name, priority=wanted.spec.priority)


async def _make(client: Client, name: str, body: bytes) -> None:
    try:
        await client.ask("POST", path(_TIERS, ""), body=body)
    except Refused as error:
        if error.code != 409:  # somebody else has just created it
            raise
        return
    log.info("system_tier_made", tier=name)
