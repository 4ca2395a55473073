// What is left of each tier, while the page is open. It asks for a small part of the page, which is the same for
// everybody, and the answer is mostly "not modified" (304).
"use strict";

(() => {
  // Seconds between two questions.
  const SOON = 20; // after the opening, and when little is left
  const CALM = 60; // before the opening, while much is left, and when nothing is
  const DISTANT = 600; // more than an hour before the opening
  const JUST_OPENED = 120;
  const LITTLE = 20; // tickets

  let drawn = performance.now(); // when the page said how many seconds are left
  let timer = 0;
  let etag = null;
  let asked = performance.now();
  let opened = -Infinity;
  let failures = 0;
  let asking = false;

  function pause() {
    const { phase, opensIn } = Sale.page().dataset;
    if (["closed", "begun", "called_off"].includes(phase)) return null;
    if (opensIn) {
      return Number(opensIn) - (performance.now() - drawn) / 1000 > 3600 ? DISTANT : CALM;
    }
    const left = [...Sale.page().querySelectorAll("[data-tier]")].map((tier) => Number(tier.dataset.left));
    if (phase === "held" || (performance.now() - opened) / 1000 < JUST_OPENED) return SOON;
    return left.some((number) => number > 0 && number <= LITTLE) ? SOON : CALM;
  }

  function later() {
    clearTimeout(timer);
    const seconds = pause();
    if (seconds === null || document.hidden) return;
    // Thousands of pages do not ask in the same moment.
    timer = setTimeout(ask, Math.min(seconds * 2 ** failures, DISTANT) * (500 + Math.random() * 1000));
  }

  async function ask() {
    if (asking || document.hidden || pause() === null) return;
    asking = true;
    asked = performance.now();
    try {
      // Without cookies everybody has the same answer. The ETag is ours, so the browser's cache has no part in it.
      const headers = etag ? { "If-None-Match": etag } : {};
      const answer = await fetch(Sale.page().dataset.leftAt, { credentials: "omit", cache: "no-store", headers });
      failures = answer.ok || answer.status === 304 ? 0 : failures + 1;
      if (answer.status === 404) return Sale.renew();
      if (answer.ok) {
        etag = answer.headers.get("ETag");
        show(new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("[data-phase]"));
      }
    } catch {
      failures += 1; // no network
    } finally {
      asking = false;
      later();
    }
  }

  function show(now) {
    const old = Sale.page();
    const over = ["closed", "begun", "called_off"].includes(now.dataset.phase);
    // A form stays when the last ticket is sold: somebody may be about to press its button, and tickets come back.
    const another = Sale.form() ? over : "hasForm" in now.dataset;
    if (another || now.dataset.times !== old.dataset.times) return Sale.renew();
    const chosen = old.querySelector('[name="tier"]:checked')?.closest("[data-tier]");
    const before = chosen?.dataset.left;
    old.dataset.phase = now.dataset.phase;
    Sale.showLeft(now);
    if (chosen && !Number(chosen.dataset.left) !== !Number(before)) {
      const [name, left] = ["[data-name]", "[data-left-text]"].map((part) => chosen.querySelector(part).textContent);
      Sale.say(`${name}: ${left}. ${Sale.words.stays}`);
    }
  }

  document.addEventListener("sale:drawn", () => {
    drawn = performance.now();
    later();
  });
  document.addEventListener("sale:opened", () => {
    opened = performance.now();
    later();
  });
  document.addEventListener("visibilitychange", () => {
    const seconds = pause();
    if (!document.hidden && seconds !== null && performance.now() - asked > seconds * 1000) ask();
    else later();
  });
  later();
})();
