"""`sluice admin keys`: permissions on the bus. The keyring is a folder that only the operator has."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from sluice.cli import options

RESTART = (
    "Then give each nats-server what `server/` holds, and restart them one after another "
    "(a reload by `kill -HUP` may end them: docs/security.md)."
)
AT = "/etc/nats/bus"
"""The mount path of the server's Secret in the manifests of `deploy/k8s`."""

_keyring = click.option(
    "--keyring",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    envvar="SLUICE_KEYRING",
    help="The keyring's folder; default: $SLUICE_KEYRING. Whoever can read it can do everything.",
)
_identities = click.argument("identities", nargs=-1, metavar="[IDENTITY]...")


@click.group()
def keys() -> None:
    """Manage keys and certificates of services and nodes, and nats-server's configuration for them.

    An IDENTITY is a service (ingest), node.NAME or person.operator.
    """


@keys.command()
@_keyring
@click.option("--server", "servers", multiple=True, metavar="NAME", help="Name or address of a nats-server.")
@click.option("--node", "nodes", multiple=True, metavar="NAME", help="Kubernetes name of a node. May be repeated.")
@click.option("--client-certificates", is_flag=True, help="Servers require client certificates in addition to keys.")
def create(folder: Path, servers: Sequence[str], nodes: Sequence[str], client_certificates: bool) -> None:  # noqa: FBT001  # click passes flags by name
    """Create a keyring for all services and these nodes, or add what is missing to an existing one."""
    from sluice.runtime import keyring

    with _refusing():
        if (folder / keyring.RING).exists():
            ring = keyring.Keyring.open(folder)
            if set(servers) - set(ring.ring.server_names) or client_certificates > ring.ring.client_certificates:
                why = "servers and client certificates can be chosen only when the keyring is created"
                options.refuse([f"{folder}: {why}; leave out --server and --client-certificates, or use a new folder"])
        else:
            ring = keyring.Keyring.create(folder, servers, keyring.now(), client_certificates=client_certificates)
        new = ring.add(keyring.everybody(nodes), keyring.now())
    for identity in new:
        click.echo(f"{identity.text}: {folder / 'identities' / identity.text}")
    click.echo(RESTART if new else "nothing was missing")


@keys.command(name="list")
@_keyring
@options.output("table")
def list_(folder: Path, output: str) -> None:
    """List identities, the age of their keys, and how many earlier keys are still accepted."""
    from sluice.runtime import keyring

    with _refusing():
        ring = keyring.Keyring.open(folder)
        rows, ends = ring.rows(), ring.expiries()
    if output == "json":
        found = [row._asdict() for row in rows]
        options.echo_json({"identities": found, "expires": ends})
        return
    lines = [["IDENTITY", "KEY", "SINCE", "EARLIER", "CERTIFICATE UNTIL"]]
    lines += [
        [row.identity, row.key, f"{row.since:%Y-%m-%d %H:%M}", str(row.earlier), _day(row.expires)] for row in rows
    ]
    click.echo(options.table(lines))
    click.echo(f"certificates: the server's until {_day(ends['server'])}, the authority's {_day(ends['authority'])}")


@keys.command()
@_keyring
@_identities
@click.option("--all", "everybody", is_flag=True, help="All identities.")
def rotate(folder: Path, identities: Sequence[str], everybody: bool) -> None:  # noqa: FBT001  # click, as above
    """Issue a new key for each IDENTITY; the old one is accepted as well until `retire`."""
    from sluice.runtime import keyring

    with _refusing():
        ring = keyring.Keyring.open(folder)
        if everybody == bool(identities):
            options.refuse(["name the identities whose keys to rotate, or give --all"])
        chosen = ring.identities if everybody else [keyring.parse(text) for text in identities]
        ring.rotate(chosen, keyring.now())
    for identity in chosen:
        click.echo(f"{identity.text}: {folder / 'identities' / identity.text}")
    click.echo(RESTART + " Then distribute the new files to their owners, and finally run `sluice admin keys retire`.")


@keys.command()
@_keyring
@_identities
@click.option(
    "--older-than",
    "hours",
    type=click.FloatRange(min=0),
    default=24.0,
    show_default=True,
    metavar="HOURS",
    help="Only keys that were replaced at least this long ago.",
)
def retire(folder: Path, identities: Sequence[str], hours: float) -> None:
    """Stop accepting replaced keys and the earlier authority; without IDENTITY, those of all."""
    from sluice.runtime import keyring

    with _refusing():
        ring = keyring.Keyring.open(folder)
        chosen = [keyring.parse(text) for text in identities] or None
        retired = ring.retire(keyring.now() - timedelta(hours=hours), chosen)
    click.echo(f"{retired} keys are not accepted any more. {RESTART}")


@keys.command()
@_keyring
@_identities
def remove(folder: Path, identities: Sequence[str]) -> None:
    """Stop accepting any key of each IDENTITY: the node is gone, or its key was stolen."""
    from sluice.runtime import keyring

    with _refusing():
        keyring.Keyring.open(folder).remove([keyring.parse(text) for text in identities])
    click.echo(RESTART)


@keys.command()
@_keyring
@click.option("--authority", is_flag=True, help="Use a new authority; the old one is trusted until `retire`.")
def renew(folder: Path, authority: bool) -> None:  # noqa: FBT001  # click, as above
    """Issue new certificates for servers, and for clients if they have any."""
    from sluice.runtime import keyring

    with _refusing():
        keyring.Keyring.open(folder).renew(keyring.now(), authority=authority)
    if authority:
        click.echo(
            "First distribute the new ca.crt to all services and nodes: without it, they will not trust the servers."
        )
    click.echo(RESTART)


@keys.command()
@_keyring
@click.option(
    "--at", type=click.Path(path_type=Path), help="Folder of the server's files on the machine where it runs."
)
def server(folder: Path, at: Path | None) -> None:
    """Print what nats-server's configuration must include: TLS and accounts."""
    from sluice.runtime import keyring

    with _refusing():
        click.echo(keyring.Keyring.open(folder).configuration(at), nl=False)


@keys.command()
@_keyring
@click.option("--namespace", default="sluice", show_default=True)
@click.option("--at", type=click.Path(path_type=Path), default=AT, show_default=True, help="As for `server`.")
@click.option(
    "--nodes-together",
    is_flag=True,
    help="Put all nodes into one Secret: easier to mount, but each node has the keys of all.",
)
def secrets(folder: Path, namespace: str, at: Path, nodes_together: bool) -> None:  # noqa: FBT001  # click, as above
    """Print Kubernetes Secrets for the server, each service and each node."""
    import msgspec

    from sluice.runtime import keyring, keysecrets

    with _refusing():
        made = list(keysecrets.secrets(keyring.Keyring.open(folder), namespace, at, nodes_together=nodes_together))
    click.echo("---\n".join(msgspec.yaml.encode(each).decode() for each in made), nl=False)


@contextmanager
def _refusing() -> Iterator[None]:
    """Report errors of the keyring or the request in one line."""
    from sluice.runtime.keyring import BadKeyring

    try:
        yield
    except (BadKeyring, OSError) as error:
        options.refuse([str(error)])


def _day(when: Any) -> str:  # Any: datetime or None
    return f"{when:%Y-%m-%d}" if when else "-"
