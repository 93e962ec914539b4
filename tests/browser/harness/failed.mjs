// A reporter for node's test runner: one JSON line for each test that failed, for whoever wants to try it again.

/** Gives a line `{"name", "file"}` per failed test; suites that failed by their tests are left out. */
export default async function* failed(events) {
  for await (const { type, data } of events) {
    if (type === "test:fail" && data.details.error?.failureType !== "subtestsFailed") {
      yield `${JSON.stringify({ name: data.name, file: data.file })}\n`;
    }
  }
}
