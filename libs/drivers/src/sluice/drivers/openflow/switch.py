"""An Open vSwitch bridge: flows put and deleted atomically, flows read back, packets in and out."""

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
from sluice.drivers.openflow.groups import decode_desc, encode_desc_request
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
"""Per bundle. A hundred thousand flows take half a second; fifty thousand that differ only in priority took 36."""

PACKETS_KEPT = 1_000
"""Limit of unread packets; further ones are dropped and counted, and a paused packet is lost with it."""


class UnreadableFlows(Exception):
    """The switch holds flows that we cannot have sent; `flows` has all others.

    Pass `strangers` to `apply` together with the flows that replace them, so that everything changes atomically.
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
    """One connection to one bridge. It does not reconnect by itself: its owner must then read everything back."""

    def __init__(self) -> None:
        self.packets: asyncio.Queue[PacketIn] = asyncio.Queue(PACKETS_KEPT)
        """Packets from flows with Controller actions, once `hear_packets` was called."""
        self.changed_by_others = asyncio.Event()
        """Set when somebody else adds, changes or removes flows (see `hear_changes`). Cleared by whoever reads them
        back."""
        self._bundles = count(1)
        self._one_bundle = asyncio.Lock()

    @classmethod
    async def connect(cls, path: Path) -> Self:
        """Connect to the bridge's management socket (`<rundir>/<bridge>.mgmt`).

        Raises:
            OSError: nobody listens there.
            VersionRefused: the bridge does not speak OpenFlow 1.5.
            SwitchGone: it does not answer.
        """
        switch = cls()
        switch._connection = await Connection.connect(path, switch._take)
        try:
            await switch._connection.request(Type.FEATURES_REQUEST)  # only to check that the switch answers
        except BaseException:
            switch.close()
            raise
        return switch

    _connection: Connection

    @property
    def closed(self) -> asyncio.Future[str]:
        """Done when the connection has ended; its result is the reason. Never raises."""
        return self._connection.closed

    @property
    def errors(self) -> tuple[SwitchError, ...]:
        """The latest errors that belong to no pending request: of packet-outs and resumes."""
        return tuple(self._connection.strays)

    def close(self) -> None:
        self._connection.close()

    async def barrier(self) -> None:
        """Wait until the switch has processed everything sent before."""
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
        """Put and delete these flows and groups in one atomic step.

        A flow with the same key is replaced and keeps its counters; a key in both `put` and `delete` is put. Concurrent
        calls wait for each other. `put` is read while it is being sent: do not change it until then.

        Raises:
            BundleRefused: nothing was changed; says which flows were refused, and why.
            NotEncodable: nothing was changed; says which flow OpenFlow cannot express, and why.
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
                await asyncio.sleep(0)  # let replies be received and other tasks run
                if refused:
                    break
            await connection.request(Type.BARRIER_REQUEST, timeout_s=timeout_s)
            refused.check(connection.path)  # otherwise the switch would commit without the refused changes
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
        """The flows whose cookie equals `cookie` in the bits of the mask; without a mask, all.

        Raises:
            UnreadableFlows: some of them cannot be ours.
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
        """The counters of the table's flows whose cookie equals `cookie` in the bits of the mask.

        The datapath reports traffic of its flow cache about every half second, and when the cache is purged.

        Raises:
            SwitchGone, Undecodable
        """
        found: list[Counted] = []
        async with aclosing(self._connection.multipart(encode_request(cookie, cookie_mask, table))) as parts:
            async for part in parts:
                found += decode_counts(part)
        return found

    async def dump_groups(self) -> Groups:
        """All groups; those that cannot be ours have no buckets.

        Raises:
            SwitchGone, Undecodable
        """
        groups: Groups = {}
        async with aclosing(self._connection.multipart(encode_desc_request())) as parts:
            async for part in parts:
                groups |= decode_desc(part)
        return groups

    async def hear_changes(self) -> None:
        """From now on, every flow change that this connection did not make sets `changed_by_others`.

        Raises:
            RequestRefused, SwitchGone
        """
        async with aclosing(self._connection.multipart(encode_monitor())) as parts:
            async for _ in parts:
                pass  # existing flows were not requested

    # ----------------------------------------------------------------------------------------------------------- meters

    async def set_meter(self, meter: Meter) -> None:
        """Create or change the meter. Do it before adding flows that use it: bundles do not take meters.

        Raises:
            RequestRefused, SwitchGone
        """
        try:
            await self._connection.tell(Type.METER_MOD, encode_meter_mod(MeterCommand.ADD, meter))
        except RequestRefused as refused:
            if refused.error.name != "OFPMMFC_METER_EXISTS":
                raise
            await self._connection.tell(Type.METER_MOD, encode_meter_mod(MeterCommand.MODIFY, meter))

    async def metered(self, meter: int) -> Metered:
        """What the meter has counted.

        Raises:
            RequestRefused: there is no such meter.
            SwitchGone, Undecodable
        """
        async with aclosing(self._connection.multipart(encode_stats_request(meter))) as parts:
            found = [decode_stats(part) async for part in parts if part]
        return found[0] if found else Metered(0, 0)

    # ------------------------------------------------------------------------------------------------------ packets

    async def hear_packets(self, controller_id: int = 0) -> None:
        """From now on, packets that flows send to this controller arrive in `packets`."""
        connection = self._connection
        if controller_id:
            said = controller_says(controller_id)
            connection.send(extension(Extension.SET_CONTROLLER_ID, connection.reserve(), said))
        connection.send(message(Type.SET_CONFIG, connection.reserve(), WHOLE_PACKETS))
        connection.send(extension(Extension.SET_PACKET_IN_FORMAT, connection.reserve(), PACKET_IN2))
        await self.barrier()

    def resume(self, packet: PacketIn) -> None:
        """Let a paused packet continue. A refusal appears in `errors`."""
        self._connection.send(extension(Extension.RESUME, self._connection.reserve(), packet.octets))

    def send_packet(self, packet: bytes, actions: Actions, in_port: int = Port.CONTROLLER) -> None:
        """Send a packet through the actions. A refusal appears in `errors`."""
        body = encode_packet_out(packet, actions, in_port)
        self._connection.send(message(Type.PACKET_OUT, self._connection.reserve(), body))

    def _take(self, received: Message) -> None:
        """Handle an unsolicited message. Port states come from OVSDB, so PORT_STATUS is ignored."""
        if received.type == Type.MULTIPART_REPLY and by_others(received.body):
            self.changed_by_others.set()
        if received.type != Type.EXPERIMENTER:
            return
        with suppress(Undecodable, StructError, asyncio.QueueFull):  # the meters show lost packets
            packet = decode_packet_in(received.body)
            if packet is not None:
                self.packets.put_nowait(packet)
