"""Whether harmonics come back, to see: python scripts/harmonics.py FOLDER OUT.png --model mini --model MODEL

Five seconds of every second file that `evaluate --limit 16` takes of the folder: the original, and what each model
makes of it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from music2latent import EncoderDecoder
from music2latent.audio import write_audio
from music2latent.evaluation.pieces import choose
from music2latent.evaluation.report import draw_spectrograms


def main(
    folder: Annotated[Path, typer.Argument(help="Audio that no model has seen.")],
    target: Annotated[Path, typer.Argument(help="The picture, PNG.")],
    models: Annotated[list[str] | None, typer.Option("--model", help="Names or files; mini by default.")] = None,
) -> None:
    """Write the picture."""
    codecs = {name: EncoderDecoder(model=name) for name in models or ["mini"]}
    players = []
    with tempfile.TemporaryDirectory() as work:
        for number, piece in enumerate(choose([folder], limit=16, seconds=5.0, min_seconds=5.0)[::2]):
            samples = piece.read()[:1].numpy()
            made = [(Path(name).stem, codec.reconstruct(samples, piece.sample_rate)) for name, codec in codecs.items()]
            versions = []
            for index, (name, sound) in enumerate([("original", samples), *made]):
                versions.append({"name": name, "file": f"{number}-{index}.wav"})
                write_audio(Path(work, versions[-1]["file"]), [sound], piece.sample_rate, 1, sound.shape[-1])
            players.append({"title": Path(piece.path).name, "versions": versions})
        draw_spectrograms(players, Path(work), target)


if __name__ == "__main__":
    typer.run(main)
