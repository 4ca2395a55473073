// The page of a concert that is left open: when its sale opens or ends, it is fetched anew and swapped in.
"use strict";

(() => {
  const HOUR = 60 * 60 * 1000; // browsers cannot wait longer than 24.8 days at once
  const page = () => document.querySelector("[data-sale]");
  if (!page()) return;

  let due = null; // when the sale changes, by this device's clock; null if it will not
  let timer = 0;
  let tries = 0;
  let fetching = false;

  // It stays with this entry of the browser's history, also when the page comes from the browser's cache.
  const keep = (values) => history.replaceState({ ...history.state, ...values }, "");

  function begin() {
    const left = page().dataset.secondsLeft;
    due = left ? Date.now() + Number(left) * 1000 : null;
    keep({ due, moment: page().dataset.moment });
    for (const hint of page().querySelectorAll("[data-by-itself]")) hint.textContent = hint.dataset.byItself;
  }

  function wait(milliseconds) {
    clearTimeout(timer);
    timer = setTimeout(look, Math.min(milliseconds, HOUR));
  }

  function look() {
    if (due === null) return;
    const left = due - Date.now();
    // Thousands of pages wait for this moment, so they do not all come in the same one.
    if (left > 0) wait(left + 300 + Math.random() * 1700);
    else renew();
  }

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
      // No network: it is tried again.
    } finally {
      fetching = false;
    }
    const now = fresh?.querySelector("[data-sale]");
    if (!now) {
      tries += 1;
      return wait(Math.min(1000 * 2 ** tries, 60 * 1000) * (0.5 + Math.random()));
    }
    tries = 0;
    if (now.dataset.moment !== page().dataset.moment) {
      swap(now);
      document.title = fresh.title;
    } else {
      // This clock is fast, or the answer is a copy that is a second old.
      page().dataset.secondsLeft = now.dataset.secondsLeft;
    }
    begin();
    look();
  }

  function swap(now) {
    const old = page();
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    const twin = (field) =>
      [...now.querySelectorAll(`[name="${CSS.escape(field.name)}"]`)].find(
        (other) => !["radio", "checkbox"].includes(field.type) || other.value === field.value,
      );
    for (const field of old.querySelectorAll("form [name]")) {
      // What the buyer has seen and the key stay too: it is still the same form to them.
      if (field.type === "hidden" && !/^(seen_|idempotency_key$)/.test(field.name)) continue;
      const other = twin(field);
      if (!other || other.disabled) continue;
      if (["radio", "checkbox"].includes(field.type)) other.checked = field.checked;
      else other.value = field.value;
    }
    const key = now.querySelector('[name="idempotency_key"]');
    if (key) {
      // After a booking, "back" may show the page from before the sale, which is then swapped once more.
      if (!old.querySelector('[name="idempotency_key"]') && history.state?.key) key.value = history.state.key;
      keep({ key: key.value });
    }
    const next = focused && ((focused.name && twin(focused)) || now.querySelector("h2"));
    old.replaceWith(now);
    if (next) {
      if (next.matches("h2")) next.tabIndex = -1;
      next.focus({ preventScroll: true });
    }
    const says = document.createElement("p");
    says.className = "notice";
    says.textContent = now.querySelector("form")
      ? "Tickets are on sale now."
      : (now.querySelector(".notice")?.textContent.trim() ?? "The sale has changed.");
    document.querySelector("[data-sale-news]").replaceChildren(says);
  }

  const back = performance.getEntriesByType("navigation")[0]?.type === "back_forward";
  const before = history.state;
  begin();
  if (back && before?.moment !== undefined) {
    // The page may come from the browser's cache. Then its seconds are too many, or it was swapped since.
    due = before.moment === page().dataset.moment ? before.due : 0;
    keep({ due });
  }
  look();
  addEventListener("pageshow", (event) => event.persisted && look());
  document.addEventListener("visibilitychange", () => document.hidden || look());
})();
