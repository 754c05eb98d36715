"""The map is the best one, of what it has learned and no more."""

from __future__ import annotations

import torch

from music2latent.training.objectives.linear_readout import LinearReadout


def test_it_tells_a_linear_relation_from_the_next_time_on() -> None:
    torch.manual_seed(0)
    readout, mixing = LinearReadout(5, 3), torch.randn(3, 5)
    for number in range(3):
        inputs = torch.randn(2, 5, 40, requires_grad=True)
        targets = mixing @ inputs.detach() + 1
        told = readout(inputs, targets)
        assert bool((told == 0).all()) == (number == 0)  # or a few frames would tell themselves by heart
        readout.learn()
    torch.testing.assert_close(told, targets, rtol=0, atol=0.05)
    weights = torch.autograd.grad(told[0, 0, 0], inputs)[0][0, :, 0]
    torch.testing.assert_close(weights, mixing[0], rtol=0, atol=0.05)


def test_places_are_rows() -> None:
    inputs, targets = torch.randn(2, 4, 3, 6), torch.randn(2, 1, 3, 6)
    whole, flat = LinearReadout(4, 1), LinearReadout(4, 1)
    for _ in range(2):
        one, two = whole(inputs, targets), flat(inputs.flatten(2), targets.flatten(2))
        whole.learn()
        flat.learn()
    assert one.any()
    torch.testing.assert_close(one.flatten(2), two)


def test_parts_of_a_batch_are_the_batch() -> None:
    inputs, targets = torch.randn(4, 3, 9), torch.randn(4, 2, 9)
    whole, parts, processes = (LinearReadout(3, 2) for _ in range(3))
    whole(inputs, targets)
    for half in (slice(2), slice(2, 4)):
        parts(inputs[half], targets[half])
    other = LinearReadout(3, 2)
    other(inputs[2:], targets[2:])
    processes(inputs[:2], targets[:2])
    theirs = iter([torch.stack([seen[part] for seen in other._seen]).mean(0) for part in (0, 1)])
    whole.learn()
    parts.learn()
    processes.learn(lambda own: (own + next(theirs)) / 2)
    for readout in (parts, processes):
        torch.testing.assert_close(readout.inner, whole.inner)
        torch.testing.assert_close(readout.cross, whole.cross)


def test_what_is_forgotten_is_not_learned() -> None:
    readout = LinearReadout(3, 2)
    readout(torch.full((1, 3, 9), torch.nan), torch.zeros(1, 2, 9))
    readout.forget()
    inputs, targets = torch.randn(4, 3, 9), torch.randn(4, 2, 9)
    readout(inputs, targets)
    readout.learn()
    assert readout(inputs, targets).isfinite().all()
