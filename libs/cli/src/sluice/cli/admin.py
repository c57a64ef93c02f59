"""`sluice admin`: for who runs a deployment."""

import click

from sluice.cli.keys import keys


@click.group()
def admin() -> None:
    """For who runs a deployment: keys of the bus."""


admin.add_command(keys)
