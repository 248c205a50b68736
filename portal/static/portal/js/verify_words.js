// Times, sizes and places to fill, for both forms of the public page.

export const language = document.documentElement.lang || "en";

export function when(text, options = { dateStyle: "medium", timeStyle: "short" }) {
  const time = new Date(text);
  return Number.isNaN(time.getTime()) ? String(text) : new Intl.DateTimeFormat(language, options).format(time);
}

export function size(bytes) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte"];
  const step = Math.min(3, Math.floor(Math.log10(Math.max(bytes, 1)) / 3));
  return new Intl.NumberFormat(language, { style: "unit", unit: units[step], unitDisplay: step ? "short" : "long", maximumFractionDigits: 1 })
    .format(bytes / 1000 ** step);
}

export function fill(section, name, text) {
  const place = section.querySelector(`[data-fill="${name}"]`);
  if (!place) return;
  place.textContent = text ?? "";
  place.hidden = !text;
}
