"""How soon the page of `make web` sounds in headless Chromium, and how fast it is, for 10 s of the example.

    make web
    pip install playwright
    python benchmarks/browser.py [FOLDER OF THE PAGE]

Prints a table. Needs Debian's chromium.
"""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import soundfile
from machine import processor
from playwright.sync_api import BrowserContext, Page, sync_playwright

ROOT = Path(__file__).parent.parent
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
ROUNDS = 2


class Files(http.server.SimpleHTTPRequestHandler):
    """A server that logs nothing."""

    def log_message(self, *_: object) -> None:
        pass


def ready(context: BrowserContext, address: str) -> tuple[Page, float]:
    """A visit, and the seconds until the model was there."""
    page, begun = context.new_page(), time.perf_counter()
    page.goto(address)
    page.wait_for_selector("body[data-ready]", timeout=120_000)
    return page, time.perf_counter() - begun


def sounds(page: Page, path: Path) -> tuple[float, float]:
    """Seconds from choosing a file to the first sound, and until all of it was made."""
    page.evaluate("delete document.body.dataset.firstSound")
    with page.expect_file_chooser() as chooser:
        page.click("#choose")
    chooser.value.set_files(path)
    page.wait_for_selector("body[data-first-sound]", timeout=120_000)
    page.wait_for_selector("body[data-state=done]", timeout=120_000)
    made = page.inner_text("#timings").split("made in ")[1].split(" s")[0]
    return float(page.get_attribute("body", "data-first-sound") or "nan"), float(made)


def main(folder: Path) -> None:
    """Measure and print."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/"
    samples, rate = soundfile.read(ROOT / "examples" / "clip.ogg", stop=10 * 44100)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        clips = {"one channel": samples[:, 0], "two channels": samples}
        for title, clip in clips.items():
            soundfile.write(f"{name}/{title}.wav", clip, rate)
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        print(f"{processor()}, {os.cpu_count()} cores, Chromium {chromium.version}, load {os.getloadavg()[0]:.1f}\n")
        context = chromium.new_context()
        page, first = ready(context, address)
        page.close()
        page, again = ready(context, address)
        print(f"model ready {first:.1f} s after the first visit began, {again:.1f} s after another; ", end="")
        print(f"{page.get_attribute('body', 'data-ready')} threads\n")
        print(
            "| 10 s of | first sound (s) | all made (s) | the same, chunks of the command line |\n|---|---:|---:|---|"
        )
        for title in clips:
            cells = []
            for whole in (False, True):
                page.set_checked("[name=whole]", whole)
                page.wait_for_selector("body:not([data-state=making])", timeout=120_000)
                runs = [sounds(page, Path(name) / f"{title}.wav") for _ in range(ROUNDS)]
                cells.append([statistics.median(times) for times in zip(*runs, strict=True)])
            (soon, made), (later, long) = cells
            print(f"| {title} | {soon:.1f} | {made:.1f} | {later:.1f}, {long:.1f} |", flush=True)
        chromium.close()
    server.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "web")
