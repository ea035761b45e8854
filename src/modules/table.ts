/**
 * All modules, in the order in which they act. Adding one is adding a row.
 *
 * @module
 */
import { grpcWeb } from "./grpc_web.ts";
import { type HttpModule, ModuleChain } from "./module.ts";

/** Modules by their key in the config of a route. */
export const MODULES: readonly HttpModule[] = [grpcWeb];

/** The name of a module. */
export type ModuleName = "grpc_web";

/** The modules of a route by their names; `null` if there are none. */
export function makeModules(names: readonly ModuleName[]): ModuleChain | null {
  if (names.length === 0) return null;
  return new ModuleChain(MODULES.filter(({ name }) => (names as readonly string[]).includes(name)));
}
