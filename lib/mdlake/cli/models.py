"""Commands over artifacts: what is in them, their weights as plain files, ONNX."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mdlake.cli.options import Storage, storage_of
from mdlake.cli.shown import count, size, table

Artifact = Annotated[str, typer.Argument(metavar="ARTIFACT")]


def inspect(artifact: Artifact, storage: Storage = None) -> None:
    """Show what an artifact spends its bytes on, tensor by tensor."""
    from mdlake import artifact as artifacts

    parts = artifacts.inspect(artifact, storage_of(storage))
    rows = []
    for part in parts:
        counts = [f"{n:,}" if part.is_tensor else "" for n in (part.parameters, part.nonzero)]
        sizes = f"{part.bytes:,}", f"{part.bits:.2f}" if part.parameters else ""
        rows.append((part.name, "x".join(map(str, part.shape)), part.scheme, part.chain, *counts, *sizes))
    tensors = [part for part in parts if part.is_tensor]
    totals = [sum(part.parameters for part in tensors), sum(part.nonzero for part in tensors)]
    totals += [sum(part.bytes for part in parts)]
    heads = ("part", "shape", "scheme", "chain", "parameters", "not zero", "bytes", "bits each")
    table(artifact, heads, rows, ("total", "", "", "", *(f"{n:,}" for n in totals), ""))
    for kind, what in ((artifacts.LEVELS, "the integers of tensors"), (artifacts.SHARED, "short vectors")):
        if any(part.scheme == kind for part in parts):
            print(f"{what} are coded together, as {kind}")
    if (macs := _macs_per_row(artifact, storage)) is not None:
        print(f"{macs:,} multiply-accumulates per row")


def pack(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A safetensors file, or its URL.")],
    target: Annotated[
        str | None, typer.Argument(metavar="[TARGET]", help="By default SOURCE's name with .mdlake.safetensors.")
    ] = None,
    effort: Annotated[str, typer.Option(help="fast, default or max.")] = "default",
    storage: Storage = None,
) -> None:
    """Write weights in fewer bytes, every bit kept: an artifact without a network."""
    from mdlake import artifact as artifacts

    goal = target or f"{source.removesuffix('.safetensors')}.mdlake.safetensors"
    before, after = artifacts.pack(source, goal, storage_of(storage), effort)
    print(f"packed {size(before)} to {goal}: {size(after)}, {100 * after / before:.2f} %")


def unpack(
    artifact: Artifact,
    target: Annotated[str | None, typer.Argument(metavar="[TARGET]", help="By default beside the artifact.")] = None,
    max_gb: Annotated[float, typer.Option(help="The memory that the weights may take.")] = 4.0,
    storage: Storage = None,
) -> None:
    """Write an artifact's weights as plain safetensors."""
    from mdlake import artifact as artifacts

    goal = target or f"{artifact.removesuffix('.safetensors').removesuffix('.mdlake')}.unpacked.safetensors"
    written = artifacts.unpack(artifact, goal, storage_of(storage), max_bytes=int(max_gb * (1 << 30)))
    print(f"unpacked {size(written)} of weights to {goal}")


def export(
    artifact: Artifact,
    target: Annotated[str, typer.Argument(metavar="TARGET.onnx", help="A file or a URL; nothing is overwritten.")],
    int8: Annotated[bool, typer.Option("--int8", help="Weights kept as levels of up to 8 bits stay levels.")] = False,
    round_weights: Annotated[
        bool, typer.Option("--round-weights", help="With --int8: the other weights get 8 bits too.")
    ] = False,
    shards: Annotated[
        str | None,
        typer.Option(help="The folder of splits: compare on it; with --int8, round activations, calibrated on train."),
    ] = None,
    split: Annotated[str, typer.Option(help="The split that is compared on.")] = "validation",
    model_class: Annotated[
        str | None, typer.Option(help="Of your own network: package.module:factory, found from this folder.")
    ] = None,
    inputs: Annotated[str | None, typer.Option(help="Of your own inputs: package.module:name.")] = None,
    storage: Storage = None,
) -> None:
    """Write an artifact as an ONNX file, and compare it in ONNX Runtime with the artifact in torch."""
    from mdlake.export import ExportOptions, export_onnx

    if model_class or inputs:
        sys.path.insert(0, "")
    chosen = ExportOptions(int8, round_weights, shards or "", split)
    report = export_onnx(artifact, target, chosen, storage_of(storage), model_class=model_class, inputs=inputs)
    found = report.comparison
    print(f"exported to {target}: {size(report.bytes)}, opset {report.opset}, inputs {', '.join(report.inputs)}")
    if int8:
        kinds = (count(len(report.int8_weights), "weight tensor"), count(report.activations, "activation"))
        print(f"int8: {' and '.join(kinds)}")
    rows = count(found.rows, "row") + f" of {split}" if shards else f"{found.rows} made-up rows"
    print(f"largest difference of logits on {rows}: {found.difference:.2g}, where the largest is {found.largest:.3g}")
    for name, measures in (("torch", found.torch), ("ONNX Runtime", found.onnx)):
        if measures:
            auc = "" if measures.auc is None else f"AUC {measures.auc:.4f}, "
            print(f"{name}: {auc}accuracy {measures.accuracy:.4f}")


def _macs_per_row(artifact: str, storage: list[str] | None) -> int | None:
    """None for a network that is not the library's: it cannot be run without its class."""
    from mdlake.artifact import load_artifact
    from mdlake.errors import InvalidArgumentError, UnsupportedVersionError
    from mdlake.shrink.structured.macs import macs_per_row

    try:
        return macs_per_row(load_artifact(artifact, storage_of(storage)))
    except (InvalidArgumentError, UnsupportedVersionError):
        return None
