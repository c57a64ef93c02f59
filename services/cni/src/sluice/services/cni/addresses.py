"""Addresses of a node's Pods: who has which, in a file each, so that it outlives the daemon.

The folder is to be on a file system that a reboot empties (/run), as the Pods' namespaces are.
"""

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path

import msgspec

from sluice.contracts import codec
from sluice.contracts.ids import Address
from sluice.services.cni.protocol import CniFailed, Code, Owner

MOST = 1 << 16
"""Addresses of a range that are given: an IPv6 range has more than anybody could look through."""


class Addresses:
    """Gives each owner one address of each range; the one that is free for longest comes first.

    The first address of a range is the gateway's, and the last of an IPv4 range is its broadcast address.
    """

    def __init__(self, folder: Path, ranges: tuple[str, ...]) -> None:
        """Read what was given before.

        Raises:
            ValueError: a range is none.
        """
        self._folder = folder
        self._ranges = [ip_network(each) for each in ranges]
        self._owned: dict[Owner, list[Address]] = {}
        self._taken: set[Address] = set()
        self._next = [2] * len(self._ranges)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in sorted(folder.iterdir(), key=lambda each: each.stat().st_mtime_ns):
            if path.name.endswith(".new"):
                path.unlink()  # a daemon ended in the middle
                continue
            address = Address(path.name.replace("_", ":"))
            self._note(msgspec.json.decode(path.read_bytes(), type=Owner), address)
            self._pass(address)

    @property
    def owners(self) -> frozenset[Owner]:
        return frozenset(self._owned)

    @property
    def free(self) -> int:
        """How many are left, of the range that has the fewest."""
        taken = [self._place(each) for each in self._taken]
        return min(self._end(network) - 2 - taken.count(number) for number, network in enumerate(self._ranges))

    def of(self, owner: Owner) -> tuple[Address, ...]:
        """In the order of the ranges; none if it has none."""
        return tuple(sorted(self._owned.get(owner, ()), key=self._place))

    def give(self, owner: Owner) -> tuple[Address, ...]:
        """One address of each range; those that it has, if it has some.

        Raises:
            CniFailed: a range has none left.
        """
        has = [ip_address(each) for each in self.of(owner)]
        lacking = [n for n, network in enumerate(self._ranges) if not any(each in network for each in has)]
        chosen = [self._free(number) for number in lacking]
        for address in chosen:
            self._write(owner, address)
            self._note(owner, address)
            self._pass(address)
        return self.of(owner)

    def release(self, owner: Owner) -> None:
        """It has none any more."""
        for address in self._owned.pop(owner, ()):
            self._path(address).unlink(missing_ok=True)
            self._taken.discard(address)

    def _place(self, address: Address) -> int:
        return next((n for n, network in enumerate(self._ranges) if ip_address(address) in network), -1)

    def _free(self, number: int) -> Address:
        network = self._ranges[number]
        for place in self._places(network, self._next[number]):
            address = Address(str(network[place]))
            if address not in self._taken:
                return address
        raise CniFailed(
            Code.NO_ADDRESS,
            f"{network}: all addresses of this node are given ({len(self._taken)}): "
            "end Pods here, or give the Node a larger podCIDR",
        )

    @staticmethod
    def _places(network: IPv4Network | IPv6Network, start: int) -> Iterator[int]:
        end = Addresses._end(network)
        yield from range(start, end)
        yield from range(2, min(start, end))

    @staticmethod
    def _end(network: IPv4Network | IPv6Network) -> int:
        """The first place that is not given any more."""
        return min(network.num_addresses - (1 if network.version == 4 else 0), MOST)

    def _pass(self, address: Address) -> None:
        """The search goes on behind this one."""
        number = self._place(address)
        if number >= 0:  # the Node had other ranges before
            self._next[number] = int(ip_address(address)) - int(self._ranges[number].network_address) + 1

    def _note(self, owner: Owner, address: Address) -> None:
        self._owned.setdefault(owner, []).append(address)
        self._taken.add(address)

    def _path(self, address: Address) -> Path:
        return self._folder / address.replace(":", "_")

    def _write(self, owner: Owner, address: Address) -> None:
        """Whole or not at all."""
        path = self._path(address)
        new = path.with_name(path.name + ".new")
        new.write_bytes(codec.encode(owner))
        new.replace(path)
