import process from "node:process";
import { specOf, start } from "./support.ts";
import { FakeSession } from "../support/fake_session.ts";
const headers = [["Host","example.com"],["User-Agent","Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"],["Accept","text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"],["Accept-Language","en-GB,en;q=0.9"],["Accept-Encoding","gzip, deflate, br"],["Cookie","a=b; c=d; session=0123456789abcdef"],["Referer","https://example.com/"],["Sec-Fetch-Dest","document"],["Sec-Fetch-Mode","navigate"],["Sec-Fetch-Site","same-origin"],["Cache-Control","max-age=0"],["Upgrade-Insecure-Requests","1"]] as const;
for (const iso of ["worker","process"] as const) {
  await using b = await start([specOf("noop.ts", iso)]);
  const h = b.handler(); setInterval(()=>{ const e=b.events.splice(0); if(e.length) console.log(JSON.stringify(e)); }, 100);
  for (const n of [1, 64]) {
    const run = async (ms: number) => { const end = performance.now()+ms; let count=0; const cpu0 = process.cpuUsage();
      const t=performance.now();
      await Promise.all(Array.from({length:n}, async()=>{ const s = new FakeSession({headers}); while(performance.now()<end){ await h.call("requestFilter", s); count++; } }));
      const c = process.cpuUsage(cpu0); return { us: (performance.now()-t)*1000/count, cpu: (c.user+c.system)/count }; };
    await run(500); const r = await run(1500);
    console.log(iso, n, "in flight:", r.us.toFixed(1), "us/call,", r.cpu.toFixed(1), "us CPU of this process per call");
  }
  const chunk = new Uint8Array(65536); const s = new FakeSession({headers}); const t=performance.now(); for(let i=0;i<2000;i++) await h.call("responseBodyFilter", s, chunk, false); console.log(iso, "64K chunk", ((performance.now()-t)*1000/2000).toFixed(1),"us");
}
