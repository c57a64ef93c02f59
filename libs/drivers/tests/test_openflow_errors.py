"""Errors are called what ovs-ofctl calls them."""

import subprocess

import pytest

from sluice.drivers.openflow.error_names import MEANINGS, NAMES, NICIRA_NAMES
from sluice.drivers.openflow.errors import EXPERIMENTER, BundleRefused, Refusal, SwitchError, decode_error
from sluice.drivers.openflow.headers import NICIRA, Type, message

STANDARD = [SwitchError(kind, code) for kind, names in NAMES.items() for code in range(len(names))]
EXTENSIONS = [SwitchError(EXPERIMENTER, code, NICIRA) for code in NICIRA_NAMES]


def body(error):
    octets = error.type.to_bytes(2, "big") + error.code.to_bytes(2, "big")
    return octets + (b"" if error.experimenter is None else error.experimenter.to_bytes(4, "big"))


@pytest.mark.parametrize("error", [*STANDARD, *EXTENSIONS], ids=lambda error: error.name)
def test_an_error_is_read(error):
    assert decode_error(body(error) + b"the message it is about") == error


@pytest.mark.datapath
def test_errors_have_the_names_that_ovs_ofctl_prints():
    for error in (*STANDARD, *EXTENSIONS):
        octets = message(Type.ERROR, 1, body(error) + bytes(8)).hex()
        printed = subprocess.run(
            ["ovs-ofctl", "ofp-print", octets], timeout=60, capture_output=True, text=True, check=True
        )
        assert printed.stdout.splitlines()[0].endswith(f": {error.name}")


def test_what_has_a_meaning_has_a_name():
    assert MEANINGS.keys() <= {error.name for error in (*STANDARD, *EXTENSIONS)}


UNKNOWN = [
    ("a new type", SwitchError(99, 1), "error 99, code 1"),
    ("a new code", SwitchError(4, 99), "error 4, code 99"),
    ("somebody else's extension", SwitchError(EXPERIMENTER, 2, 0x4F4E4600), "error 65535, code 2"),
]


@pytest.mark.parametrize(("error", "text"), [row[1:] for row in UNKNOWN], ids=[row[0] for row in UNKNOWN])
def test_an_error_we_do_not_know_keeps_its_numbers(error, text):
    assert str(decode_error(body(error))) == text


@pytest.mark.parametrize("octets", [b"", b"\0", b"\xff\xff\0\1\0"], ids=["nothing", "one octet", "half an extension"])
def test_an_error_cut_short_is_an_error(octets):
    assert str(decode_error(octets)) == "error -1, code -1"


def test_a_bundle_tells_three_refusals_and_counts_the_rest():
    prerequisite = SwitchError(4, 9)
    refusals = [Refusal(f"add flow {number}", prerequisite) for number in range(5)]

    refused = BundleRefused("br-int.mgmt", 9, refusals, more=40)

    assert str(refused).startswith("br-int.mgmt: bundle of 9 changes: nothing of it was applied: add flow 0: OFPBMC_")
    assert "add flow 2: " in str(refused)
    assert str(refused).endswith("; and 42 more")
    assert len(refused.refusals) == 5
