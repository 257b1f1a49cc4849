"""Optimisers against their formulas, and schedules of the learning rate."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from hourglass.training import (
    OPTIMISERS,
    SCHEDULES,
    Adam,
    optimiser_in_words,
    optimiser_tensors,
    restore_optimiser,
)
from hourglass.training.optimisers import Optimiser


def tensorflow_adam(weight, gradients, rate, b1=0.9, b2=0.999, eps=1e-8):
    """The update as TensorFlow documents it."""
    m = v = 0.0
    for t, gradient in enumerate(gradients, 1):
        m, v = b1 * m + (1 - b1) * gradient, b2 * v + (1 - b2) * gradient**2
        weight = weight - rate * np.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v) + eps)
    return weight


def follow(optimiser, weight, gradients):
    for gradient in gradients:
        weight.grad = torch.from_numpy(gradient)
        optimiser.step()
    return weight.detach().numpy()


@pytest.mark.parametrize("size", [1.0, 1e-7, 1e-10])
def test_adam_is_tensorflows(size):
    gradients = list(size * np.random.RandomState(0).randn(30, 5))
    weight = nn.Parameter(torch.ones(5, dtype=torch.float64))
    found = follow(Adam([weight], lr=0.01), weight, gradients)
    np.testing.assert_allclose(found, tensorflow_adam(np.ones(5), gradients, 0.01), rtol=1e-12)


def test_momentum_and_decoupled_decay_follow_their_formulas():
    gradients = np.random.default_rng(1).normal(size=(5, 3))
    start = np.array([1.0, -2.0, 0.5])
    expected, velocity = start, 0.0
    for gradient in gradients:
        velocity = 0.9 * velocity + gradient
        expected = expected - 0.1 * velocity
    np.testing.assert_allclose(stepped("sgd-momentum", start, gradients, 0.1), expected, rtol=1e-12)
    expected, m, v = start, 0.0, 0.0
    for t, gradient in enumerate(gradients, 1):
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        change = m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        expected = expected - 0.1 * 0.01 * expected - 0.1 * change
    np.testing.assert_allclose(stepped("adamw", start, gradients, 0.1), expected, rtol=1e-12)
    np.testing.assert_allclose(stepped("sgd", start, gradients, 0.1), start - 0.1 * gradients.sum(0), rtol=1e-12)


def stepped(name, start, gradients, rate):
    """Return the weights after one step with each of the gradients."""
    weight = torch.tensor(start, requires_grad=True)
    optimiser = OPTIMISERS[name]([weight], rate)
    for gradient in gradients:
        optimiser.zero_grad()
        (weight * torch.from_numpy(gradient)).sum().backward()
        optimiser.step()
    return weight.detach().numpy()


@pytest.mark.parametrize("name", OPTIMISERS)
def test_training_does_not_load_the_compiler(name):
    script = (
        "import sys, hourglass as hg, numpy as np;"
        f"hg.ConvAutoencoder(n_steps=1, optimiser={name!r}).fit(np.zeros((2, 8, 8)));"
        "print([name for name in ('torch._dynamo', 'sympy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_adam_differs_from_pytorchs_where_gradients_are_tiny():
    gradients = list(1e-9 * np.random.RandomState(0).randn(5, 5))
    ours, theirs = (nn.Parameter(torch.ones(5, dtype=torch.float64)) for _ in range(2))
    a = follow(Adam([ours], lr=0.01), ours, gradients)
    b = follow(torch.optim.Adam([theirs], lr=0.01), theirs, gradients)
    assert np.abs(a - b).max() > 1e-4


def test_adam_goes_on_from_its_state():
    gradients = list(np.random.RandomState(0).randn(20, 5))
    whole = nn.Parameter(torch.ones(5, dtype=torch.float64))
    follow(Adam([whole], lr=0.01), whole, gradients)
    first = nn.Parameter(torch.ones(5, dtype=torch.float64))
    optimiser = Adam([first], lr=0.01)
    follow(optimiser, first, gradients[:10])
    second = nn.Parameter(first.detach().clone())
    resumed = Adam([second], lr=0.01)
    resumed.load_state_dict(optimiser.state_dict())
    assert np.array_equal(follow(resumed, second, gradients[10:]), whole.detach().numpy())


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_stay_in_range(name):
    factors = [SCHEDULES[name](done) for done in np.linspace(0, 1, 501)[:-1]]
    assert all(0 < factor <= 1 for factor in factors)
    assert max(factors) == pytest.approx(1)


def test_linear_schedule_is_a_triangle():
    places = np.linspace(0, 1, 201)[:-1]
    factors = np.array([SCHEDULES["linear"](done) for done in places])
    assert factors.argmax() == 20
    assert factors.max() == 1
    assert factors[0] == pytest.approx(0.04)
    assert factors[-1] == pytest.approx(1 / 180)
    assert np.diff(factors[:21]) == pytest.approx(0.96 / 20)
    assert np.diff(factors[20:]) == pytest.approx(-1 / 180)


def test_one_cycle_rises_then_falls():
    factors = np.array([SCHEDULES["one-cycle"](done) for done in np.linspace(0, 1, 501)[:-1]])
    top = factors.argmax()
    assert top == 100
    assert (np.diff(factors[: top + 1]) > 0).all()
    assert (np.diff(factors[top:]) < 0).all()
    assert factors[-1] < 1e-3


def test_adam_is_pytorchs_where_epsilon_does_not_matter_also_with_groups_and_absent_gradients():
    shapes = [(3, 2), (5,), (4, 4, 3, 3), (2,)]
    generator = torch.Generator().manual_seed(0)
    starts = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    ours, theirs = ([s.clone().requires_grad_() for s in starts] for _ in range(2))
    groups = [[{"params": p[:2]}, {"params": p[2:], "lr": 0.03, "weight_decay": 0.1}] for p in (ours, theirs)]
    adam = Adam(groups[0], 0.01, eps=1e-30)
    pytorchs = torch.optim.Adam(groups[1], 0.01, eps=1e-30, foreach=False)
    for step in range(8):
        absent = {0: 3, 3: 1, 5: 0}.get(step)
        for i, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            gradient = torch.randn(one.shape, generator=generator, dtype=torch.float64)
            one.grad, other.grad = (None, None) if i == absent else (gradient, gradient.clone())
        adam.step()
        pytorchs.step()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)
    assert [int(adam.state[p]["step"]) for p in ours] == [int(pytorchs.state[p]["step"]) for p in theirs]


def test_adam_takes_parameters_of_several_dtypes_and_a_state_that_was_removed():
    parameters = [torch.ones(3, dtype=dtype, requires_grad=True) for dtype in (torch.float32, torch.float64)]
    adam = Adam(parameters, 0.1)
    for _ in range(2):
        for p in parameters:
            p.grad = torch.ones_like(p)
        adam.step()
    torch.testing.assert_close(parameters[0].double(), parameters[1], rtol=1e-5, atol=0)
    adam.state.clear()
    adam.step()
    assert int(adam.state[parameters[0]]["step"]) == 1


def test_hooks_of_one_optimiser_and_of_all_are_called_and_the_closure_gives_the_loss():
    p = torch.ones(2, requires_grad=True)
    optimiser, called = OPTIMISERS["sgd"]([p], 0.5), []

    def closure():
        optimiser.zero_grad()
        loss = p.square().sum()
        loss.backward()
        return loss

    assert optimiser.step(closure) == 2
    assert p.tolist() == [0, 0]
    handles = [
        optimiser.register_step_pre_hook(lambda *_: called.append("before")),
        optimiser.register_step_post_hook(lambda *_: called.append("after")),
        register_optimizer_step_post_hook(lambda *_: called.append("after all")),
    ]
    optimiser.step()
    for handle in handles:
        handle.remove()
    optimiser.step()
    assert called == ["before", "after", "after all"]


class Counted(torch.optim.SGD):
    """PyTorch's gradient descent, with both of the optional methods."""

    steps = 0

    def in_words(self):
        return f"counted descent, momentum = {self.defaults['momentum']:g}"

    def count_steps(self):
        self.steps = len(self.state)


class Plain(Optimiser, torch.optim.SGD):
    """An optimiser of the package without a description."""


def test_the_optional_methods_of_a_foreign_optimiser_are_called(monkeypatch):
    monkeypatch.setitem(OPTIMISERS, "counted", Counted)
    monkeypatch.setitem(OPTIMISERS, "plain", Plain)
    assert optimiser_in_words("counted") == "counted descent, momentum = 0"
    assert optimiser_in_words("plain").startswith("Plain, momentum = 0")
    first, second = (torch.ones(2, requires_grad=True) for _ in range(2))
    before, after = (Counted([weight], 0.1, momentum=0.9) for weight in (first, second))
    follow(before, first, [np.ones(2, np.float32)])
    restore_optimiser(after, optimiser_tensors(before))
    assert after.steps == 1
    assert torch.equal(after.state[second]["momentum_buffer"], before.state[first]["momentum_buffer"])
