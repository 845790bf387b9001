/** Real headless Chromium, with a new empty profile, and an ear for everything that a page must not do. */
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";

const NAMES = ["chromium", "chromium-browser", "google-chrome"];

/** Where the browser is; undefined where there is none, and then it says that its tests are skipped. */
export function findBrowser(): string | undefined {
  const folders = (Deno.env.get("PATH") ?? "").split(":");
  const places = NAMES.flatMap((name) => folders.map((folder) => `${folder}/${name}`));
  const found = places.find((path) => {
    try {
      return Deno.statSync(path).isFile;
    } catch {
      return false;
    }
  });
  if (found === undefined) {
    Deno.stderr.writeSync(new TextEncoder().encode("skipping tests that need chromium: it is not here\n"));
  }
  return found;
}

/** A page and what was wrong with it: errors, violations of its policy, dialogs, and requests to elsewhere. */
export interface WatchedPage {
  readonly page: Page;
  readonly complaints: string[];
}

/** A running browser. Close it with `await using`. */
export class TestBrowser implements AsyncDisposable {
  readonly #browser: Browser;

  private constructor(browser: Browser) {
    this.#browser = browser;
  }

  static async start(executablePath: string): Promise<TestBrowser> {
    // Playwright gives it an empty profile of its own, and removes it.
    return new TestBrowser(
      await chromium.launch({
        executablePath,
        args: [
          "--no-sandbox", // the tests run as root in CI
          "--disable-gpu",
          "--disable-lcd-text",
          "--disable-font-subpixel-positioning", // pictures come out the same, and smaller
          "--disable-quic",
          "--no-first-run",
          "--no-proxy-server",
          "--disable-background-networking",
          "--disable-component-update",
          "--disable-sync",
        ],
      }),
    );
  }

  /** A page with cookies and storage of its own. Requests to anywhere but `origins` are complaints. */
  async open(origins: readonly string[], options: BrowserContextOptions = {}): Promise<WatchedPage> {
    const context = await this.#browser.newContext(options);
    const page = await context.newPage();
    page.setDefaultTimeout(15_000);
    const complaints: string[] = [];
    page.on("console", (message) => {
      if (message.type() !== "info") complaints.push(`${message.type()}: ${message.text()}`);
    });
    page.on("pageerror", (error) => complaints.push(`error: ${error.message}`));
    page.on("dialog", (dialog) => {
      complaints.push(`dialog: ${dialog.message()}`);
      dialog.dismiss().catch(() => {});
    });
    context.on("request", (request) => {
      if (!origins.includes(new URL(request.url()).origin)) complaints.push(`request: ${request.url()}`);
    });
    return { page, complaints };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#browser.close();
  }
}
