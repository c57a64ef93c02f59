"""Creates the secrets of deploy/compose once: an API token, and a certificate for the webhook with its CA.

Run by the service `secrets`; existing secrets are kept. Delete the volume to get new ones.
"""

import hashlib
import secrets
import sys
from pathlib import Path

import trustme


def make(folder: Path) -> None:
    """Write a token (`token`, and its digest in `tokens`), and `admission.crt`, `admission.key`, `ca.crt`."""
    if not (folder / "tokens").exists():
        token = secrets.token_hex(24)
        _write(folder / "token", token)
        _write(folder / "tokens", f"compose read,content {hashlib.sha256(token.encode()).hexdigest()}\n")
    if not (folder / "ca.crt").exists():
        authority = trustme.CA(organization_name="Sluice", organization_unit_name="deploy/compose")
        certificate = authority.issue_cert("admission", "localhost")
        chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
        _write(folder / "admission.crt", chain.decode())
        _write(folder / "admission.key", certificate.private_key_pem.bytes().decode())
        _write(folder / "ca.crt", authority.cert_pem.bytes().decode())


def _write(path: Path, text: str) -> None:
    """Write the file atomically, readable only by us."""
    new = path.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_text(text)
    new.replace(path)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
