"""ClusterGroup and Group of crd.antrea.io/v1beta1: named sets of peers for policies. `antrea` explains the form."""

from sluice.contracts.pieces import IPBlock, LabelSelector, NamespacedName, Object, Part


class GroupSpec(Part, frozen=True, kw_only=True):
    """The members, given in one way: Pods by selectors, Nodes, IP blocks, the Pods of a Service, or other groups."""

    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None
    node_selector: LabelSelector | None = None
    """Only in a ClusterGroup."""

    ip_block: IPBlock | None = None
    """A single block, as written in older manifests."""

    ip_blocks: tuple[IPBlock, ...] = ()
    service_reference: NamespacedName | None = None
    """The Pods that the Service's selector matches, whatever its ports."""

    child_groups: tuple[str, ...] = ()
    """Names of groups of the same kind and in the same Namespace; they have no childGroups themselves."""


class ClusterGroup(Object, frozen=True, kw_only=True):
    spec: GroupSpec = GroupSpec()


class AntreaGroup(Object, frozen=True, kw_only=True):
    """crd.antrea.io Group. A podSelector alone selects Pods of its own Namespace."""

    spec: GroupSpec = GroupSpec()
