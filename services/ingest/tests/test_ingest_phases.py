from sluice.contracts.kinds import Kind
from sluice.services.ingest.catalog import Changes, Key
from sluice.services.ingest.phases import phases


def key(kind, name="a"):
    return Key(kind, "x", name)


def names(changes):
    return [[(step.key.kind.name, step.key.name, bool(step.body)) for step in phase] for phase in phases(changes)]


def test_what_restricts_comes_first_and_goes_last():
    every = {key(kind): b"1" for kind in Kind}
    went = frozenset(key(kind, "gone") for kind in (Kind.POD, Kind.TIER, Kind.K8S_NETWORK_POLICY))

    named = (Kind.CLUSTER_GROUP, Kind.GROUP, Kind.SERVICE, Kind.TIER)
    rest = sorted(kind for kind in Kind if kind not in (*named, Kind.POD))

    assert names(Changes(every, went)) == [
        [(kind.name, "a", True) for kind in named],
        [(kind.name, "a", True) for kind in rest],
        [("POD", "a", True)],
        [("POD", "gone", False)],
        [("K8S_NETWORK_POLICY", "gone", False)],
        [("TIER", "gone", False)],
    ]


def test_a_phase_without_steps_is_none():
    assert names(Changes({}, frozenset())) == []
    assert names(Changes({}, frozenset((key(Kind.POD),)))) == [[("POD", "a", False)]]
