"""Which units are to be compiled again when an object changes."""

from typing import assert_never

from sluice.contracts import subjects
from sluice.contracts.ids import Unit
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import AnyObject, K8sNetworkPolicy, Namespace, Node, Pod


def affected(before: AnyObject | None, after: AnyObject | None) -> frozenset[Unit]:
    """The units whose programs can differ between the two; may name too many, never too few.

    Pods and Namespaces change who is in a group and never what a program says.
    """
    return _of(before) | _of(after)


def _of(obj: AnyObject | None) -> frozenset[Unit]:
    match obj:
        case K8sNetworkPolicy():
            return frozenset({subjects.unit(Kind.K8S_NETWORK_POLICY, *obj.key)})
        case Namespace() | Pod() | Node() | None:
            return frozenset()
        case _:
            assert_never(obj)
