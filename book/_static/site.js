// What scrolls sideways on this screen can be reached by keyboard.
"use strict";

(() => {
  const places = ".pst-scrollable-table-container, .bd-article table, .bd-article pre, .bd-article .cell_output > .output, " +
    ".bd-article mjx-container[display=true], .bd-article div.math";

  function reachable() {
    for (const element of document.querySelectorAll(places)) {
      const scrolls = element.scrollWidth > element.clientWidth && getComputedStyle(element).overflowX !== "visible";
      if (scrolls) element.tabIndex = 0;
      else if (element.matches("table, .pst-scrollable-table-container, mjx-container")) element.removeAttribute("tabindex");
    }
  }

  let pending;
  const soon = () => {
    clearTimeout(pending);
    pending = setTimeout(reachable, 100);
  };
  addEventListener("load", () => {
    reachable();
    if (window.MathJax && MathJax.startup) MathJax.startup.promise.then(reachable);
  });
  addEventListener("resize", soon);
})();
