import io
import json
import logging
from typing import Annotated

import pytest
import structlog
from msgspec import Meta

from sluice.runtime import logs
from sluice.runtime.metrics import Metrics
from sluice.runtime.service import _shown, prefix
from sluice.runtime.settings import ConfigError, ServiceSettings, load


class Settings(ServiceSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    node_name: str
    every_s: Annotated[float, Meta(ge=1)] = 60.0


def test_settings_are_what_the_environment_says():
    environ = {"SLUICE_X_NODE_NAME": "n.1", "SLUICE_X_EVERY_S": "2.5", "SLUICE_X_HEALTH_PORT": "80", "OTHER": "x"}
    settings = load(Settings, "SLUICE_X_", environ)

    assert (settings.node_name, settings.every_s, settings.health_port) == ("n.1", 2.5, 80)
    assert settings.nats_url == "nats://localhost:4222"


BAD = [
    ("missing", {}, "missing required field `node_name`"),
    ("too small", {"SLUICE_X_NODE_NAME": "n", "SLUICE_X_EVERY_S": "0"}, ">= 1.0 - at `$.every_s`"),
    ("no number", {"SLUICE_X_NODE_NAME": "n", "SLUICE_X_HEALTH_PORT": "a"}, "`$.health_port`"),
    (
        "not filled in",
        {"SLUICE_X_NODE_NAME": "n", "SLUICE_X_NATS_URL": "tls://$(NATS_SERVICE_HOST):4222"},
        "SLUICE_X_NATS_URL is tls://$(NATS_SERVICE_HOST):4222, but $(NATS_SERVICE_HOST) has no value",
    ),
    ("unknown", {"SLUICE_X_NODE_NAME": "n", "SLUICE_X_NODENAME": "n"}, "unknown field `nodename`; known are SLUICE_X_"),
]


@pytest.mark.parametrize(("environ", "said"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_wrong_settings_say_which_and_why(environ, said):
    with pytest.raises(ConfigError) as caught:
        load(Settings, "SLUICE_X_", environ)

    assert said in str(caught.value)
    assert str(caught.value).startswith("SLUICE_X_*: ")


def test_a_service_has_its_prefix():
    assert prefix("node-ovs") == "SLUICE_NODE_OVS_"


def test_a_password_is_not_logged():
    shown = _shown(ServiceSettings(nats_url="nats://me:secret@bus:4222,nats://you:other@bus2"))

    assert shown["nats_url"] == "nats://…@bus:4222,nats://…@bus2"


def test_metrics_are_told_in_the_text_format():
    metrics = Metrics()
    counter = metrics.counter("a_total", "Things", "kind")
    counter.add(1, 'x"y\n')
    counter.add(2, "z")
    metrics.gauge("b", "Other things").follow(lambda: 7)

    assert metrics.counter("a_total", "Things", "kind") is counter
    assert metrics.text() == (
        "# HELP a_total Things\n# TYPE a_total counter\n"
        'a_total{kind="x\\"y\\n"} 1\na_total{kind="z"} 2\n'
        "# HELP b Other things\n# TYPE b gauge\nb 7\n"
    )


def test_metrics_with_several_labels_are_read_when_they_are_asked_for():
    metrics, told = Metrics(), {("x", "p"): 1.0}
    metrics.rows("rules_total", "Rules", ("namespace", "policy"), told.items)
    metrics.gauge("a", "First by name").set(2)
    told["y", 'q"'] = 3

    assert metrics.text() == (
        "# HELP a First by name\n# TYPE a gauge\na 2\n"
        "# HELP rules_total Rules\n# TYPE rules_total counter\n"
        'rules_total{namespace="x",policy="p"} 1\nrules_total{namespace="y",policy="q\\""} 3\n'
    )


@pytest.fixture
def as_before():
    handlers, level = logging.getLogger().handlers[:], logging.getLogger().level
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logging.getLogger().handlers[:] = handlers
    logging.getLogger().setLevel(level)


def test_logs_are_json_lines_with_what_is_bound(as_before):
    out = io.StringIO()
    logs.configure("node-ovs", stream=out, node="n.1")
    structlog.get_logger().info("program_applied", added=3)
    structlog.get_logger().debug("not_said")
    logging.getLogger("nats").warning("away: %s", "soon back")
    try:
        raise ValueError("why")
    except ValueError:
        structlog.get_logger().exception("it_failed")
    lines = [json.loads(line) for line in out.getvalue().splitlines()]

    assert [line["event"] for line in lines] == ["program_applied", "away: soon back", "it_failed"]
    assert all(line["service"] == "node-ovs" and line["node"] == "n.1" for line in lines)
    assert lines[0]["added"] == 3
    assert lines[1]["logger"] == "nats"
    assert "ValueError: why" in lines[2]["exception"]
