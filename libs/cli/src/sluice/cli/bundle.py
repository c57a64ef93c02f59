"""`sluice support-bundle`: what somebody else needs to diagnose a problem."""

import io
import tarfile
import time
from pathlib import Path
from typing import Any

import click

from sluice.cli import onbus

KEPT = (("STATUS", "status.>"), ("GROUPS", "groups._mark.*"), ("PROGRAMS", "programs._mark.>"))
OBJECTS = ("OBJECTS", "objects.>")
"""A stream, and the subjects of it to include."""

STREAM_FIELDS = ("messages", "bytes", "first_seq", "last_seq", "num_subjects")


@click.command(name="support-bundle")
@click.option(
    "-o", "--output", "file", type=click.Path(dir_okay=False, path_type=Path), help="Default: sluice-TIME.tar.gz."
)
@click.option("--objects", is_flag=True, help="Include all objects, with names and addresses of Pods.")
@onbus.on_a_bus
def bundle(*, file: Path | None, objects: bool, nats_url: str | None, name: str | None) -> None:
    """Collect diagnostics of a cluster or a lab: versions, streams, statuses and marks.

    Without --objects, the bundle names Pods only where nodes report on them. Review it before you share it. Exits with
    0, or with 2 if no bus answers.
    """
    made = onbus.run(_gathered(onbus.url(nats_url, name), with_objects=objects))
    target = file or Path(time.strftime("sluice-%Y%m%dT%H%M%SZ.tar.gz", time.gmtime()))
    with tarfile.open(target, "w:gz") as archive:
        for title, body in sorted(made.items()):
            entry = tarfile.TarInfo(f"sluice/{title}")
            entry.size, entry.mtime = len(body), int(time.time())
            archive.addfile(entry, io.BytesIO(body))
    click.echo(f"{target}: {len(made)} files, {target.stat().st_size:,} bytes")


async def _gathered(url: str, *, with_objects: bool) -> dict[str, bytes]:
    from sluice.contracts import codec
    from sluice.runtime import past

    async with onbus.connected(url) as bus:
        found = {"versions.json": codec.encode(_versions()), "streams.json": codec.encode(await _streams(bus))}
        for stream, pattern in (*KEPT, *([OBJECTS] if with_objects else [])):
            for message in await past.last_of(bus, stream, pattern):
                if message.body:
                    found[f"{stream.lower()}/{message.subject}.json"] = message.body
    return found


def _versions() -> dict[str, str]:
    import platform
    from importlib.metadata import version

    return {"sluice": version("sluice-cli"), "python": platform.python_version(), "system": platform.platform()}


async def _streams(bus: Any) -> dict[str, Any]:
    from nats.js.errors import NotFoundError

    from sluice.contracts.streams import STREAMS
    from sluice.runtime.patience import patiently

    def asks(name: str) -> Any:
        return lambda: bus.js.stream_info(name)

    found: dict[str, Any] = {}
    for spec in STREAMS:
        try:
            info = await patiently(bus, asks(spec.name))
        except NotFoundError:
            found[spec.name] = None
            continue
        found[spec.name] = {field: getattr(info.state, field, None) for field in STREAM_FIELDS}
        found[spec.name]["max_bytes"] = info.config.max_bytes
    return found
