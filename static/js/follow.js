// The page of a booking whose payment is open: it asks again by itself, and shows what has become of it.
// A reload by the page itself would interrupt people who read it slowly or by ear (WCAG failure F41).
"use strict";

(() => {
  const page = () => document.querySelector("[data-follow]");
  if (!page()) return;

  const LONGEST = 30 * 1000; // between two looks
  let wait = 1500;
  let timer = 0;
  let looking = false;

  for (const hint of page().querySelectorAll("[data-by-itself]")) hint.textContent = hint.dataset.byItself;

  function later() {
    clearTimeout(timer);
    timer = setTimeout(look, wait);
    wait = Math.min(wait * 1.4, LONGEST);
  }

  async function look() {
    if (document.hidden || looking || !page()) return; // a page that is shown again looks at once
    looking = true;
    try {
      const answer = await fetch(location.href, { cache: "no-store" });
      if (answer.redirected) return location.reload(); // the session has ended, so this asks to log in
      if (answer.ok) show(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch {
      // No network: it is tried again.
    } finally {
      looking = false;
    }
    if (page()) later();
  }

  function show(fresh) {
    const old = page();
    const now = fresh.querySelector("main > .middle");
    if (!now || now.dataset.follow === old.dataset.follow) return;
    // The live region itself stays, so that screen readers say what is new in it.
    const region = old.querySelector("[role=status]");
    const before = now.querySelector("[role=status]");
    while (region.nextSibling) region.nextSibling.remove();
    while (before.nextSibling) old.append(before.nextSibling);
    region.replaceChildren(...before.childNodes);
    document.title = fresh.title;
    if (now.dataset.follow) old.dataset.follow = now.dataset.follow;
    else delete old.dataset.follow;
  }

  later();
  document.addEventListener("visibilitychange", look);
})();
