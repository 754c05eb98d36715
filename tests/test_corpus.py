"""scripts/corpus*.py: the split, the manifest, the compact copy; on small packages made up here, without a network."""

from __future__ import annotations

import dataclasses
import importlib
import json
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from mido import Message

from music2latent.errors import InputError

ROOT = Path(__file__).parent.parent
RATE = 24000
COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: 2020 Everybody
License: GPL-2+

Files: songs/b.ogg
 songs/unfree*
Copyright: 2021 Bea
           2022 Ben
License: CC-BY-SA-3.0

Files: songs/unfree*
Copyright: 2021 Bea
License: CC-BY-NC-3.0
"""

sys.path.insert(0, str(ROOT / "scripts"))
corpus: Any = importlib.import_module("corpus")
corpus_pack: Any = importlib.import_module("corpus_pack")
corpus_sources: Any = importlib.import_module("corpus_sources")
scores: Any = importlib.import_module("scores")
FONT = Path("/usr/share/sounds/sf2/TimGM6mb.sf2")
Source, Stated = corpus_sources.Source, corpus_sources.Stated
SOURCES = (
    Source(package="band", kind="music", root="usr/share/band/", origin="songs/"),
    Source(
        package="zipped",
        kind="music",
        root="usr/share/z/music.pk3/cd/",
        stated=Stated("Expat", "Zoe", "free to all"),
    ),
    Source(package="words", kind="speech", root="usr/share/words/", pattern="(?P<voice>[^/]+)/(?P<track>.+)"),
)


def _sound(path: Path, seed: int, seconds: float = 2.0, channels: int = 2, rate: int = RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, (int(seconds * rate), channels))
    soundfile.write(path, noise.astype(np.float32), rate, format="OGG", subtype="VORBIS")


def _copyright(tree: Path, package: str, text: str = COPYRIGHT) -> None:
    file = tree / "usr/share/doc" / package / "copyright"
    file.parent.mkdir(parents=True)
    file.write_text(text)


def _tree(root: Path) -> dict[str, Path]:
    """Three unpacked packages with music, music in an archive, and the words of three voices."""
    trees = {source.package: root / source.package for source in SOURCES}
    band = trees["band"] / "usr/share/band"
    for seed, name in enumerate(["a", "b", "c", "unfree", "song/full", "song/stem"]):
        _sound(band / f"{name}.ogg", seed, 6.0)
    shutil.copy(band / "a.ogg", band / "c-again.ogg")  # a double of a track that is held out below
    _sound(band / "dull.ogg", 50, rate=8000)
    (band / "broken.ogg").write_bytes(b"OggS")
    _copyright(trees["band"], "band")
    cd = trees["zipped"] / "usr/share/z/cd"
    for seed, name in enumerate(["x", "y"]):
        _sound(cd / f"{name}.ogg", 10 + seed, 6.0)
    with zipfile.ZipFile(cd.parent / "music.pk3", "w") as archive:
        for file in cd.iterdir():
            archive.write(file, f"cd/{file.name}")
    shutil.rmtree(cd)
    _copyright(trees["zipped"], "zipped", "These songs are\nfree to all.\n")
    for voice in range(3):
        for word in range(8):
            _sound(trees["words"] / f"usr/share/words/v{voice}/{word}.ogg", 100 + 10 * voice + word, 0.5, channels=1)
    _copyright(trees["words"], "words")
    return trees


HELD_OUT = {"band/a.ogg", "band/song", "zipped/x.ogg", "words/v1"}


def _assemble(out: Path, trees: dict[str, Path], held_out: set[str] = HELD_OUT) -> list[Any]:
    for tree in trees.values():
        corpus.expand(tree)
    tracks: list[Any] = corpus.assemble(out, trees, dict.fromkeys(trees, "1.0"), held_out, SOURCES)
    corpus_pack.write_manifest(out, "recipe", [dataclasses.asdict(track) for track in tracks])
    return tracks


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    folder = tmp_path_factory.mktemp("corpus")
    return folder / "out", _assemble(folder / "out", _tree(folder / "trees"))


def _files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_splits_by_track_and_keeps_everything_once(built: tuple[Path, list[Any]]) -> None:
    out, tracks = built
    names = {split: {t.path.split("/", 2)[2] for t in tracks if t.split == split} for split in ("train", "validation")}
    words = {f"words/v1/{word}.ogg" for word in range(8)}
    assert names["validation"] == {"band/a.ogg", "band/song/full.ogg", "band/song/stem.ogg", "zipped/x.ogg"} | words
    assert not names["train"] & names["validation"]
    assert "band/c-again.ogg" not in names["train"], "a double of a validation track must not be trained on"
    assert len({t.sha256 for t in tracks}) == len(tracks)
    assert "zipped/y.ogg" in names["train"], "a member of a pk3 archive"
    on_disk = {str(file.relative_to(out)) for split in names for file in (out / split).rglob("*.ogg")}
    assert on_disk == {t.path for t in tracks}


def test_manifest_has_facts_licence_and_author_of_every_file(built: tuple[Path, list[Any]]) -> None:
    out, tracks = built
    rows = {row["path"]: row for row in json.loads((out / "manifest.json").read_text())["files"]}
    assert len(rows) == len(tracks)
    assert all(row["licence"] and row["author"] and row["version"] == "1.0" for row in rows.values())
    assert rows["train/music/band/b.ogg"]["licence"] == "CC-BY-SA-3.0"
    assert rows["train/music/band/b.ogg"]["author"] == "2021 Bea; 2022 Ben"
    assert rows["train/music/band/c.ogg"]["licence"] == "GPL-2+"
    assert rows["train/music/zipped/y.ogg"]["licence"] == "Expat"
    facts = {"seconds": 6.0, "sample_rate": RATE, "channels": 2, "kind": "music", "member": "usr/share/band/b.ogg"}
    assert facts.items() <= rows["train/music/band/b.ogg"].items()
    assert {file.name for file in (out / "licences").iterdir()} == {"band", "zipped", "words"}


def test_leaves_out_what_is_not_free_dull_or_broken(built: tuple[Path, list[Any]]) -> None:
    assert not {"unfree.ogg", "dull.ogg", "broken.ogg"} & {Path(track.path).name for track in built[1]}
    assert corpus.is_free("GPL-3 or LGPL-3")
    assert not corpus.is_free("CC-BY-ND-4.0")
    assert not corpus.is_free("GPL-2 and CC-BY-NC-3.0")


def test_a_rerun_changes_nothing_and_another_list_leaves_nothing_behind(tmp_path: Path) -> None:
    names = list(_tree(tmp_path / "0"))
    trees = [{name: tmp_path / run / name for name in names} for run in "012"]
    for run in "12":
        shutil.copytree(tmp_path / "0", tmp_path / run)
    _assemble(tmp_path / "out", trees[0])
    before = _files(tmp_path / "out")
    _assemble(tmp_path / "out", trees[1])
    assert _files(tmp_path / "out") == before
    _assemble(tmp_path / "out", trees[2], {"band/b.ogg"})
    validation = [file.name for file in (tmp_path / "out" / "validation").rglob("*") if file.is_file()]
    assert validation == ["b.ogg"]
    assert not (tmp_path / "out/train/music/band/b.ogg").exists()


def test_a_validation_track_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"in no package: band/gone\.ogg"):
        _assemble(tmp_path / "out", _tree(tmp_path / "trees"), {"band/gone.ogg", "band/a.ogg"})
    assert not (tmp_path / "out").exists()


def test_a_changed_copyright_file_is_an_error() -> None:
    with pytest.raises(InputError, match="zipped: its copyright file no longer says 'free to all'"):
        corpus.Copyright("All rights reserved.", SOURCES[1])


@pytest.mark.parametrize(("megabytes", "closeness"), [(0.05, 0.85), (0.1, 0.95), (0.3, 0.95)])
def test_pack_fills_its_size_and_never_exceeds_it(
    built: tuple[Path, list[Any]], tmp_path: Path, megabytes: float, closeness: float
) -> None:
    rows = corpus_pack.pack(built[0], tmp_path / "packed", megabytes)
    packed = _files(tmp_path / "packed")
    assert closeness * megabytes * 1e6 <= sum(map(len, packed.values())) <= megabytes * 1e6
    sources = {source for row in rows for source in row["sources"]}
    assert sources <= {track.path for track in built[1] if track.split == "train"}
    assert all(row["licence"] and row["author"] for row in rows)
    for row in rows:
        info = soundfile.info(tmp_path / "packed" / row["path"])
        assert (info.channels, info.samplerate, info.subtype) == (1, 48000, "OPUS")
        assert info.duration == pytest.approx(row["seconds"], abs=0.01)


def test_pack_joins_the_words_of_a_voice_and_a_rerun_changes_nothing(
    built: tuple[Path, list[Any]], tmp_path: Path
) -> None:
    rows = corpus_pack.pack(built[0], tmp_path / "packed", 0.3)
    voices = [row for row in rows if row["kind"] == "speech"]
    assert [len(row["sources"]) for row in voices] == [8, 8]
    times = {file: file.stat().st_mtime_ns for file in (tmp_path / "packed").rglob("*")}
    assert corpus_pack.pack(built[0], tmp_path / "packed", 0.3) == rows
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "packed").rglob("*")} == times


def test_pack_is_mono_as_the_mean_of_the_channels(tmp_path: Path) -> None:
    time = np.arange(2 * RATE) / RATE
    left, right = 0.5 * np.sin(2 * np.pi * 440 * time), 0.5 * np.sin(2 * np.pi * 1000 * time)
    soundfile.write(tmp_path / "stereo.wav", np.stack([left + right, left - right], axis=1), RATE)
    mono = np.concatenate([block[0] for block in corpus_pack._mono(tmp_path / "stereo.wav", 1.0)])
    assert len(mono) == 48000
    np.testing.assert_allclose(np.abs(np.fft.rfft(mono * np.hanning(48000)))[[440, 1000]], [6000, 0], atol=30)


def test_pack_refuses_too_little_room_and_a_folder_with_something_else(
    built: tuple[Path, list[Any]], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="too little"):
        corpus_pack.pack(built[0], tmp_path / "packed", 0.01)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    for taken in (tmp_path / "mine", built[0]):
        with pytest.raises(InputError, match="something else"):
            corpus_pack.pack(built[0], taken, 0.3)
    assert (tmp_path / "mine" / "letter.txt").exists()


def test_committed_list_names_packages_of_the_recipe_and_holds_out_of_each_music_package() -> None:
    held_out = {line.split("/")[0] for line in corpus.read_list(corpus.LISTED)}
    assert held_out <= {source.package for source in corpus_sources.SOURCES}
    assert {source.package for source in corpus_sources.SOURCES if source.kind == "music"} <= held_out


@pytest.mark.skipif(not (shutil.which("dpkg-deb") and shutil.which("dpkg")), reason="dpkg is Debian's")
def test_builds_from_packages_in_the_cache_and_does_not_unpack_them_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out" / "cache").mkdir(parents=True)
    for package, tree in _tree(tmp_path / "trees").items():
        (tree / "DEBIAN").mkdir()
        fields = (
            f"Package: {package}\nVersion: 2:3-1\nArchitecture: all\nMaintainer: M <m@example.org>\nDescription: d\n"
        )
        (tree / "DEBIAN" / "control").write_text(fields)
        deb = tmp_path / "out" / "cache" / f"{package}_3-1_all.deb"
        subprocess.run(["dpkg-deb", "--build", "--root-owner-group", tree, deb], check=True, capture_output=True)
    (tmp_path / "list.txt").write_text("band/a.ogg  # the best one\n\n# comment\nwords/v1/\n")
    tracks = corpus.build(tmp_path / "out", tmp_path / "list.txt", SOURCES)
    assert {track.version for track in tracks} == {"2:3-1"}
    monkeypatch.setattr(corpus, "_command", None)  # would fail if it were called
    assert corpus.build(tmp_path / "out", tmp_path / "list.txt", SOURCES) == tracks
    assert not list((tmp_path / "out" / "cache").glob("unpacked-*"))


def test_without_debian_tools_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(InputError, match=r"apt-get: not found.*Debian 12"):
        corpus.fetch("band", tmp_path)


def test_synthetic_sounds(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "synthetic.py"), "--files", "4"]
    for folder in ("one", "other"):
        subprocess.run([*command, str(tmp_path / folder)], check=True)
    files = sorted((tmp_path / "one").iterdir())
    assert [file.stem.split("-")[1] for file in files] == ["noise", "noise", "tones", "sweep"]
    for file in files:
        samples, rate = soundfile.read(file)
        assert (samples.shape, rate) == ((441000,), 44100)
        assert 10 ** (-70 / 20) < np.sqrt(np.square(samples).mean()) < 10 ** (-6 / 20)
        assert file.read_bytes() == (tmp_path / "other" / file.name).read_bytes()
    again = subprocess.run([*command, str(tmp_path / "one")], capture_output=True, text=True, check=False)
    assert again.returncode != 0
    assert "exists already" in again.stderr


def test_scores_are_whole_and_tuned_as_they_say() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        score = sorted(scores.voice(rng, 3, 48, -25.0), key=lambda one: one[0])
        sounding: Counter[int] = Counter()
        for tick, message in score:
            assert message.channel == 3
            assert 0 <= tick <= scores.SECONDS * scores.TICKS
            if message.type == "note_on":
                assert 48 <= message.note <= 108
                sounding[message.note] += 1
            elif message.type == "note_off":
                sounding[message.note] -= 1
            elif message.type == "pitchwheel":
                assert message.pitch == -1024, "an eighth of two semitones down"
        assert sounding
        assert not any(sounding.values()), "every key is let go"


@pytest.mark.skipif(not FONT.exists() or not shutil.which("fluidsynth"), reason="no fluidsynth with timgm6mb-soundfont")
def test_rendered_scores_sound_at_their_pitch(tmp_path: Path) -> None:
    score = [(0, Message("pitchwheel", pitch=2048)), (0, Message("note_on", note=69, velocity=90))]
    score.append((2 * scores.TICKS, Message("note_off", note=69)))
    sound = scores.render(score, tmp_path / "a.wav", FONT)[: scores.RATE * 2].mean(1)
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    near = spectrum[860:960].argmax() + 860  # half a hertz each; partials above may be louder
    assert 1200 * np.log2(near / 2 / 440) == pytest.approx(50, abs=5)
