"""Commands for data sets: list, add, show, delete."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shared.cli.job_commands import AsJson, connect, print_json, print_list

Name = Annotated[str, typer.Argument(help="Name of the data set.")]

app = typer.Typer(no_args_is_help=False, help="List the data sets, or add, show and delete one.")


def register(main: typer.Typer) -> None:
    """Add the commands to `main`."""
    main.add_typer(app, name="datasets", rich_help_panel=None)


@app.callback(invoke_without_command=True)
def datasets(context: typer.Context, as_json: AsJson = False) -> None:
    """List the data sets, or add, show and delete one."""
    if context.invoked_subcommand is None:
        print_list("/datasets", "datasets", as_json=as_json)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="What jobs call it, such as `flowers`.")],
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="CSV, .npz, IDX, a zip of pictures, or a folder of them with a folder for each "
            "class. None: a public data set of that name is fetched.",
            exists=True,
        ),
    ] = None,
    train: Annotated[
        list[Path] | None,
        typer.Option(help="File for training, if its name does not say so.", exists=True),
    ] = None,
    test: Annotated[
        list[Path] | None,
        typer.Option(help="File for testing, if its name does not say so.", exists=True),
    ] = None,
    known: Annotated[
        str | None, typer.Option(help="Public data set that the files are an edition of.")
    ] = None,
    title: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    description: Annotated[str, typer.Option(help="What it holds.")] = "",
    attribution: Annotated[str, typer.Option(help="Authors and licence.")] = "",
    options: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="OPTION=VALUE",
            help="How to read the files, such as label_column=class or test_fraction=0.1; may be "
            "repeated.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Import files as a data set, or as a new version of one. Exit 1: they cannot be read."""
    from shared.cli import importing

    body = importing.body(
        name,
        known=known,
        title=title,
        description=description,
        attribution=attribution,
        options=options or [],
    )
    with connect() as client:
        sent = importing.gather(files or [], train=train or [], test=test or [])
        if not sent and known is None:
            body["known"] = name
        done = importing.run(client, body, sent)
        detail = client.get(f"/datasets/{name}") if done["status"] == "done" else None
    if as_json:
        print_json(done)
    else:
        importing.show(done, detail, client.url)
    raise typer.Exit(0 if done["status"] == "done" else 1)


@app.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """Show a data set: shapes, classes, and what to know before training."""
    from shared.cli import importing

    with connect() as client:
        detail = client.get(f"/datasets/{name}")
    if as_json:
        return print_json(detail)
    return importing.show_dataset(detail, client.url)


@app.command()
def known(as_json: AsJson = False) -> None:
    """List the public data sets that can be added by name."""
    print_list("/known-datasets", "known_datasets", as_json=as_json)


@app.command()
def delete(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a data set; jobs that are over keep their results."""
    with connect() as client:
        detail = client.get(f"/datasets/{name}")
        if not yes:
            count = detail["train_images"] + detail["test_images"]
            typer.confirm(f"Delete {name} with its {count:,} images?", abort=True, err=True)
        client.delete(f"/datasets/{name}")
    print(f"{name} is deleted")
