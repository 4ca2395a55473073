// The page that gives tickets back: it says what the chosen ones bring back. The server has written each sentence.
"use strict";

(() => {
  const form = document.querySelector("[data-returning]");
  const boxes = [...form.querySelectorAll("[name=number]")];
  const says = form.querySelector("[data-sum]");
  const sentences = form.querySelector("[data-sums]").children;

  function show() {
    const chosen = boxes.filter(box => box.checked).length;
    says.textContent = sentences[chosen].textContent;
  }

  form.querySelector("[data-choose-all]").addEventListener("click", event => {
    event.preventDefault();
    for (const box of boxes) box.checked = true;
    show();
  });
  form.addEventListener("change", show);
  addEventListener("pageshow", show); // the browser may have kept what was checked
})();
