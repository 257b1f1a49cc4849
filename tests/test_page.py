"""The page in a real browser, as a visitor uses it."""

import json
import re
import subprocess
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from browsers import launched, node, served
from hourglass.playground import page_server, write_page
from hourglass.playground.pages import STATIC

TABS = ("denoise", "code", "normalisation", "batch", "photograph")
READY = "section:not([hidden]):not([aria-busy])"


@pytest.fixture(scope="module")
def browser():
    with launched() as found:
        yield found


@pytest.fixture(scope="module")
def address():
    with page_server() as server, served(server) as found:
        yield found


@contextmanager
def visit(browser, address, state="", **context):
    """Open the page; every request to another host and every complaint of the browser fails the test."""
    with browser.new_context(**{"locale": "en-GB"} | context) as visitor:
        page = visitor.new_page()
        complaints, hosts = [], set()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: hosts.add(re.match(r"(\w+://[^/]*|\w+:)", request.url)[1]))
        page.goto(f"{address}/#{state}")
        page.wait_for_selector(READY)
        yield page
        assert complaints == []
        assert hosts == {address.removesuffix("/sub/folder")}


def select(page, tab):
    page.click(f"#tab-{tab}")
    page.wait_for_selector(f"#panel-{tab}:not([aria-busy])")


def shown(page, selector):
    """The pixels of a canvas, as text."""
    return page.eval_on_selector(selector, "canvas => canvas.toDataURL()")


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("size", [(1280, 800), (390, 844)])
def test_every_tab_opens(browser, address, language, size):
    viewport = {"width": size[0], "height": size[1]}
    with visit(browser, address, f"language={language}", viewport=viewport) as page:
        for tab in TABS:
            select(page, tab)
            assert page.locator(f"#panel-{tab} :is(canvas, svg)").count() > 0
            assert page.locator(".error:not(:empty)").count() == 0
            # Nothing but what scrolls by itself is wider than the window.
            assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth"), tab


def test_a_drawing_is_denoised(browser, address):
    with visit(browser, address, "tab=denoise&noise=0.3") as page:
        page.get_by_role("button", name="Clear").click()
        before = shown(page, "canvas.large >> nth=2")
        box = page.locator("canvas.drawing").bounding_box()
        middle = box["x"] + box["width"] / 2
        page.mouse.move(middle, box["y"] + 0.2 * box["height"])
        page.mouse.down()
        page.mouse.move(middle, box["y"] + 0.8 * box["height"], steps=10)
        page.mouse.up()
        assert shown(page, "canvas.large >> nth=2") != before
        captions = page.locator("figcaption").all_inner_texts()
        noisy, denoised = (float(re.search(r"PSNR ([\d.]+) dB", text)[1]) for text in captions[1:3])
        assert denoised > noisy + 3  # a stroke is easy for the network


def test_maps_and_kernels_are_shown(browser, address):
    with visit(browser, address, "tab=denoise") as page:
        page.get_by_text("What every layer computes").click()
        page.get_by_role("button", name="encoder, stage 2, map 3", exact=True).click()
        assert page.get_by_text("Kernel of encoder, stage 2, map 3").is_visible()
        assert page.locator(".card .images canvas").count() == 16  # one for each input


def test_pulling_a_bar_changes_the_image(browser, address):
    with visit(browser, address, "tab=code") as page:
        before = shown(page, "#panel-code canvas.large >> nth=1")
        page.get_by_label("Number 20 of the code").focus()
        page.keyboard.press("End")
        assert shown(page, "#panel-code canvas.large >> nth=1") != before
        page.select_option("#panel-code select", "conv")
        page.get_by_label("Map 1, row 1, column 1").wait_for()


def test_a_walk_ends_at_the_other_image(browser, address):
    with visit(browser, address, "tab=code&first=0&second=1") as page:
        page.get_by_label("Position between the two").focus()
        page.keyboard.press("End")
        arrived = shown(page, "#panel-code canvas.large >> nth=1")
        page.get_by_role("button", name="Test image 1,").first.click()
        assert shown(page, "#panel-code canvas.large >> nth=1") == arrived


