"""One-line breakages of our own code, and the tests that must fail for each: are the laws held, or only written down?

Each is a fault that somebody could make in good faith. `run.py` makes them one at a time in a copy; a mutation that no
test notices is a hole in the tests, and is mended there. A line that changes here has to change with the code:
`test_mutations.py` sees to it.
"""

from typing import NamedTuple

KUBE = "libs/kube/src/sluice/kube"
ADMISSION = "libs/admission/src/sluice/admission"
CONTRACTS = "libs/contracts/src/sluice/contracts"
GROUPING = "libs/grouping/src/sluice/grouping"
POLICY = "libs/policy/src/sluice/policy"
DATAPLANE = "libs/dataplane/src/sluice/dataplane"
DRIVERS = "libs/drivers/src/sluice/drivers"
RUNTIME = "libs/runtime/src/sluice/runtime"
INGEST = "services/ingest/src/sluice/services/ingest"
STATUS = "services/status-writer/src/sluice/services/status_writer"
WEBHOOK = "services/admission/src/sluice/services/admission"
COMPILER = "services/rule-compiler/src/sluice/services/rule_compiler"
NODE_OVS = "services/node-ovs/src/sluice/services/node_ovs"
NODE_L7 = "services/node-l7/src/sluice/services/node_l7"
LAB = "libs/lab/src/sluice/lab"
NODE_HOST = "services/node-host/src/sluice/services/node_host"
NODE_HOST_TESTS = "services/node-host/tests"
HOST_LAWS = "libs/dataplane/tests/test_host_laws.py"
HOST_MEANING = "libs/dataplane/tests/test_host_meaning.py"
NODE_TC_TESTS = "services/node-tc/tests"
NODE_TC = "services/node-tc/src/sluice/services/node_tc"

KUBE_MANIFEST = "libs/kube/tests/test_kube_manifest.py"
ADMISSION_TESTS = "libs/admission/tests/test_admission.py"
ADMISSION_ANTREA = "libs/admission/tests/test_admission_antrea.py"
ADMISSION_TABLES = "libs/admission/tests/test_admission_tables.py"
ADMISSION_JUDGING = "services/admission/tests/test_admission_judging.py"
ADMISSION_BUS = "tests/integration/test_bus_admission.py"
SELECTORS = "libs/grouping/tests/test_selectors.py"
GROUPING_TESTS = "libs/grouping/tests/test_grouping.py"
TRANSLATE = "libs/policy/tests/test_translate_k8s.py"
TRANSLATE_ANTREA = "libs/policy/tests/test_translate_antrea.py"
COMPILER_TESTS = "libs/policy/tests/test_compiler.py"
COMPILER_BUS = "tests/integration/test_bus_rule_compiler.py"
VERDICT = "libs/policy/tests/test_verdict_k8s.py"
VERDICT_TIERS = "libs/policy/tests/test_verdict_tiers.py"
VERDICT_ANTREA = "libs/policy/tests/test_verdict_antrea.py"
VERDICT_NAMED = "libs/policy/tests/test_verdict_named.py"
LINT = "libs/policy/tests/test_lint.py"
LINT_LAWS = "libs/policy/tests/test_lint_laws.py"
VIEW = "libs/dataplane/tests/test_view.py"
ADDRESSES = "libs/dataplane/tests/test_addresses.py"
ENGINE = "libs/dataplane/tests/test_ovs_engine.py"
WALK = "libs/dataplane/tests/test_ovs_walk.py"
OVS_VERDICT = "libs/dataplane/tests/test_ovs_verdict.py"
OVS_RULES = "libs/dataplane/tests/test_ovs_rules.py"
AUDIT = "libs/dataplane/tests/test_ovs_audit.py"
PIPELINE = "libs/dataplane/tests/test_ovs_pipeline.py"
TEXT = "libs/dataplane/tests/test_ovs_text.py"
PLAN = "libs/dataplane/tests/test_ovs_plan.py"
SERVING = "libs/dataplane/tests/test_ovs_serving.py"
TRAFFIC = "libs/dataplane/tests/test_ovs_traffic.py"
TRAFFIC_LAWS = "libs/dataplane/tests/test_ovs_traffic_laws.py"
TRAFFIC_PORTS = "libs/dataplane/tests/test_ovs_traffic_ports.py"
REFUSAL = "libs/dataplane/tests/test_refusal.py"
TC_MEANING = "libs/dataplane/tests/test_tc_meaning.py"
TC_PLAN = "libs/dataplane/tests/test_tc_plan.py"
TC_LAWS = "libs/dataplane/tests/test_tc_laws.py"
INTERFACES = "libs/grouping/tests/test_interfaces.py"
TRANSLATE_MULTI = "libs/policy/tests/test_translate_multi.py"
CODEC = "libs/drivers/tests/test_openflow_codec.py"
SWITCH = "libs/drivers/tests/test_openflow_switch.py"
L7_ENGINE = "tests/l7/test_l7_engine.py"
L7_EVENTS = "libs/dataplane/tests/test_l7_events.py"
EVENT_LOG = "services/node-l7/tests/test_event_log.py"
LAB_REALISED = "libs/lab/tests/test_lab_realised.py"
LAB_OFFLINE = "libs/lab/tests/test_lab_offline.py"
MARKS = "libs/runtime/tests/test_bus_marks.py"
WRITES = "libs/runtime/tests/test_bus_writes.py"
OUTPUT = "libs/runtime/tests/test_bus_output.py"
CATALOG = "services/ingest/tests/test_ingest_catalog.py"
SOURCE = "services/ingest/tests/test_ingest_source.py"
INGEST_OBJECTS = "services/ingest/tests/test_ingest_objects.py"
INGEST_KUBERNETES = "services/ingest/tests/test_ingest_kubernetes.py"
MIRROR = "libs/drivers/tests/test_kubernetes_mirror.py"
LEASE = "libs/drivers/tests/test_kubernetes_lease.py"
REALISATION = "libs/policy/tests/test_realisation.py"
WARNINGS = "libs/policy/tests/test_warnings.py"
STATUS_WRITER = "services/status-writer/tests/test_status_writer.py"
INGEST_SHELL = "services/ingest/tests/test_ingest_shell.py"
SHELL = "services/node-ovs/tests/test_shell.py"
PROGRAMMER = "services/node-ovs/tests/test_programmer.py"
ANSWERS = "services/node-ovs/tests/test_answers.py"
FQDN = "libs/dataplane/tests/test_ovs_fqdn.py"
DNS_MESSAGE = "libs/dataplane/tests/test_dns_message.py"
DNS_STREAM = "libs/dataplane/tests/test_dns_stream.py"
DNS_CLIENT = "libs/drivers/tests/test_dns_client.py"

COUNTING = "libs/dataplane/tests/test_ovs_counting.py"
DETOUR = "libs/dataplane/tests/test_ovs_detour.py"
COUNTS = "libs/dataplane/tests/test_ovs_counts.py"


class Mutation(NamedTuple):
    name: str
    """Says what is true in the broken program."""

    file: str
    line: str
    """As it stands there, once; a part of the line if that is enough, with its neighbour if the line is there twice."""

    broken: str
    """In its place."""

    tests: tuple[str, ...]
    """Paths or node ids, the quickest that should notice. At least one of them fails."""


