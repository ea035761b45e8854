/**
 * The answer during maintenance: a page for people, a problem document for programs.
 *
 * @module
 */

/** What is said. Plain text. */
export interface Notice {
  readonly title: string;
  readonly message: string;
}

/** Whether a client asks for a page: it names HTML, and names no JSON. */
export function wantsPage(accept: string | null): boolean {
  return accept !== null && /\btext\/html\b/i.test(accept) && !/json\b/i.test(accept);
}

/** The page. It stands alone: whatever it would load might be under maintenance, too. */
export function makePage({ title, message }: Notice): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escapeHtml(title)}</title>
<style>body { font: 1.1rem/1.5 system-ui, sans-serif; max-width: 36rem; margin: 20vh auto; padding: 0 1rem }</style>
<h1>${escapeHtml(title)}</h1>
<p>${escapeHtml(message)}</p>
</html>
`;
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}
