"""Reads scenario files into stories: scenarios in which every reference exists and every feature is supported.

Nothing is silently skipped: what the lab does not support yet is refused here, before anything is started.
"""

from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from sluice.admission.admit import admit
from sluice.contracts import codec, jsonpath
from sluice.contracts.status import DocumentProblem
from sluice.kube import digest, json_text, yaml_text
from sluice.kube.manifest import Document, Ignored, Parsed, parse
from sluice.kube.nodes import Malformed, Node, line_at, plain
from sluice.lab import checks, ends
from sluice.lab.ends import ends_of
from sluice.lab.receiving import AT, PORT_END
from sluice.lab.scenario import OFFLINE, Denial, ObjectName, Scenario, Step
from sluice.lab.world import Key, NotPlaceable, World

_SELF_KIND = "Scenario"

WORDS = frozenset({"on"})
"""Fields of the format that YAML 1.1 reads as booleans."""

ANSWERED = {(8, 0), (13, 0), (128, 0)}
"""ICMP types and codes that kernels answer. Source: RFC 792, RFC 4443 section 4."""


class BadScenario(ValueError):
    """A scenario cannot be run as written. Each line says where, what and why."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("\n".join(lines))
        self.lines = tuple(lines)


class Told(Struct, frozen=True, kw_only=True):
    """A step with the objects it applies."""

    name: str
    step: Step
    apply: tuple[Document, ...]
    denied: tuple[tuple[Parsed, ...], ...]
    """For each denial, the objects in its file or inline."""


class Story(Struct, frozen=True, kw_only=True):
    """A scenario that can be run."""

    file: str
    scenario: Scenario
    objects: tuple[Document, ...]
    """The objects that exist before the first step."""

    steps: tuple[Told, ...]

    @property
    def name(self) -> str:
        return self.scenario.metadata.name


def find(paths: Sequence[Path]) -> list[Path]:
    """The files to read: the named ones, and in folders all that contain a scenario.

    Raises:
        BadScenario: a file does not exist, or a folder contains no scenario.
    """
    chosen: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(each for each in path.rglob("*") if each.is_file() and digest.is_manifest(each.name))
            scenarios = [each for each in inside if _holds_scenario(each)]
            if not scenarios:
                raise BadScenario([f"{path}: no file in it is a Scenario of lab.sluice.dev/v1"])
            chosen += scenarios
        elif path.is_file():
            chosen.append(path)
        else:
            raise BadScenario([f"{path}: no such file: check the name"])
    return chosen


def read(paths: Sequence[Path]) -> list[Story]:
    """The stories of these files and folders.

    Raises:
        BadScenario: at least one of them cannot be run; lists all problems of all of them.
    """
    stories: list[Story] = []
    wrong: list[str] = []
    for path in find(paths):
        try:
            stories += read_file(path)
        except BadScenario as error:
            wrong += error.lines
    if wrong:
        raise BadScenario(wrong)
    return stories


def read_file(path: Path) -> list[Story]:
    """The stories of one file.

    Raises:
        BadScenario
    """
    return [_Reader(path, node).story() for node in _nodes(path)]


def load_manifests(path: Path, name: str) -> list[Parsed]:
    """The objects of a file, or of all files of a folder; messages call it `name`.

    Raises:
        BadScenario: there is no such file, or an object in it is not admissible.
    """
    files = [path]
    if path.is_dir():
        files = sorted(each for each in path.rglob("*") if digest.is_manifest(each.relative_to(path).as_posix()))
    if not path.exists() or not files:
        raise BadScenario([f"{name}: {'no manifest in this folder' if files == [] else 'no such file'}"])
    found: list[Parsed] = []
    for file in files:
        label = f"{name}/{file.relative_to(path)}" if path.is_dir() else name
        found += parse(file.read_bytes(), label)
    if wrong := problems(found):
        raise BadScenario([problem.words() for problem in wrong])
    return found


def problems(found: Sequence[Parsed]) -> list[DocumentProblem]:
    """The reasons why some objects cannot be used."""
    wrong: list[DocumentProblem] = []
    for each in found:
        match each:
            case DocumentProblem():
                wrong.append(each)
            case Document():
                wrong += (each.problem(*refusal) for refusal in admit(each.object))
            case Ignored():
                pass  # a Deployment beside a policy does no harm, here as in production
    return wrong


def _holds_scenario(path: Path) -> bool:
    """Whether the file declares a scenario, however invalid."""
    text = path.read_text(errors="replace")
    return "lab.sluice.dev/" in text and _SELF_KIND in text


def _nodes(path: Path) -> list[Node]:
    try:
        text = path.read_bytes().decode()
        if path.suffix == ".json":
            nodes = list(json_text.documents(text))
        else:
            nodes = [node for chunk in yaml_text.chunks(text) for node in yaml_text.documents(chunk, words=WORDS)]
    except UnicodeDecodeError as error:
        raise BadScenario([f"{path}: $: not UTF-8: {error.reason}"]) from error
    except Malformed as error:
        raise BadScenario([f"{path}:{error.line}: $: {error.reason}"]) from error
    if not nodes:
        raise BadScenario([f"{path}: $: there is nothing in it: write apiVersion: lab.sluice.dev/v1, kind: Scenario"])
    return nodes


class _Reader:
    """One document of one file."""

    def __init__(self, path: Path, node: Node) -> None:
        self._path, self._node = path, node
        self._wrong: list[str] = []

    def story(self) -> Story:
        raw = plain(self._node)
        if isinstance(raw, dict) and raw.get("kind") not in (None, "Scenario"):
            manifests = "manifests are applied by one, in spec.manifests, or by `sluice lab up -f`"
            where = f"{self._path}:{line_at(self._node, ('kind',))}"
            raise BadScenario([f"{where}: $.kind: {raw['kind']} is not Scenario; {manifests}"])
        try:
            scenario = msgspec.convert(raw, Scenario)
        except msgspec.ValidationError as error:
            reason, _, where = str(error).partition(" - at `")
            raise BadScenario([self._at(where.rstrip("`").rpartition("`")[2] or "$", reason)]) from error
        self._wrong += [self._at(path, f"{what}: not supported yet") for path, what in unsupported(scenario)]
        self._wrong += [self._at(path, what) for path, what in misplaced(scenario)]
        objects = [
            *self._mixed(scenario.spec.objects, "$.spec.objects"),
            *self._mixed(scenario.spec.manifests, "$.spec.manifests"),
        ]
        steps = [
            Told(
                name=step.name or f"step {index + 1}",
                step=step,
                apply=tuple(self._mixed(step.apply, f"$.spec.steps[{index}].apply")),
                denied=tuple(
                    self._denied(denial, f"$.spec.steps[{index}].denials[{number}]")
                    for number, denial in enumerate(step.denials)
                ),
            )
            for index, step in enumerate(scenario.spec.steps)
        ]
        story = Story(file=str(self._path), scenario=scenario, objects=tuple(objects), steps=tuple(steps))
        if not self._wrong:
            self._walk(story)
        if self._wrong:
            raise BadScenario(self._wrong)
        return story

    def _walk(self, story: Story) -> None:
        """Play the story without a lab, to check that every object can be placed and every question has its ends."""
        numbers = count(1)
        spec = story.scenario.spec
        world = World(
            spec.nodes, lambda: f"uid-{next(numbers)}", lambda: "", spec.outside, spec.dns, networks=spec.networks
        )
        self._put(world, story.objects, "$.spec.objects")
        connections: dict[str, checks.Question] = {}
        for index, told in enumerate(story.steps):
            path = base = f"$.spec.steps[{index}]"
            try:
                for number, name in enumerate(told.step.delete):
                    path = f"{base}.delete[{number}]"
                    world.remove(found(world, name))
                path = f"{base}.apply"
                self._put(world, told.apply, path)
                world.records |= told.step.dns
                path = base
                pods, known = world.pods(), ends_of(world)
                for number, connection in enumerate(told.step.connections):
                    path = f"{base}.connections[{number}]"
                    if connection.open:
                        connections[connection.open] = checks.opening(connection, known)
                    elif connection.check not in connections:
                        raise checks.BadCheck(".check", f"{connection.check}: no connection of that name was opened")
                    else:
                        checks.checking(connection, connections[connection.check])
                path = base
                list(checks.probes(told.step, known))
                list(checks.matrix(told.step, pods))
                for number, receiver in enumerate(told.step.capture):
                    path = f"{base}.capture[{number}]"
                    checks.ends_at(receiver, known)
            except checks.BadCheck as error:
                self._wrong.append(self._at(path + error.path, error.reason))
            except NotPlaceable as error:
                self._wrong.append(self._at(path, str(error)))

    def _put(self, world: World, documents: Sequence[Document], path: str) -> None:
        for document in documents:
            try:
                world.put(document)
            except NotPlaceable as error:
                self._wrong.append(f"{document.file}:{document.line}: {path}: {error}")

    def _mixed(self, entries: Sequence[str | dict[str, Any]], path: str) -> Iterator[Document]:
        for index, entry in enumerate(entries):
            here = jsonpath.item(path, index)
            if isinstance(entry, str):
                yield from self._file(entry, here)
            else:
                yield from self._documents(self._object(entry, here))

    def _file(self, name: str, path: str) -> Iterator[Document]:
        try:
            found = load_manifests(self._path.parent / name, str(self._path.parent / name))
        except BadScenario as error:
            self._wrong += [f"{self._at(path, 'cannot be applied')}: {line}" for line in error.lines]
        else:
            yield from (each for each in found if isinstance(each, Document))

    def _documents(self, found: Sequence[Parsed]) -> Iterator[Document]:
        for problem in problems(found):
            self._wrong.append(self._at(problem.path, problem.reason))
        yield from (each for each in found if isinstance(each, Document))

    def _object(self, entry: dict[str, Any], path: str) -> tuple[Parsed, ...]:
        """An inline object of the scenario; its location is given in lines of the scenario file."""
        line = line_at(self._node, jsonpath.steps(path))
        found = parse(codec.encode(entry), f"{path}.json")
        return tuple(
            msgspec.structs.replace(each, file=str(self._path), line=line, path=path + each.path.removeprefix("$"))
            if isinstance(each, Document | DocumentProblem)
            else each
            for each in found
        )

    def _denied(self, denial: Denial, path: str) -> tuple[Parsed, ...]:
        if isinstance(denial.object, dict):
            return self._object(denial.object, f"{path}.object")
        if isinstance(denial.object, str):
            file = self._path.parent / denial.object
            if file.is_file():
                return tuple(parse(file.read_bytes(), str(file)))
            self._wrong.append(self._at(f"{path}.object", f"{file}: no such file"))
        return ()

    def _at(self, path: str, reason: str) -> str:
        """file:line: scenario, step: path: reason."""
        try:
            steps = jsonpath.steps(path)
        except ValueError:  # msgspec writes [...] for a key
            steps = jsonpath.steps(path.partition("[...]")[0])
        return f"{self._path}:{line_at(self._node, steps)}: {self._where(steps)}{path}: {reason}"

    def _where(self, steps: tuple[str | int, ...]) -> str:
        """The names of the scenario and of the step, as far as they are readable."""
        whole = plain(self._node)
        name = step = ""
        match whole:
            case {"metadata": {"name": str(name)}}:
                pass
        match steps, whole:
            case ("spec", "steps", int(index), *_), {"spec": {"steps": list(listed)}} if index < len(listed):
                entry = listed[index]
                named = entry.get("name") if isinstance(entry, dict) else None
                step = f", step {named or index + 1}"
        return f"scenario {name}{step}: " if name else ""


def found(world: World, name: ObjectName) -> Key:
    """The key of an object named in a scenario.

    Raises:
        NotPlaceable: there is no such object.
    """
    return world.find(name.kind, name.namespace, name.name, name.api_version)


def unsupported(scenario: Scenario) -> Iterator[tuple[str, str]]:
    """JSON path and name of all features of the format that this lab does not support yet."""
    spec = scenario.spec
    if spec.networks and not scenario.offline:
        yield "$.spec.networks", f"packets on secondary networks (the annotation {OFFLINE} asks for verdict() alone)"
    for index, step in enumerate(spec.steps):
        for path, what in _unsupported_in(step):
            yield f"$.spec.steps[{index}]{path}", what


def misplaced(scenario: Scenario) -> Iterator[tuple[str, str]]:
    """JSON path and description of all references of receivers to something that does not exist."""
    spec = scenario.spec
    for index, forwarder in enumerate(spec.forwarders):
        path = f"$.spec.forwarders[{index}]"
        host = forwarder.from_.removeprefix(ends.EXTERNAL_END)
        if forwarder.back and host not in spec.outside:
            yield f"{path}.from", f"{host}: tunnels end at a host beyond the cluster: name it in spec.externals"
        if forwarder.to and (forwarder.from_ in spec.devices) != (forwarder.to in spec.devices):
            lone = forwarder.to if forwarder.from_ in spec.devices else forwarder.from_
            yield path, f"one end is a device and the other is not: add {lone} to spec.devices, or use two ports"
    for index, step in enumerate(spec.steps):
        for name in step.devices.keys() - set(spec.devices):
            yield f"$.spec.steps[{index}].devices", f"{name}: none of spec.devices ({', '.join(spec.devices)})"
        for number, logged in enumerate(step.logs):
            path = f"$.spec.steps[{index}].logs[{number}]"
            if scenario.offline:
                yield path, f"nothing is logged in a scenario that asks for verdict() alone: remove {OFFLINE}"
            elif logged.on and logged.on not in spec.nodes:
                yield f"{path}.on", f"{logged.on}: no such node ({', '.join(spec.nodes)})"
        for number, receiver in enumerate(step.capture):
            path = f"$.spec.steps[{index}].capture[{number}].on"
            if scenario.offline:
                yield path, f"no packet is sent in a scenario that asks for verdict() alone: remove {OFFLINE}"
            elif not receiver.on.startswith(PORT_END):
                if receiver.on.removeprefix(ends.EXTERNAL_END) not in spec.outside:
                    known = ", ".join(spec.outside) or "there are none"
                    yield path, f"{receiver.on}: no such host beyond the cluster ({known}); a port is {PORT_END}NAME"
            elif (node := receiver.on.partition(AT)[2]) and node not in spec.nodes:
                yield path, f"{node}: no such node ({', '.join(spec.nodes)})"


def _unsupported_in(step: Step) -> Iterator[tuple[str, str]]:
    for index, probe in enumerate(step.probes):
        path = f".probes[{index}]"
        yield from _ends(path, probe.from_, probe.to)
        if probe.icmp and (probe.icmp.type, probe.icmp.code) not in ANSWERED:
            yield f"{path}.icmp", "ICMP that nobody answers (an echo or a timestamp is: types 8, 13, 128, code 0)"
    for index, connection in enumerate(step.connections):
        if connection.open:
            yield from _ends(f".connections[{index}]", connection.from_, connection.to)


def _ends(path: str, from_: str, to: str) -> Iterator[tuple[str, str]]:
    for field, name, known in (("from", from_, ends.BEGINS), ("to", to, ends.ENDS)):
        if (kind := ends.prefix(name)) not in known:
            yield f"{path}.{field}", f"{name}: an end that is `{kind}`"
