"""The exercises: every solution passes, and wrong answers get the explanation of their mistake, in both languages."""

import ast
import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import ndtr

import hourglass as hg
from hourglass.exercises import ExerciseError, course, solutions
from hourglass.exercises.solutions import normalised

NAMES = [exercise.name for exercise in course()]
FOLDER = Path(hg.exercises.__file__).parent
AXES = (0, 2, 3)


def sizes(rule, height, width, stages):
    found = []
    for _ in range(stages):
        height, width = rule(height), rule(width)
        found.append((height, width))
    return found


def pyramid(rule=lambda size: -(-size // 2), mirrored=False, first=False, swapped=False):
    def answer(height, width, stages):
        encoder, decoder = solutions.pyramid(height, width, stages)
        encoder = sizes(rule, height, width, stages)
        if mirrored:
            decoder = [*encoder[-2::-1], (height, width)]
        if first:
            encoder = [(height, width), *encoder]
        if swapped:
            encoder = [pair[::-1] for pair in encoder]
        return encoder, decoder

    return answer


def by_probability(clip=0.0, *, terms=2, sign=1):
    def answer(logits, targets):
        p = 1 / (1 + np.exp(-logits))
        if clip:
            p = np.clip(p, clip, 1 - clip)
        return sign * (-targets * np.log(p) - (terms > 1) * (1 - targets) * np.log(1 - p))

    return answer


def forward(divide=lambda variance, eps: np.sqrt(variance + eps), moments=solutions.moments, affine=None):
    def answer(x, gamma, beta, eps):
        mean, variance = moments(x)
        plain = (x - mean[:, None, None]) / divide(variance, eps)[:, None, None]
        return plain * gamma[:, None, None] + beta[:, None, None] if affine is None else affine(plain, gamma, beta)

    return answer


def inference(new=lambda momentum: momentum, old=None, start=1.0, variance=lambda batch: batch.var(AXES)):
    def answer(batches, x, gamma, beta, momentum, eps):
        moving = np.zeros(len(gamma)), np.full(len(gamma), start)
        share, kept = new(momentum), 1 - new(momentum) if old is None else old
        for batch in batches:
            given = batch.mean(AXES), variance(batch)
            moving = tuple(kept * a + share * b for a, b in zip(moving, given, strict=True))
        return normalised(x, *moving, eps) * gamma[:, None, None] + beta[:, None, None]

    return answer


def fold(weight_by=None, bias_by=None, divide=lambda variance, eps: np.sqrt(variance + eps)):
    def answer(weight, bias, mean, variance, gamma, beta, eps):
        scale = gamma / divide(variance, eps)
        return (
            weight * scale[:, None, None, None] if weight_by is None else weight_by(weight, scale),
            (bias - mean) * scale + beta if bias_by is None else bias_by(bias, mean, scale, beta),
        )

    return answer


def backward(dx=None, dgamma=None, dbeta=None):
    def answer(g, x, gamma, eps):
        right = solutions.backward(g, x, gamma, eps)
        plain, scale = normalised(x, *solutions.moments(x), eps), gamma / np.sqrt(x.var(AXES) + eps)
        found = []
        for value, change in zip(right, (dx, dgamma, dbeta), strict=True):
            found.append(value if change is None else change(g, x, plain, scale[:, None, None], gamma))
        return tuple(found)

    return answer


def mean_over(x):
    return x.mean(AXES, keepdims=True)


def changing(x):
    x -= x.mean(AXES, keepdims=True)
    return x.mean(AXES), x.var(AXES)


def sampled(x, sigma):
    noisy = x + sigma * np.random.default_rng().normal(size=(100_000, *x.shape))
    return noisy.clip(0, 1).mean(0)


def one_sided(x, sigma):
    a = -x / sigma
    return x * ndtr(-a) + sigma * np.exp(-(a**2) / 2) / np.sqrt(2 * np.pi)


def without_the_white(x, sigma):
    return solutions.clipping(x, sigma) - ndtr((x - 1) / sigma)


WRONG = [
    ("pyramid", pyramid(lambda size: size // 2), "rounded up, not down", "向上取整"),
    ("pyramid", pyramid(lambda size: (size - 3) // 2 + 1), "right without padding", "没有填充"),
    ("pyramid", pyramid(mirrored=True), "sizes of the encoder in reverse", "转置卷积总是把尺寸变为两倍"),
    ("pyramid", pyramid(first=True), "one pair too many", "多了一对"),
    ("pyramid", pyramid(swapped=True), "exchanged", "颠倒"),
    ("pyramid", lambda h, w, s: [(h, w)] * s, "two lists", "两个列表"),
    ("cross_entropy", by_probability(), "NaN or infinity, first at", "对 0 取对数"),
    ("cross_entropy", by_probability(1e-7), "The probability is clipped", "概率被截断了"),
    ("cross_entropy", by_probability(terms=1), "second term", "缺少第二项"),
    ("cross_entropy", by_probability(sign=-1), "sign is reversed", "符号反了"),
    ("cross_entropy", lambda z, t: solutions.cross_entropy(z, t).mean(), "without mean or sum", "不要求平均"),
    ("cross_entropy", lambda z, t: solutions.cross_entropy(z, 1 - t), "exchanged", "颠倒"),
    ("moments", lambda x: (x.mean(), x.var()), r"mean has the shape \(\); expected \(3,\)", "形状"),
    ("moments", lambda x: (np.full(3, x.mean()), np.full(3, x.var())), "over the whole batch", "整个批量"),
    ("moments", lambda x: (x.mean(AXES), x.var(AXES, ddof=1)), r"ddof=1", "有偏方差"),
    ("moments", lambda x: (x.mean(AXES), x.std(AXES)), "it is the deviation|It is the deviation", "标准差"),
    ("moments", lambda x: (x.mean(AXES), np.square(x).mean(AXES)), "subtract the mean before", "先减去均值"),
    ("moments", lambda x: (x.mean(AXES), x.var((2, 3)).mean(0)), "mean of their variances", "放在一起"),
    ("moments", lambda x: solutions.moments(x)[::-1], "exchanged", "颠倒"),
    ("moments", lambda x: (x.mean(AXES, keepdims=True), x.var(AXES, keepdims=True)), "keepdims=True", "keepdims=True"),
    ("moments", changing, "changed its argument", "改变了它的参数"),
    ("moments", lambda x: None, "returned None", "返回了 None"),
    ("moments", lambda x: x.mean(AXES), r"return 2 arrays: \(mean, variance\)", "返回 2 个数组"),
    ("moments", lambda x: x.nothing, "raised AttributeError: .* an array of shape", "引发了 AttributeError"),
    ("forward", forward(lambda variance, eps: np.sqrt(variance) + eps), "outside the root", "根号外面"),
    ("forward", forward(lambda variance, eps: variance + eps), "root is missing", "缺少根号"),
    ("forward", forward(lambda variance, eps: np.sqrt(variance)), "ε is missing", "缺少 ε"),
    ("forward", forward(lambda variance, eps: np.sqrt(variance + 1e-5)), "eps is not used", "没有使用参数 eps"),
    ("forward", forward(moments=lambda x: (x.mean(AXES), x.var(AXES, ddof=1))), "ddof=1", "有偏方差"),
    ("forward", forward(affine=lambda y, gamma, beta: y), "γ and β are missing", "缺少 γ 和 β"),
    (
        "forward", forward(affine=lambda y, gamma, beta: gamma[:, None, None] * (y + beta[:, None, None])),
        "multiply first", "应先乘",
    ),
    (
        "forward",
        forward(affine=lambda y, gamma, beta: y * gamma + beta if y.shape[3] == 3 else
                y * gamma[:, None, None] + beta[:, None, None]),
        "meet the width in place of the channels", "与宽对齐",
    ),
    ("inference", inference(lambda momentum: 1 - momentum), "wrong way round", "用反了"),
    ("inference", inference(start=0.0), "starts at 1, not at 0", "应从 1 开始"),
    ("inference", lambda b, x, *rest: solutions.forward(x, rest[0], rest[1], rest[3]), "own moments", "训练模式"),
    ("inference", inference(lambda momentum: 1.0), "last batch alone", "最后一个批量"),
    ("inference", inference(variance=lambda batch: batch.std(AXES)), "deviations are averaged", "标准差"),
    ("inference", inference(variance=lambda batch: batch.var(AXES, ddof=1)), "ddof=1", "有偏方差"),
    ("inference", inference(lambda momentum: 0.0), "never updated", "从未更新"),
    ("fold", fold(lambda w, s: w * np.resize(s, w.shape[1])[None, :, None, None]), "weight is wrong", "weight 不对"),
    ("fold", fold(divide=lambda variance, eps: np.sqrt(variance) + eps), "outside the root", "根号外面"),
    ("fold", fold(divide=lambda variance, eps: np.sqrt(variance)), "ε is missing|weight is", "缺少 ε|weight 不对"),
    ("fold", fold(bias_by=lambda b, m, s, beta: b), "normalised too", "也要归一化"),
    ("fold", fold(bias_by=lambda b, m, s, beta: beta - m * s), "own bias is lost", "丢失了"),
    ("fold", fold(bias_by=lambda b, m, s, beta: b + beta - m * s), "bias is not scaled", "没有缩放"),
    ("fold", fold(bias_by=lambda b, m, s, beta: (b - m) * s), "β is missing", "缺少 β"),
    ("clipping", lambda x, sigma: x, "clean pixel itself", "干净的像素"),
    ("clipping", sampled, "draws random numbers", "随机数"),
    ("clipping", one_sided, "Only values below 0 are clipped", "只截断了小于 0 的值"),
    ("clipping", lambda x, sigma: 1 - one_sided(1 - x, sigma), "Only values above 1 are", "只截断了大于 1 的值"),
    ("clipping", without_the_white, "clipped to 1 is missing", "被截断为 1"),
    ("backward", backward(dx=lambda g, x, y, s, gamma: s * g), "taken for constants", "当成了常数"),
    ("backward", backward(dx=lambda g, x, y, s, gamma: s * (g - mean_over(g))), "variance is", "经过方差"),
    ("backward", backward(dx=lambda g, x, y, s, gamma: s * (g - y * mean_over(g * y))), "mean is missing", "经过均值"),
    (
        "backward",
        backward(dx=lambda g, x, y, s, gamma: s / gamma[:, None, None] * (g - mean_over(g) - y * mean_over(g * y))),
        "factor γ is missing", "缺少因子 γ",
    ),
    ("backward", backward(dgamma=lambda g, x, y, s, gamma: (g * x).sum(AXES)), "g is multiplied by x", "g 乘的是 x"),
    ("backward", backward(dgamma=lambda g, x, y, s, gamma: (g * y).mean(AXES)), "are summed", "求和"),
    ("backward", backward(dbeta=lambda g, x, y, s, gamma: g.mean(AXES)), "are summed", "求和"),
    ("backward", lambda g, x, gamma, eps: solutions.backward(g, x, gamma, eps)[::-1], "dx has the shape", "dx 的形状"),
]  # fmt: skip


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", NAMES)
def test_the_solution_passes(name, language):
    exercise = getattr(hg.exercises, name).in_language(language)
    passed = exercise.check(getattr(solutions, name))
    assert repr(passed) == {"en": f"{name}: passed", "zh": f"{name}：通过"}[language]


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(("name", "answer", "en", "zh"), WRONG, ids=[f"{case[0]}-{case[2][:24]}" for case in WRONG])
def test_a_wrong_answer_is_explained(name, answer, en, zh, language):
    with pytest.raises(ExerciseError) as caught:
        getattr(hg.exercises, name).in_language(language).check(answer)
    assert re.search({"en": en, "zh": zh}[language], caught.value.said), caught.value
    assert str(caught.value) == f"{name}: {caught.value.said}"
    assert caught.value.exercise == name
    assert bool(re.search("[一-鿿]", caught.value.said)) == (language == "zh")


def test_every_exercise_has_two_wrong_answers_at_least():
    assert len(NAMES) == 8
    for name in NAMES:
        assert sum(case[0] == name for case in WRONG) >= 2
        assert getattr(hg.exercises, name).name == name


@pytest.mark.parametrize("name", NAMES)
def test_tasks_are_complete_in_both_languages(name):
    for exercise in (getattr(hg.exercises, name), getattr(hg.exercises, name).in_language("zh")):
        assert str(exercise) == exercise._repr_markdown_() == exercise.task
        assert f"def {name}(" in exercise.task
        assert exercise.task.startswith(f"# {exercise.title}\n")
        assert len(exercise.hint) > 50
        assert exercise.hint not in exercise.task
        assert "##" not in exercise.task + exercise.hint
        assert exercise.title in repr(exercise)
    english, chinese = (getattr(hg.exercises, name).in_language(each).task for each in ("en", "zh"))
    assert re.findall(r"def .*:\n", english) == re.findall(r"def .*:\n", chinese) != []


def test_chinese_tasks_use_the_terms_of_textbooks():
    text = "".join(exercise.task + exercise.hint for exercise in course("zh"))
    for term in (
        "批量归一化",
        "转置卷积",
        "滑动平均",
        "交叉熵",
        "卷积核",
        "特征图",
        "自编码器",
        "步幅",
        "方差",
        "偏置",
    ):
        assert term in text


def test_nothing_imports_the_solutions():
    for path in FOLDER.parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                assert "exercises.solutions" not in ast.unparse(node), path
                assert "import solutions" not in ast.unparse(node), path


def test_the_hand_made_gradient_is_that_of_finite_differences():
    generator = np.random.default_rng(0)
    x, g = generator.normal(size=(3, 2, 2, 2)), generator.normal(size=(3, 2, 2, 2))
    gamma, beta = np.array([0.7, -1.5]), np.array([0.1, 2.0])

    def loss(x, gamma, beta):
        return float((g * solutions.forward(x, gamma, beta, 1e-3)).sum())

    given = [x, gamma, beta]
    for i, gradient in enumerate(solutions.backward(g, x, gamma, 1e-3)):
        for index in np.ndindex(gradient.shape):
            step = np.zeros_like(given[i])
            step[index] = 1e-5
            above, below = ([*given[:i], given[i] + sign * step, *given[i + 1 :]] for sign in (1, -1))
            assert gradient[index] == pytest.approx((loss(*above) - loss(*below)) / 2e-5, abs=1e-6)


def test_tensors_and_lists_are_answers_too():
    def by_torch(x):
        variance, mean = torch.var_mean(torch.from_numpy(x), AXES, correction=0)
        return [mean.requires_grad_(), variance.tolist()]

    hg.exercises.moments.check(by_torch)


def test_the_checks_leave_random_numbers_alone():
    before = torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002  # the state that must stay
    for exercise in course():
        exercise.check(getattr(solutions, exercise.name))
    after = torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002  # the state that must stay
    assert before == after


def test_what_is_no_function_or_language_is_refused():
    with pytest.raises(TypeError, match=r"moments\.check\(moments\)"):
        hg.exercises.moments.check(solutions.moments(np.ones((1, 2, 2, 2))))
    with pytest.raises(ValueError, match="language='fr' is unknown; choose one of en, zh"):
        course("fr")


def test_the_course_prints_as_a_list():
    lines = repr(course("zh")).splitlines()
    assert len(lines) == 8
    assert "批量归一化的梯度（较难）" in lines[-1].replace(" ", "")
    assert course()._repr_markdown_().startswith("1. `pyramid`: Sizes in a convolutional pyramid (easy)\n2. ")


def test_a_notebook_shows_the_explanation_and_the_learners_own_traceback():
    with pytest.raises(ExerciseError) as caught:
        hg.exercises.moments.check(lambda x: x.nothing)
    assert "test_exercises.py" in "\n".join(caught.value._render_traceback_())
    with pytest.raises(ExerciseError) as caught:
        hg.exercises.moments.check(lambda x: None)
    assert caught.value._render_traceback_() == [f"ExerciseError: {caught.value}"]