def test_a_click_between_the_points_decodes(browser, address):
    with visit(browser, address, "tab=code") as page:
        before = shown(page, "#panel-code canvas.large >> nth=1")
        page.locator("canvas.scatter").click(position={"x": 50, "y": 400})
        assert shown(page, "#panel-code canvas.large >> nth=1") != before


@pytest.mark.slow
def test_networks_train(browser, address):
    """60 steps of three small networks; those with batch normalisation learn."""
    state = "tab=normalisation&layers=6&steps=60&learningRate=0.005&batchSize=32"
    with visit(browser, address, state) as page:
        page.get_by_role("button", name="Run").click()
        page.wait_for_selector("#panel-normalisation[data-steps='60']", timeout=60_000)
        texts = page.locator(".status .arm").all_inner_texts()
        _, batch, manual = (int(re.search(r"(\d+)% in training mode", text)[1]) for text in texts)
        assert min(batch, manual) > 50
        page.get_by_role("button", name="Classify 100 images").click()
        page.get_by_text("get the same answer").nth(2).wait_for()
        for answer in page.get_by_text("get the same answer").all_inner_texts():
            assert "and 100 get the same answer" in answer


def test_one_step_pause_and_again(browser, address):
    with visit(browser, address, "tab=normalisation&layers=5&batchSize=8&steps=2000") as page:
        page.get_by_role("button", name="One step").click()
        page.wait_for_selector("#panel-normalisation[data-steps='1']")
        page.get_by_role("button", name="Run").click()
        page.get_by_role("button", name="Pause").click()
        page.get_by_role("button", name="Run").wait_for()
        page.get_by_role("button", name="Start again").click()
        page.wait_for_selector("#panel-normalisation[data-steps='0']")


def test_a_changed_number_changes_all_outputs(browser, address):
    with visit(browser, address, "tab=batch") as page:
        rows = page.locator("table.numbers tr")
        before = rows.nth(2).locator("td").all_inner_texts()
        page.get_by_label("Input x of image 4").fill("20")
        after = rows.nth(2).locator("td").all_inner_texts()
        assert all(a != b for a, b in zip(before, after, strict=True))
        gradients = [float(text.replace("−", "-")) for text in rows.nth(5).locator("td").all_inner_texts()]
        assert abs(sum(gradients)) < 0.005  # of eight rounded numbers


