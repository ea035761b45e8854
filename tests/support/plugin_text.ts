/**
 * Writes a plugin from the text of its hooks.
 *
 * @param hooks What stands inside of `definePlugin({ … })`.
 * @param before What stands before it.
 */
export function plugin(hooks: string, before: string = ""): string {
  return `import { definePlugin } from "@sluice/plugin";
${before}
export default definePlugin({
${hooks}
});
`;
}
