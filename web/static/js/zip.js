// A folder as one file: a zip without compression, made in the browser.
// Source: PKWARE's APPNOTE, sections 4.3.7, 4.3.12 and 4.3.16.
import { Problem } from "./http.js";

const MOST_FILES = 65535; // and 4 GB: what a zip holds without its 64-bit extension
const MOST_BYTES = 0xffffffff;
const UTF_8 = 0x0800;
const FIRST_DAY = 0x21; // 1 January 1980

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function crc32(bytes) {
  let value = 0xffffffff;
  for (const byte of bytes) value = TABLE[(value ^ byte) & 0xff] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

/** Numbers as little-endian bytes: [[value, bytes], ...]. */
function pack(...fields) {
  const view = new DataView(new ArrayBuffer(fields.reduce((sum, [, size]) => sum + size, 0)));
  let place = 0;
  for (const [value, size] of fields) {
    if (size === 4) view.setUint32(place, value, true);
    else view.setUint16(place, value, true);
    place += size;
  }
  return view.buffer;
}

/** What a file's own header and its entry in the table of contents have in common. */
const shared = (crc, size, name) => [[20, 2], [UTF_8, 2], [0, 2], [0, 2], [FIRST_DAY, 2], [crc, 4], [size, 4], [size, 4], [name.length, 2], [0, 2]];

async function contentOf(path, file) {
  try {
    return new Uint8Array(await file.arrayBuffer());
  } catch (error) {
    throw new Problem(0, { detail: `${path} cannot be read (${error.message}) Nothing of its folder is in the list.` });
  }
}

/** Put files, [{path, file}], into one zip; `progress` hears the share that is done. */
export async function zip(files, progress, signal) {
  if (files.length > MOST_FILES) throw new Problem(0, { detail: `A folder may have at most ${MOST_FILES.toLocaleString("en")} files here; \`trainyard datasets add\` takes more.` });
  const parts = [];
  const contents = [];
  let offset = 0;
  for (const [index, { path, file }] of files.entries()) {
    signal.throwIfAborted();
    const name = new TextEncoder().encode(path);
    const crc = crc32(await contentOf(path, file));
    parts.push(pack([0x04034b50, 4], ...shared(crc, file.size, name)), name, file);
    contents.push(pack([0x02014b50, 4], [20, 2], ...shared(crc, file.size, name), [0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]), name);
    offset += 30 + name.length + file.size;
    if (offset > MOST_BYTES) throw new Problem(0, { detail: "A folder may have at most 4 GB here; `trainyard datasets add` takes more." });
    progress((index + 1) / files.length);
  }
  const size = contents.reduce((sum, part) => sum + part.byteLength, 0);
  const end = pack([0x06054b50, 4], [0, 2], [0, 2], [files.length, 2], [files.length, 2], [size, 4], [offset, 4], [0, 2]);
  return new Blob([...parts, ...contents, end], { type: "application/zip" });
}

/** The files below a dropped folder, as [{path, file}], paths without the folder's own name. */
export async function filesBelow(folder, prefix = "") {
  const reader = folder.createReader();
  const found = [];
  for (;;) {
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!entries.length) return found;
    for (const entry of entries) {
      if (entry.isDirectory) found.push(...(await filesBelow(entry, `${prefix}${entry.name}/`)));
      else found.push({ path: prefix + entry.name, file: await new Promise((resolve, reject) => entry.file(resolve, reject)) });
    }
  }
}
