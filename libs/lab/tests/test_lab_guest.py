"""What a guest boots: modules in the order in which they load, and an archive that a kernel unpacks."""

import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

from sluice.lab.guest import initramfs, uml, wire
from sluice.lab.guest.kernels import NoKernel, debian, in_order


def module(folder: Path, name: str, *needs: str) -> None:
    (folder / f"{name}.ko").write_bytes(b"\x7fELF\0license=GPL\0depends=" + ",".join(needs).encode() + b"\0name=x\0")


def test_a_module_comes_after_what_it_needs(tmp_path: Path) -> None:
    module(tmp_path, "act_ct", "nf_flow_table", "nf_conntrack")
    module(tmp_path, "nf_flow_table", "nf_conntrack")
    module(tmp_path, "nf_conntrack", "nf-defrag-ipv4")
    module(tmp_path, "nf_defrag_ipv4")

    order = [path.stem for path in in_order(tmp_path, ["nf_conntrack", "act_ct"])]

    assert order == ["nf_defrag_ipv4", "nf_conntrack", "nf_flow_table", "act_ct"]


def test_a_module_that_is_not_there_is_named(tmp_path: Path) -> None:
    module(tmp_path, "act_ct", "nf_conntrack")

    with pytest.raises(NoKernel, match="no module nf_conntrack"):
        in_order(tmp_path, ["act_ct"])


def test_no_kernel_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(NoKernel, match=r"run `\./task kernels`"):
        debian(tmp_path)


@pytest.mark.skipif(shutil.which("busybox") is None, reason="needs busybox to unpack: run `./task kernels`")
def test_busybox_unpacks_the_archive(tmp_path: Path) -> None:
    archive = initramfs.archive(
        {
            "bin": initramfs.folder(),
            "bin/init": initramfs.file(b"#!/bin/sh\n", executable=True),
            "odd": initramfs.file(b"12345"),
            "init": initramfs.link("bin/init"),
        }
    )

    subprocess.run(["busybox", "cpio", "-i", "-d"], input=archive, cwd=tmp_path, check=True, capture_output=True)

    assert (tmp_path / "odd").read_bytes() == b"12345"
    assert (tmp_path / "init").resolve() == tmp_path / "bin/init"
    assert (tmp_path / "bin/init").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("size", [0, 1, wire.PIECE - 4, wire.PIECE, 3 * wire.PIECE + 7])
def test_a_frame_arrives_whole_however_little_is_read_at_a_time(size: int) -> None:
    there: list[int] = []
    confirmed: list[bytes] = []

    def write_one(body: bytes) -> int:
        there.append(body[0])
        return 1

    wire.Channel(read=lambda count: wire.CONFIRMED, write=write_one).send(wire.Returned(bytes(size)))

    def write(body: bytes) -> int:
        confirmed.append(body)
        return len(body)

    receiver = wire.Channel(
        read=lambda count: bytes(there.pop(0) for _ in range(min(count, 3, len(there)))), write=write
    )

    assert receiver.receive() == wire.Returned(bytes(size))
    assert not there
    assert set(confirmed) == {wire.CONFIRMED}


def test_an_end_is_told() -> None:
    with pytest.raises(wire.Gone):
        wire.Channel(read=lambda count: b"", write=len).receive()


def test_a_guest_does_not_run_out_of_memory_where_little_is_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=64 << 20))

    assert uml.memory(Path("/dev/shm"), tmp_path) == tmp_path
