"""How to reach the API server: by a kubeconfig, by a Pod's service account, or by an address."""

import os
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import structlog
from msgspec import Struct

log = structlog.get_logger()


class BadAccess(ValueError):
    """The configuration is unreadable or selects nothing. The message says where, what and what to do."""


class Access(Struct, frozen=True, kw_only=True):
    """Where the API server is. If all are empty: the Pod's service account, or else kubectl's default kubeconfig."""

    kubeconfig: str = ""
    """Path of the kubeconfig file."""

    context: str = ""
    """Context of the kubeconfig; empty means its current one."""

    master: str = ""
    """Address of the API server; overrides the configured one."""


class Connection:
    """A session with the API server, and its authentication header."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._configuration: Any = None  # Any: kubernetes_asyncio is only partly typed
        self._rest: Any = None

    async def open(self) -> None:
        """Read the configuration.

        Raises:
            BadAccess: see there.
        """
        # The import takes a second and 60 MB; without Kubernetes nobody should pay for it.
        from kubernetes_asyncio.client.rest import RESTClientObject  # noqa: PLC0415  # see above

        configuration = await _configured(self._access)
        try:
            rest = RESTClientObject(configuration)
        except (OSError, ssl.SSLError) as error:
            raise BadAccess(f"the certificates of {configuration.host}: {error}; mend the kubeconfig") from error
        await self.close()
        self._configuration, self._rest = configuration, rest

    async def close(self) -> None:
        if self._rest is not None:
            await self._rest.close()
            self._rest = None

    @property
    def host(self) -> str:
        """The server's URL, such as https://10.0.0.1:6443, possibly followed by a path."""
        return str(self._configuration.host).rstrip("/")

    @property
    def session(self) -> aiohttp.ClientSession:
        session: aiohttp.ClientSession = self._rest.pool_manager
        return session

    def options(self) -> dict[str, Any]:
        """Options of every request, apart from its headers."""
        return {
            name: value
            for name, value in (
                ("proxy", self._rest.proxy),
                ("proxy_headers", self._rest.proxy_headers),
                ("server_hostname", self._rest.server_hostname),
            )
            if value
        }

    async def headers(self) -> dict[str, str]:
        """The authentication header; a token that is about to expire is read again."""
        token = await self._configuration.get_api_key_with_prefix("BearerToken")
        return {"Authorization": str(token).strip()} if token else {}


async def _configured(access: Access) -> Any:
    import yaml  # noqa: PLC0415  # theirs
    from kubernetes_asyncio import client, config  # noqa: PLC0415  # as above
    from kubernetes_asyncio.config.config_exception import ConfigException  # noqa: PLC0415  # as above

    configuration = client.Configuration()
    where = "what the Pod is given"
    try:
        if not access.kubeconfig and "KUBERNETES_SERVICE_HOST" in os.environ:
            config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]  # untyped upstream
        elif access.kubeconfig or not access.master:
            where = f"the kubeconfig {_path(access)}"
            await config.load_kube_config(
                config_file=_path(access),
                context=access.context or None,
                client_configuration=configuration,
                persist_config=False,
            )
    except (ConfigException, OSError, ValueError, yaml.YAMLError) as error:
        raise BadAccess(f"{where}: {error}; name a kubeconfig that says how to reach the API server") from error
    if access.master:
        configuration.host = access.master
    log.info("kubernetes_configured", host=configuration.host)
    return configuration


def _path(access: Access) -> str:
    return access.kubeconfig or os.environ.get("KUBECONFIG", "") or str(Path.home() / ".kube" / "config")
