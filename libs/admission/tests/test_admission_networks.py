"""Secondary networks: what is refused of their objects and annotations."""

import pytest

from sluice.admission.admit import admit, cautions
from sluice.contracts import networks
from sluice.testkit.builders import multi, network, pod

POLICIES = [
    ({}, "net", []),
    ({}, "a, y/b,", []),
    ({}, "", []),
    ({}, "a/b/c", ["$.metadata.annotations['k8s.v1.cni.cncf.io/policy-for']"]),
    ({"ingress": [{"ports": [{"port": 90, "endPort": 80}]}]}, "net", ["$.spec.ingress[0].ports[0].endPort"]),
    (
        {"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}]}]},
        "net",
        ["$.spec.egress[0].to[0]"],
    ),
    (
        {"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}]}]},
        "net",
        ["$.spec.egress[0].to[0].ipBlock.except[0]"],
    ),
]


@pytest.mark.parametrize(("spec", "about", "paths"), POLICIES)
def test_policies(spec, about, paths):
    refused = admit(multi("x/mnp", spec, about=about))

    assert [path for path, _ in refused] == paths
    assert all(";" in reason for _, reason in refused), "a reason says what to do"


def test_a_definition_has_a_configuration_that_can_be_read():
    good = network("x/net")
    bad = network("x/net", type="")

    assert admit(good) == ()
    assert [path for path, _ in admit(bad)] == ["$.spec.config"]


@pytest.mark.parametrize("annotation", [networks.NETWORKS, networks.STATUS, networks.STATUS_BEFORE])
def test_annotations_of_pods_that_cannot_be_read_are_told_and_keep_no_pod_out(annotation):
    good, bad = (pod("x/a", annotations={annotation: text}) for text in ("[]", "["))

    assert not [*cautions(good), *admit(good), *admit(bad)]
    (said,) = cautions(bad)
    assert annotation in said.path
    assert ";" in said.reason, "a reason says what to do"
