"""What a fold of members has to tell."""

from typing import NamedTuple

from sluice.contracts.ids import GroupId, NodeName


class Changes(NamedTuple):
    """What may differ since the last time. May name too much, never too little."""

    pages: dict[GroupId, set[NodeName]]
    """Ask for the members of these groups on these nodes again; none means that the page goes. In the order in which
    they were touched, so that what belongs together is looked at together."""

    owns: set[NodeName]
    """Nodes on which other groups may have members now."""

    locals: set[NodeName]
    """Nodes with other Pods now, or with others of their interfaces."""