MUTATIONS = (
    # ------------------------------------------------------------------------------------------------- kube, admission
    Mutation(
        "unknown-fields-are-ignored",
        f"{KUBE}/schema.py",
        "elif strict and name not in UNREAD.get(expected.cls, ()):",
        "elif strict and name in NOT_YET.get(expected.cls, ()):",
        (f"{KUBE_MANIFEST}::test_a_policy_of_another_shape_is_refused_with_its_path",),
    ),
    Mutation(
        "an-empty-item-is-taken",
        f"{KUBE}/schema.py",
        "        if is_null(item):",
        "        if False:",
        (f"{KUBE_MANIFEST}::test_a_policy_of_another_shape_is_refused_with_its_path",),
    ),
    Mutation(
        "yaml-takes-a-key-twice",
        f"{KUBE}/yaml_text.py",
        "            if name in entries:",
        "            if False:",
        ("libs/kube/tests/test_kube_yaml.py::test_what_is_refused_says_the_line",),
    ),
    Mutation(
        "json-takes-a-key-twice",
        f"{KUBE}/json_text.py",
        "            if key in entries:",
        "            if False:",
        ("libs/kube/tests/test_kube_json.py::test_what_is_refused_says_the_line",),
    ),
    Mutation(
        "an-except-may-be-the-whole-block",
        f"{ADMISSION}/addresses.py",
        "part.prefixlen > all_of_it.prefixlen",
        "part.prefixlen >= all_of_it.prefixlen",
        (f"{ADMISSION_TESTS}::test_a_policy",),
    ),
    Mutation(
        "an-except-may-be-elsewhere",
        f"{ADMISSION}/addresses.py",
        "inside = part.network_address in all_of_it and part",
        "inside = part",
        (f"{ADMISSION_TESTS}::test_a_policy",),
    ),
    Mutation(
        "port-65536-is-one",
        f"{ADMISSION}/network_policy.py",
        "PORTS = range(1, 65536)",
        "PORTS = range(1, 65537)",
        (f"{ADMISSION_TESTS}::test_a_policy",),
    ),
    Mutation(
        "port-0-is-one",
        f"{ADMISSION}/network_policy.py",
        "PORTS = range(1, 65536)",
        "PORTS = range(65536)",
        (f"{ADMISSION_TESTS}::test_a_policy",),
    ),
    Mutation(
        "a-range-of-ports-may-go-backwards",
        f"{ADMISSION}/network_policy.py",
        "elif port.end_port is not None and port.end_port < first:",
        "elif port.end_port is not None and port.end_port < 1:",
        (f"{ADMISSION_TESTS}::test_a_policy",),
    ),
    Mutation(
        "the-baseline-may-pass",
        f"{ADMISSION}/antrea_policy.py",
        'if rule.action == "Pass" and tier_name(spec.tier) == BASELINE_TIER:',
        'if rule.action == "Pass" and not tier_name(spec.tier):',
        (f"{ADMISSION_ANTREA}::test_policies",),
    ),
    Mutation(
        "an-erspan-comes-back",
        f"{ADMISSION}/traffic_control.py",
        "        yield from _of_port(spec.return_port, _RETURN, _KINDS[:-1])",
        "        yield from ()",
        (f"{ADMISSION_TABLES}::test_refused",),
    ),
    Mutation(
        "a-mirror-has-a-return-port",
        f"{ADMISSION}/traffic_control.py",
        '        case "Mirror", TrafficPort():',
        '        case "Pass", TrafficPort():',
        (f"{ADMISSION_TABLES}::test_refused",),
    ),
    Mutation(
        "an-index-of-either-version",
        f"{ADMISSION}/traffic_control.py",
        "if number is not None and tunnel.version in VERSIONS and tunnel.version != version:",
        "if number is not None and tunnel.version not in VERSIONS:",
        (f"{ADMISSION_TABLES}::test_refused",),
    ),
    Mutation(
        "a-device-of-sixteen-letters",
        f"{ADMISSION}/traffic_control.py",
        "MAX_DEVICE_NAME = 15",
        "MAX_DEVICE_NAME = 16",
        (f"{ADMISSION_TABLES}::test_refused",),
    ),
    Mutation(
        "two-ways-in-one-entry",
        f"{ADMISSION}/antrea_ends.py",
        "    elif len(ways) > 1:",
        "    elif len(ways) > 2:",
        (f"{ADMISSION_TABLES}::test_refused",),
    ),
    Mutation(
        "a-rule-applies-to-nodes",
        f"{ADMISSION}/antrea_ends.py",
        "    elif of_rule and entry.node_selector is not None:",
        "    elif not of_rule and entry.node_selector is None:",
        (f"{ADMISSION_TABLES}::test_refused",),
    ),
    Mutation(
        "pods-reach-a-node-port",
        f"{ADMISSION}/antrea_policy.py",
        "            if peer.ip_block is None:",
        "            if peer.ip_block is None and not rule.from_:",
        (f"{ADMISSION_TABLES}::test_refused",),
    ),
    Mutation(
        "multicast-is-rejected",
        f"{ADMISSION}/antrea_rule.py",
        '    elif rule.action in ("Pass", "Reject"):',
        '    elif rule.action in ("Pass",):',
        (f"{ADMISSION_TABLES}::test_refused",),
    ),
    Mutation(
        "reports-come-in",
        f"{ADMISSION}/antrea_rule.py",
        '{"ingress": (0x11,), "egress": (0x12, 0x16, 0x22)}',
        '{"ingress": (0x11, 0x16), "egress": (0x12, 0x16, 0x22)}',
        (f"{ADMISSION_TABLES}::test_refused",),
    ),
    Mutation(
        "requests-are-dropped",
        f"{ADMISSION}/l7.py",
        '    if rule.action != "Allow":',
        '    if rule.action == "Pass":',
        (f"{ADMISSION_TABLES}::test_refused",),
    ),
    Mutation(
        "l7-one-allowed-request-allows-the-next",
        f"{DATAPLANE}/l7/http.py",
        'options=(_TO_SERVER, *GATE, f"flowbits:unset,{ALLOWED}"),',
        'options=(_TO_SERVER, *GATE, f"flowbits:isset,{ALLOWED}"),',
        (f"{L7_ENGINE}::test_what_becomes_of_it",),
    ),
    Mutation(
        "l7-open-tls-connections-outlive-their-policy",
        f"{DATAPLANE}/l7/tls.py",
        "for number, gate in ((sid, HELLO), (700_002, ANSWERED)):",
        "for number, gate in ((sid, HELLO),):",
        (f"{L7_ENGINE}::test_a_changed_policy_is_for_open_connections_too",),
    ),
    Mutation(
        "l7-nothing-is-judged-behind-a-megabyte",
        f"{DATAPLANE}/l7/engine.py",
        '"depth": 0,',
        '"depth": "1mb",',
        (f"{L7_ENGINE}::test_what_becomes_of_it",),
    ),
    Mutation(
        "l7-any-rules-are-shown",
        f"{DRIVERS}/suricata/probing.py",
        "return frozenset(vlan for vlan in came if digests[vlan] not in passed)",
        "return frozenset(came)",
        (f"{L7_ENGINE}::test_a_probe_shows_which_rules_are_in_force",),
    ),
    Mutation(
        "l7-packets-are-kept-without-logging",
        f"{DATAPLANE}/l7/events.py",
        "    if logged and kept:",
        "    if kept:",
        (f"{L7_EVENTS}::test_without_logging_no_packet_is_kept",),
    ),
    Mutation(
        "l7-a-restart-tells-events-again",
        f"{NODE_L7}/eventlog.py",
        "offset = self._place.offset if current.name == self._place.file else 0",
        "offset = self._place.offset if current.name != self._place.file else 0",
        (f"{EVENT_LOG}::test_a_restart_goes_on_where_it_was",),
    ),
    Mutation(
        "l7-a-day-fills-the-disk",
        f"{NODE_L7}/eventlog.py",
        "if not first and (len(seen) > days or total > size_bytes):",
        "if not first and len(seen) > days:",
        (f"{EVENT_LOG}::test_a_day_may_not_fill_the_disk",),
    ),
    Mutation(
        "lab-engines-are-not-waited-for",
        f"{LAB}/realised.py",
        "for node in sorted(wanted.inspected):",
        "for node in sorted(wanted.ports.keys() - wanted.inspected):",
        (f"{LAB_REALISED}::test_what_is_missing_where_requests_are_inspected",),
    ),
    Mutation(
        "lab-the-last-of-several-requests-decides",
        f"{LAB}/reasons.py",
        "        if given.outcome is not Outcome.ALLOWED:",
        "        if given.outcome is Outcome.DROPPED:",
        (f"{LAB_OFFLINE}::test_each_request_of_a_connection_is_decided_by_itself",),
    ),
    Mutation(
        "a-child-has-children",
        f"{ADMISSION}/among.py",
        "    if children and parents:",
        "    if not children and parents:",
        (f"{ADMISSION_TABLES}::test_refused",),
    ),
    Mutation(
        "a-tier-moves",
        f"{ADMISSION}/among.py",
        "    if before is not None and before != priority:",
        "    if before is not None and before > priority:",
        (f"{ADMISSION_TABLES}::test_refused",),
    ),
    Mutation(
        "one-tier-more",
        f"{ADMISSION}/tier.py",
        "MAX_TIERS = 20",
        "MAX_TIERS = 21",
        (f"{ADMISSION_TABLES}::test_refused",),
    ),
    Mutation(
        "a-headless-service-is-one",
        f"{ADMISSION}/among.py",
        "known.spec.cluster_ip == HEADLESS",
        "known.spec.cluster_ip == 'none'",
        (f"{ADMISSION_TABLES}::test_refused",),
    ),
    Mutation(
        "a-tier-goes-while-it-is-named",
        f"{ADMISSION}/among.py",
        "case Kind.TIER if users := others.users_of(key.name):",
        "case Kind.TIER if not (users := others.users_of(key.name)):",
        (f"{ADMISSION_JUDGING}::test_removals",),
    ),
    Mutation(
        "a-review-before-all-is-known",
        f"{WEBHOOK}/shell.py",
        "        if told.in_sync and not self.in_sync.is_set():",
        "        if not self.in_sync.is_set():",
        (f"{ADMISSION_BUS}::test_nothing_is_admitted_before_all_is_known",),
    ),
    # -------------------------------------------------------------------------------------------------------- grouping
    Mutation(
        "not-in-wants-the-key",
        f"{GROUPING}/selectors.py",
        "if value is not None and value in requirement.values:",
        "if value is None or value in requirement.values:",
        (f"{SELECTORS}::test_matches",),
    ),
    Mutation(
        "two-requirements-on-a-key-are-joined",
        f"{GROUPING}/selectors.py",
        "allowed = set(requirement.values) & (set(requirement.values) if allowed is None else allowed)",
        "allowed = set(requirement.values) | (set(requirement.values) if allowed is None else allowed)",
        (SELECTORS,),
    ),
    Mutation(
        "an-unknown-namespace-matches",
        f"{GROUPING}/selectors.py",
        "namespace_labels is None or not matches(term.namespace_selector, namespace_labels)",
        "namespace_labels is not None and not matches(term.namespace_selector, namespace_labels)",
        (f"{SELECTORS}::test_selects",),
    ),
    Mutation(
        "a-pod-in-the-hosts-network-is-a-member",
        f"{CONTRACTS}/objects.py",
        "return bool(spec.node_name) and not spec.host_network and self.status.phase",
        "return bool(spec.node_name) and self.status.phase",
        (f"{GROUPING_TESTS}::test_members",),
    ),
    Mutation(
        "a-pod-that-succeeded-stays",
        f"{CONTRACTS}/objects.py",
        'not spec.host_network and self.status.phase not in ("Succeeded", "Failed")',
        'not spec.host_network and self.status.phase != "Failed"',
        (f"{GROUPING_TESTS}::test_members",),
    ),
    Mutation(
        "a-namespace-keeps-its-first-labels",
        f"{GROUPING}/matching.py",
        "        space.labels = labels\n",
        "        space.labels = space.labels or labels\n",
        (f"{GROUPING_TESTS}::test_a_namespace_that_changes_its_labels_moves_its_pods",),
    ),
    Mutation(
        "a-relabelled-pod-stays-in-its-groups",
        f"{GROUPING}/placed.py",
        "same = self.label_set is other.label_set and self.node == other.node",
        "same = self.node == other.node",
        (GROUPING_TESTS, "libs/grouping/tests/test_grouping_laws.py"),
    ),
    Mutation(
        "the-first-of-two-pods-keeps-the-address",
        f"{GROUPING}/addresses.py",
        "self._holders[address] = max(",
        "self._holders[address] = min(",
        (f"{GROUPING_TESTS}::test_of_two_pods_with_one_address_one_has_it",),
    ),
    Mutation(
        "late-news-wins",
        f"{GROUPING}/events.py",
        "if revision <= self._at.get(key, self._floor):",
        "if revision == self._at.get(key, self._floor):",
        (
            f"{GROUPING_TESTS}::test_late_news_is_absorbed",
            f"{COMPILER_TESTS}::test_late_and_unheard_of_news_is_absorbed",
        ),
    ),
    Mutation(
        "what-was-settled-comes-back",
        f"{GROUPING}/events.py",
        "if revision <= self._at.get(key, self._floor):",
        "if revision <= self._at.get(key, NEVER):",
        (f"{GROUPING_TESTS}::test_settling_forgets_the_past_and_not_its_lesson",),
    ),
    # ------------------------------------------------------------------------------------------------ policy.translate
    Mutation(
        "an-egress-rule-is-no-policy-type",
        f"{POLICY}/translate/k8s.py",
        'types = policy.spec.policy_types or (("Ingress", "Egress") if policy.spec.egress else ("Ingress",))',
        'types = policy.spec.policy_types or ("Ingress",)',
        (f"{TRANSLATE}::test_directions",),
    ),
    Mutation(
        "an-empty-from-is-nobody",
        f"{POLICY}/translate/k8s.py",
        "peers=self._each(peers, self._peer, direction, index, peers_field) if peers else None,",
        "peers=self._each(peers, self._peer, direction, index, peers_field),",
        (f"{TRANSLATE}::test_peers",),
    ),
    Mutation(
        "a-refused-peer-is-everybody",
        f"{POLICY}/translate/k8s.py",
        "peers=self._each(peers, self._peer, direction, index, peers_field) if peers else None,",
        "peers=self._each(peers, self._peer, direction, index, peers_field) or None,",
        (f"{TRANSLATE}::test_what_admission_should_have_refused_allows_nothing_and_isolates_all_the_same",),
    ),
    Mutation(
        "end-port-is-ignored",
        f"{POLICY}/translate/k8s.py",
        "last = first if last is None else last",
        "last = first",
        (f"{TRANSLATE}::test_ports",),
    ),
    Mutation(
        "an-egress-rule-takes-the-peers-of-ingress",
        f"{POLICY}/translate/k8s.py",
        'rules.append(self._rule(_INGRESS, index, ingress, "from", ingress.from_))',
        'rules.append(self._rule(_EGRESS, index, ingress, "from", ingress.from_))',
        (f"{TRANSLATE}::test_peers",),
    ),
    Mutation(
        "excepts-are-skipped",
        f"{POLICY}/translate/blocks.py",
        "excepts=tuple(map(str, outer))",
        "excepts=()",
        (f"{TRANSLATE}::test_peers",),
    ),
    Mutation(
        "match-self-is-everybody",
        f"{POLICY}/translate/antrea.py",
        "own = dict(pods_of_any((spread.pods,), name) for spread in piece.spreads if not spread.keys)",
        "own = dict(pods_of_any((spread.pods,)) for spread in piece.spreads if not spread.keys)",
        (f"{VERDICT_ANTREA}::test_documented_examples",),
    ),
    Mutation(
        "same-labels-compares-one-key",
        f"{POLICY}/translate/antrea.py",
        "tuple((key, labels[key]) for key in keys)",
        "tuple((key, labels[key]) for key in keys[:1])",
        (f"{VERDICT_ANTREA}::test_documented_examples",),
    ),
    Mutation(
        "same-labels-binds-who-has-none-of-them",
        f"{POLICY}/translate/antrea.py",
        "selections = _alone(pods, keys) if keys and () not in keys else pods",
        "selections = pods",
        (VERDICT_ANTREA,),
    ),
    Mutation(
        "a-refused-drop-drops-nothing",
        f"{POLICY}/translate/pieces.py",
        "return None if refused and action in _WIDENED else tuple(dict.fromkeys(made))",
        "return tuple(dict.fromkeys(made))",
        (f"{TRANSLATE_ANTREA}::test_a_peer_that_means_nothing_opens_nothing",),
    ),
    Mutation(
        "pass-allows",
        f"{POLICY}/translate/matching.py",
        '"Pass": Action.PASS,',
        '"Pass": Action.ALLOW,',
        (f"{VERDICT_ANTREA}::test_order",),
    ),
    # ------------------------------------------------------------------------------------------- whom names mean
    Mutation(
        "children-of-children-count",
        f"{POLICY}/translate/named.py",
        "        if inner.child_groups:",
        "        if False:",
        (f"{VERDICT_NAMED}::test_peers",),
    ),
    Mutation(
        "a-group-is-that-of-any-namespace",
        f"{POLICY}/translate/named.py",
        "        inner = cluster.group((namespace, child))",
        '        inner = cluster.group((namespace, child)) or cluster.group(("", child))',
        (f"{VERDICT_NAMED}::test_groups_of_a_namespace",),
    ),
    Mutation(
        "a-group-may-reach-elsewhere",
        f"{POLICY}/translate/targets.py",
        "        if one.namespace or elsewhere:",
        "        if one.namespace:",
        (f"{VERDICT_NAMED}::test_groups_of_a_namespace",),
    ),
    Mutation(
        "a-reach-is-judged-once",
        f"{POLICY}/translate/cluster.py",
        "        self._selectors.update(dict.fromkeys(selectors))",
        "        self._selectors.update(dict.fromkeys(selectors) if keys else {})",
        (f"{VERDICT_NAMED}::test_a_group_that_begins_to_reach_elsewhere_takes_its_policies_out_of_force",),
    ),
    Mutation(
        "the-default-account-is-every-account",
        f"{GROUPING}/members.py",
        'return LabelRequirement(key=_ACCOUNT, operator="DoesNotExist")',
        'return LabelRequirement(key=_ACCOUNT, operator="NotIn", values=("",))',
        (f"{VERDICT_NAMED}::test_peers",),
    ),
    Mutation(
        "a-node-has-no-gateway",
        f"{GROUPING}/members.py",
        "        if network.num_addresses > 1:",
        "        if network.num_addresses < 1:",
        (f"{VERDICT_NAMED}::test_peers",),
    ),
    Mutation(
        "a-changed-group-is-news-to-nobody",
        f"{POLICY}/policies.py",
        "return self._dependents.on_group(name) if _put(self._groups, name, spec) else ()",
        "return self._dependents.on_group(name) if not _put(self._groups, name, spec) else ()",
        (f"{VERDICT_NAMED}::test_peers",),
    ),
    Mutation(
        "a-changed-service-is-news-to-nobody",
        f"{POLICY}/policies.py",
        "return self._dependents.on_service(name) if _put(self._selectors, name, labels) else ()",
        "return self._dependents.on_service(name) if not _put(self._selectors, name, labels) else ()",
        (f"{VERDICT_NAMED}::test_peers",),
    ),
    Mutation(
        "a-service-is-told-by-nobody",
        f"{POLICY}/verdict.py",
        "found += [faced for faced in at_services if matches.node_port in (faced.rule.services or ())]",
        "found += at_services",
        (f"{VERDICT_NAMED}::test_what_comes_to_a_node_port_is_let_in_by_the_rules_of_the_service_and_then_of_the_pod",),
    ),
    Mutation(
        "a-star-is-a-label",
        f"{POLICY}/fqdn.py",
        "if at > stop or not text.startswith(begin) or not text.endswith(end):",
        'if at > stop or not text.startswith(begin) or not text.endswith(end) or "." in text[at:stop]:',
        (f"{VERDICT_NAMED}::test_destinations",),
    ),
    Mutation(
        "what-http-does-not-allow-is-asked-on",
        f"{POLICY}/verdict.py",
        'return Action.REJECT if packet.protocol == "TCP" else Action.DROP',
        "return Action.ALLOW",
        (f"{VERDICT_NAMED}::test_a_rule_about_http_decides_about_all_that_matches_it",),
    ),
    Mutation(
        "dns-over-tcp-is-enough",
        f"{POLICY}/starving.py",
        'case TransportTraffic(protocol="UDP", ports=PortRange(first=first, last=last)):',
        "case TransportTraffic(ports=PortRange(first=first, last=last)):",
        (f"{LINT}::test_findings",),
    ),
    Mutation(
        "a-pass-leads-by-nothing",
        f"{POLICY}/hidden.py",
        "return any(self._leads(each, wide, narrow) for each in self._beside(narrow.program.applied_to))",
        "return False",
        (f"{LINT}::test_findings",),
    ),
    Mutation(
        "rules-meet-in-one-port-alone",
        f"{POLICY}/meeting.py",
        "        found += self._loose.of(dict.fromkeys(protocol for protocol, _ in exact))",
        "        found += ()",
        (f"{LINT_LAWS}::test_each_with_each",),
    ),
    Mutation(
        "blocks-hold-no-pods",
        f"{POLICY}/meeting.py",
        "                groups, blocks = self._groups.near(group), self._blocks.at(self._people.kinds(group))",
        "                groups, blocks = self._groups.near(group), self._blocks.at(())",
        (f"{LINT_LAWS}::test_each_with_each",),
    ),
    Mutation(
        "only-blocks-of-the-same-size-cover",
        f"{POLICY}/hidden.py",
        "                    if version == own.version and length <= own.prefixlen:",
        "                    if version == own.version and length == own.prefixlen:",
        (f"{LINT_LAWS}::test_lint_finds_what_comparing_each_with_each_finds",),
    ),
    # ------------------------------------------------------------------------------------------------ policy.compiler
    Mutation(
        "a-policy-that-moves-leaves-its-program",
        f"{POLICY}/compiler.py",
        "            if group not in addressed:",
        "            if not addressed:",
        (f"{COMPILER_TESTS}::test_a_policy_that_applies_to_others_now_is_another_program",),
    ),
    Mutation(
        "a-program-is-new-for-its-cause-alone",
        f"{POLICY}/compiler.py",
        "if known is not None and replace(known, cause=program.cause) == program:",
        "if known is not None and known == program:",
        (f"{COMPILER_TESTS}::test_what_changes_nothing_keeps_its_cause",),
    ),
    Mutation(
        "the-first-to-leave-a-group-releases-it",
        f"{POLICY}/compiler.py",
        "        if others:\n",
        "        if others > 1:\n",
        (f"{COMPILER_TESTS}::test_a_group_stays_while_any_policy_names_it",),
    ),
    Mutation(
        "drop-goes-before-put",
        f"{COMPILER}/shell.py",
        "        changes = self._compiler.drain()\n",
        "        changes = self._compiler.drain()\n        [self._remove(*one, cause, ()) for one in changes.drop]\n",
        (f"{COMPILER_BUS}::test_what_moves_to_another_group_is_in_one_of_them_at_any_time",),
    ),
    # ------------------------------------------------------------------------------------------------- policy.verdict
    Mutation(
        "the-greater-priority-goes-first",
        f"{POLICY}/order.py",
        "return Order(program.tier, program.priority, rule.index,",
        "return Order(program.tier, -program.priority, rule.index,",
        (f"{VERDICT_TIERS}::test_order",),
    ),
    Mutation(
        "tiers-do-not-count",
        f"{POLICY}/order.py",
        "return Order(program.tier, program.priority, rule.index,",
        "return Order(0, program.priority, rule.index,",
        (f"{VERDICT_TIERS}::test_order",),
    ),
    Mutation(
        "pass-is-ignored",
        f"{POLICY}/verdict.py",
        "            break\n    for faced in matching:\n        if faced.order.tier == K8S_TIER:",
        "            continue\n    for faced in matching:\n        if faced.order.tier == K8S_TIER:",
        (f"{VERDICT_TIERS}::test_order",),
    ),
    Mutation(
        "the-baseline-goes-before-kubernetes",
        f"{POLICY}/verdict.py",
        "if faced.order.tier < K8S_TIER:",
        "if faced.order.tier != K8S_TIER:",
        (f"{VERDICT_TIERS}::test_order",),
    ),
    Mutation(
        "isolation-is-ignored",
        f"{POLICY}/verdict.py",
        "isolating = state.facing(subject, direction).isolating if subject is not None",
        "isolating = state.facing(subject, direction).isolating[:0] if subject is not None",
        (f"{VERDICT}::test_verdict",),
    ),
    Mutation(
        "egress-is-decided-by-ingress-rules",
        f"{POLICY}/verdict.py",
        "egress = _decide(state, subjects[0], Direction.EGRESS, destination, matches)",
        "egress = _decide(state, subjects[0], Direction.INGRESS, destination, matches)",
        (f"{VERDICT}::test_verdict",),
    ),
    Mutation(
        "a-named-port-is-the-senders",
        f"{POLICY}/verdict.py",
        "matches = _Matcher(packet, destination)",
        "matches = _Matcher(packet, source)",
        (VERDICT,),
    ),
    Mutation(
        "who-is-excepted-is-in-the-block",
        f"{POLICY}/facing.py",
        "if not any(wanted in hole for hole in block.excepts):",
        "if block.faced:",
        (VERDICT,),
    ),
    # ------------------------------------------------------------------------------------------------- dataplane.view
    Mutation(
        "a-missing-mark-is-ignored",
        f"{DATAPLANE}/view.py",
        "for shard in range(shards)):\n        return NEVER",
        "for shard in range(shards)):\n        return min(mark.upto for mark in marks.values())",
        (f"{VIEW}::test_the_mark_of_every_shard_is_needed",),
    ),
    Mutation(
        "the-newest-mark-decides",
        f"{DATAPLANE}/view.py",
        "return min(marks[shard].upto for shard in range(shards))",
        "return max(marks[shard].upto for shard in range(shards))",
        (f"{VIEW}::test_one_shard_that_is_behind_holds_everything_back",),
    ),
    Mutation(
        "one-stream-is-enough",
        f"{DATAPLANE}/view.py",
        "return min(marks)",
        "return max(marks)",
        (VIEW,),
    ),
    Mutation(
        "the-first-step-does-not-wait-for-answers",
        f"{DATAPLANE}/view.py",
        "if not self._started and not self._answered.issuperset(self._uses):",
        "if not self._started and not self._answered:",
        (f"{VIEW}::test_a_program_found_at_start_makes_its_peers_wanted_before_the_first_step",),
    ),
    Mutation(
        "own-groups-have-a-grace",
        f"{DATAPLANE}/view.py",
        "not self._groups_known(self._own[shard]):",
        "not self._groups_known(self._own[shard]) and not self._overdue(_Late(cause, 0.0), now_s):",
        (f"{VIEW}::test_own_groups_have_no_grace",),
    ),
    Mutation(
        "a-tombstone-is-forgotten",
        f"{DATAPLANE}/view.py",
        "self._pages.pop(key, None)",
        "self._pages.get(key, None)",
        (VIEW,),
    ),
    Mutation(
        "the-tombstone-of-a-program-is-forgotten",
        f"{DATAPLANE}/view.py",
        "old = self._programs.pop(key, None)",
        "old = self._programs.get(key, None)",
        (f"{VIEW}::test_a_program_ends_while_its_group_stays",),
    ),
    Mutation(
        "the-younger-overtakes-what-waits",
        f"{DATAPLANE}/view.py",
        "upto = _before(late.cause)",
        "held.add(key)",
        (VIEW,),
    ),
    # -------------------------------------------------------------------------------------------------- dataplane.ovs
    Mutation(
        "a-conjunction-has-a-clause-too-many",
        f"{DATAPLANE}/ovs/engine.py",
        "Conjunction(id, place, count) if",
        "Conjunction(id, place, count + 1) if",
        (f"{ENGINE}::test_the_engine_agrees_with_lowering_from_scratch",),
    ),
    Mutation(
        "a-port-mask-is-off-by-one",
        f"{DATAPLANE}/addresses.py",
        "while size > last - first + 1:",
        "while size > last - first + 2:",
        (f"{ADDRESSES}::test_port_masks",),
    ),
    Mutation(
        "a-cover-skips-its-excepts",
        f"{DATAPLANE}/addresses.py",
        "if block.covers(other) or other.covers(block)]",
        "if other.covers(block)]",
        (f"{ADDRESSES}::test_a_cidr_without_its_excepts",),
    ),
    Mutation(
        "a-pod-may-send-from-any-mac",
        f"{DATAPLANE}/ovs/ports.py",
        "own = (here, Term(Field.ETH_SRC, number), *source(block))",
        "own = (here, *source(block))",
        (f"{WALK}::test_a_pod_speaks_for_itself_alone",),
    ),
    Mutation(
        "a-pod-may-answer-arp-for-any-mac",
        f"{DATAPLANE}/ovs/ports.py",
        "asks = (Term(Field.ARP_SHA, number), Term(Field.ARP_SPA, block.value))",
        "asks = (Term(Field.ARP_SPA, block.value),)",
        (f"{WALK}::test_a_pod_speaks_for_itself_alone",),
    ),
    Mutation(
        "the-ports-of-ipv6-are-forgotten",
        f"{DATAPLANE}/ovs/sources.py",
        "_ETH_TYPES = {4: EthType.IPV4, 6: EthType.IPV6}",
        "_ETH_TYPES = {4: EthType.IPV4}",
        (OVS_VERDICT, f"{WALK}::test_rules_that_meet_in_one_flow"),
    ),
    Mutation(
        "ipv6-is-not-tracked",
        f"{DATAPLANE}/ovs/base.py",
        "_IP = (EthType.IPV4, EthType.IPV6)",
        "_IP = (EthType.IPV4,)",
        (OVS_VERDICT,),
    ),
    Mutation(
        "a-named-port-is-of-any-protocol",
        f"{DATAPLANE}/ovs/sources.py",
        "for port in named if (port.name, port.protocol) == wanted]",
        "for port in named if port.name in wanted]",
        (OVS_VERDICT, f"{WALK}::test_rules_that_meet_in_one_flow"),
    ),
    Mutation(
        "what-cannot-be-lowered-drops-behind-what-allows",
        f"{DATAPLANE}/ovs/layers.py",
        "PRIORITY_CLOSED = 65_001",
        "PRIORITY_CLOSED = 2",
        (f"{PIPELINE}::test_what_is_closed_goes_before_all_that_a_rule_allows",),
    ),
    Mutation(
        "who-answers-before-policy-is-let-in",
        f"{DATAPLANE}/ovs/base.py",
        "match(_state(_TRACKED | on, off), marks), does)",
        "match(_state(_TRACKED | on, off)), does)",
        (SERVING,),
    ),
    Mutation(
        "a-first-packet-that-comes-again-is-for-no-service",
        f"{DATAPLANE}/ovs/base.py",
        "    MoveField(Field.CT_LABEL, SERVICE_PORT, SERVICE_PORT_BITS, LABEL_SERVICE_PORT),\n",
        "",
        (SERVING,),
    ),
    Mutation(
        "endpoints-that-end-get-as-much-as-others",
        f"{DATAPLANE}/ovs/serving.py",
        'if at.endpoint.state == "ready"] or near',
        "if at.endpoint] or near",
        (SERVING,),
    ),
    Mutation(
        "affinity-outlives-its-endpoint",
        f"{DATAPLANE}/ovs/serving.py",
        "cookie=cookies.pack(CookieKind.AFFINITY, number),",
        "cookie=cookies.pack(CookieKind.AFFINITY, 0),",
        (SERVING,),
    ),
    Mutation(
        "nodes-of-other-endpoints-count-as-here",
        f"{DATAPLANE}/ovs/serving.py",
        "if not here_only or at.endpoint.node == node]",
        "if at.endpoint]",
        (SERVING,),
    ),
    Mutation(
        "to-services-is-about-node-ports-too",
        f"{DATAPLANE}/ovs/serving.py",
        "self._ask(number | BY_NODE_PORT, group)",
        "self._ask(number, group)",
        (SERVING,),
    ),
    Mutation(
        "rules-of-node-ports-are-about-pods-too",
        f"{DATAPLANE}/ovs/sources.py",
        "Term(SERVICE_PORT, number | BY_NODE_PORT)",
        "Term(SERVICE_PORT, number)",
        (TEXT,),
    ),
    Mutation(
        "a-hairpin-is-not-masked",
        f"{DATAPLANE}/ovs/base.py",
        "match(_ip(v), (FLAGS, HAIRPIN, HAIRPIN | ANSWER))",
        "match(_ip(v), (FLAGS, HAIRPIN | ANSWER, HAIRPIN | ANSWER))",
        (SERVING,),
    ),
    Mutation(
        "what-is-rejected-is-dropped",
        f"{DATAPLANE}/ovs/layers.py",
        "            return REJECT, *count(id)",
        "            return count(id)",
        (OVS_VERDICT,),
    ),
    Mutation(
        "a-reset-is-answered",
        f"{DATAPLANE}/refusal.py",
        "    if flags & _RST:",
        "    if flags & _FIN:",
        (REFUSAL,),
    ),
    Mutation(
        "an-icmp-error-is-answered",
        f"{DATAPLANE}/refusal.py",
        "return kind in _ICMP_ERRORS if",
        "return False if",
        (REFUSAL,),
    ),
    Mutation(
        "a-reset-does-not-count-the-syn",
        f"{DATAPLANE}/refusal.py",
        " + bool(flags & _SYN)",
        "",
        (REFUSAL,),
    ),
    Mutation(
        "a-later-fragment-is-answered",
        f"{DATAPLANE}/refusal.py",
        "if frame is None or not frame.first or not",
        "if frame is None or not",
        (REFUSAL,),
    ),
    Mutation(
        "a-rule-that-rejects-and-finds-no-place-is-left-out",
        f"{DATAPLANE}/ovs/rules.py",
        "closes = rule.l7 is not None or rule.action in (Action.DROP, Action.REJECT)",
        "closes = rule.l7 is not None or rule.action is Action.DROP",
        ("libs/dataplane/tests/test_ovs_priorities.py",),
    ),
    Mutation(
        "what-was-lost-is-told-twice",
        f"{NODE_OVS}/accounts.py",
        "now, unheard - lost",
        "now, unheard",
        ("services/node-ovs/tests/test_errands.py",),
    ),
    Mutation(
        "each-packet-of-an-unanswered-connection-is-logged",
        f"{DATAPLANE}/ovs/audit.py",
        "match((Field.CT_MARK, 0, MARK_LET_IN))",
        "match()",
        (f"{AUDIT}::test_of_a_connection_that_is_let_in_the_first_packet_is_logged_of_others_each",),
    ),
    Mutation(
        "a-drop-is-logged-as-what-is-let-in-is",
        f"{DATAPLANE}/ovs/audit.py",
        "(LOG if denies else Resubmit(Table.AUDIT))",
        "Resubmit(Table.AUDIT)",
        (TEXT,),
    ),
    Mutation(
        "isolation-logs-nothing",
        f"{DATAPLANE}/ovs/rules.py",
        "clauses, logs=program.logs_isolation)",
        "clauses)",
        (AUDIT,),
    ),
    Mutation(
        "what-is-on-its-way-is-lost",
        f"{NODE_OVS}/accounts.py",
        "min(self._least, self._unheard)",
        "self._unheard",
        ("services/node-ovs/tests/test_accounts.py",),
    ),
    Mutation(
        "what-a-disk-refuses-is-forgotten",
        f"{NODE_OVS}/audit.py",
        'self._lose("not-written", packets)',
        "pass",
        ("services/node-ovs/tests/test_audit.py",),
    ),
    Mutation(
        "copies-before-the-rules-are-known-are-lost",
        f"{NODE_OVS}/audit.py",
        "        if self._told:",
        "        if True:",
        ("services/node-ovs/tests/test_audit.py",),
    ),
    Mutation(
        "lines-are-forged-by-names",
        f"{DATAPLANE}/audit/np_line.py",
        "_UNSAFE.sub(_encoded, value)",
        "value",
        ("libs/dataplane/tests/test_audit_seeing.py::test_a_line",),
    ),
    Mutation(
        "what-the-meter-dropped-is-silent",
        f"{NODE_OVS}/audit.py",
        'self._lose("over-rate", over_rate)',
        "pass",
        ("tests/e2e/test_audit.py",),
    ),
    Mutation(
        "a-line-is-of-the-object-as-it-is-now",
        f"{DATAPLANE}/audit/history.py",
        "standing or spans[-1:]",
        "spans[-1:]",
        ("libs/dataplane/tests/test_audit_seeing.py::test_who_decided",),
    ),
    Mutation(
        "a-pod-that-leaves-stays-isolated",
        f"{DATAPLANE}/ovs/bringing.py",
        "        self._regrouped(member)\n",
        "",
        ("libs/dataplane/tests/test_ovs_attributions.py",),
    ),
    Mutation(
        "a-full-log-loses-what-it-holds",
        f"{RUNTIME}/logfile.py",
        "self.path.rename(self._backup())",
        "self.path.unlink()",
        ("libs/runtime/tests/test_logfile.py",),
    ),
    Mutation(
        "policies-that-come-after-the-annotation-do-not-log",
        f"{POLICY}/compiler.py",
        "programs = tuple([relogged(program, on=True) for program in programs])",
        "pass",
        (f"{COMPILER_TESTS}::test_kubernetes_policies_log_as_their_namespace_says",),
    ),
    Mutation(
        "pass-goes-past-kubernetes",
        f"{DATAPLANE}/ovs/layers.py",
        "return (Goto(_TABLES[direction][Stage.K8S]),)",
        "return (Goto(_ONWARD[direction]),)",
        (TEXT,),
    ),
    Mutation(
        "ingress-rules-look-at-the-receiver",
        f"{DATAPLANE}/ovs/sources.py",
        "return destination(self.block) if out else source(self.block)",
        "return destination(self.block)",
        (OVS_VERDICT,),
    ),
    Mutation(
        "the-plan-forgets-to-delete",
        f"{DATAPLANE}/ovs/plan.py",
        "return Plan(put, tuple(delete))",
        "return Plan(put, ())",
        (PLAN,),
    ),
    Mutation(
        "the-plan-removes-strangers",
        f"{DATAPLANE}/ovs/plan.py",
        "cookies.is_ours(body.cookie)",
        "body.cookie >= 0",
        (PLAN,),
    ),
    Mutation(
        "a-value-that-came-twice-goes-at-once",
        f"{DATAPLANE}/ovs/index.py",
        "kept.values[value] = number + by",
        "kept.values[value] = 1",
        (ENGINE,),
    ),
    Mutation(
        "a-closed-port-keeps-its-forward-flow",
        f"{DATAPLANE}/ovs/plugged.py",
        "for key in self._flows.pop(uid, {}):",
        "for key in [key for key in self._flows.pop(uid, {}) if key.table != 80]:",
        (f"{WALK}::test_a_port_that_closes_takes_its_established_connections_with_it",),
    ),
    # -------------------------------------------------------------------------------------------------------- drivers
    Mutation(
        "a-bundle-is-committed-without-what-was-refused",
        f"{DRIVERS}/openflow/switch.py",
        "            refused.check(connection.path)  # otherwise the switch would commit",
        "            pass  # otherwise the switch would commit",
        (f"{SWITCH}::test_one_bad_flow_and_nothing_is_applied",),
    ),
    Mutation(
        "a-flow-mod-is-about-port-0",
        f"{DRIVERS}/openflow/flow_mod.py",
        "*(_ALL_ONES, _ALL_ONES, _ALL_ONES, 0, 0),",
        "*(_ALL_ONES, 0, _ALL_ONES, 0, 0),",
        (f"{CODEC}::test_a_flow_is_deleted_as_os_ken_deletes_it",),
    ),
    Mutation(
        "a-bundle-is-about-port-0",
        f"{DRIVERS}/openflow/bundle.py",
        '_ANY = b"\\xff" * 12',
        '_ANY = b"\\xff" * 4 + bytes(4) + b"\\xff" * 4',
        (f"{CODEC}::test_a_bundle_is_written_as_os_ken_writes_it",),
    ),
    # -------------------------------------------------------------------------------------------------------- runtime
    Mutation(
        "a-then-b-then-a-is-one-message",
        f"{RUNTIME}/writes.py",
        '"Nats-Msg-Id": f"{write.subject}:{expected}:{cause}:{codec.digest(write.body)}",',
        '"Nats-Msg-Id": f"{write.subject}:{codec.digest(write.body)}",',
        (f"{OUTPUT}::test_objects_without_a_cause_come_back_too",),
    ),
    Mutation(
        "nothing-fences-a-second-writer",
        f"{RUNTIME}/writes.py",
        '            "Nats-Expected-Last-Subject-Sequence": str(expected),\n',
        "",
        (f"{OUTPUT}::test_the_second_of_two_writers_is_fenced_off",),
    ),
    Mutation(
        "after-does-not-mean-after",
        f"{RUNTIME}/writes.py",
        "_block(write, [*blockers, last] if last else blockers)",
        "_block(write, [last] if last else [])",
        (WRITES,),
    ),
    Mutation(
        "what-was-lost-is-not-sent-again",
        f"{RUNTIME}/writes.py",
        "            self.release(write, first=True)",
        "            pass",
        (WRITES,),
    ),
    Mutation(
        "a-mark-overtakes-its-pages",
        f"{RUNTIME}/marks.py",
        "if line.first is None or line.first.after >= oldest:",
        "if line.first is None:",
        (MARKS,),
    ),
    # --------------------------------------------------------------------------------------------------------- ingest
    Mutation(
        "a-missing-folder-is-an-empty-one",
        f"{INGEST}/folder.py",
        "    except OSError as error:\n        raise FolderGone",
        "    except OSError as error:\n        return Look({}, {})\n        raise FolderGone",
        (f"{SOURCE}::test_a_missing_folder_deletes_nothing",),
    ),
    Mutation(
        "a-bad-file-loses-its-objects",
        f"{INGEST}/catalog.py",
        "after |= {key: _stale(held) for key, held in before.items() if key not in after}",
        "after |= {}",
        (f"{CATALOG}::test_a_file_that_becomes_bad_keeps_its_last_good_objects",),
    ),
    Mutation(
        "what-is-not-read-yet-is-gone",
        f"{INGEST}/catalog.py",
        "if everything_seen and not self._unread:",
        "if everything_seen:",
        (f"{CATALOG}::test_what_no_file_holds_stays_while_a_file_was_never_good",),
    ),
    Mutation(
        "half-a-file-is-taken-in",
        f"{INGEST}/source.py",
        "return not reading.ends or self._catalog.loses(settled.path, reading.said)",
        "return False",
        (SOURCE,),
    ),
    Mutation(
        "listed-is-said-before-the-first-listing",
        f"{INGEST}/shell.py",
        "if self._source.listed and not self.in_sync.is_set():",
        "if not self.in_sync.is_set():",
        (INGEST_SHELL,),
    ),
    Mutation(
        "objects-change-before-every-kind-is-listed",
        f"{INGEST}/kubernetes/objects.py",
        "        if not self.listed:",
        "        if False:",
        (f"{INGEST_OBJECTS}::test_nothing_is_told_before_every_kind_is_listed",),
    ),
    Mutation(
        "what-does-not-say-its-name-is-not-there",
        f"{INGEST}/kubernetes/objects.py",
        "        if kind not in self._nameless:",
        "        if kind in Kind:",
        (f"{INGEST_OBJECTS}::test_a_listing",),
    ),
    Mutation(
        "a-bad-version-of-an-object-takes-it-away",
        f"{INGEST}/kubernetes/objects.py",
        "            self._problems[reading.key] = reading.problems\n",
        "            self._remove(reading.key)\n            self._problems[reading.key] = reading.problems\n",
        (f"{INGEST_OBJECTS}::test_an_object_that_turned_bad_stays_until_it_goes",),
    ),
    Mutation(
        "a-replica-writes-when-its-lease-is-over",
        f"{INGEST}/shell.py",
        "        self._may_write()\n        subject = subject_of(step.key)",
        "        subject = subject_of(step.key)",
        (f"{INGEST_KUBERNETES}::test_a_replica_that_stops_breathing_writes_nothing_when_it_wakes",),
    ),
    # ---------------------------------------------------------------------------------------------------- kubernetes
    Mutation(
        "whoever-says-404-is-believed",
        f"{DRIVERS}/kubernetes/mirror.py",
        'if error.reason != "NotFound" or "." not in group:',
        "if False:",
        (f"{MIRROR}::test_what_is_no_api_server_is_not_believed",),
    ),
    Mutation(
        "a-kind-that-is-not-served-yet-has-no-objects",
        f"{DRIVERS}/kubernetes/mirror.py",
        'return Waiting(f"{self._resource.plural}: {name} is defined and not served yet")',
        'return Absent(f"{self._resource.plural}: {name} is defined and not served yet")',
        (f"{MIRROR}::test_a_kind_that_is_defined_and_not_served_yet_is_waited_for",),
    ),
    Mutation(
        "bookmarks-mean-nothing",
        f"{DRIVERS}/kubernetes/mirror.py",
        "(event.version for event in reversed(events) if event.version)",
        '(event.version for event in reversed(events) if event.version and event.type != "BOOKMARK")',
        (f"{MIRROR}::test_bookmarks_move_a_quiet_watch_over_the_end_of_the_history",),
    ),
    Mutation(
        "a-holder-believes-as-long-as-others-wait",
        f"{DRIVERS}/kubernetes/lease.py",
        "return self._clock() < self._renewed_s + self._timing.deadline_s",
        "return self._clock() < self._renewed_s + self._timing.duration_s * 2",
        (f"{LEASE}::test_the_holder_is_out_before_another_is_in",),
    ),
    # -------------------------------------------------------------------------------------------------- in force, told
    Mutation(
        "a-node-has-what-was-there-before-it-came",
        f"{POLICY}/realisation/fold.py",
        "status.applied < max(cause, since)",
        "status.applied < cause",
        (f"{REALISATION}::test_how_far",),
    ),
    Mutation(
        "what-is-closed-in-part-is-realised",
        f"{POLICY}/realisation/fold.py",
        "if partial is None and not missing:",
        "if not missing:",
        (f"{REALISATION}::test_how_far",),
    ),
    Mutation(
        "one-shard-speaks-for-all",
        f"{POLICY}/realisation/fold.py",
        "return min((marks[shard].upto if shard in marks else NEVER) for shard in range(shards))",
        "return min(mark.upto for mark in marks.values())",
        (f"{REALISATION}::test_how_far",),
    ),
    Mutation(
        "one-of-two-that-contradict-is-warned",
        f"{POLICY}/realisation/warnings.py",
        "return frozenset((first.origin, second.origin))",
        "return frozenset((second.origin,))",
        (f"{WARNINGS}::test_who_is_warned",),
    ),
    Mutation(
        "a-warning-that-is-gone-stays-in-status",
        f"{POLICY}/realisation/fold.py",
        "units = before.keys() | warnings.keys()",
        "units = warnings.keys()",
        (f"{WARNINGS}::test_only_whose_warnings_differ_are_asked_about_again",),
    ),
    Mutation(
        "a-restart-takes-warnings-away",
        f"{STATUS}/live.py",
        "tuple(one for one in before if one.type in kept)",
        "()",
        (f"{STATUS_WRITER}::test_a_warning_stays_with_its_time_until_somebody_has_looked",),
    ),
    Mutation(
        "another-object-of-the-name-gets-the-status",
        f"{STATUS}/writer.py",
        "if wanted.uid and live.uid != wanted.uid:",
        "if False:",
        (f"{STATUS_WRITER}::test_another_object_of_the_name_is_left_alone",),
    ),
    Mutation(
        "what-an-object-says-already-is-written-again",
        f"{STATUS}/live.py",
        "    if {field: held.get(field) for field in said} == said:",
        "    if held is said:",
        (f"{STATUS_WRITER}::test_what_it_says_already_is_not_written",),
    ),
    Mutation(
        "a-name-without-peers-means-nobody",
        f"{DATAPLANE}/ovs/rules.py",
        "yield _distinct(Source(everywhere if is_named(entry) else None, entry) for entry in traffic)",
        "yield _distinct(Source(None, entry) for entry in traffic if not is_named(entry))",
        (f"{OVS_RULES}::test_a_name_without_peers_is_looked_up_at_every_pod",),
    ),
    Mutation(
        "nobody-asks-for-every-pod",
        f"{DATAPLANE}/view.py",
        "        if asks_every_pod(rule):",
        "        if False:",
        (f"{VIEW}::test_a_name_of_a_port_without_peers_makes_every_pod_wanted",),
    ),
    Mutation(
        "icmpv6-is-flushed-with-the-rest",
        f"{DRIVERS}/conntrack/tracker.py",
        "for address, protocol in held if protocol != ICMPV6)",
        "for address, protocol in held)",
        ("libs/drivers/tests/test_conntrack.py::test_a_ping_over_ipv6_stays_and_is_told_and_the_switch_lives",),
    ),
    Mutation(
        "one-sctp-association-opens-the-others",
        f"{DATAPLANE}/ovs/base.py",
        "    (Table.CONNTRACK_STATE, PRIORITY_FIRST, _WITHOUT_PORTS, (Goto(Table.EGRESS_TIER),)),",
        "",
        (f"{WALK}::test_an_sctp_association_opens_no_other",),
    ),
    # ------------------------------------------------------------------------------------------------------- node-ovs
    Mutation(
        "a-port-opens-for-a-pod-nobody-knows",
        f"{NODE_OVS}/programmer.py",
        "wanted = openable(self._pods, self._ports, unknown=self._open_unknown)",
        "wanted = dict(self._ports)",
        (PROGRAMMER,),
    ),
    Mutation(
        "a-port-has-the-addresses-it-claims",
        f"{NODE_OVS}/opening.py",
        "agreed = tuple(address for address in port.addresses if address in pod.addresses)",
        "agreed = port.addresses",
        (f"{PROGRAMMER}::test_only_addresses_that_both_give_are_used",),
    ),
    Mutation(
        "new-streams-end-the-old-programs-at-once",
        f"{DATAPLANE}/reading.py",
        "self._view = View(self._node, self._backend)",
        "self._view = View(self._node, self._backend); self._engine = type(self._engine)(self._node, self._ids)",
        (f"{PROGRAMMER}::test_streams_made_anew_change_nothing_until_they_are_read",),
    ),
    Mutation(
        "what-the-new-streams-do-not-say-stays",
        f"{DATAPLANE}/reading.py",
        "for key in self._keys - part.keys() if whole else ():",
        "for key in ():",
        (f"{PROGRAMMER}::test_a_program_that_the_new_streams_do_not_say_is_gone_though_its_group_is_there",),
    ),
    # --------------------------------------------------------------------- tc: the defects of the peers, and its own
    Mutation(
        "tc-1-policy-types-are-not-read",
        f"{POLICY}/translate/k8s.py",
        'types = policy.spec.policy_types or (("Ingress", "Egress") if policy.spec.egress else ("Ingress",))',
        'types = ("Ingress", "Egress")',
        (f"{TC_MEANING}::test_policies",),
    ),
    Mutation(
        "tc-what-packets-meet-goes-in-batches",
        f"{DRIVERS}/tc/hooks.py",
        "        unseen = place < unseen_until.get(one.where, 0)",
        "        unseen = True",
        ("libs/drivers/tests/test_tc_batches.py",),
    ),
    Mutation(
        "tc-the-annotation-is-believed",
        f"{DRIVERS}/tc/representors.py",
        "        if named and self._direct and not self._switch(named):",
        "        if named:",
        ("libs/drivers/tests/test_tc_representors.py",),
    ),
    Mutation(
        "tc-the-physical-function-does-not-matter",
        f"{DRIVERS}/tc/representors.py",
        '                pf is None or int(found["pf"]) == pf',
        "                True",
        ("libs/drivers/tests/test_tc_representors.py",),
    ),
    Mutation(
        "tc-of-two-pods-on-a-device-the-first-has-it",
        f"{NODE_TC}/devices.py",
        "        if len(keys) > 1:",
        "        if len(keys) > 2:",
        ("services/node-tc/tests/test_node_tc_devices.py",),
    ),
    Mutation(
        "tc-flags-that-nobody-knows-are-passed-over",
        f"{NODE_TC}/flags.py",
        "        if not known:",
        "        if not known and not given:",
        ("services/node-tc/tests/test_node_tc_flags.py",),
    ),
    Mutation(
        "tc-a-zone-is-given-again-at-once",
        f"{NODE_TC}/zones.py",
        "            zone = (self._last + step - 1) % LAST_ZONE + 1",
        "            zone = step",
        ("services/node-tc/tests/test_node_tc_zones.py",),
    ),
    Mutation(
        "tc-2-ingress-is-not-enforced",
        f"{DATAPLANE}/tc/engine.py",
        "    if direction in isolated:",
        "    if direction in isolated - {Direction.INGRESS}:",
        (f"{TC_MEANING}::test_policies",),
    ),
    Mutation(
        "a-device-that-went-is-a-port",
        f"{DATAPLANE}/ovs/traffic_ports.py",
        "    if found.gone:",
        "    if False:",
        ("libs/dataplane/tests/test_ovs_traffic_ports.py::test_a_port_whose_device_has_gone_is_no_port",),
    ),
    Mutation(
        "another-device-of-the-name-is-the-same",
        f"{NODE_OVS}/traffic_ports.py",
        'return interface.ifindex == 0 or interface.external_ids.get(IFINDEX, "") not in ("", str(interface.ifindex))',
        "return interface.ifindex == 0",
        ("services/node-ovs/tests/test_traffic_ports.py::test_whether_its_device_has_gone",),
    ),
    Mutation(
        "a-receiver-counts-too-much-as-enough",
        f"{LAB}/capture/counting.py",
        "return self.got == self.wanted.packets if",
        "return self.got >= self.wanted.packets if",
        ("libs/lab/tests/test_lab_tunnels.py::test_counts",),
    ),
    Mutation(
        "a-tunnel-of-another-session-is-the-same",
        f"{LAB}/capture/counting.py",
        "        (wanted.session_id, tunnel.session),",
        "        (wanted.session_id, wanted.session_id),",
        ("libs/lab/tests/test_lab_tunnels.py::test_what_is_counted",),
    ),
    Mutation(
        "tc-3-ports-that-are-none-are-all-ports",
        f"{DATAPLANE}/tc/openings.py",
        "    return _normal({opening for each in traffic for opening in _each(each, known)})",
        "    return _normal({opening for each in traffic for opening in _each(each, known)}) or EVERYTHING",
        (f"{TC_MEANING}::test_policies",),
    ),
    Mutation(
        "tc-4-a-selector-of-nobody-with-ports-opens-them-to-everybody",
        f"{DATAPLANE}/tc/engine.py",
        "            if rule.peers is None:\n                for block in EVERYWHERE",
        "            if not any(isinstance(peer, BlockPeer) for peer in rule.peers or ()):\n"
        "                for block in EVERYWHERE",
        (f"{TC_MEANING}::test_policies",),
    ),
    Mutation(
        "tc-5-expressions-are-not-read",
        f"{GROUPING}/selectors.py",
        "    if not selector.match_expressions:",
        "    if selector:",
        (f"{TC_MEANING}::test_policies",),
    ),
    Mutation(
        "tc-6-the-end-of-a-range-is-not-read",
        f"{POLICY}/translate/k8s.py",
        "    last = first if last is None else last",
        "    last = first",
        (f"{TC_MEANING}::test_policies",),
    ),
    Mutation(
        "tc-7-an-except-cuts-the-blocks-of-others",
        f"{DATAPLANE}/tc/board.py",
        "if not any(hole.covers(block) for hole in one.excepts)",
        "if not any(hole.covers(block) for other in self._about(block) for hole in other.excepts)",
        (f"{TC_MEANING}::test_policies",),
    ),
    Mutation(
        "tc-8-an-except-beside-ports-is-not-read",
        f"{DATAPLANE}/tc/engine.py",
        "tuple(map(network, peer.excepts)), opened)",
        "tuple(map(network, peer.excepts if rule.traffic is None else ())), opened)",
        (f"{TC_MEANING}::test_policies",),
    ),
    Mutation(
        "tc-9-replies-need-rules-of-their-own",
        f"{DATAPLANE}/tc/lower.py",
        "        yield known(2, CtState.EST, Bits(now, _MARK), Accept())",
        "        yield known(2, CtState.EST, Bits(now, _MARK), Drop())",
        (f"{TC_MEANING}::test_9_a_reply_needs_no_rule_of_its_own",),
    ),
    Mutation(
        "tc-10-neighbour-discovery-is-dropped",
        f"{DATAPLANE}/tc/lower.py",
        "NEIGHBOUR_DISCOVERY = (133, 134, 135, 136, 137)",
        "NEIGHBOUR_DISCOVERY = (133, 134)",
        (f"{TC_MEANING}::test_10_neighbour_discovery_is_alive_and_so_is_arp",),
    ),
    Mutation(
        "tc-11-peers-on-other-plugins-are-nobody",
        f"{GROUPING}/interfaces.py",
        "            if interface.network == networks[0]:",
        '            if interface.network == networks[0] and "bridge" in interface.member.attachment.plugin:',
        (f"{TC_MEANING}::test_11_a_peer_counts_whatever_plugin_its_network_has",),
    ),
    Mutation(
        "tc-12-a-late-definition-is-not-looked-at",
        f"{GROUPING}/interfaces.py",
        "        self._award(on)\n",
        "        self._award(())\n",
        (f"{INTERFACES}::test_a_late_network_makes_its_interfaces_known_and_tells_so",),
    ),
    Mutation(
        "tc-13-a-deleted-pod-is-not-told",
        f"{DATAPLANE}/tc/engine.py",
        "            if made is not None or old is not None:",
        "            if made is not None:",
        (f"{TC_PLAN}::test_nothing_of_ours_is_left_of_a_pod_that_is_gone",),
    ),
    Mutation(
        "tc-14-an-update-removes-before-it-adds",
        f"{DATAPLANE}/tc/plan.py",
        "    return built + swapped + settle + ended",
        "    return settle + ended + built + swapped",
        (f"{TC_PLAN}::test_a_change_of_policy_is_a_new_generation_behind_one_root",),
    ),
    Mutation(
        "tc-16-every-change-is-of-everything",
        f"{DATAPLANE}/tc/engine.py",
        "        self._patched[key] = None",
        "        self._patched.update(dict.fromkeys(self._policed)); self._whole.update(self._patched)",
        (f"{TC_PLAN}::test_16_one_interface_changes_and_no_other_is_looked_at",),
    ),
    Mutation(
        "tc-17-a-counter-is-nobodys",
        f"{DATAPLANE}/tc/lower.py",
        "pack(CookieKind.PORT, opening.reference)",
        "pack(CookieKind.PORT)",
        (f"{TC_PLAN}::test_17_a_counter_can_name_its_rules",),
    ),
    Mutation(
        "tc-19-a-network-without-namespace-is-nobodys",
        f"{CONTRACTS}/networks.py",
        '    return network if "/" in network else f"{namespace}/{network}"',
        "    return network",
        (f"{TC_MEANING}::test_19_a_status_without_namespace_is_of_the_pods_own",),
    ),
    Mutation(
        "tc-tracks-only-what-nobody-has-tracked",
        f"{DATAPLANE}/tc/lower.py",
        "yield FilterKey(where, pref, variant.protocol, variant.flower()), tracks",
        "yield FilterKey(where, pref, variant.protocol, variant.flower(ct_state=Bits(0, CtState.TRK))), tracks",
        (f"{TC_MEANING}::test_two_policed_pods_of_one_node_each_decide",),
    ),
    Mutation(
        "tc-a-chain-of-ports-lets-the-rest-through",
        f"{DATAPLANE}/tc/lower.py",
        "FilterBody((Drop(),), pack(CookieKind.REST))\n    for opening",
        "FilterBody((Accept(),), pack(CookieKind.REST))\n    for opening",
        (f"{TC_MEANING}::test_policies",),
    ),
    Mutation(
        "tc-the-shorter-prefix-goes-first",
        f"{DATAPLANE}/tc/lower.py",
        "    return band + WIDTH[block.version] - block.prefix",
        "    return band + block.prefix",
        (f"{TC_MEANING}::test_policies",),
    ),
    Mutation(
        "tc-a-reply-is-asked-like-a-question",
        f"{DATAPLANE}/tc/lower.py",
        "    yield known(_REPLY, CtState.RPL, None, Drop() if policed else Accept())",
        "    if not policed: yield known(_REPLY, CtState.RPL, None, Accept())",
        (f"{TC_LAWS}::test_what_is_not_allowed_any_more_ends_at_once_or_when_the_grace_is_over",),
    ),
    Mutation(
        "tc-the-epoch-never-moves",
        f"{DATAPLANE}/tc/lower.py",
        "    return epoch % EPOCHS + 1",
        "    return epoch or 1",
        (f"{TC_PLAN}::test_connections_that_are_revoked_are_asked_again_and_replies_wait_for_that",),
    ),
    Mutation(
        "tc-a-revocation-has-a-grace",
        f"{DATAPLANE}/tc/plan.py",
        "        if not grace:",
        "        if grace and not grace:",
        (f"{TC_PLAN}::test_connections_that_are_revoked_are_asked_again_and_replies_wait_for_that",),
    ),
    Mutation(
        "tc-policed-hooks-come-one-after-the-other",
        f"{DATAPLANE}/tc/plan.py",
        "and not (polices and was_open):",
        "and not (polices and was_open and False):",
        (f"{TC_LAWS}::test_nothing_opens_and_nothing_blinks_whatever_was_made_of_a_plan",),
    ),
    Mutation(
        "tc-drift-is-not-seen",
        f"{DATAPLANE}/tc/plan.py",
        "    return made if held == kept else None",
        "    return made",
        (f"{TC_PLAN}::test_what_somebody_put_into_our_chains_goes",),
    ),
    Mutation(
        "tc-the-other-hook-remembers-nothing",
        f"{DATAPLANE}/tc/engine.py",
        "    return Mode.TRACKED if isolated else Mode.OPEN",
        "    return Mode.OPEN",
        (f"{TC_MEANING}::test_policies",),
    ),
    Mutation(
        "tc-an-address-counts-on-a-network-where-another-has-it",
        f"{GROUPING}/interfaces.py",
        "if claims.holder(one) is None)",
        "if claims.holder(one) is not interface)",
        (
            f"{INTERFACES}::test_members",
            f"{TC_MEANING}::test_overlapping_addresses_mean_the_interfaces_own_network_first",
        ),
    ),
    Mutation(
        "tc-peers-count-on-the-first-network-alone",
        f"{POLICY}/translate/multi.py",
        "    seen = (network, *sorted(other for other in networks if other != network))",
        "    seen = (network,)",
        (f"{TRANSLATE_MULTI}::test_a_program_for_each_network_and_its_peers_on_all_of_them_its_own_first",),
    ),
    Mutation(
        "definitions-of-networks-are-not-read",
        "services/group-resolver/src/sluice/services/group_resolver/derived.py",
        "Kind.POD, Kind.NODE, Kind.NETWORK_ATTACHMENT}",
        "Kind.POD, Kind.NODE}",
        ("services/group-resolver/tests/test_resolver_fold.py",),
    ),
    Mutation(
        "policies-of-secondary-networks-go-to-the-switch",
        f"{POLICY}/backends.py",
        'return ("tc",)',
        'return ("ovs",)',
        ("libs/cli/tests/test_cli_compile_tc.py",),
    ),
    Mutation(
        "drift-during-a-change-is-forgotten",
        f"{NODE_OVS}/upkeep.py",
        "if self.switch is switch and not self._drifted:",
        "if self.switch is switch:",
        (f"{SHELL}::test_drift_that_comes_while_a_change_is_on_its_way_is_put_right",),
    ),
    Mutation(
        "a-failed-command-waits-for-the-next-event",
        f"{NODE_OVS}/shell.py",
        'log.warning("apply_interrupted", error=str(error))\n                self._rounds.wake_in(',
        'log.warning("apply_interrupted", error=str(error))\n                (lambda *_: None)(',
        (f"{SHELL}::test_a_cache_that_was_not_purged_is_purged_without_another_event",),
    ),
    Mutation(
        "an-old-cache-stays-where-the-flows-are-right",
        f"{NODE_OVS}/upkeep.py",
        "elif self._cache_is_old:",
        "elif False:",
        (f"{SHELL}::test_a_cache_that_was_not_purged_is_purged_without_another_event",),
    ),
    Mutation(
        "tc-who-leaves-keeps-its-connections",
        f"{DATAPLANE}/tc/plan.py",
        "standing is not None and not covers(now, opened(standing.body)):",
        "standing is not None and covers(now, opened(standing.body)):",
        (f"{TC_PLAN}::test_connections_of_an_address_end_where_less_is_open",),
    ),
    Mutation(
        "tc-idle-representors-stay-open",
        f"{NODE_TC}/devices.py",
        "    if claims is not None:",
        "    if claims is None and claims:",
        (
            f"{NODE_TC_TESTS}/test_node_tc_devices.py::test_representors_that_nobody_has_are_closed",
            f"{NODE_TC_TESTS}/test_node_tc_upkeep.py::test_a_function_is_closed_until_its_next_pod_is_known",
        ),
    ),
    Mutation(
        "tc-not-told-who-has-which-is-nobody",
        f"{NODE_TC}/programmer.py",
        "self._claims = () if self._node in step.routes else None",
        "self._claims = ()",
        (f"{NODE_TC_TESTS}/test_node_tc_programmer.py::test_a_node_that_is_known_and_not_listed_has_no_pods",),
    ),
    Mutation(
        "tc-a-device-is-open-on-its-way-to-the-next",
        f"{NODE_TC}/upkeep.py",
        "if any(one == device for other, one in targets.items() if other != key):",
        "if False:",
        (f"{NODE_TC_TESTS}/test_node_tc_upkeep.py::test_it_is_handed_over_without_being_open",),
    ),
    Mutation(
        "the-younger-redirect-counts",
        f"{CONTRACTS}/traffic_programs.py",
        "return not self.created, self.created, self.name",
        "return bool(self.created), self.created, self.name",
        (f"{TRAFFIC}::test_the_earlier_redirects_and_the_other_is_told",),
    ),
    Mutation(
        "what-comes-back-need-not-have-been-redirected",
        f"{DATAPLANE}/ovs/traffic_flows.py",
        "(Field.CT_MARK, MARK_REDIRECTED, MARK_REDIRECTED),\n",
        "",
        (f"{TRAFFIC}::test_nothing_comes_back_that_was_not_redirected",),
    ),
    Mutation(
        "a-receivers-redirect-goes-before-its-senders",
        f"{DATAPLANE}/ovs/traffic_flows.py",
        "PRIORITY_BY_RECEIVER = 100",
        "PRIORITY_BY_RECEIVER = 300",
        (f"{TRAFFIC}::test_between_two_pods_the_senders_redirect_comes_first_and_then_the_receivers",),
    ),
    Mutation(
        "a-target-has-a-copy-for-each-who-asks",
        f"{DATAPLANE}/ovs/traffic_flows.py",
        "for port in sorted(set(targets)))",
        "for port in sorted(targets))",
        (f"{TRAFFIC}::test_each_target_has_one_copy_whoever_asks_for_it",),
    ),
    Mutation(
        "who-watches-sees-the-service-answer",
        f"{DATAPLANE}/ovs/traffic_flows.py",
        "PRIORITY_WATCHED = 150",
        "PRIORITY_WATCHED = 50",
        (f"{TRAFFIC}::test_both_directions_of_a_connection_to_a_service_are_seen_with_the_endpoint",),
    ),
    Mutation(
        "a-redirect-without-its-device-is-passed-by",
        f"{DATAPLANE}/ovs/traffic.py",
        "return None if standing.way.passes else Redirect(number, None, standing.back)",
        "return None",
        (f"{TRAFFIC}::test_without_its_target_what_would_be_redirected_is_dropped_unless_it_may_pass",),
    ),
    Mutation(
        "ports-that-change-are-not-waited-for",
        f"{DATAPLANE}/ovs/traffic_ways.py",
        "return None if before is None else Standing(before.way, self._states(before.way))",
        "return Standing(wanted, states)",
        (f"{TRAFFIC}::test_ports_that_change_are_there_before_packets_go_to_them",),
    ),
    Mutation(
        "copies-keep-their-targets",
        f"{DATAPLANE}/ovs/traffic.py",
        "self._copies.changed(changed)",
        "self._copies.changed(frozenset())",
        (
            f"{TRAFFIC}::test_copies_follow_their_target",
            f"{TRAFFIC_LAWS}::test_step_by_step_comes_to_what_the_same_inputs_give_from_scratch",
        ),
    ),
    Mutation(
        "ports-of-others-are-removed",
        f"{DATAPLANE}/ovs/traffic_ports.py",
        'if one.owner == "ours" and (name not in wishes or wishes[name].type != one.type or one.gone)',
        "if name not in wishes or wishes[name].type != one.type or one.gone",
        (f"{TRAFFIC_PORTS}::test_only_what_we_made_goes",),
    ),
    Mutation(
        "hardware-ids-are-decimal",
        f"{DATAPLANE}/ovs/traffic_ports.py",
        'options[f"erspan_{name}"] = f"{number:x}"',
        'options[f"erspan_{name}"] = str(number)',
        (f"{TRAFFIC_PORTS}::test_a_tunnel_is_named_by_all_that_it_is",),
    ),
    Mutation(
        "a-trace-goes-on-in-the-bridge-below",
        f"{DATAPLANE}/ovs/tracing.py",
        "inside = found[1] == bridge",
        "inside = True",
        ("libs/dataplane/tests/test_ovs_tracing.py",),
    ),
    Mutation(
        "answers-are-not-counted",
        f"{DATAPLANE}/ovs/base.py",
        "    *RECALL_RULES,\n",
        "",
        (COUNTING,),
    ),
    Mutation(
        "a-retransmission-is-a-session",
        f"{DATAPLANE}/ovs/counting.py",
        ", (Field.CT_MARK, 0, MARK_LET_IN)\n",
        ", (Field.CT_MARK, 0, 0)\n",
        (COUNTING,),
    ),
    Mutation(
        "what-is-denied-is-not-counted",
        f"{DATAPLANE}/ovs/counting.py",
        "return SetField(COUNTED, id), Goto(Table.COUNT)",
        "return ()",
        (COUNTING,),
    ),
    Mutation(
        "a-restart-counts-everything-again",
        f"{DATAPLANE}/ovs/counts.py",
        "{(one.id, one.begins): one for one in state.seen} if state else {}",
        "{}",
        (COUNTS,),
    ),
    Mutation(
        "a-rule-that-is-applied-to-others-begins-anew",
        f"{DATAPLANE}/ovs/counts.py",
        "return Name(key.unit, key.direction, key.rule)",
        "return Name(Unit(key.unit + key.applied_to), key.direction, key.rule)",
        (COUNTS,),
    ),
    Mutation(
        "multicast-from-the-tunnel-goes-back-into-it",
        f"{DATAPLANE}/ovs/multicast.py",
        "FlowBody((mask, *here) if here else (), cookie)",
        "FlowBody(out, cookie)",
        ("libs/dataplane/tests/test_ovs_multicast.py",),
    ),
    Mutation(
        "who-may-not-report-joins",
        f"{NODE_OVS}/joined.py",
        "if report.joins and not self._may(",
        "if not report.joins and not self._may(",
        ("services/node-ovs/tests/test_joined.py",),
    ),
    Mutation(
        "isolated-pods-report",
        f"{POLICY}/igmp.py",
        "    return direction is Direction.EGRESS\n",
        "    return False\n",
        ("libs/policy/tests/test_igmp.py",),
    ),
    # ----------------------------------------------------------------------------------------------------------- names
    Mutation(
        "a-name-may-lead-ahead",
        f"{DATAPLANE}/dns/message.py",
        "            if target >= lowest or jumps > MAX_JUMPS:",
        "            if jumps > MAX_JUMPS:",
        (f"{DNS_MESSAGE}::test_what_is_no_answer_is_refused",),
    ),
    Mutation(
        "an-alias-outlives-its-link",
        f"{DATAPLANE}/dns/message.py",
        "                weakest = min(weakest, link_ttl_s)",
        "                weakest = max(weakest, link_ttl_s)",
        (f"{DNS_MESSAGE}::test_what_an_answer_tells",),
    ),
    Mutation(
        "dns-goes-on-after-nonsense",
        f"{DATAPLANE}/dns/stream.py",
        "            except Unreadable:\n                stream.failed = True",
        "            except Unreadable:\n                stream.failed = False",
        (f"{DNS_STREAM}::test_after_what_is_no_message_nothing_passes",),
    ),
    Mutation(
        "a-name-is-forgotten-where-that-opens",
        f"{DATAPLANE}/ovs/fqdn.py",
        "            if not any(self._wanted.get(pattern) for pattern in self._patterns[line.name]):",
        "            if True:",
        (f"{FQDN}::test_nothing_is_forgotten_where_that_would_open",),
    ),
    Mutation(
        "a-later-answer-shortens",
        f"{DATAPLANE}/ovs/fqdn.py",
        "        self._until[line] = max(until, known or until)",
        "        self._until[line] = until",
        (f"{FQDN}::test_a_later_answer_prolongs_and_never_shortens",),
    ),
    Mutation(
        "a-name-opens-to-everybody",
        f"{DATAPLANE}/ovs/fqdn_values.py",
        "    for_all = not of.place.opens or opens",
        "    for_all = of.place.opens or opens",
        (f"{TEXT}::test_golden",),
    ),
    Mutation(
        "answers-of-dns-do-not-wait",
        f"{DATAPLANE}/ovs/fqdn_values.py",
        "pause=True",
        "pause=False",
        (f"{TEXT}::test_golden",),
    ),
    Mutation(
        "an-answer-begins-a-connection",
        f"{DATAPLANE}/ovs/mid_stream.py",
        "place = Own(group) if",
        "place = Client(group) if",
        (f"{DETOUR}::test_an_answer_begins_no_connection_whose_requests_are_judged",),
    ),
    Mutation(
        "a-fragment-is-an-answer",
        f"{DATAPLANE}/ovs/fqdn_answers.py",
        '        if int.from_bytes(carried[4:6], "big") != len(carried):',
        "        if False:",
        (f"{ANSWERS}::test_what_must_not_pass_teaches_nothing",),
    ),
    Mutation(
        "an-answer-passes-before-the-switch-knows",
        f"{NODE_OVS}/answers.py",
        "            if waits:",
        "            if not waits:",
        (f"{ANSWERS}::test_an_answer_goes_on_when_the_switch_has_what_it_tells_and_not_before",),
    ),
    Mutation(
        "an-answer-waits-for-ever",
        f"{NODE_OVS}/answers.py",
        "            while queue and queue[0].since + HOLD_S < now_s:",
        "            while False:",
        (f"{ANSWERS}::test_after_two_seconds_it_is_dropped",),
    ),
    Mutation(
        "what-was-refused-passes-the-second-time",
        f"{NODE_OVS}/naming.py",
        "        except Full:\n            self._reader.refuse(octets)",
        "        except Full:",
        (f"{ANSWERS}::test_what_there_is_no_room_for_does_not_pass_when_it_comes_again",),
    ),
    Mutation(
        "any-answer-is-of-our-question",
        f"{DRIVERS}/dns/client.py",
        "            if _question(answer) == wanted:",
        "            if True:",
        (f"{DNS_CLIENT}::test_what_is_no_answer_to_the_question_is_ignored",),
    ),
    Mutation(
        "nothing-ends-when-an-allow-goes",
        f"{DATAPLANE}/ovs/ending.py",
        "        self._changed()  # what it allowed, others may deny\n",
        "",
        ("libs/dataplane/tests/test_ovs_ending.py",),
    ),
    Mutation(
        "what-is-let-in-is-ended",
        f"{DATAPLANE}/ovs/ending.py",
        "if not met or any(one.table == Table.TALLY for one in met):",
        "if not met:",
        ("libs/dataplane/tests/test_ovs_ending.py",),
    ),
    # ------------------------------------------------------------------------------------------------------ inspection
    Mutation(
        "what-was-inspected-passes-without-an-engine",
        f"{DATAPLANE}/ovs/base.py",
        "_KNOWN_TO_US = Term(Field.CT_MARK, MARK_LET_IN, MARK_LET_IN | MARK_INSPECTED)",
        "_KNOWN_TO_US = Term(Field.CT_MARK, MARK_LET_IN, MARK_LET_IN)",
        (f"{DETOUR}::test_nothing_passes_while_the_engine_has_not_shown_the_rules",),
    ),
    Mutation(
        "a-rule-does-not-wait-for-its-engine",
        f"{DATAPLANE}/ovs/layers.py",
        "            return () if vlan is None else _inspected(direction, id, vlan)",
        "            return _inspected(direction, id, vlan or 1)",
        (DETOUR,),
    ),
    Mutation(
        "old-entries-judge-other-packets",
        f"{DATAPLANE}/ovs/inspection.py",
        "if old is not None and old._replace(inspected_by=form.inspected_by) == form:",
        "if old is not None:",
        (f"{DETOUR}::test_a_rule_whose_entries_change_goes_by_the_old_ones_until_the_new_ones_are_in_force",),
    ),
    Mutation(
        "a-reset-connection-lives-on",
        f"{DATAPLANE}/ovs/detour.py",
        "SetField(Field.CT_MARK, MARK_DEAD, MARK_DEAD)",
        "SetField(Field.CT_MARK, 0, MARK_DEAD)",
        (f"{DETOUR}::test_what_the_engine_resets_is_reset_at_both_ends_and_dead",),
    ),
    Mutation(
        "every-connection-has-one-tag",
        f"{DATAPLANE}/ovs/detour.py",
        "    tagging = SetField(CONNECTION_TAG, tag)",
        "    tagging = SetField(CONNECTION_TAG, min(tag, 3))",
        (f"{DETOUR}::test_a_connection_keeps_its_tag_and_the_next_one_has_another",),
    ),
    Mutation(
        "policies-on-nodes-go-to-the-switch",
        f"{POLICY}/backends.py",
        "    if isinstance(program, Program) and program.about_nodes:",
        "    if isinstance(program, Program) and not program:",
        (f"{COMPILER_BUS}::test_policies_on_nodes_go_to_the_host_and_those_on_both_to_both",),
    ),
    Mutation(
        "what-a-node-sends-is-not-decided",
        f"{POLICY}/verdict.py",
        "    subjects = source.pod or source.node, destination.pod or destination.node",
        "    subjects = source.pod, destination.pod or destination.node",
        (f"{HOST_LAWS}::test_packets_meet_the_fate_that_the_verdict_has_for_them",),
    ),
    Mutation(
        "a-pass-on-a-node-accepts",
        f"{DATAPLANE}/host/lower.py",
        "            return Goto(baseline) if baseline else Accept()",
        "            return Accept()",
        (f"{HOST_MEANING}::test_what_is_passed_goes_on_to_the_baseline_past_the_other_tiers",),
    ),
    Mutation(
        "rules-on-nodes-are-about-ipv4-alone",
        f"{DATAPLANE}/host/lower.py",
        "VERSIONS: tuple[Version, ...] = (4, 6)",
        "VERSIONS: tuple[Version, ...] = (4,)",
        (f"{HOST_LAWS}::test_packets_meet_the_fate_that_the_verdict_has_for_them",),
    ),
    Mutation(
        "a-set-keeps-who-left",
        f"{DATAPLANE}/host/plan.py",
        "    if less := before - made.elements:",
        "    if less := made.elements - made.elements:",
        (f"{HOST_LAWS}::test_a_member_that_leaves_is_an_element_less",),
    ),
    Mutation(
        "an-ended-connection-answers-on",
        f"{DATAPLANE}/host/engine.py",
        '            yield Line((Ended(),), Drop(), "its connection was ended")',
        '            yield Line((Ended(),), Accept(), "its connection was ended")',
        (f"{HOST_MEANING}::test_one_that_a_policy_ends_is_marked_and_passes_no_more_either_way",),
    ),
    Mutation(
        "a-lifeline-is-for-everybody",
        f"{DATAPLANE}/host/guard.py",
        "    if one.peer is not None and one.peer.prefix:",
        "    if one.peer is not None and not one.peer.prefix:",
        (f"{HOST_MEANING}::test_lifelines_pass_whatever_policies_say_and_nothing_else_does",),
    ),
    Mutation(
        "an-answer-is-on-a-lifeline",
        f"{DATAPLANE}/host/guard.py",
        "    if opens:\n        yield Onward()",
        "    if not opens:\n        yield Onward()",
        (f"{HOST_MEANING}::test_a_lifeline_is_where_the_connection_was_opened_to_and_no_answer_of_the_node",),
    ),
    Mutation(
        "a-drop-on-a-node-waits-for-its-peers",
        f"{NODE_HOST}/programmer.py",
        "        self._engine.unknown_are(self._unknown)",
        "        self._engine.unknown_are(())",
        (f"{NODE_HOST_TESTS}/test_node_host_programmer.py",),
    ),
    Mutation(
        "what-was-not-handed-over-is-forgotten",
        f"{NODE_HOST}/audit.py",
        "                lost += missing",
        "                lost += 0",
        (f"{NODE_HOST_TESTS}/test_node_host_parts.py",),
    ),
)
