"""Which units are to be compiled again when an object changes."""

from typing import assert_never

from sluice.contracts import subjects
from sluice.contracts.ids import Unit
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import AnyObject, K8sNetworkPolicy, Namespace, Node, Pod

_POLICY = Kind.K8S_NETWORK_POLICY
_NONE: frozenset[Unit] = frozenset()


def affected(before: AnyObject | None, after: AnyObject | None) -> frozenset[Unit]:
    """The units whose programs can differ between two versions of an object; may name too many, never too few.

    Pods and Namespaces change who is in a group and never what a program says.
    """
    obj = before if after is None else after
    match obj:
        case K8sNetworkPolicy():
            return frozenset((subjects.unit(_POLICY, obj.metadata.namespace, obj.metadata.name),))
        case Namespace() | Pod() | Node() | None:
            return _NONE
        case _:
            assert_never(obj)
