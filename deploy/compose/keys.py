"""`sluice admin keys` for deploy/compose: keys.py KEYRING COMMAND...; then makes the files readable to their users.

Run by the service `keys`, as root with group 10001. A keyring is readable only by its owner; here the central services
run as 10001, the node's services as root without capabilities, and the bus as either.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

FOR_ITS_GROUP = 0o640


def run(ring: Path, words: Sequence[str]) -> int:
    """Run the command and return its exit code. Files for the server and its clients become readable by our group."""
    sluice = Path(sys.executable).with_name("sluice")
    done = subprocess.run([sluice, "admin", "keys", *words, "--keyring", ring], check=False)
    for path in (*ring.glob("server/*"), *ring.glob("identities/*/*")):
        path.chmod(FOR_ITS_GROUP)
    return done.returncode


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), sys.argv[2:]))
