const t0=performance.now();console.error("main", Date.now()%100000);
const own=["base","http","plugin","sandbox","transport"].map(n=>"/work/main/src/"+n);
for (const perms of [{read:["/work/main/tests/sandbox/fixtures/noop.ts",...own],net:false,env:false,write:false,run:false,ffi:false,sys:false,import:false},"inherit"]) {
const t=performance.now();
const w=new Worker(new URL("../../src/sandbox/cell.ts",import.meta.url),{type:"module",deno:{permissions:perms}} as any);
const {port1,port2}=new MessageChannel();
const done=new Promise<void>(r=>{port1.onmessage=e=>{console.log((performance.now()-t)|0,e.data[0]); if(e.data[0]==="ready") {port1.postMessage(["describe","/work/main/tests/sandbox/fixtures/noop.ts"]);} else r();}});
w.postMessage({kind:"start",boot:{control:port2,lock:"x"+t,root:"/work/main/tests/sandbox/fixtures/noop.ts",own,guarded:true},heap:64<<20},[port2]);
await done; w.terminate();
}
Deno.exit();
