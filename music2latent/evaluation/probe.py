"""`music2latent probe`: how much of what matters a linear classifier finds in the latents (the paper's second claim).

A data set is a folder: either one folder per class, or any files with a `labels.csv`. Its columns: `path`, and for
every task one with the class, and one called `TASK.group`: files of a group are never in training and test at once.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import audio
from ..codec import EncoderDecoder
from ..errors import InputError
from ..extras import require
from ..files import replacing, walk
from ..progress import NamedProgress

LABELS = "labels.csv"
MELS = 64
"""Bands of the baseline: as many numbers per frame as a latent has."""
MOST_NUMBERS = 256
"""Longer vectors are reduced to so many principal components before they are classified."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One question about files: their classes, and the groups that cross-validation keeps together."""

    name: str
    paths: tuple[Path, ...]
    classes: tuple[str, ...]
    groups: tuple[str, ...]


def read_tasks(folder: Path) -> list[Task]:
    """The tasks of a data set.

    Raises:
        InputError: no files, one class only, or a table without the columns.
    """
    table = folder / LABELS
    if table.is_file():
        with table.open(newline="") as file:
            rows = list(csv.DictReader(file))
        names = [name for name in rows[0] if name != "path" and not name.endswith(".group")] if rows else []
        if not names or "path" not in rows[0]:
            raise InputError(f"{table}: expected the columns path, TASK and, if wanted, TASK.group")
        tasks = []
        for name in names:
            kept = [row for row in rows if row[name]]
            paths = tuple(folder / row["path"] for row in kept)
            groups = tuple(row.get(f"{name}.group") or row["path"] for row in kept)
            classes = tuple(row[name] for row in kept)
            tasks.append(Task(name=name, paths=paths, classes=classes, groups=groups))
    else:
        paths = tuple(walk(folder, audio.FORMATS))
        inner = [path.relative_to(folder).parts for path in paths]
        if any(len(parts) < 2 for parts in inner):
            raise InputError(f"{folder}: audio outside of class folders; expected one folder per class, or {LABELS}")
        # CLASS/GROUP/..., or every file for itself
        groups = tuple("/".join(parts[:2]) for parts in inner)
        classes = tuple(parts[0] for parts in inner)
        tasks = [Task(name="class", paths=paths, classes=classes, groups=groups)]
    for task in tasks:
        if len(set(task.classes)) < 2:
            raise InputError(f"{folder}: {task.name}: {len(set(task.classes))} classes; a probe needs two or more")
    return tasks


