// Parts of a page of the back office that follow what happens: each is asked for again and again, and shown if it
// has changed. A part that says that it is at rest is asked for no more.
"use strict";

(() => {
  const USUAL = 10; // seconds between two looks; a part may name another number
  const LONGEST = 120; // while there is no answer

  for (const hint of document.querySelectorAll("[data-by-itself]")) hint.textContent = hint.dataset.byItself;
  for (const part of document.querySelectorAll("[data-follow-part]")) follow(part);

  function follow(part) {
    const usual = Number(part.dataset.every) || USUAL;
    let wait = usual;
    let seen = "";
    let timer = 0;
    let looking = false;

    function later() {
      clearTimeout(timer);
      if (!part.querySelector("[data-at-rest]")) timer = setTimeout(look, wait * 1000);
    }

    async function look() {
      if (document.hidden || looking) return; // a page that is shown again looks at once
      clearTimeout(timer);
      looking = true;
      try {
        const headers = seen ? { "If-None-Match": seen } : {};
        const answer = await fetch(part.dataset.followPart, { headers, cache: "no-store" });
        if (answer.redirected || answer.status === 403) return location.reload(); // the session has ended
        wait = answer.ok || answer.status === 304 ? usual : Math.min(wait * 2, LONGEST);
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
  }
})();
