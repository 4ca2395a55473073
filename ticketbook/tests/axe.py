"""axe-core looks for faults of accessibility in a page of a real Chromium, whose strict policy stays on."""

import json
from contextlib import contextmanager
from importlib.resources import files

AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
# Django's admin changes its colours slowly, so it waits until that is done. With `preload` axe would copy
# style sheets into the page, which the policy refuses; no rule that is on needs them.
RUN = """async (options) => {
    await Promise.all(document.getAnimations().map((animation) => animation.finished));
    options = {...options, preload: false, resultTypes: ["violations"]};
    const {violations} = await axe.run(document, options);
    const told = (id, node) => `${id}: ${node.html} ${node.failureSummary}`;
    return violations.flatMap(({id, nodes}) => nodes.map((node) => told(id, node)));
}"""
# What may differ between light and dark.
COLOURS = {"runOnly": ["color-contrast", "link-in-text-block"]}


def faults(page, *, but=()):
    """What axe finds on this page, in light and in dark, but for these of its rules."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)  # not as a script of the page, which its policy would refuse
    rules = {"rules": {rule: {"enabled": False} for rule in but}}
    found = page.evaluate(RUN, rules)
    page.emulate_media(color_scheme="dark")
    found += [f"dark {fault}" for fault in page.evaluate(RUN, COLOURS)]
    page.emulate_media(color_scheme="light")
    return found


@contextmanager
def no_faults():
    """Gives `look(page, sees)`: wait until the page shows this text, and look for faults.

    In the end the test fails with all that was found, page by page.
    """
    found = {}

    def look(page, sees, **options):
        page.get_by_role("main").get_by_text(sees).filter(visible=True).first.wait_for()
        page.wait_for_load_state()
        if here := faults(page, **options):
            found[sees] = here

    yield look
    assert not found, json.dumps(found, indent=1)
