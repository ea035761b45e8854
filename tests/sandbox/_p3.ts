import { specOf, start } from "./support.ts";
import { FakeSession } from "../support/fake_session.ts";
const [iso, bomb] = Deno.args; const t0=performance.now(); const log=(...a:any[])=>console.log((performance.now()-t0)|0, ...a);
const b = await start([specOf("hostile.ts", iso as any)], {restart:{backoff:10}, pingInterval:200, lateTimeout:2000, pingTimeout: 3000});
log("started"); (b.events as any).push=function(e:any){ log(JSON.stringify(e)); return Array.prototype.push.call(this,e); };
const h = b.handler();
try { await h.call("requestFilter", new FakeSession({target:"/bomb/"+bomb})); } catch(e) { log(String(e)); }
for (let i=0;i<8;i++) {
await new Promise(r=>setTimeout(r,800));
try { log(await h.call("requestFilter", new FakeSession({target:"/x/ok"}))); } catch(e) { log(String(e)); } }
await b[Symbol.asyncDispose](); log("closed");
