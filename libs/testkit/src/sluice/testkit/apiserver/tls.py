"""A certificate for the fake, issued by a CA of its own."""

import ssl

import trustme

from sluice.testkit.apiserver.server import Tls


def certificate() -> Tls:
    """A new certificate for 127.0.0.1."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return Tls(context, authority.cert_pem.bytes())
