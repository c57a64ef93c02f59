"""Examples at the end of each command's help, in the style of `kubectl`. A test runs every one, in this order.

Those that query a cluster query the lab started by `sluice lab up` with `examples/kubernetes`.
"""

import click

_WEB_TO_DB = "--from shop/web --to shop/db --port 5432"
_API_TO_DB = "--from shop/api --to shop/db --port 5432"

EXAMPLES: dict[str, tuple[str, ...]] = {
    "completion": ("sluice completion bash",),
    "validate": ("sluice validate -f examples/kubernetes", "cat examples/kubernetes/db.yaml | sluice validate -f -"),
    "lint": ("sluice lint -f examples/antrea-policies",),
    "compile": (
        "sluice compile -f examples/kubernetes --backend ovs",
        "sluice compile -f examples/secondary-networks --backend tc",
    ),
    "connectivity": ("sluice connectivity -f examples/kubernetes", "sluice connectivity -f examples/kubernetes -o csv"),
    "lab run": ("sluice lab run tests/conformance/kubernetes/shop.yaml",),
    "lab demo": ("sluice lab demo examples/kubernetes",),
    "lab up": ("sluice lab up -f examples/kubernetes",),
    "lab status": ("sluice lab status",),
    "lab node": ("sluice lab node --nats-url tls://nats:4222 --manifests /manifests --objects /objects",),
    "lab probe": ("sluice lab probe shop/api shop/db --port 5432",),
    "lab exec": ("sluice lab exec shop/web -- ip address",),
    "verdict": (
        f"sluice verdict -f examples/kubernetes {_WEB_TO_DB}",
        f"sluice verdict {_API_TO_DB}",
        f"sluice verdict {_API_TO_DB} --seq 40",
        f"sluice verdict {_API_TO_DB} --at 1s",
        "sluice verdict --from shop/web --to 192.0.2.1 --port 443 --fqdn www.foo.com --sni www.foo.com",
    ),
    "trace": (f"sluice trace {_WEB_TO_DB}",),
    "wait": ("sluice wait --for=realized netpol/db -n shop",),
    "get netpol": ("sluice get netpol -f examples/antrea-policies --sort-by effectivePriority",),
    "get status": ("sluice get status",),
    "get policies": ("sluice get policies -n shop", "sluice get policies -o wide"),
    "get trafficcontrols": ("sluice get trafficcontrols",),
    "get objects": ("sluice get objects pods -n shop", "sluice get objects netpol -o yaml"),
    "get groups": ("sluice get groups",),
    "get nodes": ("sluice get nodes",),
    "get audit": ("sluice get audit --verdict drop --pod shop/db",),
    "get flows": ("sluice get flows --node node-1", "sluice get flows --policy k8snetworkpolicies:shop:db -o wide"),
    "get filters": ("sluice get filters",),
    "get signatures": ("sluice get signatures",),
    "get nftables": ("sluice get nftables",),
    "query endpoint": ("sluice query endpoint shop/db",),
    "explain flow": ("sluice explain flow 0x51ce020000000006 --node node-1",),
    "diff": (
        "sluice diff examples/kubernetes/pods.yaml examples/kubernetes",
        "sluice diff --seq 40..",
    ),
    "plan": (
        "sluice plan -f examples/kubernetes/db.yaml",
        "sluice plan -f examples/kubernetes --against examples/kubernetes/pods.yaml",
    ),
    "bisect": (f"sluice bisect {_WEB_TO_DB} --since 1",),
    "rollback": ("sluice rollback --to 40", "sluice rollback --to 10m -o yaml"),
    "ledger export": ("sluice ledger export ledger.jsonl.gz",),
    "ledger verify": ("sluice ledger verify", "sluice ledger verify -f ledger.jsonl.gz"),
    "ledger import": ("sluice ledger import ledger.jsonl.gz --nats-url nats://127.0.0.1:4222",),
    "support-bundle": ("sluice support-bundle -o bundle.tar.gz",),
    "admin keys create": (
        "sluice admin keys create --keyring keys --server nats.sluice.svc --node node-1 --node node-2",
    ),
    "admin keys list": ("sluice admin keys list --keyring keys",),
    "admin keys rotate": (
        "sluice admin keys rotate --keyring keys node.node-1",
        "sluice admin keys rotate --keyring keys --all",
    ),
    "admin keys renew": ("sluice admin keys renew --keyring keys",),
    "admin keys retire": ("sluice admin keys retire --keyring keys --older-than 24",),
    "admin keys remove": ("sluice admin keys remove --keyring keys node.node-2",),
    "admin keys server": ("sluice admin keys server --keyring keys --at /etc/nats/bus",),
    "admin keys secrets": ("sluice admin keys secrets --keyring keys --namespace sluice",),
    "lab down": ("sluice lab down",),
}
"""By the command's words."""


def give(command: click.Command, words: str = "") -> None:
    """Append the examples to the help of the command and of all its subcommands."""
    if isinstance(command, click.Group):
        for name, one in command.commands.items():
            give(one, f"{words} {name}".strip())
    elif lines := EXAMPLES.get(words):
        command.epilog = "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
