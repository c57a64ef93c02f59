"""Whether a kernel can enforce policy by TC, and which optional features it has."""

import errno
import re
from typing import NamedTuple

from sluice.dataplane.tc.filter import Ct
from sluice.drivers.tc import actions
from sluice.drivers.tc.attributes import U32, attribute, nested, text
from sluice.drivers.tc.errors import KernelTooOld, Refused
from sluice.drivers.tc.netlink import CREATE, EXCL, Message, Netlink

OLDEST = (5, 12)
"""The first version whose flower classifier distinguishes replies and invalid packets (ct_state rpl and inv)."""

NEW_ACTION, DEL_ACTION = 48, 49
ACTIONS, INDEX = 1, 3
"""Source: linux/rtnetlink.h, RTM_*ACTION and TCA_ACT_TAB; linux/pkt_cls.h, TCA_ACT_INDEX."""

_FAMILY = bytes(4)
"""struct tcamsg"""

_PROBE = 0x534C4345
"""Index of the action that is created and deleted as a test."""


class Capabilities(NamedTuple):
    release: str
    zones: bool
    """Connections are tracked separately per interface (CONFIG_NF_CONNTRACK_ZONES)."""


def probe(release: str) -> Capabilities:
    """The capabilities of the running kernel, whose release according to uname is given.

    Raises:
        KernelTooOld: it cannot enforce policy; says why.
        NetlinkLost
    """
    check(release)
    netlink = Netlink()
    try:
        answer = _try_ct(netlink, Ct(zone=1))
        if answer is None:
            return Capabilities(release, zones=True)
        if answer.code != errno.EOPNOTSUPP or "zones" not in answer.says:
            raise KernelTooOld(f"Linux {release} has no connection tracking for TC (act_ct): {answer}")
        if (answer := _try_ct(netlink, Ct())) is not None:
            raise KernelTooOld(f"Linux {release} has no connection tracking for TC (act_ct): {answer}")
        return Capabilities(release, zones=False)
    finally:
        netlink.close()


def check(release: str) -> None:
    """Return if the release is new enough.

    Raises:
        KernelTooOld
    """
    found = re.match(r"(\d+)\.(\d+)", release)
    if found and (int(found.group(1)), int(found.group(2))) < OLDEST:
        raise KernelTooOld(
            f"Linux {release} cannot tell replies from requests in TC, which takes {OLDEST[0]}.{OLDEST[1]} "
            f"(ct_state +rpl): nothing is enforced on this node; update its kernel"
        )


def _try_ct(netlink: Netlink, action: Ct) -> Refused | None:
    """Create an action that no filter uses, and delete it; returns why it cannot be created."""
    (made,) = actions.encode((action,), bytes(16), index=_PROBE)
    refused = netlink.send([Message(NEW_ACTION, CREATE | EXCL, _FAMILY + nested(ACTIONS, made))]).get(0)
    if refused is not None and refused.code != errno.EEXIST:
        return Refused("action ct", refused.code, refused.says)
    named = nested(1, text(actions.KIND, "ct"), attribute(INDEX, U32.pack(_PROBE)))
    netlink.send([Message(DEL_ACTION, 0, _FAMILY + nested(ACTIONS, named))])
    return None
