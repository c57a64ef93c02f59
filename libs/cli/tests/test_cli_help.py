import subprocess
import sys


def test_help_names_the_commands(sluice) -> None:
    result = sluice("--help")

    assert result.exit_code == 0
    assert [
        word
        for word in ("compile", "connectivity", "get", "lab", "lint", "trace", "validate", "verdict")
        if f"\n  {word} " in result.output
    ] == [
        "compile",
        "connectivity",
        "get",
        "lab",
        "lint",
        "trace",
        "validate",
        "verdict",
    ]


def test_help_loads_no_more_than_it_needs() -> None:
    """Everything else is imported by the command that needs it: that is what makes `sluice --help` quick."""
    probe = "import sys; import sluice.cli.main; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True).stdout.split()

    ours = {name for name in loaded if name.startswith("sluice.")}
    assert {name for name in ours if not name.startswith("sluice.cli")} == set()
    assert not {"msgspec", "yaml", "nats", "asyncio", "structlog", "pyroute2"} & set(loaded)


def test_bad_usage_is_two(sluice) -> None:
    for words in (
        ["nonsense"],
        ["validate"],
        ["verdict", "-f", "x"],
        ["trace", "--from", "x/a"],
        ["compile", "-f", "x"],
    ):
        assert sluice(*words).exit_code == 2
