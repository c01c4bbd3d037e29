// The command that asks for the same answer, as a shell takes it.

import { address, key } from "./service.js";

const LONGEST_LINE = 90_000; // bytes of a file that still fits into one argument as base64 (Linux: 128 KiB)

const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

// `file` has a name on the user's disk, or "" where it has none; then it is put into the line itself.
export async function curlLine(path, file) {
  const words = ["curl"];
  if (key.get()) words.push('-H "X-API-Key: $DIGITS_API_KEY"');
  if (file.name || file.size > LONGEST_LINE) {
    const name = (file.name || "picture.png").replace(/["\\]/g, "\\$&");
    words.push(`-F ${quoted(`file=@"${name}"`)}`);
  } else {
    words.push("-H 'Content-Type: application/json'", `-d '{"image":"${await base64(file)}"}'`);
  }
  return [...words, quoted(address(path))].join(" ");
}

// Puts the text of an element on the clipboard, which a page that came over plain HTTP gets only by selecting it.
export async function copy(element) {
  if (navigator.clipboard) return navigator.clipboard.writeText(element.textContent);
  getSelection().selectAllChildren(element);
  document.execCommand("copy");
}

async function base64(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}
