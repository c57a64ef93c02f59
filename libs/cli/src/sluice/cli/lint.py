"""`sluice lint`: what is probably a mistake?"""

import sys
from collections.abc import Mapping
from typing import Any

import click

from sluice.cli import options

FOUND = 1


@click.command()
@options.files
@options.output("text")
def lint(files: tuple[str, ...], output: str) -> None:
    """Find what is probably a mistake.

    Rules that never match, conflicts of equal priority, FQDN rules whose Pods may not ask DNS, policies and
    TrafficControls that apply to no Pod, policies that are not in force as written, live Pods with the same address,
    and warnings of admission.

    Exits with 0 if nothing was found, with 1 if something was, with 2 on bad input.
    """
    from sluice.cli.loading import load_all
    from sluice.cli.placing import placed
    from sluice.contracts.objects import AnyPolicy, TrafficControl
    from sluice.policy.lint import lint as findings
    from sluice.policy.state import ClusterState

    world = placed(load_all(files))
    objects = [document.object for document in world.objects.values()]
    state = ClusterState(objects)
    policies = [one for one in objects if isinstance(one, AnyPolicy | TrafficControl)]
    found = [_told(one, world.objects) for one in findings(state, policies)]
    found += _doubts(world.objects)
    if output == "json":
        options.echo_json({"findings": found})
    else:
        for one in found:
            click.echo(one["words"])
        click.echo(f"{len(found)} found")
    sys.exit(FOUND if found else 0)


def _told(finding: Any, objects: Mapping[Any, Any]) -> dict[str, Any]:
    """The finding as text and in parts: what it is about, and its cause."""
    from sluice.policy.lint import Conflict, NeverMatches, SharedAddress, Starves
    from sluice.policy.wording import words

    if isinstance(finding, NeverMatches | Starves):
        rule, by = _part(finding.rule, objects), _part(finding.by, objects)
    elif isinstance(finding, Conflict):
        rule, by = _part(finding.second, objects), _part(finding.first, objects)
    elif isinstance(finding, SharedAddress):
        rule, by = _part(finding.pod, objects), _part(finding.holder, objects)
    else:
        rule, by = _part(finding.policy, objects), None
    said = words(finding, lambda culprit: _name(_part(culprit, objects)))
    return {"kind": finding.__struct_config__.tag, "words": said, "rule": rule, "by": by}


def _doubts(objects: Mapping[Any, Any]) -> list[dict[str, Any]]:
    """The warnings of admission."""
    from sluice.admission.admit import cautions
    from sluice.admission.among import admit_all, cautions_among
    from sluice.admission.context import Known

    others = Known()
    admit_all([document.object for document in objects.values()], others)
    found = []
    for document in objects.values():
        for path, reason in (*cautions(document.object), *cautions_among(document.object, others)):
            where = document.problem(path, reason)
            namespace, name = document.object.key
            part = {
                "apiVersion": document.object.api_version,
                "kind": document.object.kind,
                "namespace": namespace,
                "name": name,
                "file": where.file,
                "line": where.line,
            }
            words = f"{_name(part)} {path}: {reason}"
            found.append({"kind": "doubtful", "words": words, "rule": part, "by": None})
    return found


def _part(about: Any, objects: Mapping[Any, Any]) -> dict[str, Any]:
    """A rule, or a whole object, with its place in the files."""
    from sluice.contracts.kinds import RESOURCES
    from sluice.policy.verdict import RuleRef

    is_rule = isinstance(about, RuleRef)
    origin = about.origin if is_rule else about
    path = f"$.spec.{about.direction}[{about.index}]" if is_rule else "$"
    where = objects[origin.kind, origin.namespace, origin.name].problem(path, "")
    resource = RESOURCES[origin.kind]
    part = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "namespace": origin.namespace,
        "name": origin.name,
        "file": where.file,
        "line": where.line,
    }
    if is_rule:
        part |= {"direction": about.direction, "index": about.index, "action": about.action, "rule": about.name}
    return part


def _name(part: Mapping[str, Any]) -> str:
    whose = "/".join(filter(None, (part["namespace"], part["name"])))
    rule = f" {part['direction']}[{part['index']}]" if "index" in part else ""
    return f"{part['kind']} {whose}{rule} ({part['file']}:{part['line']})"
