"""IPAM: the addresses of a node's Pods, one file per address, so that they outlive the daemon.

The folder must be on a file system that is emptied by a reboot (/run), like the Pods' namespaces.
"""

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path

import msgspec

from sluice.contracts import codec
from sluice.contracts.ids import Address
from sluice.services.cni.protocol import CniFailed, Code, Owner

MOST = 1 << 16
"""Maximum number of addresses used in a range: an IPv6 range has too many to search."""


class Addresses:
    """Assigns each owner one address of each range, starting with the address that has been free for longest.

    The first address of a range is the gateway's, and the last of an IPv4 range is its broadcast address.
    """

    def __init__(self, folder: Path, ranges: tuple[str, ...]) -> None:
        """Load the existing assignments.

        Raises:
            ValueError: a range is invalid.
        """
        self._folder = folder
        self._ranges = [ip_network(each) for each in ranges]
        self._owned: dict[Owner, list[Address]] = {}
        self._taken: set[Address] = set()
        self._next = [2] * len(self._ranges)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in sorted(folder.iterdir(), key=lambda each: each.stat().st_mtime_ns):
            if path.name.endswith(".new"):
                path.unlink()  # a daemon died while writing it
                continue
            address = Address(path.name.replace("_", ":"))
            self._note(msgspec.json.decode(path.read_bytes(), type=Owner), address)
            self._pass(address)

    @property
    def owners(self) -> frozenset[Owner]:
        return frozenset(self._owned)

    @property
    def free(self) -> int:
        """The number of free addresses, in the range with the fewest."""
        taken = [self._place(each) for each in self._taken]
        return min(self._end(network) - 2 - taken.count(number) for number, network in enumerate(self._ranges))

    def of(self, owner: Owner) -> tuple[Address, ...]:
        """The owner's addresses in the order of the ranges; empty if it has none."""
        return tuple(sorted(self._owned.get(owner, ()), key=self._place))

    def give(self, owner: Owner) -> tuple[Address, ...]:
        """Assign one address of each range, keeping those that the owner already has.

        Raises:
            CniFailed: a range is exhausted.
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
        """Free the owner's addresses."""
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
            f"{network}: all addresses of this node are in use ({len(self._taken)}): delete Pods here, or give "
            "the Node a larger podCIDR",
        )

    @staticmethod
    def _places(network: IPv4Network | IPv6Network, start: int) -> Iterator[int]:
        end = Addresses._end(network)
        yield from range(start, end)
        yield from range(2, min(start, end))

    @staticmethod
    def _end(network: IPv4Network | IPv6Network) -> int:
        """The first position that is not assigned any more."""
        return min(network.num_addresses - (1 if network.version == 4 else 0), MOST)

    def _pass(self, address: Address) -> None:
        """Continue the search after this address."""
        number = self._place(address)
        if number >= 0:  # else it is of a range that the Node had before
            self._next[number] = int(ip_address(address)) - int(self._ranges[number].network_address) + 1

    def _note(self, owner: Owner, address: Address) -> None:
        self._owned.setdefault(owner, []).append(address)
        self._taken.add(address)

    def _path(self, address: Address) -> Path:
        return self._folder / address.replace(":", "_")

    def _write(self, owner: Owner, address: Address) -> None:
        """Write the file atomically."""
        path = self._path(address)
        new = path.with_name(path.name + ".new")
        new.write_bytes(codec.encode(owner))
        new.replace(path)
