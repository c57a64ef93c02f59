"""The published contract: it is what the structs say, valid, and kept."""

import re
import typing

import jsonschema
import msgspec
import pytest

from sluice.contracts import codec, publish, subjects
from sluice.contracts.groups import Mark
from sluice.contracts.ids import Revision
from sluice.contracts.published import CHANNELS, breaking, documents


def changed(path: str, change) -> dict[str, str]:
    made = documents()
    document = msgspec.json.decode(made[path])
    change(document)
    return {**made, path: msgspec.json.encode(document).decode()}


def page(document):
    return document["$defs"]["Page"]


BREAKS = [
    (
        "a field is removed",
        "schemas/Page.json",
        lambda d: page(d)["properties"].pop("members"),
        "Page.members: removed",
    ),
    ("a field is new and required", "schemas/Page.json", lambda d: page(d)["required"].append("x"), "Page.x: required"),
    (
        "a field has another type",
        "schemas/Page.json",
        lambda d: page(d)["properties"]["group"].update(type="integer"),
        "Page.group: another type",
    ),
    (
        "a field may hold something new",
        "schemas/Program.json",
        lambda d: d["$defs"]["TransportTraffic"]["properties"]["ports"]["anyOf"].append({"type": "integer"}),
        "TransportTraffic.ports: another type",
    ),
    (
        "a field's items are others",
        "schemas/Page.json",
        lambda d: page(d)["properties"]["members"].update(items={"type": "string"}),
        "Page.members: another type",
    ),
    (
        "a field may be absent now",
        "schemas/Page.json",
        lambda d: page(d)["required"].remove("members"),
        "Page.members: may be absent now",
    ),
    (
        "a tuple has another length",
        "schemas/Page.json",
        lambda d: d["$defs"]["Revision"]["prefixItems"].append({"type": "string"}),
        "Revision: another type",
    ),
    (
        "a whole number may be broken now",
        "schemas/Mark.json",
        lambda d: d["$defs"]["Mark"]["properties"]["shard"].update(type="number"),
        "Mark.shard: another type",
    ),
    ("a subject is removed", "asyncapi.json", lambda d: d["channels"].pop("page"), "{node}: removed"),
    (
        "a subject moves",
        "asyncapi.json",
        lambda d: d["channels"]["page"].update(address="pages.{group}"),
        "is pages.{group} now",
    ),
    (
        "an enum loses a value",
        "schemas/Program.json",
        lambda d: d["$defs"]["Action"]["enum"].remove("pass"),
        "'pass' is no value any more",
    ),
]


@pytest.mark.parametrize(("path", "change", "said"), [row[1:] for row in BREAKS], ids=[row[0] for row in BREAKS])
def test_what_breaks_a_subscriber_is_found(path, change, said):
    found = breaking(documents(), changed(path, change))

    assert len(found) == 1
    assert said in found[0]


def test_a_removed_message_breaks():
    made = documents()
    del made["schemas/Page.json"]

    assert breaking(documents(), made) == ["schemas/Page.json: removed"]


def test_a_new_optional_field_and_a_new_message_do_not_break():
    new = changed("schemas/Page.json", lambda d: page(d)["properties"].update(note={"type": "string"}))

    assert breaking(documents(), {**new, "schemas/New.json": "{}"}) == []


GROWS = [
    (
        "a union has a new tagged member",
        "schemas/Program.json",
        lambda d: d["$defs"]["Rule"]["properties"]["peers"]["anyOf"][0]["items"]["anyOf"].append({"$ref": "#/$defs/X"}),
    ),
    (
        "a field holds less than it might",
        "schemas/Program.json",
        lambda d: d["$defs"]["Program"]["properties"]["priority"].update(type="integer"),
    ),
    ("an enum has a new value", "schemas/Program.json", lambda d: d["$defs"]["Action"]["enum"].append("log")),
    ("a field has another default", "schemas/Program.json", lambda d: d["$defs"]["Rule"].update(default=1)),
]


@pytest.mark.parametrize(("path", "change"), [row[1:] for row in GROWS], ids=[row[0] for row in GROWS])
def test_what_readers_skip_does_not_break(path, change):
    assert breaking(documents(), changed(path, change)) == []


def test_the_same_documents_are_made_every_time():
    assert documents() == documents()


def test_every_schema_is_one_and_fits_what_is_sent():
    made = documents()
    for path, text in made.items():
        if path.startswith("schemas/"):
            jsonschema.Draft202012Validator.check_schema(msgspec.json.decode(text))
    mark = codec.encode(Mark(shard=0, shards=1, upto=Revision(1, 2)))

    jsonschema.validate(msgspec.json.decode(mark), msgspec.json.decode(made["schemas/Mark.json"]))


VALUES = {
    "shard": "0",
    "service": "shop:web",
    "slice": "shop:web-1",
    "kind": "pods",
    "unit": "k8snetworkpolicies:shop:web",
    "backend": "ovs",
    "epoch": "1",
    "last": "2",
    "part": "0",
}
FILLED = [re.sub(r"{(\w+)}", lambda found: VALUES.get(found[1], "x"), channel.subject) for channel in CHANNELS]


def test_every_channel_is_a_subject_that_we_parse():
    for subject in FILLED:
        subjects.parse(subject)


def test_writing_checks_and_refuses_a_break(tmp_path, capsys):
    assert publish.main(["--check", "--folder", str(tmp_path)]) == 1
    assert "asyncapi.json: not what the structs say; run ./task proto" in capsys.readouterr().err
    assert publish.main(["--write", "--folder", str(tmp_path)]) == 0
    assert publish.main(["--check", "--folder", str(tmp_path)]) == 0

    old = changed("schemas/Page.json", lambda d: page(d)["properties"].update(gone={"type": "string"}))
    publish.write(tmp_path, old)
    assert publish.main(["--write", "--folder", str(tmp_path)]) == 1
    assert "Page.gone: removed" in capsys.readouterr().err
    assert publish.stored(tmp_path) == old
    assert publish.main(["--write", "--break", "--folder", str(tmp_path)]) == 0
    assert publish.stored(tmp_path) == documents()


def test_every_subject_that_we_parse_has_a_channel():
    assert {type(subjects.parse(subject)) for subject in FILLED} == set(typing.get_args(subjects.Subject))
