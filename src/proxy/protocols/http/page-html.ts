/**
 * HTML of the page that a browser shows while a target starts, sent in pieces over one connection. Each piece replaces
 * the previous one of its kind by style; the only scripts reload the page or set its title.
 */
import { createHash } from "node:crypto";
import { escapeHtml, visibleLine } from "./escape.ts";

const RELOAD = "location.reload()";
const RENAME = 'document.title=[...document.querySelectorAll("h1")].at(-1).textContent';

// Only the last element of a kind is visible, and "order" sets its place. ":last-of-type" does not work: in Chromium it
// matches nothing until the parent element is complete.
const STYLE = `
:root{color-scheme:light dark;--ink:#1d2530;--soft:#5c6675;--paper:#f6f7f9;--line:#d9dde3;--accent:#2f6fde}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ee;--soft:#9aa4b2;--paper:#14181d;--line:#2c333c;--accent:#7aa7ff}}
body{margin:0;min-height:100vh;display:grid;place-items:center;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{box-sizing:border-box;width:min(44rem,100vw);padding:2rem;display:flex;flex-direction:column;gap:.75rem}
h1,p,time,pre,hr,a{margin:0}
h1:has(~h1),p:has(~p),time:has(~time),pre:has(~pre),hr:has(~hr){display:none}
h1{order:1;font-size:1.5rem;font-weight:600;overflow-wrap:anywhere}
hr{order:2;width:100%;height:3px;border:0;border-radius:2px;background:linear-gradient(90deg,var(--line) 40%,var(--accent) 50%,var(--line) 60%) 0/200% 100%;animation:move 2s linear infinite}
hr.still{animation:none;background:var(--line)}
@keyframes move{from{background-position:200% 0}}
@media(prefers-reduced-motion){hr{animation:none}}
p{order:3;overflow-wrap:anywhere}
time{order:4;color:var(--soft);font-variant-numeric:tabular-nums}
a{order:5;color:var(--accent)}
pre{order:6;padding:.75rem 1rem;border:1px solid var(--line);border-radius:6px;color:var(--soft);font:13px/1.5 ui-monospace,monospace;white-space:pre-wrap;overflow-wrap:anywhere;overflow:hidden}
pre:empty{display:none}
`;

let cachedPolicy: string | undefined;

/** Returns the content security policy that allows only the styles and scripts of this file. */
export function policy(): string {
  // Computed at the first use, because the hashes load the crypto library, which takes 2 MB.
  cachedPolicy ??= [
    "default-src 'none'",
    `style-src ${hashOf(STYLE)}`,
    `script-src ${hashOf(RELOAD)} ${hashOf(RENAME)}`,
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
    // Other sites must not embed the page. Frames of the site itself may show it.
    "frame-ancestors 'self'",
  ].join("; ");
  return cachedPolicy;
}

/** Returns the start of the page, before the pieces. */
export function pageStart(heading: string): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="robots" content="noindex">
<link rel="icon" href="data:,">
<title>${escapeHtml(heading)}</title>
<style>${STYLE}</style>
</head>
<body>
<main aria-live="polite">
${title(heading)}<hr>
`;
}

/** Returns a sentence about the progress or the failure. */
export function status(sentence: string): string {
  return `<p>${escapeHtml(sentence)}</p>\n`;
}

/** Returns the time since the last change of the state. */
export function elapsed(seconds: number): string {
  return `<time aria-live="off" datetime="PT${seconds}S">${seconds} s</time>\n`;
}

/** Returns the target's last output lines, oldest first. */
export function output(lines: readonly string[]): string {
  // HTML ignores a newline directly after the tag.
  return `<pre aria-live="off">${lines.map((line) => escapeHtml(visibleLine(line))).join("\n")}</pre>\n`;
}

/** Returns the end of a page whose target failed. */
export function failure(heading: string, sentence: string): string {
  return `${title(heading)}<hr class="still">${status(sentence)}<time hidden></time><a href="">Try again</a>\n<script>${RENAME}</script>\n`;
}

/** The end of a page that reloads itself. It remains visible if the response is not a page, but a download. */
export const reload: string = `${title("Reloading…")}<hr class="still">${status("If this page remains, the response is a download or empty.")}<time hidden></time>\n<script>${RELOAD}</script><noscript><meta http-equiv="refresh" content="0"></noscript>\n`;

function title(heading: string): string {
  return `<h1>${escapeHtml(heading)}</h1>\n`;
}

function hashOf(text: string): string {
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}
