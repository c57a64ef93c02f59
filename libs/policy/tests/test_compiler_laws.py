"""Laws 1 and 2 for programs and groups, and that `affected` names enough."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sluice.contracts import codec
from sluice.contracts.ids import ALL_NODES, NEVER, GroupId
from sluice.contracts.programs import Program
from sluice.grouping.events import ObjectEvent
from sluice.grouping.selectors import GroupSelector
from sluice.policy.compiler import Compiler, Groups, ProgramKey
from sluice.policy.ends import NoSuchEnd
from sluice.policy.everypod import EVERY_POD_ID, asks_every_pod
from sluice.policy.packet import Packet
from sluice.policy.policies import Policies
from sluice.policy.state import ClusterState
from sluice.policy.verdict import Verdict, verdict
from sluice.testkit.antrea_strategies import antrea_stories
from sluice.testkit.expanders import expand, outcome
from sluice.testkit.strategies import packets

Story = list[ObjectEvent]


def told(events: Story) -> tuple[Compiler, Groups]:
    compiler, groups = Compiler(), Groups()
    for event in events:
        compiler.evolve(event)
        groups.evolve(event)
    return compiler, groups


def content(compiler: Compiler) -> dict[ProgramKey, bytes]:
    """The programs' bytes, cause aside."""
    return {key: codec.encode(replace(program, cause=NEVER)) for key, program in compiler.programs.items()}


@given(antrea_stories(), st.integers(0, 99))
def test_order_and_repeats_do_not_matter(events: Story, seed: int) -> None:
    compiler, groups = told(events)

    for name, expansion in expand(events, seed=seed):
        again, groups_again = told(expansion)
        assert content(again) == content(compiler), name
        assert again.problems == compiler.problems, name
        assert groups_again.selectors == groups.selectors, name


@given(antrea_stories())
def test_incremental_equals_recomputed_after_every_step(events: Story) -> None:
    compiler, groups = Compiler(), Groups()

    for number, event in enumerate(events, start=1):
        compiler.evolve(event)
        groups.evolve(event)
        fresh, fresh_groups = told(list(outcome(events[:number]).values()))
        assert content(compiler) == content(fresh)
        assert compiler.problems == fresh.problems
        assert groups.selectors == fresh_groups.selectors


@given(antrea_stories(), st.lists(st.booleans(), min_size=25, max_size=25))
def test_a_reader_of_the_changes_misses_nothing(events: Story, looks: list[bool]) -> None:
    compiler, groups = Compiler(), Groups()
    programs: dict[ProgramKey, Program] = {}
    selectors: dict[GroupId, GroupSelector] = {}

    for event, look in zip(events, looks, strict=False):
        compiler.evolve(event)
        groups.evolve(event)
        if look:
            changes, group_changes = compiler.drain(), groups.drain()
            programs |= changes.put
            selectors |= group_changes.select
            for key in changes.drop:
                programs.pop(key, None)
            for group in group_changes.release:
                del selectors[group]
            assert not changes.put.keys() & changes.drop
            assert programs == compiler.programs
            assert selectors == groups.selectors


@given(antrea_stories())
def test_every_program_names_only_groups_that_are_selected(events: Story) -> None:
    compiler, groups = told(events)

    named = {
        group
        for program in compiler.programs.values()
        for group in (
            program.applied_to,
            *(peer.group for rule in program.rules for peer in rule.peers or () if hasattr(peer, "group")),
            *(EVERY_POD_ID for rule in program.rules if asks_every_pod(rule)),
        )
    }
    assert named - {ALL_NODES} == groups.selectors.keys()


@given(antrea_stories())
def test_affected_names_every_unit_whose_program_changes(events: Story) -> None:
    before: Story = []
    policies = Policies()

    for event in events:
        then, _ = told(list(outcome(before).values()))
        before.append(event)
        now, _ = told(list(outcome(before).values()))
        changed = {unit for key in content(then).items() ^ content(now).items() for _, unit in [key[0]]}

        assert changed <= {one.unit for one in policies.evolve(event)}


def answer(events: Story, packet: Packet) -> Verdict | str:
    state = ClusterState()
    for event in events:
        state.evolve(event)
    try:
        return verdict(state, packet)
    except NoSuchEnd as error:
        return str(error)


@given(antrea_stories(), packets, st.integers(0, 99))
def test_a_verdict_depends_on_the_state_alone(events: Story, packet: Packet, seed: int) -> None:
    expected = answer(events, packet)

    for name, expansion in expand(events, seed=seed):
        assert answer(expansion, packet) == expected, name
