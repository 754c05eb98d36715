"""The page itself: what stands where, and which function of `sounds` and `edits` each button calls."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from ..audio import FORMATS
from ..codec import EncoderDecoder
from ..errors import InputError
from ..latents import SUFFIX, Latents
from ..progress import NamedProgress
from .edits import add_noise, mix, scale, stretch, swap_halves
from .sounds import Coder, Heard, check_clip, check_length, decode, encode_both, reconstruct
from .visitors import Cancelled, Visitor, Visitors

MOST_STEPS = 8
"""Network passes on offer; each takes as long as the first."""

_FILES_LAST = 3600  # seconds, for uploads; what else a visitor left goes when the page is closed
_SHOWN = gr.Progress()

STYLE = """
.gradio-container { max-width: 1280px !important; }
.intro h1 { margin: 4px 0 0; } .intro p { opacity: .75; }
.facts table { width: auto; border: none; margin: 0; }
.facts tr, .facts th, .facts td { border: none; background: none !important; font-weight: normal; }
.facts th, .facts td { padding: 1px 14px 1px 0; } .facts th { opacity: .6; }
"""


class _Controls(NamedTuple):
    """What stands under the inputs of a tab: begin the job, end it early, what came out in words, and as a file."""

    begin: gr.Button
    stop: gr.Button
    facts: gr.HTML
    kept: gr.DownloadButton

    @classmethod
    def placed(cls, verb: str) -> _Controls:
        with gr.Row():
            buttons = gr.Button(verb, variant="primary", scale=2), gr.Button("Cancel", scale=1)
        facts = gr.HTML(elem_classes="facts")
        return cls(*buttons, facts, gr.DownloadButton("Download latents (.m2l)", interactive=False))


def _clip(label: str) -> gr.Audio:
    return gr.Audio(label=label, type="filepath", sources=["upload", "microphone"], editable=False, buttons=[])


def _player(label: str) -> gr.Audio:
    return gr.Audio(label=label, interactive=False, buttons=["download"])


def _picture() -> gr.Image:
    return gr.Image(label="Picture", show_label=False, interactive=False, buttons=["fullscreen"])


def _values(heard: Heard) -> tuple[Any, ...]:
    """For a player, a picture, facts and a download."""
    kept = gr.DownloadButton(value=str(heard.kept), interactive=True)
    return str(heard.audio), str(heard.picture), heard.facts, kept


class Page:
    """The page and its visitors.

    Args:
        models: the codecs on offer, by the names under which they are.
        folder: an empty one for files of visitors; Gradio's own have to be in it as well (`GRADIO_TEMP_DIR`).
        most_seconds: of stereo that are accepted at a time.
    """

    def __init__(self, models: Mapping[str, EncoderDecoder], folder: Path, most_seconds: float) -> None:
        self._models, self._folder, self._most = dict(models), folder.resolve(), most_seconds
        self.visitors = Visitors(self._folder)
        with gr.Blocks(title="music2latent", analytics_enabled=False, delete_cache=(600, _FILES_LAST)) as self.blocks:
            self._lay_out()
            self.blocks.unload(self._leave)

    def _lay_out(self) -> None:
        gr.Markdown(
            "# music2latent\nSound to 64 numbers about eleven times a second, and back. "
            f"Up to {self._most / 60:g} minutes of stereo at a time; files are deleted when the page is closed, "
            "uploads within an hour or so.",
            elem_classes="intro",
        )
        with gr.Row():
            names = list(self._models)
            model = gr.Dropdown(names, value=names[0], label="Model", interactive=len(names) > 1)
            steps = gr.Slider(1, MOST_STEPS, value=1, step=1, label="Steps of the decoder")
            seed = gr.Number(0, precision=0, minimum=0, label="Seed of its noise")
        settings = [model, steps, seed]
        with gr.Tab("Reconstruct"), gr.Row():
            with gr.Column(scale=2):
                clip = _clip("Clip")
                controls = _Controls.placed("Reconstruct")
            with gr.Column(scale=3):
                shown = [_player("Original"), _player("Reconstruction"), _picture()]
            self._on(controls, self._reconstruct, [*settings, clip], shown)
        with gr.Tab("Decode a file"), gr.Row():
            with gr.Column(scale=2):
                file = gr.File(label=f"Latents ({SUFFIX})", file_types=[SUFFIX], height=160)
                controls = _Controls.placed("Decode")
            with gr.Column(scale=3):
                shown = [_player("Decoded"), _picture()]
            self._on(controls, self._decode, [*settings, file], shown)
        with gr.Tab("Mix two"), gr.Row():
            with gr.Column(scale=2):
                clips = [_clip("First clip"), _clip("Second clip")]
                share = gr.Slider(0, 1, value=0.5, step=0.01, label="Share of the second")
                controls = _Controls.placed("Mix")
            with gr.Column(scale=3):
                shown = [_player("Mix of their latents"), _picture()]
            self._on(controls, self._mix, [*settings, *clips, share], shown)
        with gr.Tab("Edit"), gr.Row():
            with gr.Column(scale=2):
                gr.Markdown("Edits the latents of what you reconstructed, decoded or mixed last.")
                edits = [
                    gr.Slider(0, 2, value=1, step=0.01, label="Scale"),
                    gr.Slider(0, 2, value=0, step=0.01, label="Noise", info="standard deviation; theirs is about 1"),
                    gr.Slider(0.25, 4, value=1, step=0.01, label="Stretch in time"),
                    gr.Checkbox(label="Swap the halves"),
                ]
                controls = _Controls.placed("Edit")
            with gr.Column(scale=3):
                shown = [_player("Edited"), _picture()]
            self._on(controls, self._edit, [*settings, *edits], shown)

    # ------------------------------------------------------------------------------------------------ what buttons do

    def _reconstruct(self, visitor: Visitor, coder: Coder, clip: str | None) -> Callable[..., tuple[Any, ...]]:
        path = self._checked(clip)

        def work(folder: Path, progress: NamedProgress) -> tuple[Any, ...]:
            original, heard = reconstruct(coder, path, folder, progress)
            visitor.name, visitor.latents = path.stem, heard.latents
            return str(original), *_values(heard)

        return work

    def _decode(self, visitor: Visitor, coder: Coder, file: str | None) -> Callable[..., tuple[Any, ...]]:
        if file is None:
            raise InputError(f"no file; drop an {SUFFIX} file first")
        path = Path(file)
        return partial(self._hear, visitor, coder, Latents.load(path), path.stem)

    def _mix(
        self, visitor: Visitor, coder: Coder, first: str | None, second: str | None, share: float
    ) -> Callable[..., tuple[Any, ...]]:
        clips = self._checked(first), self._checked(second)

        def work(folder: Path, progress: NamedProgress) -> tuple[Any, ...]:
            visitor.encoded = encode_both(coder.codec, clips, visitor.encoded, progress)
            one, other = (visitor.encoded[coder.codec.fingerprint, clip] for clip in clips)
            return self._hear(visitor, coder, mix(one, other, share), "mix", folder, progress)

        return work

    def _edit(
        self, visitor: Visitor, coder: Coder, factor: float, noise: float, longer: float, swap: bool
    ) -> Callable[..., tuple[Any, ...]]:
        if visitor.latents is None:
            raise InputError("nothing to edit yet; reconstruct a clip, or decode a file, first")
        latents = stretch(add_noise(scale(visitor.latents, factor), noise, coder.seed), longer)
        latents = swap_halves(latents) if swap else latents

        def work(folder: Path, progress: NamedProgress) -> tuple[Any, ...]:
            return _values(decode(coder, latents, f"{visitor.name}.edited", folder, progress))

        check_length(visitor.name, latents.duration, latents.channels, self._most)
        return work

    def _hear(
        self,
        visitor: Visitor,
        coder: Coder,
        latents: Latents,
        name: str,
        folder: Path,
        progress: NamedProgress,
    ) -> tuple[Any, ...]:
        """Decode latents that the visitor may then edit."""
        check_length(name, latents.duration, latents.channels, self._most)
        heard = decode(coder, latents, name, folder, progress)
        visitor.name, visitor.latents = name, latents
        return _values(heard)

    def _checked(self, clip: str | None) -> Path:
        if clip is None:
            raise InputError(f"no clip; drop one first, or record one. Accepted: {', '.join(f[1:] for f in FORMATS)}")
        check_clip(path := Path(clip), self._most)
        return path

    # ------------------------------------------------------------------------------------------------ jobs

    def _on(self, controls: _Controls, verb: Callable[..., Any], inputs: list[Any], shown: list[Any]) -> None:
        """Connect a tab. One job runs at a time, whoever's it is; others wait and see their place."""

        def run(
            request: gr.Request,
            shown: gr.Progress = _SHOWN,
            name: str = "",
            steps: int = 1,
            seed: int = 0,
            *values: Any,
        ) -> Any:
            visitor = self.visitors.get(str(request.session_hash))
            try:
                coder = Coder(codec=self._models[name], num_steps=min(steps, MOST_STEPS), seed=seed)
                work = verb(visitor, coder, *values)
                with visitor.job(lambda what, done: shown(done, desc=what)) as (folder, progress):
                    return work(folder, progress)
            except Cancelled:
                raise gr.Error("cancelled", print_exception=False) from None
            except (InputError, OSError, MemoryError) as error:
                raise self._refusal(error) from error

        running = controls.begin.click(
            run,
            inputs,
            [*shown, controls.facts, controls.kept],
            concurrency_id="codec",
            concurrency_limit=1,
            api_visibility="private",
            show_progress_on=shown[-2],
        )
        controls.stop.click(self._stop, cancels=[running], queue=False, api_visibility="private")

    def _refusal(self, error: Exception) -> gr.Error:
        """The library's own message, without the folders of this machine."""
        message = re.sub(rf"{re.escape(str(self._folder))}/(?:[^/\s]+/)*", "", str(error) or "out of memory")
        return gr.Error(html.escape(message), duration=None, print_exception=False)

    def _stop(self, request: gr.Request) -> None:
        self.visitors.stop(str(request.session_hash))

    def _leave(self, request: gr.Request) -> None:
        self.visitors.leave(str(request.session_hash))
