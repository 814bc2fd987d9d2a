"""The program `health-hub`: one command a file in health_hub/commands; each loads what it needs when it runs."""

import argparse
import sys
from collections.abc import Sequence

from health_hub import __version__
from health_hub.commands import (
    check,
    client,
    db,
    export,
    invite,
    keys,
    launch,
    load,
    registration_token,
    reindex,
    relay,
    serve,
    token,
    user,
)
from health_hub.settings import SettingError, Settings

COMMANDS = (serve, relay, load, export, reindex, check, db, user, client, registration_token, launch, token, invite, keys)


def parser() -> argparse.ArgumentParser:
    """Every command with its options; docs/cli.md is made from this."""
    top = argparse.ArgumentParser(
        prog="health-hub",
        description="An open FHIR R4 exchange. Every setting can also be given as a variable HEALTH_HUB_<NAME>.",
    )
    top.add_argument("--version", action="version", version=f"health-hub {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    # `--db` is every command's; argparse takes it after the command's own words.
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--db", metavar="URL", help=f"sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME (default {Settings().db})")
    for command in COMMANDS:
        command.add(commands, shared)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0 done, 1 done with failures that were listed, 2 not started."""
    args = parser().parse_args(argv)
    try:
        return int(args.run(args))
    except SettingError as e:
        print(f"health-hub: {e}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output went away (`| head`); nothing is left to say it to.
        sys.stderr.close()
        return 141


if __name__ == "__main__":
    sys.exit(main())
