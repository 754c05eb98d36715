"""The upsampler."""

from __future__ import annotations

import torch

from ..helpers import reference_codec


def test_pyramid_has_one_map_per_level() -> None:
    codec = reference_codec("mixed")
    maps = codec.gen.decoder(torch.zeros(1, 64, 3))
    assert [tuple(m.shape[1:]) for m in maps] == [(8, 1024, 12), (16, 256, 12), (16, 128, 6), (32, 32, 6), (32, 16, 3)]
