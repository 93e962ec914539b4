// Light, dark, or as the system has it.
export type Theme = "system" | "light" | "dark";
const STORED = "reelay.theme";

export function theme(): Theme {
  try {
    const stored = localStorage.getItem(STORED);
    return stored === "light" || stored === "dark" ? stored : "system";
  } catch {
    return "system";
  }
}

export function setTheme(next: Theme): void {
  try {
    localStorage.setItem(STORED, next);
  } catch {
    // Without storage it holds for this visit.
  }
  pin(next);
}

export function applyTheme(): void {
  pin(theme());
}

function pin(next: Theme): void {
  if (next === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = next;
}
