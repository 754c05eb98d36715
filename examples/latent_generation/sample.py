"""Makes audio with a trained flow: from nothing, behind a given clip, or in a gap of one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from flow import Flow, fill
from settings import command, read_run
from torch import Tensor

from music2latent import EncoderDecoder, InputError, Latents
from music2latent.audio import check_writable, open_source, read_whole, write_audio
from music2latent.chunks import latents_needed
from music2latent.dataset.examples import Normalisation
from music2latent.files import check_free


def given(codec: EncoderDecoder, samples: np.ndarray, rate: int, start: int, stop: int) -> tuple[Tensor, Tensor]:
    """What is known of a sound `[C, n]` whose samples from `start` to `stop` are to be made.

    Both sides are encoded by themselves, so that nothing of the gap is seen, and as far as they fill frames.

    Returns:
        Latents `[C, D, L]`, and which of them are known `[L]`.
    """
    frame, total = codec.frame_size, max(stop, samples.shape[-1])
    values = torch.zeros(len(samples), codec.latent_dim, latents_needed(total, codec.config))
    known = torch.zeros(values.shape[-1], dtype=torch.bool)
    left, right = start // frame, -(-stop // frame)
    if left:
        values[..., :left] = codec.compress(samples[:, : left * frame], rate, coding_rate=rate).values[..., :left]
        known[:left] = True
    if right * frame < samples.shape[-1]:
        values[..., right:] = codec.compress(samples[:, right * frame :], rate, coding_rate=rate).values
        known[right:] = True
    return values, known


@torch.no_grad()
def generate(run: Path, device: torch.device, values: Tensor, known: Tensor, num_steps: int, seed: int) -> Tensor:
    """Latents `[C, D, L]`, of which those that are known `[L]` stay and the flow of a run makes the others."""
    state, config = read_run(run)
    flow = Flow(values.shape[1], config.width, config.depth, config.heads)
    flow.load_state_dict({name[7:]: value for name, value in state["ema"].items() if name.startswith("module.")})
    flow.to(device).eval()
    normalisation = Normalisation.of(state["statistics"])
    made = fill(flow, normalisation.apply(values).to(device), known.to(device), config.window, num_steps, seed)
    return torch.where(known, values, normalisation.undo(made.cpu()))


def main(
    run: Annotated[Path, typer.Argument(help="The folder of a run of train.py.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="An audio file.")],
    seconds: Annotated[float, typer.Option(min=0.1, help="How much to make.")] = 10.0,
    clip: Annotated[Path | None, typer.Option("--continue", help="A clip to go on from.")] = None,
    gapped: Annotated[Path | None, typer.Option("--fill", help="A clip with a gap, from --from to --to.")] = None,
    start: Annotated[float | None, typer.Option("--from", help="Where the gap begins, in seconds.")] = None,
    stop: Annotated[float | None, typer.Option("--to", help="Where it ends.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Of the solver.")] = 32,
    seed: int = 0,
    model: Annotated[str | None, typer.Option("--model", "-m", help="The codec that made the latents.")] = None,
    device: Annotated[str | None, typer.Option(help="Default: the fastest there is.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that exists.")] = False,
) -> None:
    """Make audio: SECONDS of it, SECONDS more of a clip, or what a clip has lost."""
    if clip and gapped:
        raise InputError("--continue and --fill; choose one")
    if {start is None, stop is None} != {gapped is None}:
        raise InputError("--fill takes a clip, with --from and --to the seconds where its gap begins and ends")
    check_free(output, force)
    facts, codec = read_run(run)[0]["model"], EncoderDecoder(model=model, device=device)
    if not codec.decodes(facts["fingerprint"]):
        raise InputError(
            f"{run}: trained on latents of {facts['model_id']!r} ({facts['fingerprint'][:12]}), which "
            f"{codec.model_id!r} ({codec.fingerprint[:12]}) does not decode; name that model with --model"
        )
    rate, path = facts["coding_rate"], clip or gapped
    samples = read_whole(open_source(path, None), rate) if path else np.zeros((1, 0), np.float32)
    length = samples.shape[-1]
    first, last = length, length + round(seconds * rate)
    if gapped:
        first, last = round(start * rate), round(stop * rate)
        if not 0 <= first < last <= length:
            raise InputError(f"a gap from {start:g} to {stop:g} s; expected one in the {length / rate:.2f} s of {path}")
    check_writable(output, rate, len(samples), None)
    values, known = given(codec, samples, rate, first, last)
    made = generate(run, codec.device, values, known, steps, seed)
    audio = codec.decompress(Latents.from_array(made, **facts, num_samples=max(last, length)))
    write_audio(output, [audio], rate, *audio.shape, overwrite=force)


if __name__ == "__main__":
    command(main)
