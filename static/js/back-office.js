// The first page of the back office: what sells now is asked for again, and shown if it has changed.
"use strict";

(() => {
  const part = document.querySelector("[data-follow-sale]");
  if (!part) return;

  const USUAL = 10 * 1000; // between two looks
  const LONGEST = 2 * 60 * 1000; // while there is no answer
  let wait = USUAL;
  let seen = "";
  let timer = 0;
  let looking = false;

  for (const hint of document.querySelectorAll("[data-by-itself]")) hint.textContent = hint.dataset.byItself;

  function later() {
    clearTimeout(timer);
    timer = setTimeout(look, wait);
  }

  async function look() {
    if (document.hidden || looking) return; // a page that is shown again looks at once
    clearTimeout(timer);
    looking = true;
    try {
      const headers = seen ? { "If-None-Match": seen } : {};
      const answer = await fetch(part.dataset.followSale, { headers, cache: "no-store" });
      if (answer.redirected || answer.status === 403) return location.reload(); // the session has ended
      wait = answer.ok || answer.status === 304 ? USUAL : Math.min(wait * 2, LONGEST);
      if (answer.ok) {
        seen = answer.headers.get("ETag") || "";
        show(await answer.text());
      }
    } catch {
      wait = Math.min(wait * 2, LONGEST); // no network
    } finally {
      looking = false;
    }
    later();
  }

  function show(fresh) {
    const table = () => part.querySelector("[tabindex]");
    const scrolled = table()?.scrollLeft || 0;
    const hadFocus = part.contains(document.activeElement);
    part.innerHTML = fresh;
    if (!table()) return;
    table().scrollLeft = scrolled;
    if (hadFocus) table().focus({ preventScroll: true });
  }

  later();
  document.addEventListener("visibilitychange", look);
})();
