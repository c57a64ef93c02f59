"""The API's HTTP server, according to the settings."""

import ssl

import uvicorn
from starlette.types import ASGIApp

from sluice.runtime.serving import Serving
from sluice.runtime.settings import ConfigError
from sluice.services.query_api.certificates import Certified
from sluice.services.query_api.settings import QueryApiSettings

_STOP_S = 2  # for requests in progress at shutdown; event streams are cut off


def listening(app: ASGIApp, own: QueryApiSettings) -> Serving:
    """Create the server.

    Raises:
        ConfigError: a file is invalid.
    """
    config = uvicorn.Config(
        app,
        http=Certified,
        host=own.host,
        port=own.port,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=_STOP_S,
        ssl_certfile=own.certificate or None,
        ssl_keyfile=own.key or None,
        ssl_ca_certs=own.client_ca or None,
        ssl_cert_reqs=ssl.CERT_REQUIRED if own.client_ca else ssl.CERT_NONE,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{own.certificate}, {own.key}, {own.client_ca}: {error}; all are PEM files") from error
    return Serving("API", config)
