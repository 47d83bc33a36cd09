// Paper is white: print in the light theme, whatever the reader has chosen for the screen.
(() => {
  const root = document.documentElement;
  let chosen = null;
  window.addEventListener("beforeprint", () => {
    chosen = root.dataset.theme;
    root.dataset.theme = "light";
  });
  window.addEventListener("afterprint", () => {
    if (chosen !== null) root.dataset.theme = chosen;
    chosen = null;
  });
})();

// What was folded when the page was measured may be too wide: measure again, so that the keyboard
// reaches what scrolls.
document.addEventListener("toggle", () => window.dispatchEvent(new Event("resize")), true);
