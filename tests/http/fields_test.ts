import assert from "node:assert/strict";
import fc from "fast-check";
import { FIELD_NAMES, fieldId, fieldIdOf, HOST, VIA } from "../../src/http/field_names.ts";
import { checkFieldName, checkFieldValue, FieldError } from "../../src/http/field_checks.ts";
import { Fields } from "../../src/http/fields.ts";
import { bytes, text } from "../support/http1.ts";

const BLOCK = "Host: a\r\nX-A: 1\r\nx-b: 2\r\nX-a: 3\r\nVia: v\r\n";

function write(fields: Fields): string {
  const out = new Uint8Array(fields.byteLength);
  return text(out.subarray(0, fields.writeTo(out, 0)));
}

Deno.test("fields keep order and case, and are found in any case", () => {
  const fields = Fields.fromBlock(BLOCK);
  assert.equal(write(fields), BLOCK);
  assert.equal(fields.size, 5);
  assert.equal(fields.get("X-A"), "1, 3");
  assert.deepEqual(fields.getAll("x-a"), ["1", "3"]);
  assert.equal(fields.get("x-none"), null);
  assert.equal(fields.first(HOST), "a");
  assert(fields.has("HOST") && !fields.has("x"));
});

Deno.test("set replaces in place and takes the others off; append adds at the end; delete removes all", () => {
  const fields = Fields.fromBlock(BLOCK);
  fields.set("x-A", "new");
  fields.append("x-b", "4");
  assert.equal(write(fields), "Host: a\r\nX-A: new\r\nx-b: 2\r\nVia: v\r\nx-b: 4\r\n");
  assert(fields.delete("X-B"));
  assert(!fields.delete("X-B"));
  fields.set("c", "5");
  fields.set("C", "6");
  assert.equal(fields.toBlock(), "Host: a\r\nX-A: new\r\nVia: v\r\nc: 6\r\n");
});

Deno.test("changes of a fork do not show in the original, nor the other way round", () => {
  const fields = Fields.fromBlock(BLOCK);
  const fork = fields.fork();
  fork.set("x-b", "changed");
  fork.delete("via");
  fields.append("Y", "1");
  assert.equal(write(fields), BLOCK + "Y: 1\r\n");
  assert.equal(write(fork), "Host: a\r\nX-A: 1\r\nx-b: changed\r\nX-a: 3\r\n");
});

Deno.test("a detached copy outlives its bytes", () => {
  const block = Fields.fromBlock(BLOCK);
  const copy = block.detach();
  block.release();
  assert.equal(block.size, 0);
  assert.equal(write(copy), BLOCK);
});

Deno.test("sweep removes marked ids and says which known fields are left", () => {
  const marked = new Uint8Array(FIELD_NAMES.length);
  marked[VIA] = 1;
  const fields = Fields.fromBlock(BLOCK);
  fields.append("VIA", "w");
  fields.append("Date", "x");
  const left = fields.sweep(marked);
  assert.equal(left, 1 << HOST | 1 << fieldId("date"));
  assert.equal(write(fields), "Host: a\r\nX-A: 1\r\nx-b: 2\r\nX-a: 3\r\nDate: x\r\n");
});

Deno.test("names and values that would not be one field are refused", () => {
  const fields = new Fields();
  for (const name of ["", "a b", "a:", "a\r\n", "\xe9", "a\x00"]) {
    assert.throws(() => fields.set(name, "x"), FieldError);
    assert.throws(() => fields.append(name, "x"), FieldError);
  }
  for (const value of ["a\r\nb: c", "a\nb", "a\0", "\x7f", "\u0100"]) {
    assert.throws(() => fields.set("a", value), FieldError, JSON.stringify(value));
  }
  assert.equal(checkFieldValue("a", "\t b\xe9 \t"), "b\xe9");
  assert.equal(fields.size, 0);
});

Deno.test("of all characters, names take those of tokens and values those of RFC 9110 §5.5", () => {
  const takes = (check: () => void) => {
    try {
      check();
      return true;
    } catch (error) {
      assert.ok(error instanceof FieldError);
      return false;
    }
  };
  const beyond = [0x1ff, 0x20ac, 0xd800, 0xdfff, 0xfffd, 0xffff];
  for (const code of [...Array.from({ length: 0x120 }, (_, i) => i), ...beyond]) {
    const text = String.fromCharCode(code);
    const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]$/.test(text);
    const visible = /^[\t\x20-\x7e\x80-\xff]$/.test(text);
    for (const around of ["", "a"]) {
      assert.equal(takes(() => checkFieldName(around + text)), token, `U+${code.toString(16)}`);
      const value = around + text + around;
      assert.equal(takes(() => checkFieldValue("a", value)), visible, `U+${code.toString(16)}`);
    }
  }
});

