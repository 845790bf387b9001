/**
 * The REST API as one function from request to response: all routes, and what holds for each of them.
 *
 * Not here: sockets (`server.ts`), and who may call over TCP (`guard.ts`).
 *
 * @module
 */
import { ProxyError } from "../core/errors.ts";
import { OpenAPIHono } from "@hono/zod-openapi";
import { AuditSlots } from "./audit_slots.ts";
import type {
  ApiLog,
  AuditSource,
  BudgetDesk,
  CaDesk,
  ControlPlane,
  FleetLogs,
  RequestDesk,
  SecretDesk,
  StatusReport,
} from "./control.ts";
import { errorResponse, invalidBody, refuse } from "./errors.ts";
import { formatSpread, type SpreadNote, withSpreadNote } from "../store/fleet/spread_note.ts";
import { pathOf } from "./request_url.ts";
import { addAllowRoutes } from "./routes_allows.ts";
import { addAuditRoutes, AUDIT_LIMITS, type AuditLimits } from "./routes_audit.ts";
import { addBudgetRoutes } from "./routes_budget.ts";
import { addCaRoutes, NO_CAS } from "./routes_ca.ts";
import { addClientRoutes } from "./routes_clients.ts";
import { addFleetRoute } from "./routes_fleet.ts";
import { addModeRoutes } from "./routes_mode.ts";
import { addPolicyRoutes } from "./routes_policy.ts";
import { addProfileRoutes } from "./routes_profiles.ts";
import { addRequestRoutes } from "./routes_requests.ts";
import { addSealRoutes } from "./routes_seal.ts";
import { addSecretRoutes } from "./routes_secrets.ts";
import { addStatusRoutes } from "./routes_status.ts";
import { addExplainRoute } from "./routes_explain.ts";
import { addSuggestRoutes } from "./routes_suggest.ts";
import { addSuspendRoutes } from "./routes_suspend.ts";
import { addUiRoutes, type UiLinks } from "./routes_ui.ts";

/** In a fleet: on how many hosts a change is in force, and which are waited for. */
const HOSTS_HEADER = "x-slicer-proxy-hosts";

const NOTHING_WAITS: RequestDesk = {
  list: () => [],
  approve: (id) =>
    Promise.reject(new ProxyError("input.not-found", `Cannot approve ${JSON.stringify(id)}: nothing waits`)),
  deny: (id) => {
    throw new ProxyError("input.not-found", `Cannot deny ${JSON.stringify(id)}: nothing waits`);
  },
};

/** What the API serves. */
export interface AppOptions {
  readonly control: ControlPlane;
  /** Called for every status and metrics call. */
  readonly status: () => StatusReport | Promise<StatusReport>;
  readonly audit: AuditSource;
  /** Of the other hosts, where this one is in a fleet. */
  readonly fleetLogs?: FleetLogs | undefined;
  readonly secrets: SecretDesk;
  /** Without it there are no budgets. */
  readonly budgets?: BudgetDesk;
  /** Without it there are no CAs. */
  readonly cas?: CaDesk;
  /** Without it nothing ever waits for a person. */
  readonly requests?: RequestDesk;
  /** Resolves when all that was decided before is among the audit records. Without it, it always is. */
  readonly auditSettled?: () => Promise<void>;
  readonly log: ApiLog;
  readonly auditLimits?: AuditLimits;
  /** Ends answers that have no end of their own. Without it they go on until the caller is gone. */
  readonly stop?: AbortSignal;
  /** Makes links to the web page, which is there only over TCP. */
  readonly uiLinks?: UiLinks | undefined;
}

/** The app. It never rejects: whatever a route throws becomes a response. */
export function createApp(options: AppOptions): OpenAPIHono {
  const { control, status, log, stop = new AbortController().signal } = options;
  const app = new OpenAPIHono({
    getPath: pathOf,
    defaultHook: (result) => {
      if (!result.success) throw invalidBody(result.error);
    },
  });
  app.openAPIRegistry.registerComponent("securitySchemes", "token", {
    type: "http",
    scheme: "bearer",
    description: "The API's own token (--api-token-file). Not needed on the unix socket",
  });
  app.use(async (c, next) => {
    await next();
    // Answers may hold a token, and none is worth caching; the OpenAPI document says otherwise for itself.
    if (!c.res.headers.has("cache-control")) c.res.headers.set("cache-control", "no-store");
    c.res.headers.set("x-content-type-options", "nosniff");
  });
  app.use(async (c, next) => {
    if (!control.fleet) return await next();
    const note: SpreadNote = {};
    await withSpreadNote(note, next);
    if (note.spread) c.res.headers.set(HOSTS_HEADER, formatSpread(note.spread));
  });
  addClientRoutes(app, control);
  addSecretRoutes(app, control, options.secrets);
  addSealRoutes(app, control);
  addCaRoutes(app, options.cas ?? NO_CAS);
  addAllowRoutes(app, control);
  addProfileRoutes(app, control);
  addPolicyRoutes(app, control);
  addModeRoutes(app, control, status);
  addSuspendRoutes(app, control);
  addBudgetRoutes(app, control, options.budgets ?? { usesOf: () => [] });
  addRequestRoutes(app, options.requests ?? NOTHING_WAITS);
  addExplainRoute(app, control);
  const limits = options.auditLimits ?? AUDIT_LIMITS;
  const readers = new AuditSlots("readers", limits.maxReaders);
  // Whoever was refused a moment ago finds it there.
  for (const path of ["/proxy/v1/audit", "/proxy/v1/clients/:name/suggestions", "/proxy/v1/policy/test"]) {
    app.use(path, async (_c, next) => {
      await options.auditSettled?.();
      await next();
    });
  }
  addAuditRoutes(app, options.audit, { limits, readers, stop, log, fleetLogs: options.fleetLogs });
  addSuggestRoutes(app, { control, audit: options.audit, readers });
  addStatusRoutes(app, control, status);
  addFleetRoute(app, status);
  addUiRoutes(app, options.uiLinks);
  app.onError((error, c) => errorResponse(error, `${c.req.method} ${c.req.path}`, log));
  app.notFound((c) => {
    const allowed = methodsOf(app, c.req.path);
    if (allowed.length === 0) {
      return refuse(404, "Cannot find this call: no such path", {
        hint: "GET /proxy/v1/openapi.json lists all; names must not be empty, and paths end without a slash",
      });
    }
    return refuse(405, `Cannot use this method here: it is none of ${allowed.join(", ")}`, {
      headers: { allow: allowed.join(", ") },
    });
  });
  return app;
}

/** The methods that some route has at `path`. */
function methodsOf(app: OpenAPIHono, path: string): string[] {
  const methods = new Set<string>();
  for (const route of app.routes) {
    if (route.method === "ALL") continue;
    if (!isPathOf(route.path, path)) continue;
    methods.add(route.method);
    if (route.method === "GET") methods.add("HEAD");
  }
  return [...methods].sort();
}

/** True when a route's path, with `:name` for any segment, covers `path`. */
function isPathOf(route: string, path: string): boolean {
  const parts = route.split("/");
  const segments = path.split("/", parts.length + 1);
  return segments.length === parts.length &&
    segments.every((segment, i) => parts[i]?.startsWith(":") ? segment !== "" : parts[i] === segment);
}
