import { describe, expect, it } from "vitest";
import { arrange, type Piece } from "./arrange.ts";

function piece(place: string, at: number, cause?: string): Piece<string> {
  return { stream: place.split("/")[0] ?? "", at, places: [place], cause, content: place };
}

const contents = (...streams: Piece<string>[][]) => arrange(streams).map(({ content }) => content);

describe("arrange()", () => {
  it("goes by time where nothing else decides, and then by stream", () => {
    const found = contents([piece("A/1", 1), piece("A/2", 5)], [piece("B/1", 1), piece("B/2", 3)]);
    expect(found).toEqual(["A/1", "B/1", "B/2", "A/2"]);
  });

  it("keeps the order of a stream whose clock went back", () => {
    expect(contents([piece("A/1", 9), piece("A/2", 1)], [piece("B/1", 5)])).toEqual(["B/1", "A/1", "A/2"]);
  });

  it("puts nothing before the message that it came of, however far clocks are apart", () => {
    const ahead = [piece("A/1", 1_000), piece("A/2", 2_000, "B/1")];
    const behind = [piece("B/1", 10, "A/1"), piece("B/2", 20, "A/2")];
    expect(contents(ahead, behind)).toEqual(["A/1", "B/1", "A/2", "B/2"]);
  });

  it("knows every place of a piece as a cause", () => {
    const decision = { ...piece("A/1", 100), places: ["A/1", "A/2"] };
    expect(contents([decision], [piece("B/1", 1, "A/2")])).toEqual(["A/1", "B/1"]);
  });

  it("takes what came of a message that is not there for something without a cause", () => {
    expect(contents([piece("A/1", 1, "Z/7")], [piece("B/1", 2)])).toEqual(["A/1", "B/1"]);
  });

  it("ends where causes go in a circle, and keeps each piece once", () => {
    expect(contents([piece("A/1", 2, "B/1")], [piece("B/1", 1, "A/1")])).toEqual(["B/1", "A/1"]);
    expect(contents([piece("A/1", 2, "A/1")])).toEqual(["A/1"]);
  });
});
