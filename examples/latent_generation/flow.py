"""A rectified flow over latents `[D, L]`: its network, its loss, and how it fills in what is not known.

x_t = (1 - t) x_0 + t noise, from data at t = 0 to noise at t = 1, and the network predicts the velocity
dx_t/dt = noise - x_0 (Liu et al., arXiv 2209.03003). In training t is logit-normal (Esser et al., arXiv 2403.03206).

Known latents are data at every t, and a channel says which they are. So one network makes sounds from nothing, goes on
from a given beginning and fills gaps, and what was given comes back as it was.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    """Attention and two layers, both scaled, shifted and gated by the time (adaLN-Zero: Peebles & Xie, 2212.09748)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, time: Tensor, turn: Tensor, real: Tensor) -> Tensor:
        """x `[B, L, width]`, time `[B, width]`, turn `[L, width / heads / 2]`, real `[B, 1, 1, L]`."""
        scale1, shift1, gate1, scale2, shift2, gate2 = self.modulation(time)[:, None].chunk(6, dim=-1)
        qkv = self.qkv(self.norm(x) * (1 + scale1) + shift1)
        q, k, v = qkv.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # [B, heads, L, width / heads] each
        seen = F.scaled_dot_product_attention(rotated(q, turn), rotated(k, turn), v, attn_mask=real)
        x = x + gate1 * self.out(seen.transpose(1, 2).flatten(2))
        return x + gate2 * self.mlp(self.norm(x) * (1 + scale2) + shift2)


def rotated(x: Tensor, turn: Tensor) -> Tensor:
    """Rotary positions (Su et al., arXiv 2104.09864): pairs of numbers as complex ones, turned by their position."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * turn).flatten(-2).type_as(x)


def waves(position: Tensor, count: int) -> Tensor:
    """Angles `[N, count]` of positions `[N]` at frequencies from 1 down to 1/10000."""
    return position[:, None] * 10000 ** -torch.linspace(0, 1, count, device=position.device)


class Flow(nn.Module):
    """The network: velocity `[B, D, L]` at x_t `[B, D, L]` and t `[B]`, where `known` latents `[B, L]` are data.

    Args:
        latent_dim: D, channels of the latents.
        width, depth, heads: of the transformer; width is a multiple of 2 heads.
    """

    def __init__(self, latent_dim: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.latent_dim, self.width, self.heads = latent_dim, width, heads
        self.enter = nn.Linear(latent_dim + 1, width)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm, self.leave = nn.LayerNorm(width), nn.Linear(width, latent_dim)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor, t: Tensor, known: Tensor, real: Tensor) -> Tensor:
        """`real` `[B, L]` is off where an item has ended and there is nothing but padding."""
        angles = waves(1000 * t, self.width // 2)
        time = self.time(torch.cat([angles.cos(), angles.sin()], dim=-1))
        positions = torch.arange(x.shape[-1], device=x.device, dtype=torch.float32)
        angles = waves(positions, self.width // self.heads // 2)
        turn = torch.polar(torch.ones_like(angles), angles)
        hidden = self.enter(torch.cat([x, known[:, None].type_as(x)], dim=1).transpose(1, 2))
        for block in self.blocks:
            hidden = block(hidden, time, turn, real[:, None, None])
        return self.leave(self.norm(hidden)).transpose(1, 2)


def flow_loss(model: nn.Module, data: Tensor, real: Tensor, generator: torch.Generator) -> Tensor:
    """Mean squared error of the velocity, where latents are neither known nor padding.

    Args:
        model: a `Flow`, or what wraps it.
        data, real: latents `[B, D, L]`, and `[B, L]` which of them are no padding.
        generator: what t, noise and the known latents are drawn from, on the CPU so that every device draws the same.
    """
    noise = torch.randn(data.shape, generator=generator).to(data)
    t = torch.randn(len(data), generator=generator).sigmoid().to(data)
    known = draw_known(real.cpu(), generator).to(data.device)
    x = torch.where(known[:, None], data, torch.lerp(data, noise, t[:, None, None]))
    error = (model(x, t, known, real).float() - (noise - data)).square().mean(dim=1)
    wanted = real & ~known
    return (error * wanted).sum() / wanted.sum()


def draw_known(real: Tensor, generator: torch.Generator) -> Tensor:
    """Which latents `[B, L]` an item is given: in a third of the items none, in a third a beginning, in a third all but
    a gap. At least one of the real ones stays unknown."""
    count, length = real.shape
    kind = torch.randint(3, (count, 1), generator=generator)
    ends = real.sum(dim=1, keepdim=True)
    start = (torch.rand(count, 1, generator=generator) * ends).long()  # of what is unknown
    stop = start + 1 + (torch.rand(count, 1, generator=generator) * (ends - start)).long()
    place = torch.arange(length)
    unknown = (kind == 0) | (place >= start) & ((kind == 1) | (place < stop))
    return real & ~unknown


@torch.no_grad()
def solve(model: Flow, values: Tensor, known: Tensor, noise: Tensor, num_steps: int) -> Tensor:
    """From noise at t = 1 to data at t = 0, by Heun's method.

    Args:
        model: the network.
        values, known: latents `[B, D, L]`, of which those that are known `[L]` stay.
        noise: `[B, D, L]`, where the others begin.
        num_steps: of the solver, two passes of the network each.
    """
    given, real = known.expand(len(values), -1), torch.ones_like(known).expand(len(values), -1)

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        return model(x, t.expand(len(x)), given, real).masked_fill(known, 0.0)

    x = torch.where(known, values, noise)
    times = torch.linspace(1, 0, num_steps + 1, device=x.device)
    for t, following in zip(times[:-1], times[1:], strict=True):
        first = velocity(x, t)
        second = velocity(x + (following - t) * first, following)
        x = x + (following - t) * (first + second) / 2
    return x


def fill(model: Flow, values: Tensor, known: Tensor, window: int, num_steps: int, seed: int) -> Tensor:
    """Latents `[B, D, L]` of any length, of which those that are known `[L]` stay and the others are made.

    A gap of up to half a window is filled with what stands on both sides of it; a longer one in equal pieces from left
    to right, each behind at least half a window of what is there by then. All items of a batch begin with the same
    noise, so that the channels of a stereo sound stay close to each other.
    """
    length = values.shape[-1]
    values, known = F.pad(values, (0, window - length)) if length < window else values.clone(), known.clone()
    known = F.pad(known, (0, values.shape[-1] - length))
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(values.shape[1:], generator=generator).to(values)
    while not known[:length].all():
        first = int(known.int().argmin())
        gap = int(F.pad(known[first:].int(), (0, 1), value=1).argmax())
        piece = -(-gap // -(-gap // (window // 2)))
        before = (window - piece) // 2 if piece == gap else window - piece
        start = max(0, min(first - before, values.shape[-1] - window))
        part, new = slice(start, start + window), slice(first, first + piece)
        solved = solve(model, values[..., part], known[part], noise[:, part].expand_as(values[..., part]), num_steps)
        values[..., new] = solved[..., first - start : first - start + piece]
        known[new] = True
    return values[..., :length]
