"""A certificate authority for the bus and the webhook, and the certificates it signs. ECDSA on P-256 throughout."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import NamedTuple, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_DAYS = 3_650
LEAF_DAYS = 365
_SLACK = timedelta(minutes=5)  # for clocks that are behind ours


class Certified(NamedTuple):
    """A certificate and its private key, in PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """Signs certificates for servers and clients of the bus."""

    def __init__(self, certified: Certified) -> None:
        self.certified = certified
        self._certificate = x509.load_pem_x509_certificate(certified.certificate)
        key = serialization.load_pem_private_key(certified.key, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(
                "the authority's key was not created by `sluice admin keys`: it is not an elliptic-curve key"
            )
        self._key = key

    @classmethod
    def make(cls, now: datetime, of: str = "bus", days: float = AUTHORITY_DAYS) -> Self:
        """A new authority; `of` says in its name what it is for."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name(f"Sluice {of} authority {now:%Y-%m-%dT%H:%M:%SZ}")
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        builder = (
            _builder(name, name, key.public_key(), now, days)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        return cls(Certified(_pem(builder.sign(key, hashes.SHA256())), _key_pem(key)))

    def server(self, names: Iterable[str], now: datetime, days: float = LEAF_DAYS) -> Certified:
        """A certificate for a server with these names and addresses; for clients too, as servers connect to servers."""
        return self._sign("nats", names, now, days, [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])

    def client(self, name: str, now: datetime, days: float = LEAF_DAYS) -> Certified:
        return self._sign(name, (), now, days, [ExtendedKeyUsageOID.CLIENT_AUTH])

    def _sign(
        self, name: str, alternatives: Iterable[str], now: datetime, days: float, usages: list[x509.ObjectIdentifier]
    ) -> Certified:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(_name(name), self._certificate.subject, key.public_key(), now, days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        if names := [_alternative(each) for each in alternatives]:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return Certified(_pem(builder.sign(self._key, hashes.SHA256())), _key_pem(key))


def expires(certificate: bytes) -> datetime:
    """When the first certificate in this PEM expires."""
    return x509.load_pem_x509_certificate(certificate).not_valid_after_utc


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, days: float
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + min(timedelta(), timedelta(days=days)) - _SLACK)
        .not_valid_after(now + timedelta(days=days))
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])  # RFC 5280, ub-common-name


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
