/**
 * The door for plugin authors: `import { definePlugin } from "@sluice/plugin"`.
 *
 * @module
 */
export { definePlugin } from "./plugin.ts";
export type {
  Context,
  Env,
  Hooks,
  Limits,
  Log,
  Match,
  Maybe,
  OnError,
  Permissions,
  Plugin,
  PluginHead,
  SchemaIssue,
  SchemaResult,
  StandardSchema,
} from "./plugin.ts";
export type {
  Client,
  Cloneable,
  ConnectionView,
  Failure,
  FailureView,
  FinishedSession,
  MutableHeaders,
  Outcome,
  PeerChoice,
  PeerHttp2,
  PeerSpec,
  ProblemBody,
  ReadonlyHeaders,
  Reply,
  ReplyInit,
  RequestSession,
  RequestView,
  ResponseSession,
  ResponseView,
  Session,
  TrailerSession,
  UpstreamRequest,
  UpstreamRequestSession,
  UpstreamResponseSession,
  UpstreamView,
  Vars,
} from "./session.ts";
export type { CertificateAnswer, CertificateRequest } from "./certificate.ts";
export type { EndpointList, EndpointSpec, HealthChange } from "./upstream.ts";
export type { CombineKind, Mutable, PhaseName, PhaseRow, PHASES } from "./phases.ts";
export type { ERROR_TYPES, ErrorSource, ErrorType } from "../base/error.ts";
export type { ClientCertificate, TlsFacts } from "../transport/socket.ts";
