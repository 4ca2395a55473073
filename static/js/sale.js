// The page of a concert: what its other scripts share, and how it is drawn anew while it is open.
"use strict";

const Sale = (() => {
  const page = () => document.querySelector("[data-sale]");
  const form = () => page().querySelector("[data-form]");
  const words = document.querySelector("[data-sale-news]").dataset;

  // It stays with this entry of the browser's history, also when the page comes from the browser's cache.
  const keep = (key) => history.replaceState({ ...history.state, key }, "");

  let tries = 0;
  let timer = 0;
  let fetching = false;

  // Without scripts the page has to be loaded again, and says so.
  function tellByItself(page) {
    for (const hint of page.querySelectorAll("[data-by-itself]")) hint.textContent = hint.dataset.byItself;
  }

  function say(text) {
    document.querySelector("[data-sale-news]").textContent = text;
    const seen = form()?.querySelector("[data-says]");
    if (seen) seen.textContent = text;
  }

  // Change something, and let the button stay where it is: a finger may be about to press it.
  function still(change) {
    const button = form()?.querySelector("[type=submit]");
    const before = button?.getBoundingClientRect().top;
    change();
    if (button) scrollBy(0, button.getBoundingClientRect().top - before);
  }

  // Show what is left as `fresh` says it, which is this page drawn anew, or the part of it that changes.
  function showLeft(fresh) {
    still(() => {
      for (const tier of page().querySelectorAll("[data-tier]")) {
        const now = fresh.querySelector(`[data-tier="${CSS.escape(tier.dataset.tier)}"]`);
        if (!now) continue;
        const text = tier.querySelector("[data-left-text]");
        const words = now.querySelector("[data-left-text]");
        tier.dataset.left = now.dataset.left;
        if (text.innerHTML !== words.innerHTML) text.replaceChildren(...words.cloneNode(true).childNodes);
      }
    });
    document.dispatchEvent(new Event("sale:left"));
  }

  // Fetch the page, and show what is new in it. It tries again until the server answers.
  async function renew() {
    if (fetching) return;
    fetching = true;
    clearTimeout(timer);
    let fresh = null;
    try {
      const answer = await fetch(page().dataset.sale, { cache: "no-store" });
      if (answer.status === 404) return location.replace(page().dataset.sale);
      if (answer.ok) fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    } catch {
      // No network.
    } finally {
      fetching = false;
    }
    const now = fresh?.querySelector("[data-sale]");
    tries = now ? 0 : tries + 1;
    if (!now) {
      timer = setTimeout(renew, Math.min(1000 * 2 ** tries, 60 * 1000) * (0.5 + Math.random()));
      return;
    }
    const old = page();
    const same = now.dataset.times === old.dataset.times && !now.querySelector("[data-form]") === !form();
    if (same) {
      for (const name of ["opensIn", "endsIn", "phase"]) old.dataset[name] = now.dataset[name];
      showLeft(now);
    } else {
      swap(now);
      document.title = fresh.title;
    }
    document.dispatchEvent(new Event("sale:drawn"));
  }

  function swap(now) {
    const old = page();
    tellByItself(now);
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    const twin = (field) =>
      [...now.querySelectorAll(`[name="${CSS.escape(field.name)}"]`)].find(
        (other) => !["radio", "checkbox"].includes(field.type) || other.value === field.value,
      );
    for (const field of old.querySelectorAll("form [name]")) {
      // What the buyer has seen and the key stay too: it is still the same form to them.
      if (field.type === "hidden" && !/^(seen_|idempotency_key$)/.test(field.name)) continue;
      const other = twin(field);
      if (!other || (other.disabled && !field.checked)) continue;
      if (["radio", "checkbox"].includes(field.type)) other.checked = field.checked;
      else other.value = field.value;
    }
    const key = now.querySelector('[name="idempotency_key"]');
    if (key) {
      // After a booking, "back" may show the page from before the sale, which is then swapped once more.
      if (!old.querySelector('[name="idempotency_key"]') && history.state?.key) key.value = history.state.key;
      keep(key.value);
    }
    const next = focused && ((focused.name && twin(focused)) || now.querySelector("h2"));
    old.replaceWith(now);
    if (next) {
      if (next.matches("h2")) next.tabIndex = -1;
      next.focus({ preventScroll: true });
    }
    const notice = now.querySelector(".notice")?.textContent.trim() ?? words.changed;
    say(form() && !now.dataset.opensIn ? words.open : notice);
  }

  tellByItself(page());
  return { page, form, words, say, still, showLeft, renew };
})();
