"""`sluice connectivity`: every pair, for programs and for spreadsheets."""

import json


def test_json_names_every_pair(sluice, folder) -> None:
    result = sluice("connectivity", "-f", folder, "-o", "json")

    assert result.exit_code == 0
    rows = {(row["src"], row["dst"]): row["allowed"] for row in json.loads(result.output)}
    everything = [{"protocol": name, "ports": [[1, 65535]]} for name in ("TCP", "UDP", "SCTP")]
    assert rows["y/b", "x/a"] == [{"protocol": "TCP", "ports": [[80, 80]]}]
    assert rows["y/c", "x/a"] == []
    assert rows["x/a", "y/b"] == everything
    assert rows["x/a", "0.0.0.0/0"] == everything
    assert rows["0.0.0.0/0", "x/a"] == []
    assert sluice("connectivity", "-f", folder, "-o", "json").output == result.output


def test_csv_has_a_line_for_each_protocol(sluice, folder) -> None:
    lines = sluice("connectivity", "-f", folder).output.splitlines()

    assert lines[0] == "src,dst,protocol,ports"
    assert "y/b,x/a,TCP,80" in lines
    assert "y/c,x/a,," in lines
    assert "x/a,y/b,SCTP,1-65535" in lines


def test_bad_input_is_two(sluice, folder) -> None:
    (folder / "bad.yaml").write_text("kind: Pod\n")

    assert sluice("connectivity", "-f", folder).exit_code == 2
