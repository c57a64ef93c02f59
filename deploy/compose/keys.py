"""`sluice admin keys` for deploy/compose: keys.py KEYRING COMMAND...; then those may read a file who need it.

Run by the service `keys`, as root and group 10001. A keyring is readable by its owner alone; here the central services
are 10001, and what a node runs is root without capabilities; the bus is one or the other.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

FOR_ITS_GROUP = 0o640


def run(ring: Path, words: Sequence[str]) -> int:
    """What the command ends with. What is for the server and for its clients may be read by our group, too."""
    sluice = Path(sys.executable).with_name("sluice")
    done = subprocess.run([sluice, "admin", "keys", *words, "--keyring", ring], check=False)
    for path in (*ring.glob("server/*"), *ring.glob("identities/*/*")):
        path.chmod(FOR_ITS_GROUP)
    return done.returncode


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), sys.argv[2:]))
