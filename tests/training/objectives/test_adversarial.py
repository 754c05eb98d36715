"""Discriminators learn what tells two kinds of sound apart, and say it to the decoder alone."""

from __future__ import annotations

import torch
from torch import Tensor

from music2latent.training.objectives import Adversarial
from music2latent.training.objectives.adversarial import Discriminators

SIZES = (64, 256)


def noise(seed: int) -> Tensor:
    return 0.1 * torch.randn(4, 4096, generator=torch.Generator().manual_seed(seed))


def dull(seed: int) -> Tensor:
    """Noise without its upper octaves, as loud."""
    low = torch.nn.functional.avg_pool1d(noise(seed)[:, None], 8, 1, padding=4)[:, 0, :4096]
    return low * noise(seed).norm() / low.norm()


def judges() -> Discriminators:
    torch.manual_seed(0)
    return Discriminators(SIZES, 4, 1e-2)


def test_they_learn_to_tell_kinds_apart_and_not_what_is_the_same() -> None:
    apart, same = judges(), judges()
    for step in range(40):
        apart(dull(2 * step), noise(2 * step + 1))
        same(noise(2 * step), noise(2 * step + 1))
        for judge in (apart, same):
            judge.learn()
    hinge, _, own = apart(dull(100), noise(101))
    assert hinge > 1.8, "what is decoded does not pass"
    assert own < 0.2
    assert apart(noise(102), noise(103))[0] < 0.3, "an original does"
    assert same(noise(100), noise(101))[2] > 1.5


def test_the_loss_leads_to_the_original() -> None:
    """Of three sounds, that is; and along its gradient."""
    judge = judges()
    for step in range(40):
        judge(dull(2 * step), noise(2 * step + 1))
        judge.learn()
    decoded = dull(100).requires_grad_()
    hinge, matching, _ = judge(decoded, noise(100))
    (hinge + matching).backward()
    assert decoded.grad is not None
    nearer = decoded.detach() - 0.3 * decoded.grad / decoded.grad.norm() * decoded.detach().norm()
    assert judge(nearer, noise(100))[0] < hinge
    assert judge(noise(100), noise(100))[1] == 0
    assert 0 < judge(noise(101), noise(100))[1] < matching


def test_they_learn_by_themselves_alone() -> None:
    judge = judges()
    before = {name: value.clone() for name, value in judge.state_dict().items()}
    decoded = dull(0).requires_grad_()
    sum(judge(decoded, noise(1))[:2]).backward()
    assert all(parameter.grad is None for parameter in judge.parameters())
    judge.forget()
    assert all(torch.equal(value, before[name]) for name, value in judge.state_dict().items())
    judge(decoded, noise(1))
    judge.learn()
    directions = [name for name in before if name.endswith("original1")]  # of the weights; a bias may be right
    assert len(directions) == 3 * 5 * len(SIZES), "with two moments"
    assert not any(torch.equal(judge.state_dict()[name], before[name]) for name in directions)


def test_crops_count_alike_however_they_are_spread_over_passes() -> None:
    whole, parts = judges(), judges()
    found = whole(dull(0), noise(1))
    halves = [parts(dull(0)[half], noise(1)[half]) for half in (slice(0, 2), slice(2, 4))]
    for one, two in zip(found, zip(*halves, strict=True), strict=True):
        torch.testing.assert_close(one, torch.stack(two).mean())
    whole.learn()
    parts.learn()
    gradient, summed = (torch.cat([m.flatten() for m in judge.means.parameters()]) for judge in (whole, parts))
    assert (gradient - summed).norm() < 1e-3 * gradient.norm()


def test_settings_are_the_discriminators() -> None:
    head = Adversarial(sizes=(128,), channels=3, lr=0.5).head(None)  # type: ignore[arg-type]
    assert (head.sizes, head.lr) == ((128,), 0.5)
    assert head(noise(0), noise(1))[2].shape == ()
    assert head.networks[0](torch.zeros(1, 2, 5, 65))[0].shape == (1, 3, 5, 65)