Deno.test("white space around a value is taken off, and within it is left", () => {
  const space = fc.constantFrom("", " ", "\t", " \t ");
  const inner = fc.stringMatching(/^([!-~\u00a0-\u00ff]([\t ]{0,3}[!-~])*)?$/);
  fc.assert(fc.property(space, inner, space, (before, value, after) => {
    assert.equal(checkFieldValue("a", before + value + after), value);
  }));
});

Deno.test("every known name has its id, in any case", () => {
  for (let id = 1; id < FIELD_NAMES.length; id++) {
    const name = FIELD_NAMES[id]!;
    for (const spelled of [name, name.toUpperCase()]) {
      assert.equal(fieldIdOf(bytes(spelled), 0, spelled.length), id);
    }
    assert.equal(fieldId(name), id);
  }
  fc.assert(fc.property(fc.string({ unit: "binary-ascii", maxLength: 40 }), (name) => {
    const data = bytes(name);
    assert.equal(fieldIdOf(data, 0, data.length), fieldId(name.toLowerCase()));
  }));
});

Deno.test("any changes leave the same list as in a plain array", () => {
  const name = fc.constantFrom("a", "A", "b", "Host", "hOST", "x-c");
  const value = fc.constantFrom("", "1", "two", "\xff");
  const change = fc.tuple(fc.constantFrom("set", "append", "delete"), name, value);
  fc.assert(fc.property(fc.array(fc.tuple(name, value)), fc.array(change), (start, changes) => {
    const fields = Fields.fromBlock(start.map(([n, v]) => `${n}: ${v}\r\n`).join(""));
    let model = start.map(([n, v]) => [n, v] as [string, string]);
    for (const [kind, n, v] of changes) {
      const is = (one: [string, string]) => one[0].toLowerCase() === n.toLowerCase();
      if (kind === "append") {
        fields.append(n, v);
        model.push([n, v]);
      } else if (kind === "delete") {
        assert.equal(fields.delete(n), model.some(is));
        model = model.filter((one) => !is(one));
      } else {
        fields.set(n, v);
        const at = model.findIndex(is);
        if (at < 0) model.push([n, v]);
        else {model = model.filter((one, i) => i <= at || !is(one)).map((one, i) =>
            i === at ? [one[0], v] : one
          );}
      }
    }
    assert.deepEqual([...fields], model);
    assert.equal(fields.size, model.length);
    assert.equal(write(fields), model.map(([n, v]) => `${n}: ${v}\r\n`).join(""));
  }));
});

Deno.test("copies of copies, changed and released in any order, never see each other", () => {
  const start = [["Host", "a"], ["X-A", "1"], ["via", "v"], ["x-a", "2"]] as [string, string][];
  const block = start.map(([n, v]) => `${n}: ${v}\r\n`).join("");
  const step = fc.tuple(
    fc.constantFrom("fork", "delete", "set", "append", "release", "new"),
    fc.nat(7),
    fc.constantFrom("host", "x-a", "via", "x-new"),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60, size: "max" }), (steps) => {
      const made = [{ fields: Fields.fromBlock(block), model: start }];
      for (const [kind, which, name] of steps) {
        const one = made[which % Math.max(1, made.length)];
        const is = ([n]: [string, string]) => n.toLowerCase() === name;
        if (kind === "new") {
          made.push({ fields: Fields.fromBlock("x-new: n\r\n"), model: [["x-new", "n"]] });
        } else if (one === undefined) {
          continue;
        } else if (kind === "fork") made.push({ fields: one.fields.fork(), model: one.model });
        else if (kind === "release") {
          one.fields.release();
          made.splice(made.indexOf(one), 1);
        } else if (kind === "delete") {
          one.fields.delete(name);
          one.model = one.model.filter((field) => !is(field));
        } else if (kind === "append") {
          one.fields.append(name, "appended");
          one.model = [...one.model, [name, "appended"]];
        } else {
          one.fields.delete(name);
          one.fields.set(name, "set");
          one.model = [...one.model.filter((field) => !is(field)), [name, "set"]];
        }
        for (const { fields, model } of made) assert.deepEqual([...fields], model);
      }
      for (const { fields } of made) fields.release();
    }),
    { numRuns: 400 },
  );
});
