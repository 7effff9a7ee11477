"""Commands that train and use models; what they need beyond the backend is loaded when they run."""

import json
import os
from pathlib import Path

import click

from prepal.cli import options
from prepal.cli.options import EXISTING_FILE, CommaList
from prepal.cli.screen import messages
from prepal.settings import Settings

# The experiments of `prepal_workers.simulate.presets`, which cannot be imported where torch is missing.
_PRESETS = {
    "baseline": "PRepAL against random labels and against fine-tuning in every round (AL+FT)",
    "adaptation": "the encoder as it is, trained on the labels as they come, or fine-tuned in every round (AL+FT)",
    "transfer": "labels that were acquired with another encoder, or at random, serve this one",
    "batch-size": "one label at a time, ten, or a hundred",
    "linearity": "the logistic regression against a network with a hidden layer",
    "mismatch": "a poor encoder: word counts",
}


@click.command(epilog="Presets:\n\n\b\n" + "\n".join(f"  {name:11} {text}" for name, text in _PRESETS.items()))
@click.argument("train", type=EXISTING_FILE)
@click.argument("test", type=EXISTING_FILE)
@options.out_option("Folder for the results.", folder=True)
@click.option("--preset", type=click.Choice(sorted(_PRESETS)), help="One of the paper's experiments: see below.")
@click.option("--strategy", type=CommaList(), help="Strategies, as in auto,random.  [default: auto,random]")
@click.option("--budget", type=click.IntRange(min=1), help="Labels in all.  [default: 300]")
@click.option("--batch-size", type=CommaList(int), help="Labels between two retrainings, as in 1,10.  [default: 10]")
@click.option("--seeds", type=click.IntRange(min=1), help="How often each is repeated.  [default: 5]")
@click.option("--jobs", type=click.IntRange(min=1), default=os.cpu_count(), help="Runs at a time.  [default: cores]")
@click.option("--encoder", type=CommaList(), help="Encoders; NAME@3 is the first three layers, word-counts a poor one.")
@click.option("--classifier", type=CommaList(), help="logistic, network, or finetune.  [default: logistic]")
@click.option("--label-names/--no-label-names", default=None, help="Make use of the names of labels.  [default: do]")
@click.option("--adapt/--no-adapt", default=None, help="Train the encoder on the labels as they come.")
@click.option("--pool", type=click.IntRange(min=2), help="Take only so many texts of TRAIN, drawn at random.")
@click.option("--final-model", help="Fine-tune this model on all labels at the end.")
@click.option(
    "--successor",
    type=CommaList(),
    multiple=True,
    callback=lambda _context, _option, lists: [name for names in lists for name in names] or None,
    help="Models that learn from the acquired labels alone: logistic, word-counts, or encoders, for their vectors.",
)
@options.settings_option
@options.json_option
def simulate(
    train: Path, test: Path, out: Path, preset: str | None, jobs: int, settings: Settings, as_json: bool, **grid: object
) -> None:
    """Try strategies on labelled data: TRAIN is the pool, accuracy is measured on TEST."""
    run = options.from_workers("prepal_workers.simulate.run", "Experiments")
    with options.ended_by_signals():
        table = run.simulate(
            train,
            test,
            out,
            messages(),
            cache=settings.prepal_vectors,
            encoder=settings.prepal_encoder,
            jobs=jobs,
            preset=preset,
            given={name: value for name, value in grid.items() if value is not None},
        )
        if as_json:
            click.echo(json.dumps(table))


@click.command()
@click.argument("export", type=click.Path(allow_dash=True), required=False)
@click.option("--project", type=click.IntRange(min=1), help="A Label Studio project, instead of EXPORT.")
@click.option(
    "--model",
    required=True,
    help="What to fine-tune: a name on the Hugging Face hub, a folder, or word-counts, which is small and quick.",
)
@options.out_option("Folder of the result.", folder=True)
@click.option("--unlabelled", type=click.Path(), help="More texts without a label: JSONL, CSV, or one a line.")
@click.option(
    "--choice", "--label", "choice", help="Name of the Choices tag, or of a data file's field with the labels."
)
@click.option("--text", "fields", multiple=True, help="Field of the text, as in mail.body; may be given several times.")
@click.option("--config", type=EXISTING_FILE, help="Label config of EXPORT, which says what its texts are.")
@click.option("--pair", is_flag=True, default=None, help="The two --text fields are a pair.")
@click.option("--epochs", type=click.IntRange(min=1), help="At most so many; by itself: 3 to 12.")
@click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True), help="By itself: by the model's size.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Texts a step; by itself: 8 to 32.")
@click.option(
    "--method",
    type=click.Choice(["logistic", "fine-tune", "contrast"]),
    help="By itself: fine-tune; of few labels, what cross-validation says.",
)
@click.option("--lora/--no-lora", default=None, help="Train low-rank matrices alone; by itself: of large models.")
@click.option("--onnx", is_flag=True, help="Write model.onnx too, checked against the original.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of everything that is drawn.")
@click.option("--resume", is_flag=True, help="Go on where the same command was ended.")
@options.settings_option
@options.json_option
def finetune(
    export: str | None, project: int | None, model: str, out: Path, settings: Settings, as_json: bool, **given: object
) -> None:
    """Train the final model on EXPORT: JSON, JSON_MIN, CSV or TSV of Label Studio, JSONL, a folder of these, or `-`."""
    if (export is None) == (project is None):
        raise click.UsageError("Give either EXPORT or --project.")
    if project is not None and given["config"] is not None:
        raise click.UsageError("Give --config with an EXPORT: a project has its own.")
    metrics = options.from_workers("prepal_workers.final_model.commands", "Fine-tuning").finetune(
        export, project, model, out, settings, messages(), audits=options.audit_tasks(settings, project), **given
    )
    if as_json:
        click.echo(json.dumps(metrics))


@click.command()
@click.argument("model", type=click.Path(file_okay=False, path_type=Path))
@click.option("--input", "source", type=click.Path(allow_dash=True), help="File of texts: JSONL, CSV, or `-`.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Where its labels go: .jsonl or .csv.")
@click.option(
    "--project", type=click.IntRange(min=1), help="A Label Studio project, whose unlabelled tasks are labelled."
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Mark as sure what is right this often, such as 0.95.",
)
@options.settings_option
@options.json_option
def predict(
    model: Path,
    source: str | None,
    out: Path | None,
    project: int | None,
    threshold: float | None,
    settings: Settings,
    as_json: bool,
) -> None:
    """Label the rest with a MODEL that `finetune` wrote."""
    if (source is None) == (project is None) or (source is None) != (out is None):
        raise click.UsageError("Give either --input and --out, or --project.")
    commands = options.from_workers("prepal_workers.final_model.commands", "Predicting")
    found = commands.predict(model, source, out, project, threshold, settings, messages())
    if as_json:
        click.echo(json.dumps(found))
