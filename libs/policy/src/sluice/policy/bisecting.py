"""Finds the event after which a connection started or stopped working."""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import NamedTuple, assert_never

from sluice.contracts.ids import NEVER
from sluice.contracts.kinds import Kind
from sluice.contracts.services import Service
from sluice.contracts.serving import ServiceProgram
from sluice.contracts.subjects import ObjectSubject, unit
from sluice.ledger.chain import Entry
from sluice.ledger.state import State
from sluice.policy.ends import NoSuchEnd
from sluice.policy.fate import Fate, fate
from sluice.policy.packet import AddressEnd, End, Packet, PodEnd, ServiceEnd
from sluice.policy.past import Journey, Wanted, event_of
from sluice.policy.services import service_program


class Turn(NamedTuple):
    """An entry, with the packet's fate before and after it; None if an end did not exist at that time."""

    entry: Entry
    before: Fate | None
    after: Fate | None


class NoTurn(LookupError):
    """The packet has the same outcome at the beginning and the end."""


def bisect(begun: State, entries: Sequence[Entry], packet: Packet) -> Turn:
    """Find an entry that changed the packet's outcome; takes log2(n) steps.

    If it changed several times, the result is one of the entries that led to the final outcome.

    Args:
        begun: the state before the first entry.

    Raises:
        NoTurn
    """
    journey = Journey(begun, entries, _wanted(packet, _ends(packet, begun, entries)))
    first = _at(journey, packet, 0)
    good, bad = 0, len(journey.entries)
    last = _at(journey, packet, bad)
    if _outcome(first) == _outcome(last):
        raise NoTurn(
            f"the packet is {_outcome(first) or 'impossible, because its source or destination does not exist,'} "
            "at the beginning and at the end of this period; choose a --since or --until at which the "
            "outcome was different"
        )
    while bad - good > 1:
        middle = (good + bad) // 2
        given = _at(journey, packet, middle)
        if _outcome(given) == _outcome(last):
            bad = middle
        else:
            good = middle
    return Turn(journey.entries[bad - 1], _at(journey, packet, good), _at(journey, packet, bad))


def _at(journey: Journey, packet: Packet, place: int) -> Fate | None:
    try:
        return fate(journey.go(place), packet)
    except NoSuchEnd:
        return None


def _outcome(given: Fate | None) -> str | None:
    return given.outcome if given else None


def _ends(packet: Packet, begun: State, entries: Sequence[Entry]) -> list[End]:
    """Its ends, and the Services that have its destination's address at any time."""
    ends, to = [packet.source, packet.destination], packet.destination
    if isinstance(to, AddressEnd):
        held = ((subject, one.body) for subject, one in begun.held.items())
        for subject, body in chain(held, ((one.subject, one.body) for one in entries)):
            if (
                subject.startswith(_SERVICES)
                and (service := _service(subject, body))
                and to.address in service.addresses
            ):
                ends.append(ServiceEnd(service.service.namespace, service.service.name))
    return ends


_SERVICES = f"objects.{Kind.SERVICE}."


def _service(subject: str, body: bytes) -> ServiceProgram | None:
    event = event_of(subject, body, NEVER)
    if event is None or not isinstance(event.object, Service):
        return None
    return service_program(unit(*event.key), event.object, NEVER)


def _wanted(packet: Packet, ends: Sequence[End]) -> Wanted:
    """Select what can affect the packet: only those Pods that are its ends or may have their addresses."""
    behind_service = packet.service is not None or any(isinstance(end, ServiceEnd) for end in ends)
    is_end = [_is(end) for end in ends]

    def wanted(subject: ObjectSubject, body: bytes) -> bool:
        match subject.kind:
            case Kind.POD:
                return any(one(subject, body) for one in is_end)
            case Kind.ENDPOINT_SLICE:
                return behind_service
            case _:
                return True

    return wanted


def _is(end: End) -> Callable[[ObjectSubject, bytes], bool]:
    match end:
        case PodEnd():
            return lambda subject, _: (subject.namespace, subject.name) == (end.namespace, end.name)
        case AddressEnd():
            text = f'"{end.address}"'.encode()
            return lambda _, body: text in body
        case ServiceEnd():
            return lambda _, __: True  # any Pod may be behind it
        case _:
            assert_never(end)
