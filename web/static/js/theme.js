// Light or dark: the system's choice, unless one was made here. Loaded before the first paint.
(() => {
  const root = document.documentElement;
  try {
    const chosen = localStorage.getItem("theme");
    if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
  } catch { /* storage is switched off: the system decides */ }
})();
