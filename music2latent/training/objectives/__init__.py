"""What a model is trained to do: each objective a small class in a file of its own.

An objective is a frozen dataclass whose fields are the keys of its table in a recipe; calling it with a `Batch` gives
its loss and named figures. A new one takes a file, its line in `OBJECTIVES`, and its line in a recipe:

    [objectives]
    spectral = { weight = 1.0, second = 0.125 }
"""

from __future__ import annotations

from .adversarial import Adversarial
from .bands import Bands
from .batch import Batch, Head, Headed, Objective, Stage
from .consistency import Consistency
from .constant_q import ConstantQ
from .dimension import Dimension
from .distillation import Distillation
from .energy import Energy
from .features import Features
from .harmonic import Harmonic
from .loudness import Loudness
from .pyramid import Pyramid
from .readout import Readout
from .spectral import Spectral
from .tones import Tones
from .waveform import Waveform

OBJECTIVES: dict[str, type[Objective]] = {
    "adversarial": Adversarial,
    "bands": Bands,
    "consistency": Consistency,
    "constant_q": ConstantQ,
    "dimension": Dimension,
    "distillation": Distillation,
    "energy": Energy,
    "features": Features,
    "harmonic": Harmonic,
    "loudness": Loudness,
    "pyramid": Pyramid,
    "readout": Readout,
    "spectral": Spectral,
    "tones": Tones,
    "waveform": Waveform,
}

__all__ = [
    "OBJECTIVES",
    "Adversarial",
    "Bands",
    "Batch",
    "Consistency",
    "ConstantQ",
    "Dimension",
    "Distillation",
    "Energy",
    "Features",
    "Harmonic",
    "Head",
    "Headed",
    "Loudness",
    "Objective",
    "Pyramid",
    "Readout",
    "Spectral",
    "Stage",
    "Tones",
    "Waveform",
]
