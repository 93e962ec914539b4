import { defineConfig } from "vite";

// `npm run dev` serves the pages and passes everything else on to a running `reelay serve`.
const server = process.env.REELAY_URL ?? "http://127.0.0.1:8080";
const passOn = { target: server, changeOrigin: true };

export default defineConfig({
  build: {
    target: "es2023",
    // These know light-dark(); written out for older ones, a dark stage on a light page would turn light.
    cssTarget: ["chrome123", "firefox128", "safari17.5"],
    // Data URLs would need `img-src data:` and `font-src data:` in the content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: { index: "index.html", embed: "src/embed.ts" },
      // The one name that pages of others write down.
      output: { entryFileNames: (chunk) => (chunk.name === "embed" ? "embed.js" : "assets/[name]-[hash].js") },
    },
    chunkSizeWarningLimit: 900,
  },
  // On pages of others a path alone would lead to their server.
  experimental: { renderBuiltUrl: (_, { hostType }) => (hostType === "js" ? { relative: true } : undefined) },
  server: {
    host: "127.0.0.1",
    proxy: {
      "/api": passOn,
      "/whip": passOn,
      "/whep": passOn,
      "/sessions": passOn,
      "/signal": { ...passOn, ws: true },
    },
  },
  test: { environment: "node", include: ["test/**/*.test.ts"], testTimeout: 30_000 },
});
