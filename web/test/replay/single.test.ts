import { describe, expect, it, vi } from "vitest";
import { LOST_AFTER_MS, Single } from "../../src/client/replay/single.ts";

/** Work that ends when it is told to. */
const slow = () => {
  const ends: (() => void)[] = [];
  const work = vi.fn(() => new Promise<void>((resolve) => ends.push(resolve)));
  return { work, end: () => ends.shift()?.() };
};

describe("one run at a time", () => {
  it("does not pile up over a slow line, and runs again afterwards", async () => {
    const { work, end } = slow();
    const single = new Single();
    const asked = [1, 2, 3].map(() => single.run("a", work));
    expect(work).toHaveBeenCalledTimes(1);
    end();
    await Promise.all(asked);
    const again = single.run("a", work);
    expect(work).toHaveBeenCalledTimes(2);
    end();
    await again;
  });

  it("runs again after a failure", async () => {
    const single = new Single();
    await expect(single.run("a", () => Promise.reject(new Error("no")))).rejects.toThrow("no");
    const { work, end } = slow();
    const next = single.run("a", work);
    end();
    await next;
    expect(work).toHaveBeenCalledTimes(1);
  });

  it("lets nothing else wait: another recording is asked for at once, and the first one's end changes nothing for it", async () => {
    const [first, second] = [slow(), slow()];
    const single = new Single();
    const one = single.run("a", first.work);
    const two = single.run("b", second.work);
    expect(second.work).toHaveBeenCalledTimes(1);
    first.end();
    await one;
    void single.run("b", second.work);
    expect(second.work).toHaveBeenCalledTimes(1);
    second.end();
    await two;
  });

  it("does not wait for ever for one that never ends", () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    const { work } = slow();
    const single = new Single();
    void single.run("a", work);
    vi.advanceTimersByTime(LOST_AFTER_MS - 1);
    void single.run("a", work);
    expect(work).toHaveBeenCalledTimes(1);
    vi.advanceTimersByTime(1);
    void single.run("a", work);
    expect(work).toHaveBeenCalledTimes(2);
    vi.useRealTimers();
  });
});