def test_a_photograph_is_denoised_and_saved(browser, address, tmp_path):
    random = np.random.default_rng(0)
    ramp = np.broadcast_to(np.linspace(60, 200, 61)[:, None], (45, 61, 3))
    noisy = np.clip(ramp + random.normal(0, 25, ramp.shape), 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(tmp_path / "ramp.png")
    with visit(browser, address, "tab=photograph") as page:
        page.set_input_files("#photograph-file", tmp_path / "ramp.png")
        page.wait_for_selector("#panel-photograph[data-restored]")
        level = float(re.search(r"noise level ([\d.]+\d)", page.get_by_text("45 pixels, denoised in").inner_text())[1])
        assert 0.07 < level < 0.13  # 25/255 is 0.098
        with page.expect_download() as download:
            page.get_by_role("button", name="Save as PNG").click()
        assert download.value.suggested_filename == "ramp-denoised.png"
        restored = np.asarray(Image.open(download.value.path()).convert("RGB"))
        page.get_by_label("Noise level").fill("0")
        page.wait_for_selector("#panel-photograph[data-restored='2']")
    assert restored.shape == ramp.shape
    assert np.abs(restored - ramp).mean() < np.abs(noisy - ramp).mean() / 3


def test_a_file_that_is_no_image_is_named(browser, address, tmp_path):
    (tmp_path / "notes.png").write_text("no image")
    with visit(browser, address, "tab=photograph") as page:
        page.set_input_files("#photograph-file", tmp_path / "notes.png")
        page.get_by_text("notes.png is not an image that this browser can read").wait_for()


def test_the_languages_are_switched_in_place(browser, address):
    with visit(browser, address) as page:
        assert page.locator("h2:visible").inner_text() == "Denoise"
        page.click("#language")
        assert page.locator("h2:visible").inner_text() == "去噪"
        assert page.evaluate("document.documentElement.lang") == "zh-CN"
        page.wait_for_url("**language=zh**")


def test_both_languages_have_every_text():
    script = (
        "import { texts as en } from './texts-en.js'; import { texts as zh } from './texts-zh.js';"
        "console.log(JSON.stringify([en, zh]))"
    )
    command = [node(), "--input-type=module", "--eval", script]
    done = subprocess.run(command, cwd=STATIC / "app", capture_output=True, text=True, check=True)
    english, chinese = json.loads(done.stdout)
    assert list(english) == list(chinese)
    for key, text in english.items():
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", chinese[key])), key


def test_the_keyboard_reaches_everything(browser, address):
    with visit(browser, address) as page:
        page.focus("#tab-denoise")
        for tab in TABS[1:]:
            page.keyboard.press("ArrowRight")
            page.wait_for_selector(f"#panel-{tab}:not([aria-busy])")
            assert page.evaluate("document.activeElement.id") == f"tab-{tab}"
        page.focus(f"#tab-{TABS[-1]}")
        page.keyboard.press("ArrowRight")
        page.wait_for_selector("#panel-denoise:not([aria-busy])")
        page.get_by_role("button", name="Clear").click()
        before = shown(page, "canvas.drawing")
        page.focus("canvas.drawing")
        for key in (" ", *["ArrowDown"] * 4, "Tab"):
            page.keyboard.press(key)
        assert shown(page, "canvas.drawing") != before
        unnamed = page.evaluate(
            "[...document.querySelectorAll('button, input, select, canvas[tabindex]')].filter(each => "
            "!(each.getAttribute('aria-label') || each.textContent.trim() || each.labels?.length)).length"
        )
        assert unnamed == 0


def test_a_link_holds_the_state(browser, address):
    with visit(browser, address, "tab=denoise") as page:
        page.get_by_label("Noise level").fill("0.2")
        page.get_by_role("button", name="Test image 3,").click()
        page.wait_for_url("**image=3**")
        link, pixels = page.url, shown(page, "canvas.large >> nth=2")
    with visit(browser, address, link.split("#")[1]) as page:
        assert shown(page, "canvas.large >> nth=2") == pixels


def test_a_link_that_is_pasted_into_the_page_is_followed(browser, address):
    with visit(browser, address, "tab=denoise") as page:
        page.evaluate("location.hash = 'tab=batch&gamma=2'")
        page.get_by_text("Scale γ 2.0").wait_for()


def test_a_preset_is_in_the_link(browser, address):
    with visit(browser, address, "tab=normalisation") as page:
        page.get_by_role("button", name="a batch of 2").click()
        page.wait_for_url("**batchSize=2**")
        link = page.url
    with visit(browser, address, link.split("#")[1]) as page:
        assert page.get_by_label("Batch size").get_attribute("aria-valuetext") == "2"


def test_a_training_that_diverges_says_so(browser, address):
    state = (
        "tab=normalisation&layers=12&batchSize=8&steps=40&learningRate=3&optimiser=sgd&start=deviation&deviation=0.5"
    )
    with visit(browser, address, state) as page:
        page.get_by_role("button", name="Run").click()
        page.wait_for_selector("#panel-normalisation[data-steps='40']", timeout=60_000)
        assert "diverged" in page.locator(".status .arm").first.inner_text()


def test_dark_and_light(browser, address):
    with visit(browser, address, color_scheme="dark") as page:
        ground = "getComputedStyle(document.body).backgroundColor"
        dark = page.evaluate(ground)
        page.click("#theme")
        assert page.evaluate(ground) != dark


def test_under_a_folder_of_a_host(browser, tmp_path):
    write_page(tmp_path / "sub" / "folder")
    (tmp_path / "index.html").write_text("a host")
    with page_server(tmp_path) as server, served(server) as address, visit(browser, f"{address}/sub/folder") as page:
        for tab in TABS:
            select(page, tab)
            assert page.locator(".error:not(:empty)").count() == 0


def test_a_file_shows_the_command_that_serves_it(browser):
    page = browser.new_page()
    page.goto((STATIC / "index.html").as_uri())
    page.locator("#notice").wait_for(state="visible")
    assert "hourglass serve" in page.locator("#notice").inner_text()
