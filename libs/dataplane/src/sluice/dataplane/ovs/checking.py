"""Checks each flow against what the pipeline declares: its match fields, the tables it leads to, its cookie."""

from collections.abc import Iterator
from functools import lru_cache

from sluice.dataplane.ovs import cookies
from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.flow import Actions, Conjunction, Ct, FlowBody, FlowKey, Flows, Goto, Learn, Resubmit, Term
from sluice.dataplane.ovs.pipeline import TABLES, Table, TableSpec
from sluice.dataplane.protocols import EthType, IpProto

_F = Field
_L4 = {
    (_F.TCP_SRC, _F.TCP_DST): IpProto.TCP,
    (_F.UDP_SRC, _F.UDP_DST): IpProto.UDP,
    (_F.SCTP_SRC, _F.SCTP_DST): IpProto.SCTP,
}
NEEDS: dict[Field, tuple[tuple[Field, tuple[int, ...]], ...]] = {
    _F.IP_PROTO: ((_F.ETH_TYPE, (EthType.IPV4, EthType.IPV6)),),
    _F.TCP_FLAGS: ((_F.ETH_TYPE, (EthType.IPV4, EthType.IPV6)), (_F.IP_PROTO, (IpProto.TCP,))),
    _F.CT_TP_DST: ((_F.CT_NW_PROTO, (IpProto.TCP, IpProto.UDP, IpProto.SCTP)),),
    **dict.fromkeys((_F.IPV4_SRC, _F.IPV4_DST), ((_F.ETH_TYPE, (EthType.IPV4,)),)),
    **dict.fromkeys((_F.IPV6_SRC, _F.IPV6_DST), ((_F.ETH_TYPE, (EthType.IPV6,)),)),
    **dict.fromkeys((_F.ARP_OP, _F.ARP_SPA, _F.ARP_TPA, _F.ARP_SHA), ((_F.ETH_TYPE, (EthType.ARP,)),)),
    **{field: ((_F.IP_PROTO, (number,)),) for fields, number in _L4.items() for field in fields},
    **{
        field: ((_F.ETH_TYPE, (version,)), (_F.IP_PROTO, (number,)))
        for field, version, number in (
            (_F.ICMP_TYPE, EthType.IPV4, IpProto.ICMP),
            (_F.ICMP_CODE, EthType.IPV4, IpProto.ICMP),
            (_F.ICMPV6_TYPE, EthType.IPV6, IpProto.ICMPV6),
            (_F.ICMPV6_CODE, EthType.IPV6, IpProto.ICMPV6),
        )
    },
}
"""What else a match must contain for a field to exist. Source: ovs-fields(7), "Prerequisites" of each field."""


def check(key: FlowKey, body: FlowBody) -> None:
    """Check that the pipeline declares such a flow; anything else is our bug.

    Raises:
        AssertionError: the message names the table, and what the flow should not do.
    """
    table, _, a_match = key
    # A node has many flows, but few kinds of match, and many flows share a body.
    faults = _kind_faults(int(table), tuple([term if term[0] in _DECISIVE else term[0] for term in a_match]))
    if not faults and _checked.get((table, id(body))) is not body:
        faults = tuple(_body_faults(table, body))
        if len(_checked) == _CHECKED_KEPT:
            _checked.clear()
        if not faults:
            _checked[table, id(body)] = body
    if faults:
        raise AssertionError(f"table {table}, {a_match}: {faults[0]}")


def check_all(flows: Flows) -> None:
    """Check that the pipeline declares such flows. Of consecutive flows that differ only in a value, one is checked.

    Raises:
        AssertionError: see `check`.
    """
    table, body, first, field = -1, None, None, None
    for key, a_body in flows.items():
        a_table, _, a_match = key
        if len(a_match) != 2:
            check(key, a_body)
        elif a_body is not body or a_match[0] is not first or a_match[1][0] is not field or a_table != table:
            check(key, a_body)
            if a_match[1][0] not in _DECISIVE:
                table, body, first, field = a_table, a_body, a_match[0], a_match[1][0]


_DECISIVE = frozenset((_F.ETH_TYPE, _F.IP_PROTO, _F.CT_NW_PROTO))
"""Fields that others need; only for these do the values matter."""

_checked: dict[tuple[int, int], FlowBody] = {}
"""Bodies that have passed, by table and identity; kept, so that no other object gets the same identity."""

_CHECKED_KEPT = 4096


@lru_cache(maxsize=4096)
def _kind_faults(table: int, kind: tuple[Term | Field, ...]) -> tuple[str, ...]:
    spec = _SPECS.get(table)
    if spec is None:
        return ("there is no such table",)
    return tuple(_match_faults(spec, kind))


def _body_faults(table: int, body: FlowBody) -> Iterator[str]:
    yield from _action_faults(table, _SPECS[table], body.actions)
    if cookies.unpack(body.cookie) is None:
        yield f"cookie {body.cookie:#x} is not ours"


_SPECS: dict[int, TableSpec] = {table.value: spec for table, spec in TABLES.items()}


def _match_faults(spec: TableSpec, kind: tuple[Term | Field, ...]) -> Iterator[str]:
    said = {one.field: one.value for one in kind if isinstance(one, Term) and one.mask is None}
    for field in (one.field if isinstance(one, Term) else one for one in kind):
        if field not in spec.matches:
            yield f"the table does not match {field.name}"
        for needed, values in NEEDS.get(field, ()):
            if said.get(needed) not in values:
                yield f"{field.name} without {needed.name} being one of {values}"


def _action_faults(table: int, spec: TableSpec, actions: Actions) -> Iterator[str]:
    soft = {isinstance(action, Conjunction) for action in actions}
    if soft == {True}:
        return
    if True in soft:
        yield "conjunction() stands with other actions, which would never run"
    for place, action in enumerate(actions):
        match action:
            case Goto(table=target):
                if place < len(actions) - 1:
                    yield "actions after goto_table"
            case Resubmit(table=target) | Ct(table=int(target)):
                pass
            case Learn(table=learnt):
                if learnt != Table.AFFINITY:
                    yield f"learns into table {learnt}, where nobody expects it"
                continue
            case _:
                continue
        if target <= table:
            yield f"sends a packet back to table {target}"
        if target not in spec.leads_to:
            yield f"table {target} is not declared to follow {Table(table).name}"
