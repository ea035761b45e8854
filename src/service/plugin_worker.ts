/**
 * ENTRY of a service worker that runs inline plugins.
 *
 * What they import has to be here before them, because a worker has no right to read Sluice's own files. Other workers
 * do without: it takes 7 MB of memory in each.
 *
 * @module
 */
import "@sluice/plugin";
import "zod";
import "./worker.ts";
