"""What the API server is told agrees with what the validator says.

The schemas are read as JSON Schema (2020-12): `nullable` and OpenAPI's other words are not used in them, integers or
strings become a type, and the API server's own formats are checked by the standard library. Rules in CEL are evaluated
by cel-python; those that compare with the old object are evaluated with one. What is not evaluated here: what the API
server estimates the rules to cost, and pruning, which needs no evaluation since every object keeps unknown fields.

The API server is stricter about what is written and says nothing: an empty text where a name belongs, an empty list, a
null. The validator takes these for unset, so they are left out before the schema is asked.
"""

import ipaddress
import json
import re
from itertools import chain
from pathlib import Path

import celpy
import jsonschema
import pytest
import yaml
from celpy.adapter import json_to_cel
from hypothesis import given

from sluice.admission.admit import admit
from sluice.admission.crd.all import definitions
from sluice.contracts import codec
from sluice.contracts.kinds import RESOURCES, Kind
from sluice.kube.manifest import Document, parse
from sluice.testkit.admission import groups, tiers, traffic_controls
from sluice.testkit.admission.spoiled import ACCEPTED, REFUSED, objects
from sluice.testkit.examples import share

FOLDER = Path(__file__).parents[3] / "deploy" / "k8s" / "base" / "crds"
CRDS = {
    (each["spec"]["group"], each["spec"]["names"]["kind"]): each
    for each in (yaml.load(path.read_text(), yaml.CSafeLoader) for path in sorted(FOLDER.glob("*.io.yaml")))
}
FORMATS = jsonschema.FormatChecker(formats=())
FORMATS.checks("cidr", ValueError)(lambda text: bool(ipaddress.ip_network(text, strict=False)) and "/" in text)
FORMATS.checks("ipv4", ValueError)(lambda text: bool(ipaddress.IPv4Address(text)))
FORMATS.checks("ipv6", ValueError)(lambda text: bool(ipaddress.IPv6Address(text)))
FORMATS.checks("date-time", ValueError)(lambda text: True)
FORMATS.checks("float")(lambda number: True)
FORMATS.checks("int32", ValueError)(lambda number: not isinstance(number, int) or -(2**31) <= number < 2**31)
FORMATS.checks("int64", ValueError)(lambda number: not isinstance(number, int) or -(2**63) <= number < 2**63)


def key(whole):
    group, _, _ = whole["apiVersion"].rpartition("/")
    return group, whole["kind"]


def schema_of(crd):
    [version] = crd["spec"]["versions"]
    return version["schema"]["openAPIV3Schema"]


