"""A learner's function under trial: it is called with copies, and what it returns is compared and explained."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Said:
    """The same sentence in both languages."""

    en: str
    zh: str

    def __add__(self, other: "Said") -> "Said":
        """Both sentences one after the other."""
        return Said(f"{self.en} {other.en}", self.zh + other.zh)


class WrongError(Exception):
    """A mistake in an answer, in both languages.

    Parameters
    ----------
    said : Said
        Explanation of the mistake.
    """

    def __init__(self, said: Said) -> None:
        super().__init__(said.en)
        self.said = said


Mistakes = Sequence[tuple[Any, Said]]
"""Wrong results, each with the explanation of how one gets it."""


class Attempt:
    """A learner's function under trial.

    Parameters
    ----------
    function : callable
        The function.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def call(self, *given: Any) -> Any:
        """Result for copies of some arguments, which the function has to leave as they are."""
        copies = copy.deepcopy(given)
        try:
            with np.errstate(all="ignore"):
                result = self.function(*copies)
        except Exception as error:
            raise WrongError(
                Said(
                    f"Your function raised {type(error).__name__}: {error}. It was called with {_described(given).en}.",
                    f"你的函数引发了 {type(error).__name__}：{error}。调用时的参数是{_described(given).zh}。",
                )
            ) from error
        if result is None:
            wrong(
                "Your function returned None; does it end with `return`?", "你的函数返回了 None。是否忘了写 `return`？"
            )
        for before, after in zip(given, copies, strict=True):
            if not _same(before, after):
                wrong(
                    "Your function changed its argument. Whoever called it may still need it: write x = x - mean and "
                    "not x -= mean.",
                    "你的函数改变了它的参数，而调用者可能还要用到它：请写 x = x - mean，而不是 x -= mean。",
                )
        return result

    def arrays(self, result: Any, **shapes: tuple[int, ...]) -> list[Numbers]:
        """Result as arrays of these shapes, by name; one array alone need not be in a tuple."""
        names = list(shapes)
        parts = [result] if len(names) == 1 else result
        if len(names) > 1 and (not isinstance(result, tuple | list) or len(result) != len(names)):
            wrong(
                f"Your function has to return {len(names)} arrays: ({', '.join(names)}).",
                f"你的函数应返回 {len(names)} 个数组：({', '.join(names)})。",
            )
        return [self._array(part, name, shapes[name]) for name, part in zip(names, parts, strict=True)]

    @staticmethod
    def _array(value: Any, name: str, shape: tuple[int, ...]) -> Numbers:
        if hasattr(value, "detach"):  # a tensor
            value = value.detach()
        try:
            found = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            wrong(
                f"{name} is no array of numbers, but an object of type {type(value).__name__}.",
                f"{name} 不是数值数组，而是类型为 {type(value).__name__} 的对象。",
            )
        if found.shape != shape:
            said = Said(
                f"{name} has the shape {found.shape}; expected {shape}.",
                f"{name} 的形状是 {found.shape}，应为 {shape}。",
            )
            if found.shape == ():
                said += Said("It is one number for all.", "它只是一个数。")
            elif found.size == int(np.prod(shape)):
                said += Said(
                    "The number of values is right; some axes have length 1, as keepdims=True leaves them, or are in "
                    "another order.",
                    "数值的个数是对的：可能有长度为 1 的轴（例如用了 keepdims=True），或者轴的顺序不同。",
                )
            raise WrongError(said)
        return found


def wrong(en: str, zh: str) -> NoReturn:
    """Raise WrongError with a sentence in both languages."""
    raise WrongError(Said(en, zh))


def compare(name: str, found: Numbers, expected: Numbers, mistakes: Mistakes = (), *, tolerance: float = 1e-6) -> None:
    """Raise WrongError where an array is not the expected one, with the explanation that fits it."""
    if close(found, expected, tolerance):
        return
    for result, said in mistakes:
        like = np.broadcast_to(np.asarray(result, dtype=np.float64), expected.shape)
        if np.isfinite(like).all() and close(found, like, tolerance):
            raise WrongError(Said(f"{name} is wrong.", f"{name} 不对。") + said)
    if not np.isfinite(found).all():
        place = _place(~np.isfinite(found))
        wrong(
            f"{name} holds NaN or infinity, first at {place}, where {_number(expected, place)} is right: look for a "
            "division by zero, an overflow, or the logarithm of 0.",
            f"{name} 中有 NaN 或无穷大，首先出现在 {place} 处，正确的值是 {_number(expected, place)}："
            "请检查是否有零作除数、溢出，或者对 0 取对数。",
        )
    place = _place(~np.isclose(found, expected, rtol=tolerance, atol=tolerance * _size(expected)))
    wrong(
        f"{name} is wrong, first at {place}: {_number(found, place)} in place of {_number(expected, place)}.",
        f"{name} 不对，首先在 {place} 处：得到 {_number(found, place)}，应为 {_number(expected, place)}。",
    )


def close(found: Numbers, expected: Numbers, tolerance: float = 1e-6) -> bool:
    """Whether arrays are equal but for rounding, measured by the largest expected number."""
    return bool(np.allclose(found, expected, rtol=tolerance, atol=tolerance * _size(expected)))


def _size(values: Numbers) -> float:
    return float(np.abs(values).max(initial=1e-12))


def _place(differs: NDArray[np.bool_]) -> str:
    index = np.argwhere(differs)[0].tolist()
    return f"[{', '.join(map(str, index))}]"


def _number(values: Numbers, place: str) -> str:
    index = tuple(int(i) for i in place.strip("[]").split(",") if i)
    return f"{values[index]:.6g}"


def _same(before: Any, after: Any) -> bool:
    if isinstance(before, list):
        return len(before) == len(after) and all(map(_same, before, after))
    return bool(np.array_equal(before, after))


def _described(given: Sequence[Any]) -> Said:
    def one(value: Any) -> Said:
        if isinstance(value, np.ndarray):
            return Said(f"an array of shape {value.shape}", f"形状为 {value.shape} 的数组")
        if isinstance(value, list):
            return Said(f"a list of {len(value)}", f"长度为 {len(value)} 的列表")
        return Said(repr(value), repr(value))

    each = [one(value) for value in given]
    return Said(", ".join(said.en for said in each), "、".join(said.zh for said in each))
