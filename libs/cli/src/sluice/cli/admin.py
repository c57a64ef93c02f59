"""`sluice admin`: for operators of a deployment."""

import click

from sluice.cli.keys import keys


@click.group()
def admin() -> None:
    """Administer a deployment: the keys of the bus."""


admin.add_command(keys)
