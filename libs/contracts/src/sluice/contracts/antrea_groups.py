"""ClusterGroup and Group of crd.antrea.io/v1beta1: named sets of peers for policies. `antrea` explains the form."""

from sluice.contracts.pieces import IPBlock, LabelSelector, NamespacedName, Object, Part


class GroupSpec(Part, frozen=True, kw_only=True):
    """Whom the group means, in one way: Pods by selectors, Nodes, blocks, the Pods of a Service, or other groups."""

    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None
    node_selector: LabelSelector | None = None
    """In a ClusterGroup only."""

    ip_block: IPBlock | None = None
    """How older manifests write a single block."""

    ip_blocks: tuple[IPBlock, ...] = ()
    service_reference: NamespacedName | None = None
    """The Pods that the Service's selector selects, whatever its ports."""

    child_groups: tuple[str, ...] = ()
    """Names of groups of the same kind, and of the same Namespace; they have no childGroups themselves."""


class ClusterGroup(Object, frozen=True, kw_only=True):
    spec: GroupSpec = GroupSpec()


class AntreaGroup(Object, frozen=True, kw_only=True):
    """crd.antrea.io Group; its podSelector alone means Pods of its own Namespace."""

    spec: GroupSpec = GroupSpec()
