"""A bridge of Open vSwitch as its programmer sees it: flows put and deleted in one step, flows read back, packets."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import aclosing, suppress
from itertools import count
from pathlib import Path
from struct import error as StructError  # noqa: N812  # it is a class
from types import MappingProxyType
from typing import Self

from sluice.dataplane.ovs.flow import Actions, Buckets, FlowBody, FlowKey, Flows, Groups
from sluice.drivers.openflow.bundle import Control, encode_changes, encode_control
from sluice.drivers.openflow.changes import Changes, Refused
from sluice.drivers.openflow.connection import Connection, takes_none
from sluice.drivers.openflow.counts import Counted, decode_counts
from sluice.drivers.openflow.errors import BundleRefused, Refusal, RequestRefused, SwitchError, SwitchGone
from sluice.drivers.openflow.flow_mod import Stranger
from sluice.drivers.openflow.groups import Group, GroupCommand, decode_desc, encode_desc_request, encode_group_mod
from sluice.drivers.openflow.headers import Extension, Message, Port, Type, extension, message
from sluice.drivers.openflow.meters import (
    Meter,
    MeterCommand,
    Metered,
    decode_stats,
    encode_meter_mod,
    encode_stats_request,
)
from sluice.drivers.openflow.monitor import by_others, encode_monitor
from sluice.drivers.openflow.oxm import Undecodable
from sluice.drivers.openflow.packets import (
    PACKET_IN2,
    WHOLE_PACKETS,
    PacketIn,
    controller_says,
    decode_packet_in,
    encode_packet_out,
)
from sluice.drivers.openflow.stats import FlowReader, encode_request

APPLY_TIMEOUT_S = 60.0
"""For one bundle. A hundred thousand flows take half a second; fifty thousand that differ in nothing but their
priority took 36."""

PACKETS_KEPT = 1_000
"""That nobody has taken yet; what comes on top is dropped and counted, and a held packet is lost with it."""


class UnreadableFlows(Exception):
    """The switch holds flows that we cannot have sent; `flows` are all others.

    Hand `strangers` to `apply`, with what is to be put instead, so that all of it changes in one step.
    """

    def __init__(self, where: Path, flows: Flows, strangers: Sequence[Stranger]) -> None:
        one = strangers[0]
        super().__init__(
            f"{where}: {len(strangers)} flows are not to be read, the first in table {one.table} at priority "
            f"{one.priority}: {one.why}: have them deleted"
        )
        self.flows = flows
        self.strangers = tuple(strangers)


class Switch:
    """One connection to one bridge. It does not connect anew by itself: whoever holds it reads everything back then."""

    def __init__(self) -> None:
        self.packets: asyncio.Queue[PacketIn] = asyncio.Queue(PACKETS_KEPT)
        """What flows with Controller actions hand over, once `hear_packets` was called."""
        self.changed_by_others = asyncio.Event()
        """Somebody else put, changed or removed flows (see `hear_changes`). Whoever reads them back clears it."""
        self._bundles = count(1)
        self._one_bundle = asyncio.Lock()

    @classmethod
    async def connect(cls, path: Path) -> Self:
        """A connection to the bridge's management socket (`<rundir>/<bridge>.mgmt`).

        Raises:
            OSError: nobody listens there.
            VersionRefused: the bridge does not speak OpenFlow 1.5.
            SwitchGone: it does not answer.
        """
        switch = cls()
        switch._connection = await Connection.connect(path, switch._take)
        try:
            await switch._connection.request(Type.FEATURES_REQUEST)  # only to see that the switch answers
        except BaseException:
            switch.close()
            raise
        return switch

    _connection: Connection

    @property
    def closed(self) -> asyncio.Future[str]:
        """Done when the connection has ended, with the reason. It never raises."""
        return self._connection.closed

    @property
    def errors(self) -> tuple[SwitchError, ...]:
        """The last errors that answered nothing anybody waited for: of packet-outs and resumes."""
        return tuple(self._connection.strays)

    def close(self) -> None:
        self._connection.close()

    async def barrier(self) -> None:
        """The switch has carried out whatever was sent before."""
        await self._connection.request(Type.BARRIER_REQUEST)

    # -------------------------------------------------------------------------------------------------------- flows

    async def apply(
        self,
        put: Mapping[FlowKey, FlowBody],
        delete: Collection[FlowKey] = (),
        strangers: Collection[Stranger] = (),
        *,
        groups: Mapping[int, Buckets] = MappingProxyType({}),
        delete_groups: Collection[int] = (),
        timeout_s: float = APPLY_TIMEOUT_S,
    ) -> None:
        """The switch has the flows of `put` and these groups, and those to delete no more, in one atomic step.

        A flow of the same key is replaced and keeps its counters; one that both put and delete name is put. Calls at
        the same time wait for each other. `put` is read while it is sent: leave it as it is until then.

        Raises:
            BundleRefused: nothing was changed; which flows, and why.
            NotEncodable: nothing was changed; which flow cannot be said in OpenFlow, and why.
            SwitchGone: the connection ended, or the switch took longer than `timeout_s`; all was changed, or nothing.
        """
        changes = Changes(put, tuple(delete), tuple(strangers), groups, tuple(delete_groups))
        if not changes:
            return
        connection = self._connection
        async with self._one_bundle:
            first_xid = connection.reserve(len(changes))
            refused = Refused(changes, first_xid)
            connection.on_error = refused.take
            try:
                with connection.patient():
                    async with asyncio.timeout(timeout_s):
                        await self._apply(changes, first_xid, refused, timeout_s)
            except TimeoutError as error:
                connection.close(f"a bundle of {len(changes)} changes took longer than {timeout_s:g} s")
                raise SwitchGone(f"{connection.path}: {self.closed.result()}: read back what the switch has") from error
            finally:
                connection.on_error = takes_none

    async def _apply(self, changes: Changes, first_xid: int, refused: Refused, timeout_s: float) -> None:
        connection = self._connection
        bundle = next(self._bundles) & 0xFFFFFFFF

        async def control(what: Control) -> None:
            await connection.request(Type.BUNDLE_CONTROL, encode_control(bundle, what), timeout_s=timeout_s)

        await control(Control.OPEN_REQUEST)
        try:
            for chunk in encode_changes(
                *(bundle, first_xid, changes.put, changes.delete, changes.strangers),
                groups=changes.groups,
                delete_groups=changes.delete_groups,
            ):
                connection.send(chunk)
                await connection.drain()
                await asyncio.sleep(0)  # let answers in, and others work
                if refused:
                    break
            await connection.request(Type.BARRIER_REQUEST, timeout_s=timeout_s)
            refused.check(connection.path)  # the switch would commit what it has taken without the rest
        except BaseException:
            if not connection.closed.done():
                discard = encode_control(bundle, Control.DISCARD_REQUEST)
                connection.send(message(Type.BUNDLE_CONTROL, connection.reserve(), discard))
            raise
        try:
            await control(Control.COMMIT_REQUEST)
        except RequestRefused as error:
            refused.check(connection.path)
            raise BundleRefused(str(connection.path), len(changes), [Refusal("commit", error.error)], 0) from error

    async def dump(self, cookie: int = 0, cookie_mask: int = 0) -> Flows:
        """The flows whose cookie equals `cookie` where the mask has ones; with no mask, all.

        Raises:
            UnreadableFlows: some of them say what we never say.
            SwitchGone
        """
        reader = FlowReader()
        async with aclosing(self._connection.multipart(encode_request(cookie, cookie_mask))) as parts:
            async for part in parts:
                reader.take(part)
        if reader.strangers:
            raise UnreadableFlows(self._connection.path, reader.flows, reader.strangers)
        return reader.flows

    async def counted(self, table: int, cookie: int = 0, cookie_mask: int = 0) -> list[Counted]:
        """What the table's flows counted whose cookie equals `cookie` where the mask has ones.

        The datapath tells what it forwards by itself about once in half a second, and when its cache is purged.

        Raises:
            SwitchGone, Undecodable
        """
        found: list[Counted] = []
        async with aclosing(self._connection.multipart(encode_request(cookie, cookie_mask, table))) as parts:
            async for part in parts:
                found += decode_counts(part)
        return found

    async def dump_groups(self) -> Groups:
        """All groups; those that are none of ours have no buckets.

        Raises:
            SwitchGone, Undecodable
        """
        groups: Groups = {}
        async with aclosing(self._connection.multipart(encode_desc_request())) as parts:
            async for part in parts:
                groups |= decode_desc(part)
        return groups

    async def hear_changes(self) -> None:
        """From now on, `changed_by_others` is set by every change of flows that is not of this connection.

        Raises:
            RequestRefused, SwitchGone
        """
        async with aclosing(self._connection.multipart(encode_monitor())) as parts:
            async for _ in parts:
                pass  # flows that are there were not asked for

    # -------------------------------------------------------------------------------------------- meters and groups

    async def set_meter(self, meter: Meter) -> None:
        """The switch has the meter. Set it before flows that name it: bundles do not take meters.

        Raises:
            RequestRefused, SwitchGone
        """
        try:
            await self._connection.tell(Type.METER_MOD, encode_meter_mod(MeterCommand.ADD, meter))
        except RequestRefused as refused:
            if refused.error.name != "OFPMMFC_METER_EXISTS":
                raise
            await self._connection.tell(Type.METER_MOD, encode_meter_mod(MeterCommand.MODIFY, meter))

    async def delete_meter(self, meter: Meter) -> None:
        """The switch has neither the meter nor flows that name it."""
        await self._connection.tell(Type.METER_MOD, encode_meter_mod(MeterCommand.DELETE, meter))

    async def metered(self, meter: int) -> Metered:
        """What the meter counted.

        Raises:
            RequestRefused: there is no such meter.
            SwitchGone, Undecodable
        """
        async with aclosing(self._connection.multipart(encode_stats_request(meter))) as parts:
            found = [decode_stats(part) async for part in parts if part]
        return found[0] if found else Metered(0, 0)

    async def set_group(self, group: Group) -> None:
        """The switch has the group.

        Raises:
            RequestRefused, SwitchGone, NotEncodable
        """
        try:
            await self._connection.tell(Type.GROUP_MOD, encode_group_mod(GroupCommand.ADD, group))
        except RequestRefused as refused:
            if refused.error.name != "OFPGMFC_GROUP_EXISTS":
                raise
            await self._connection.tell(Type.GROUP_MOD, encode_group_mod(GroupCommand.MODIFY, group))

    async def delete_group(self, group: Group) -> None:
        """The switch has neither the group nor flows that name it."""
        await self._connection.tell(Type.GROUP_MOD, encode_group_mod(GroupCommand.DELETE, group))

    # ------------------------------------------------------------------------------------------------------ packets

    async def hear_packets(self, controller_id: int = 0) -> None:
        """From now on, packets that flows send to this controller come into `packets`."""
        connection = self._connection
        if controller_id:
            said = controller_says(controller_id)
            connection.send(extension(Extension.SET_CONTROLLER_ID, connection.reserve(), said))
        connection.send(message(Type.SET_CONFIG, connection.reserve(), WHOLE_PACKETS))
        connection.send(extension(Extension.SET_PACKET_IN_FORMAT, connection.reserve(), PACKET_IN2))
        await self.barrier()

    def resume(self, packet: PacketIn) -> None:
        """Let a held packet go on. A refusal shows in `errors`."""
        self._connection.send(extension(Extension.RESUME, self._connection.reserve(), packet.octets))

    def send_packet(self, packet: bytes, actions: Actions, in_port: int = Port.CONTROLLER) -> None:
        """Send a packet through the actions. A refusal shows in `errors`."""
        body = encode_packet_out(packet, actions, in_port)
        self._connection.send(message(Type.PACKET_OUT, self._connection.reserve(), body))

    def _take(self, received: Message) -> None:
        """A message that answers nothing. Port states come from OVSDB, so PORT_STATUS is not for us."""
        if received.type == Type.MULTIPART_REPLY and by_others(received.body):
            self.changed_by_others.set()
        if received.type != Type.EXPERIMENTER:
            return
        with suppress(Undecodable, StructError, asyncio.QueueFull):  # lost packets show in the meters
            packet = decode_packet_in(received.body)
            if packet is not None:
                self.packets.put_nowait(packet)
