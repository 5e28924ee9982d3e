"""The tree of verbs. Only what their signatures need is imported here; each verb imports the rest when it runs."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer
from typer._click.exceptions import UsageError
from typer.core import TyperCommand

from orchestrator.cli import (
    certificates,
    inferring,
    keeping,
    models,
    objects,
    planning,
    running,
    scheduling,
    tokens,
    training,
    waiting,
)
from orchestrator.cli.describing import describe
from orchestrator.cli.explaining import explain
from orchestrator.cli.failures import FAILED
from orchestrator.cli.getting import get

if TYPE_CHECKING:
    from typer._click import Command, Context

COMPLETE = "_SKERRY_COMPLETE"  # the environment variable by which a shell asks for completions
SHELLS = ("bash", "zsh", "fish")
# \b keeps the lines of a paragraph as they are.
SHORT_HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


def _examples(*lines: str) -> str:
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def _root(
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error came from.")] = False,
    show_version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Skerry trains models on cloud clusters and keeps their replicas where latency and policy say, cloud or edge.

    Begin with `skerry up`, then `skerry apply -f FILE` and `skerry get services`.
    """
    # Both options are handled before the tree is built (main.py); they stand here for the help text.


def completion(
    shell: Annotated[
        str, typer.Argument(metavar="bash|zsh|fish", autocompletion=lambda: list(SHELLS), help="Which shell.")
    ],
) -> None:
    """Print the completion script for a shell."""
    from orchestrator.cli.failures import BadUsage

    if shell not in SHELLS:
        raise BadUsage(f"no completion for {shell!r}", f"give one of {', '.join(SHELLS)}")
    # Typer offers this only behind its own two options, which would stand in every help text.
    from typer._completion_shared import get_completion_script

    print(get_completion_script(prog_name="skerry", complete_var=COMPLETE, shell=shell))


class _OneForErrors(TyperCommand):
    """A verb whose exit code 2 has a meaning of its own: wrong usage is an error like others."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: "Context | None" = None, **extra: object
    ) -> "Context":
        try:
            return super().make_context(info_name, args, parent, **extra)
        except UsageError as err:
            err.exit_code = FAILED
            raise


def _tree() -> typer.Typer:
    # Plain help: rich's takes longer to load than everything else together.
    app = typer.Typer(
        rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False, context_settings=SHORT_HELP
    )
    app.callback(no_args_is_help=True)(_root)

    def verb(
        function: Callable[..., None], *examples: str, hidden: bool = False, cls: type[TyperCommand] | None = None
    ) -> None:
        app.command(epilog=_examples(*examples), hidden=hidden, cls=cls)(function)

    verb(running.up, "skerry up", "skerry up --detach --zone plant-7")
    verb(running.down, "skerry down")
    verb(running.status, "skerry status", "skerry status --watch", "skerry status -o json")
    verb(
        objects.apply,
        "skerry apply -f service.yaml",
        "skerry apply -f sites/ --dry-run",
        "cat x.yaml | skerry apply -f -",
    )
    verb(
        planning.plan,
        "skerry plan -f service.yaml",
        "skerry plan -f policies/ -o json",
        "skerry plan -f service.yaml --png placement.png",
        "skerry plan",
        cls=_OneForErrors,
    )
    verb(
        planning.replay,
        "skerry replay d-0123456789abcdef",
        "skerry replay d-0123456789abcdef --policy stricter.yaml",
    )
    verb(
        get,
        "skerry get decisions",
        "skerry get sites",
        "skerry get svc digits -o yaml",
        "skerry get jobs -A -l team=vision -w",
        "skerry get nodes -o wide",
    )
    verb(describe, "skerry describe service digits", "skerry describe site/harbour")
    verb(objects.delete, "skerry delete service digits", "skerry delete -f service.yaml")
    verb(scheduling.cordon, "skerry cordon harbour-1")
    verb(scheduling.uncordon, "skerry uncordon harbour-1")
    verb(
        scheduling.drain,
        "skerry drain harbour-1",
        "skerry drain harbour-1 --timeout 30m",
        "skerry drain harbour-1 --no-wait",
    )
    verb(
        waiting.wait,
        "skerry wait svc/digits --for condition=Ready --timeout 2m",
        "skerry wait job/d1 --for phase=Succeeded",
    )
    verb(training.train, "skerry train --model digits --epochs 5", "skerry train -f job.yaml")
    verb(training.logs, "skerry logs job/digits-1 -f")
    verb(
        inferring.infer,
        "skerry infer digits --input image=digit.npy",
        "skerry infer iris --input 'x=[[5.1, 3.5, 1.4, 0.2]]'",
    )
    verb(
        explain,
        "skerry explain digits",
        "skerry explain digits --site harbour",
        "skerry explain digits --all",
        "skerry explain digits --why-not inland",
        "skerry explain digits --png placement.svg",
        "skerry explain digits -o json",
    )
    verb(running.serve, "skerry serve digits=digits.tflite --port 8001", "skerry serve a=./saved_model b=b.tflite")
    verb(keeping.backup, "skerry backup /backups/monday.db")
    verb(keeping.restore, "skerry restore /backups/monday.db --force")
    verb(
        completion,
        'eval "$(skerry completion bash)"',
        "skerry completion fish > ~/.config/fish/completions/skerry.fish",
    )
    verb(running.front, "skerry front --name front-0 --control 127.0.0.1:7070", hidden=True)
    model = typer.Typer(rich_markup_mode=None, help="Models made elsewhere.", no_args_is_help=True)
    model.command("push", epilog=_examples("skerry model push digits digits.tflite --accuracy 0.97"))(models.push)
    model.command("list", epilog=_examples("skerry model list", "skerry model list -o json"))(models.list_models)
    app.add_typer(model, name="model")
    token = typer.Typer(rich_markup_mode=None, help="Tokens by which machines become nodes.", no_args_is_help=True)
    token.command(
        "create",
        epilog=_examples(
            "skerry token create --site harbour --count 3 --ttl 1h --label rack=2",
            "skerry token create --site harbour > token && scp token oslo-1:",
            "skerry token create --site harbour --tokens 50 -o json",
        ),
    )(tokens.create)
    token.command("list", epilog=_examples("skerry token list", "skerry token list -o json"))(tokens.listing)
    token.command("revoke", epilog=_examples("skerry token revoke k3m9x2pq"))(tokens.revoke)
    app.add_typer(token, name="token")
    certificate = typer.Typer(rich_markup_mode=None, help="Certificates of people and services.", no_args_is_help=True)
    certificate.command(
        "create",
        epilog=_examples(
            "skerry certificate create line-7 --role service --out line-7",
            "skerry certificate create anna --role operator --out ~/anna; export SKERRY_IDENTITY=~/anna",
        ),
    )(certificates.create)
    app.add_typer(certificate, name="certificate")
    return app


def command() -> "Command":
    """Ready to be called with `args` and `prog_name`."""
    if COMPLETE in os.environ:
        from typer._completion_classes import completion_init

        completion_init()
    return typer.main.get_command(_tree())
