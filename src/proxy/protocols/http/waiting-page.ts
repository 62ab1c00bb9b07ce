/**
 * The page that a browser shows while a target starts. It comes in pieces over one connection: each piece is an element
 * that takes the place of the one of its kind before it, by style alone, so that it works without a script. The one
 * script there is reloads the page, or gives it its last title; the policy allows no other, whatever a piece says.
 */
import { createHash } from "node:crypto";
import { escapeHtml, visibleLine } from "./text.ts";

const RELOAD = "location.reload()";
const RENAME = 'document.title=[...document.querySelectorAll("h1")].at(-1).textContent';

// Of each kind only the last is seen; "order" keeps them where they belong, in whatever order they come. Not ":last-of-type",
// which holds for nothing in Chromium as long as the element around it is not complete.
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

/** Allows what is in this file, and nothing else. */
export const policy: string = [
  "default-src 'none'",
  `style-src ${hashOf(STYLE)}`,
  `script-src ${hashOf(RELOAD)} ${hashOf(RENAME)}`,
  "img-src data:",
  "base-uri 'none'",
  "form-action 'none'",
  // Pages of other sites must not show it in a frame. Frames of the site itself wait as well.
  "frame-ancestors 'self'",
].join("; ");

/** The page up to where the pieces follow. */
export function entry(heading: string): string {
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

/** What goes on, or what went wrong, in a sentence. */
export function status(sentence: string): string {
  return `<p>${escapeHtml(sentence)}</p>\n`;
}

export function elapsed(seconds: number): string {
  return `<time aria-live="off" datetime="PT${seconds}S">${seconds} s</time>\n`;
}

/** What the target last printed, oldest line first. */
export function output(lines: readonly string[]): string {
  // A newline that follows the tag would not be shown.
  return `<pre aria-live="off">${lines.map((line) => escapeHtml(visibleLine(line))).join("\n")}</pre>\n`;
}

/** The end of a page whose target does not serve. */
export function failure(heading: string, sentence: string): string {
  return `${title(heading)}<hr class="still">${status(sentence)}<time hidden></time><a href="">Try again</a>\n<script>${RENAME}</script>\n`;
}

/** The end of a page whose browser asks anew. It stays to be seen where the answer is no page, as with a download. */
export const reload: string = `${title("Asking for it again…")}<hr class="still">${status("If nothing follows here, it was a download, or there is nothing to show.")}<time hidden></time>\n<script>${RELOAD}</script><noscript><meta http-equiv="refresh" content="0"></noscript>\n`;

function title(heading: string): string {
  return `<h1>${escapeHtml(heading)}</h1>\n`;
}

function hashOf(text: string): string {
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}
