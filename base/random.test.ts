import { expect, it } from "vitest";
import { seededRandom, systemRandom } from "./random.ts";

it("hands out every byte once, over the ends of its pool and beyond its size", () => {
  const sizes = [...Array.from({ length: 2000 }, () => 8), 4095, 4096, 4097, 8];
  const texts = sizes.map((bytes) => systemRandom.hex(bytes));
  expect(texts.map((text) => text.length / 2)).toEqual(sizes);
  // Cut to eight bytes: two of 2004 are the same by chance once in 10^13 runs.
  expect(new Set(texts.map((text) => text.slice(0, 16))).size).toBe(sizes.length);
});

it("gives floats from 0 to below 1 that fill the range", () => {
  const floats = Array.from({ length: 5000 }, () => systemRandom.float());
  expect(floats.every((float) => float >= 0 && float < 1)).toBe(true);
  const tenths = new Set(floats.map((float) => Math.floor(float * 10)));
  expect(tenths.size).toBe(10);
});

it("repeats itself by its seed alone", () => {
  const draw = (seed: number): string => {
    const random = seededRandom(seed);
    return `${random.float()} ${random.hex(4)} ${random.id()}`;
  };
  expect(draw(1)).toBe(draw(1));
  expect(draw(1)).not.toBe(draw(2));
});