def log_mel(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """The baseline: log mel bands `[64, T]` of mono audio, at the latents' frame rate."""
    import librosa

    power = librosa.feature.melspectrogram(y=samples, sr=sample_rate, n_fft=4096, hop_length=4096, n_mels=MELS)
    return np.log(power + 1e-8)


def describe(codec: EncoderDecoder, paths: list[Path], progress: NamedProgress) -> dict[str, np.ndarray]:
    """Every file as one vector per representation, `[files, 2 D]`: mean and standard deviation over time of its mix."""
    views: dict[str, list[np.ndarray]] = {"latents": [], "features": [], "log-mel": []}
    for index, path in enumerate(paths):
        progress(f"encoding {path.name}", index / len(paths))
        samples = audio.read_whole(audio.open_audio(path), codec.sample_rate).mean(0)
        samples = np.pad(samples, (0, max(0, 2 * codec.frame_size - len(samples))))  # the shortest word fills a frame
        mono = torch.from_numpy(samples)
        for name, values in (
            ("latents", codec.encode(mono)[0].float().cpu().numpy()),
            ("features", codec.encode(mono, extract_features=True)[0].float().cpu().numpy()),
            ("log-mel", log_mel(samples, codec.sample_rate)),
        ):
            views[name].append(np.concatenate([values.mean(1), values.std(1)]))
    return {name: np.stack(rows) for name, rows in views.items()}


def linear_probe(vectors: np.ndarray, classes: np.ndarray, groups: np.ndarray, folds: int) -> dict[str, float]:
    """Accuracy of logistic regression on standardised vectors, over folds that share no group; and of guessing."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    folds = min(folds, len(set(groups)))
    split = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    scores, guesses = [], []
    for train, test in split.split(vectors, classes, groups):
        steps = [StandardScaler(), LogisticRegression(C=0.1, max_iter=300)]
        if vectors.shape[1] > MOST_NUMBERS:  # thousands of features: their principal components, linear as well
            steps.insert(1, PCA(min(MOST_NUMBERS, len(train)), svd_solver="randomized", random_state=0))
        model = make_pipeline(*steps)
        scores.append(float(model.fit(vectors[train], classes[train]).score(vectors[test], classes[test])))
        commonest = Counter(classes[train]).most_common(1)[0][0]
        guesses.append(float((classes[test] == commonest).mean()))
    return {
        "accuracy": float(np.mean(scores)),
        "std_over_folds": float(np.std(scores)),
        "guessing": float(np.mean(guesses)),
        "folds": folds,
    }


def probe(folders: list[Path], codec: EncoderDecoder, *, folds: int, progress: NamedProgress) -> list[dict[str, Any]]:
    """Every task of every data set with every representation, a row each.

    Raises:
        InputError: unusable data, a class of one group alone, or packages that are missing.
    """
    require("evaluate")
    rows = []
    for folder in folders:
        tasks = read_tasks(folder)
        for task in tasks:
            groups = Counter(name for name, _ in dict.fromkeys(zip(task.classes, task.groups, strict=True)))
            if alone := [name for name, count in groups.items() if count < 2]:
                raise InputError(
                    f"{folder}: {task.name}: all files of class {alone[0]} are of one group; cross-validation needs two"
                )
        paths = sorted({path for task in tasks for path in task.paths})
        views = describe(codec, paths, progress)
        place = {path: index for index, path in enumerate(paths)}
        for task in tasks:
            chosen = [place[path] for path in task.paths]
            for name, vectors in views.items():
                progress(f"probing {name}: {task.name}", 1)
                result = linear_probe(vectors[chosen], np.array(task.classes), np.array(task.groups), folds)
                facts = {
                    "data": folder.name,
                    "task": task.name,
                    "files": len(chosen),
                    "classes": len(set(task.classes)),
                }
                rows.append({**facts, "representation": name, "numbers": vectors.shape[1], **result})
    return rows


def run(folders: list[Path], codec: EncoderDecoder, output: Path, *, folds: int, progress: NamedProgress) -> str:
    """`probe`, written to probe.json and probe.md; returns the table."""
    rows = probe(folders, codec, folds=folds, progress=progress)
    text = f"# Linear probes of {codec.model_id}\n\n{table(rows)}"
    output.mkdir(parents=True, exist_ok=True)
    for name, content in (("probe.json", json.dumps(rows, indent=1) + "\n"), ("probe.md", text)):
        with replacing(output / name) as partial:
            partial.write_text(content)
    return text


def table(rows: list[dict[str, Any]]) -> str:
    """One line per task, one column per representation."""
    names = list(dict.fromkeys(f"{row['representation']} ({row['numbers']})" for row in rows))
    lines = [
        "| data | task | files | classes | guessing | " + " | ".join(names) + " |",
        "|---|---|---:|---:|---:|" + "---:|" * len(names),
    ]
    tasks = dict.fromkeys((row["data"], row["task"], row["files"], row["classes"]) for row in rows)
    for task in tasks:
        own = [row for row in rows if (row["data"], row["task"], row["files"], row["classes"]) == task]
        cells = [f"{row['accuracy']:.1%} ± {row['std_over_folds']:.1%}" for row in own]
        lines.append("| " + " | ".join([*map(str, task), f"{own[0]['guessing']:.1%}", *cells]) + " |")
    return "\n".join(lines) + "\n"
