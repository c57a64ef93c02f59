"""Explains whom the filters of this node belong to."""

import asyncio
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from sluice.contracts.explaining import Held, Meaning
from sluice.contracts.ids import Revision
from sluice.dataplane.tc import explaining, owner, text
from sluice.dataplane.tc.content import Mode
from sluice.dataplane.tc.engine import InterfaceKey
from sluice.dataplane.tc.filter import FilterKey, Hook, Standing
from sluice.runtime.telling import NotOurs, Page, Place, cut, held, window
from sluice.services.node_tc.keeper import Keeper
from sluice.services.node_tc.programmer import Programmer


class _At(NamedTuple):
    """A filter, and where it is."""

    interface: InterfaceKey
    device: str
    hook: Hook
    key: FilterKey
    standing: Standing


class Explaining:
    """Our filters in the kernel, as they were read and have been changed since.

    Args:
        quiet: held while the keeper works.
    """

    def __init__(self, facts: Programmer, keeper: Keeper, quiet: asyncio.Lock) -> None:
        self._facts, self._keeper, self._quiet = facts, keeper, quiet

    @property
    def upto(self) -> Revision:
        return self._facts.upto

    async def meaning(self, text: str) -> Meaning:
        """Explain a filter; if it occurs at several interfaces, these are combined into one answer.

        Raises:
            NotOurs
        """
        try:
            wanted = explaining.read(text)
        except explaining.NotAFilter as error:
            raise NotOurs(str(error)) from error
        async with self._quiet:
            found = [
                self._meaning(one) for one in self._all() if wanted.fits(one.device, one.hook, one.key, one.standing)
            ]
        if not found:
            raise NotOurs("Sluice has no such filter; `sluice get filters` lists all")
        rules = {rule: None for one in found for rule in one.rules}
        return msgspec.structs.replace(
            found[0],
            rules=tuple(rules),
            pods=tuple(sorted({pod for one in found for pod in one.pods})),
            places=tuple(dict.fromkeys(place for one in found for place in one.places)),
        )

    async def page(self, after: str, limit: int) -> Page:
        """Filters by interface and hook, in the order in which packets meet them.

        Raises:
            NotOurs
        """
        async with self._quiet:
            there = {_place(one): one for one in self._all()}
            return cut(((place, self._held(there[place])) for place in window(there, after, limit)), limit)

    def _all(self) -> Iterator[_At]:
        for interface, device in self._keeper.devices.items():
            for hook, standings in self._keeper.standings(interface).items():
                for key, standing in standings.items():
                    yield _At(interface, device.name, hook, key, standing)

    def _held(self, one: _At) -> Held:
        line = text.write(one.key, one.standing.body, one.standing.handle)
        return held(f"dev {one.device} {one.hook} {line}", self._meaning(one))

    def _meaning(self, one: _At) -> Meaning:
        cookie = owner.unpack(one.standing.body.cookie)
        place = f"dev {one.device} {one.hook}"
        if cookie is None:
            return Meaning(
                kind="unknown", says="was installed by another version of Sluice, and will be replaced", places=(place,)
            )
        member = self._facts.interfaces.get(one.interface)
        polices = member is None or self._facts.contents(one.interface)[one.hook].mode is not Mode.TRACKED
        says = explaining.says(cookie, polices=polices)
        if member is None:
            says += "; the interface is closed, because it is not known which Pod has it"
        return Meaning(
            kind=cookie.kind.name.lower(),
            says=says,
            table=explaining.chain_name(one.key),
            does=explaining.does(one.key),
            rules=self._facts.owners(one.interface, one.hook, one.key, one.standing.body.cookie),
            pods=(member.pod,) if member is not None else (),
            places=(place,),
        )


def _place(one: _At) -> Place:
    return one.device, one.hook, one.key.chain, one.key.pref, one.standing.handle
