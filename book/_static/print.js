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
