"""A rectified flow over latents `[D, L]`: its network, its loss, and how it fills in what is not known.

x_t = (1 - t) x_0 + t noise, from data at t = 0 to noise at t = 1, and the network predicts the velocity
dx_t/dt = noise - x_0 (Liu et al., arXiv 2209.03003). In training t is logit-normal (Esser et al., arXiv 2403.03206).
Known latents are data at every t, and a channel says which they are: so one network makes sounds from nothing, goes on
from a beginning and fills gaps, and what was given comes back as it was.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    """Attention and two layers, both scaled, shifted and gated by t (adaLN-Zero: Peebles & Xie, arXiv 2212.09748)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))
        self.modulation = zeroed(nn.Linear(width, 6 * width))

    def forward(self, x: Tensor, time: Tensor, turn: Tensor, real: Tensor) -> Tensor:
        """x `[B, L, width]`, time `[B, width]`, turn `[L, width / heads / 2]`, real `[B, 1, 1, L]`."""
        scale1, shift1, gate1, scale2, shift2, gate2 = self.modulation(time)[:, None].chunk(6, dim=-1)
        qkv = self.qkv(self.norm(x) * (1 + scale1) + shift1)
        q, k, v = qkv.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # [B, heads, L, width / heads] each
        seen = F.scaled_dot_product_attention(rotated(q, turn), rotated(k, turn), v, attn_mask=real)
        x = x + gate1 * self.out(seen.transpose(1, 2).flatten(2))
        return x + gate2 * self.mlp(self.norm(x) * (1 + scale2) + shift2)


def zeroed(layer: nn.Linear) -> nn.Linear:
    """The layer with zeros for its weights: what it leads to begins with no effect."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def rotated(x: Tensor, turn: Tensor) -> Tensor:
    """Rotary positions (Su et al., arXiv 2104.09864): pairs of numbers as complex ones, turned by their position."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * turn).flatten(-2).type_as(x)


def turns(position: Tensor, count: int) -> Tensor:
    """Complex numbers `[N, count]` that turn with the position `[N]`, at frequencies from 1 down to 1/10000."""
    angles = position[:, None] * 10000 ** -torch.linspace(0, 1, count, device=position.device)
    return torch.polar(torch.ones_like(angles), angles)


class Flow(nn.Module):
    """The network. `width`, `depth` and `heads` are the transformer's, `latent_dim` is D."""

    def __init__(self, latent_dim: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.width, self.heads = width, heads
        self.enter = nn.Linear(latent_dim + 1, width)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm, self.leave = nn.LayerNorm(width), zeroed(nn.Linear(width, latent_dim))

    def forward(self, x: Tensor, t: Tensor, known: Tensor, real: Tensor) -> Tensor:
        """Velocity `[B, D, L]` at x_t `[B, D, L]` and t `[B]`. Of the latents `[B, L]`, some are known, and those that
        are not real are padding."""
        time = self.time(torch.view_as_real(turns(1000 * t, self.width // 2)).flatten(1))
        turn = turns(torch.arange(x.shape[-1], device=x.device, dtype=torch.float32), self.width // self.heads // 2)
        hidden = self.enter(torch.cat([x, known[:, None].type_as(x)], dim=1).transpose(1, 2))
        for block in self.blocks:
            hidden = block(hidden, time, turn, real[:, None, None])
        return self.leave(self.norm(hidden)).transpose(1, 2)


def flow_loss(flow: nn.Module, data: Tensor, real: Tensor, generator: torch.Generator) -> Tensor:
    """Mean squared error of the velocity, where data `[B, D, L]` is real `[B, L]` and not known.

    The generator is the CPU's, so that t, noise and what is known are the same on every device.
    """
    noise = torch.randn(data.shape, generator=generator).to(data)
    t = torch.randn(len(data), generator=generator).sigmoid().to(data)
    known = draw_known(real.cpu(), generator).to(data.device)
    x = torch.where(known[:, None], data, torch.lerp(data, noise, t[:, None, None]))
    error = (flow(x, t, known, real).float() - (noise - data)).square().mean(dim=1)
    wanted = real & ~known
    return (error * wanted).sum() / wanted.sum()


def draw_known(real: Tensor, generator: torch.Generator) -> Tensor:
    """Which latents `[B, L]` an item is given: nothing, a beginning, or all but a gap, each in a third of the items."""
    kind = torch.randint(3, (len(real), 1), generator=generator)
    ends = real.sum(dim=1, keepdim=True)
    start, stop = (torch.rand(2, len(real), 1, generator=generator).sort(dim=0).values * ends).long()
    place = torch.arange(real.shape[1])
    return real & (kind > 0) & ((place < start) | (place > stop) & (kind == 2))


@torch.no_grad()
def solve(flow: nn.Module, values: Tensor, known: Tensor, noise: Tensor, num_steps: int) -> Tensor:
    """From noise to data `[B, D, L]` in steps of Heun's method; values that are known `[L]` stay."""
    given = known.expand(len(values), -1)

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        return flow(x, t.expand(len(x)), given, torch.ones_like(given)).masked_fill(known, 0.0)

    x = torch.where(known, values, noise)
    for t, following in pairwise(torch.linspace(1, 0, num_steps + 1, device=x.device)):
        first = velocity(x, t)
        second = velocity(x + (following - t) * first, following)
        x = x + (following - t) * (first + second) / 2
    return x


def fill(flow: nn.Module, values: Tensor, known: Tensor, window: int, num_steps: int, seed: int) -> Tensor:
    """Latents `[B, D, L]` of any length, of which those that are known `[L]` stay and the others are made.

    A gap of up to half a window is made at once, from what stands on both sides; a longer one in equal pieces from left
    to right, each from at least half a window before it. The channels of a stereo sound, as items of the batch, begin
    with the same noise, so that they stay close to each other.
    """
    length = values.shape[-1]
    spare = max(0, window - length)
    values, known = F.pad(values, (0, spare)), F.pad(known, (0, spare))
    noise = torch.randn(values.shape[1:], generator=torch.Generator().manual_seed(seed)).to(values).expand_as(values)
    while not known[:length].all():
        first = int(known.int().argmin())
        gap = int(F.pad(known[first:].int(), (0, 1), value=1).argmax())
        piece = -(-gap // -(-gap // (window // 2)))
        before = (window - piece) // 2 if piece == gap else window - piece
        start = max(0, min(first - before, values.shape[-1] - window))
        part = slice(start, start + window)
        made = solve(flow, values[..., part], known[part], noise[..., part], num_steps)
        new = torch.arange(first, first + piece, device=values.device)
        values, known = values.index_copy(-1, new, made[..., new - start]), known.index_fill(0, new, True)
    return values[..., :length]
