"""Answers of the lab's DNS servers from the records of a scenario."""

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import TypedDict

from sluice.dataplane.dns.message import HEADER, MAX_UDP, NO_SUCH_NAME, Kind, Unreadable, name_at
from sluice.dataplane.dns.writing import Record, answer, question_end


class Entry(TypedDict):
    """A record as written in scenarios; the prober gets it as JSON."""

    ips: list[str]
    cname: str
    ttl: int


Records = Mapping[str, Entry]
"""By name, in lower case."""


def answered(records: Records, asked: bytes, *, udp: bool) -> bytes | None:
    """The answer to a message; None if it is not a query."""
    try:
        end = question_end(asked)
        name, _ = name_at(asked, HEADER.size)
    except (Unreadable, IndexError):
        return None
    kind = int.from_bytes(asked[end - 4 : end - 2], "big")
    found = list(_records(records, name, kind))
    known = name in records and (records[name]["ips"] or records[name]["cname"])
    return answer(asked, found, rcode=0 if known else NO_SUCH_NAME, limit=MAX_UDP if udp else 0xFFFF)


def _records(records: Records, name: str, kind: int) -> Iterator[Record]:
    seen = set[str]()
    while name in records and name not in seen:
        seen.add(name)
        entry = records[name]
        for text in entry["ips"]:
            if kind == (Kind.A if ip_address(text).version == 4 else Kind.AAAA):
                yield Record(name, text, entry["ttl"])
        if not entry["cname"]:
            return
        yield Record(name, entry["cname"], entry["ttl"])
        name = entry["cname"]
