// What files are called: which part they hold, and what a data set of them may be called.

// As `worker.importing.sources` has it.
const WORDS = { train: ["train", "training", "val", "valid", "validation"], test: ["test", "testing", "t10k"] };
const PARTS = Object.fromEntries(Object.entries(WORDS).map(([part, words]) => [part, words.flatMap((word) => [word, `${word}set`])]));
const PART_WORDS = new Set(Object.values(PARTS).flat());
const USUAL_WORDS = new Set(["image", "images", "label", "labels", "idx", "ubyte"]);
const LONGEST = 63;

const HUMPS = /(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])/g;

/** A name's words, small: its letters between all else, and `trainData` is two. */
const wordsOf = (text) => text.replace(HUMPS, " ").toLowerCase().match(/t10k|\p{L}+/gu) ?? [];

/** The part that a file's name says: `train1.csv`, `testData.csv`, `t10k-images-idx3-ubyte.gz`; "" if none, or both. */
export function partOf(name) {
  const words = wordsOf(name);
  const found = Object.keys(PARTS).filter((part) => words.some((word) => PARTS[part].includes(word)));
  return found.length === 1 ? found[0] : "";
}

/** A data set's name from a file's: `Flowers_train.csv.gz` is `flowers`; a free one if it says none that may be. */
export function nameFrom(file, { datasets, reserved }) {
  const bare = file.replace(/\..*$/, "").replace(HUMPS, "_").normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  const words = bare.split(/[^a-z0-9]+/).filter(Boolean);
  const saysPart = (word) => word === "t10k" || PART_WORDS.has(word?.replace(/\d+$/, ""));
  const kept = words.filter((word, index) => !saysPart(word) && !USUAL_WORDS.has(word.replace(/\d+$/, "")) && !(word === "set" && saysPart(words[index - 1])));
  const name = kept.join("_").slice(0, LONGEST);
  return name && !reserved.includes(name) ? name : free("dataset", datasets, (bare, number) => `${bare}_${number}`);
}

/** A name that is not among the taken ones: `bare`, or what `numbered(bare, 2)` gives, and so on. */
export function free(bare, taken, numbered) {
  let name = bare;
  for (let number = 2; taken.includes(name); number += 1) name = numbered(bare, number);
  return name;
}
