"""`sluice completion`: shell completion of commands, options and arguments."""

import click
from click.shell_completion import get_completion_class

NAME = "sluice"
VARIABLE = f"_{NAME.upper()}_COMPLETE"
"""The variable by which the script asks for completions; the name is click's."""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the shell code that completes commands and options.

    For bash (4.4 or newer) or zsh, add `eval "$(sluice completion bash)"` (or zsh) to ~/.bashrc or ~/.zshrc. For fish,
    write the output to ~/.config/fish/completions/sluice.fish.
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise AssertionError(f"click completes for {shell}")
    click.echo(kind(context.find_root().command, {}, NAME, VARIABLE).source())