def translated(schema):
    """The structural schema as JSON Schema; Go's `$` is the end of the text, Python's may come before a newline."""
    if isinstance(schema, list):
        return [translated(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: translated(value) for name, value in schema.items() if not name.startswith("x-kubernetes-")}
    if schema.get("x-kubernetes-int-or-string") is True:
        made["type"] = ["integer", "string"]
    if isinstance(made.get("pattern"), str):
        made["pattern"] = re.sub(r"\$$", r"\\Z", made["pattern"])
    return made


VALIDATORS = {
    name: jsonschema.Draft202012Validator(translated(schema_of(crd)), format_checker=FORMATS)
    for name, crd in CRDS.items()
}
CEL = celpy.Environment()
PROGRAMS: dict[str, celpy.Runner] = {}


def holds(rule, value, old=None):
    if rule not in PROGRAMS:
        PROGRAMS[rule] = CEL.program(CEL.compile(rule))
    given = {"self": json_to_cel(value)}
    if old is not None:
        given["oldSelf"] = json_to_cel(old)
    return bool(PROGRAMS[rule].evaluate(given))


def broken(schema, value, old=None):
    """The rules in CEL that do not hold for the value or a part of it."""
    for each in schema.get("x-kubernetes-validations", ()):
        if "oldSelf" in each["rule"] and old is None:
            continue  # a transition rule, and nothing was before
        if not holds(each["rule"], value, old):
            yield each["message"]
    if isinstance(value, dict):
        for name, inner in schema.get("properties", {}).items():
            if name in value:
                yield from broken(inner, value[name], old.get(name) if isinstance(old, dict) else None)
    elif isinstance(value, list) and "items" in schema:
        for each in value:
            yield from broken(schema["items"], each)


def written(value):
    """Without what says nothing."""
    if isinstance(value, dict):
        kept = {name: written(inner) for name, inner in value.items()}
        return {name: inner for name, inner in kept.items() if inner is not None and inner not in ("", [])}
    return [written(each) for each in value] if isinstance(value, list) else value


def refused_by_schema(whole, old=None):
    """What the API server has against the object."""
    given = written(whole)
    wrong = [error.message for error in VALIDATORS[key(whole)].iter_errors(given)]
    return wrong or list(broken(schema_of(CRDS[key(whole)]), given, old))


def of_a_crd(cases):
    return [case for case in cases if key(case.object) in CRDS]


@pytest.mark.parametrize("case", of_a_crd(ACCEPTED), ids=lambda case: case.title)
def test_what_the_validator_admits_the_api_server_takes(case):
    assert refused_by_schema(case.object) == []


ONLY_WEBHOOK = 82
"""Refusals in the tables that no schema gives: unknown fields (kept for the webhook), numbers that depend on each
other, other objects."""


def test_the_api_server_refuses_the_most_by_itself():
    taken = [case.title for case in of_a_crd(REFUSED) if not refused_by_schema(case.object)]

    assert len(taken) <= ONLY_WEBHOOK, "\n".join(taken)


NAMED = {
    Kind.TIER: ("tiers", "tr", ["Priority", "Age"], False),
    Kind.CLUSTER_NETWORK_POLICY: ("clusternetworkpolicies", "acnp", ["Tier", "Priority", "Age"], True),
    Kind.ANTREA_NETWORK_POLICY: ("networkpolicies", "annp", ["Tier", "Priority", "Age"], True),
    Kind.CLUSTER_GROUP: ("clustergroups", "cg", ["Age"], True),
    Kind.GROUP: ("groups", "grp", ["Age"], True),
    Kind.TRAFFIC_CONTROL: ("trafficcontrols", "tc", ["Direction", "Action", "Age"], True),
    Kind.MULTI_NETWORK_POLICY: ("multi-networkpolicies", "multi-policy", ["Age"], False),
}


@pytest.mark.parametrize("kind", NAMED, ids=str)
def test_names_and_columns_are_those_of_the_seeds(kind):
    plural, short, columns, status = NAMED[kind]
    group, _, version = RESOURCES[kind].api_version.rpartition("/")
    crd = CRDS[group, RESOURCES[kind].kind]
    [served] = crd["spec"]["versions"]

    assert crd["metadata"]["name"] == f"{plural}.{group}"
    assert (crd["spec"]["names"]["plural"], crd["spec"]["names"]["shortNames"]) == (plural, [short])
    assert crd["spec"]["scope"] == ("Namespaced" if RESOURCES[kind].namespaced else "Cluster")
    assert (served["name"], served["served"], served["storage"]) == (version, True, True)
    shown = [column["name"] for column in served["additionalPrinterColumns"] if not column.get("priority")]
    assert shown == columns
    assert ("status" in served.get("subresources", {})) == status
    assert RESOURCES[kind].status <= status


def test_every_kind_with_a_table_has_a_definition():
    assert {(each["spec"]["group"], each["spec"]["names"]["kind"]) for each in definitions().values()} == set(CRDS)
    assert len(CRDS) == len(NAMED)


def places(schema, path="$"):
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from places(inner, f"{path}.{name}")
    if "items" in schema:
        yield from places(schema["items"], f"{path}[]")


@pytest.mark.parametrize("name", CRDS, ids=lambda name: name[1])
def test_the_schemas_are_structural(name):
    """Source: Kubernetes, docs, "Specifying a structural schema"."""
    for path, schema in places(schema_of(CRDS[name])):
        typed = schema.get("type") or schema.get("x-kubernetes-int-or-string")
        assert typed, f"{path} has no type"
        assert not ("properties" in schema and "additionalProperties" in schema), path
        assert schema.get("type") != "array" or "items" in schema, path
        for logic in ("allOf", "anyOf", "oneOf", "not"):
            told = schema.get(logic, [])
            for inner in told if isinstance(told, list) else [told]:
                assert not forbidden(inner), f"{path}: {logic} says {forbidden(inner)}"


def forbidden(value):
    """What may not stand inside of a logical junctor."""
    if isinstance(value, list):
        return [each for inner in value for each in forbidden(inner)]
    if not isinstance(value, dict):
        return []
    own = {"type", "description", "default", "additionalProperties", "nullable"} & value.keys()
    inner = [forbidden(each) for name, each in value.items() if name != "properties"]
    inner += [forbidden(each) for each in value.get("properties", {}).values()]
    return [*own, *chain.from_iterable(inner)]


@pytest.mark.parametrize("name", CRDS, ids=lambda name: name[1])
def test_every_object_of_a_spec_keeps_what_it_does_not_know(name):
    """The API server would remove it in silence; the webhook refuses it."""
    spec = schema_of(CRDS[name])["properties"]["spec"]
    for path, schema in places(spec, "$.spec"):
        if schema.get("type") == "object" and "additionalProperties" not in schema:
            assert schema.get("x-kubernetes-preserve-unknown-fields") is True, path


def test_every_rule_in_cel_is_evaluated():
    rules = [
        each["rule"]
        for crd in CRDS.values()
        for _, schema in places(schema_of(crd))
        for each in schema.get("x-kubernetes-validations", ())
    ]
    for case in of_a_crd((*ACCEPTED, *REFUSED)):
        if not list(VALIDATORS[key(case.object)].iter_errors(written(case.object))):
            refused_by_schema(case.object, case.object)

    assert rules
    assert set(rules) <= PROGRAMS.keys()


@pytest.mark.parametrize(
    ("given", "old", "part"),
    [
        (tiers.tier("mine", 11), tiers.tier("mine", 10), "cannot be changed"),
        (tiers.tier("mine", 251), None, "below 250"),
        (tiers.tier("mine", 250), None, "below 250"),
        (tiers.tier("emergency", 51), None, "below 250"),
        (traffic_controls.control(action="Redirect"), None, "a Redirect needs a returnPort"),
        (traffic_controls.control(returnPort=traffic_controls.TAP), None, "a Mirror must not have one"),
        (traffic_controls.erspan(version=2, index=1), None, "index exists only in version 1"),
        (traffic_controls.erspan(dir=0), None, "hardwareID only in version 2"),
        (groups.cg(**groups.PODS, **groups.BLOCKS), None, "a group has only one of"),
    ],
    ids=range(9),
)
def test_rules_in_cel(given, old, part):
    [message, *_] = refused_by_schema(given, old)

    assert part in message


def test_the_files_say_what_the_rules_do():
    """`deploy/k8s/crds.py` writes them."""
    stored = {path.name: yaml.load(path.read_text(), yaml.CSafeLoader) for path in FOLDER.glob("*.io.yaml")}

    assert stored == json.loads(json.dumps(definitions()))


def test_the_kustomization_names_every_file():
    [listed] = yaml.safe_load_all((FOLDER / "kustomization.yaml").read_text())

    assert listed["resources"] == sorted(definitions())


@share(500)
@given(objects())
def test_whatever_the_validator_admits_the_api_server_takes(made):
    found = parse(codec.encode(made), "case.json")
    admitted = len(found) == 1 and isinstance(found[0], Document) and not admit(found[0].object)
    if admitted and key(made) in CRDS:
        assert refused_by_schema(made) == []
