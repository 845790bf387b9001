/**
 * Mutants: the places of a source file where one small change would make it wrong, and the file with that change.
 *
 * Not here: which of them are tried, and by which tests (`mutate.ts`).
 *
 * @module
 */
import ts from "typescript";

/** One change: `text` in the place of what stands from `start` to `end`, offsets in UTF-16 code units. */
export interface Mutant {
  readonly file: string;
  readonly start: number;
  readonly end: number;
  readonly text: string;
  /** 1-based. */
  readonly line: number;
  /** For people: what became what. */
  readonly about: string;
}

const SWAPPED: ReadonlyMap<ts.SyntaxKind, string> = new Map([
  [ts.SyntaxKind.EqualsEqualsEqualsToken, "!=="],
  [ts.SyntaxKind.ExclamationEqualsEqualsToken, "==="],
  [ts.SyntaxKind.LessThanToken, "<="],
  [ts.SyntaxKind.LessThanEqualsToken, "<"],
  [ts.SyntaxKind.GreaterThanToken, ">="],
  [ts.SyntaxKind.GreaterThanEqualsToken, ">"],
  [ts.SyntaxKind.AmpersandAmpersandToken, "||"],
  [ts.SyntaxKind.BarBarToken, "&&"],
  [ts.SyntaxKind.PlusToken, "-"],
  [ts.SyntaxKind.MinusToken, "+"],
]);

/** Every mutant of a file. Texts that only people read (templates, messages, docblocks) have none. */
export function mutantsOf(file: string, source: string): Mutant[] {
  const tree = ts.createSourceFile(file, source, ts.ScriptTarget.Latest, true);
  const found: Mutant[] = [];
  const add = (node: ts.Node, text: string, from = node) => {
    const [start, end] = [node.getStart(tree), node.getEnd()];
    const line = tree.getLineAndCharacterOfPosition(start).line + 1;
    const old = from.getText(tree).replaceAll(/\s+/g, " ");
    found.push({ file, start, end, text, line, about: `${short(old)} ⇒ ${text === "" ? "nothing" : text}` });
  };
  const visit = (node: ts.Node) => {
    if (ts.isTypeNode(node) || ts.isImportDeclaration(node) || ts.isTemplateExpression(node)) return;
    if (ts.isNewExpression(node) && /Error$/.test(node.expression.getText(tree))) return; // words
    if (ts.isBinaryExpression(node)) {
      const swapped = SWAPPED.get(node.operatorToken.kind);
      const isText = ts.isStringLiteral(node.left) || ts.isStringLiteral(node.right);
      if (swapped && !(isText && swapped === "-")) add(node.operatorToken, swapped, node);
    } else if (ts.isPrefixUnaryExpression(node) && node.operator === ts.SyntaxKind.ExclamationToken) {
      add(node, node.operand.getText(tree));
    } else if (node.kind === ts.SyntaxKind.TrueKeyword) add(node, "false", node.parent);
    else if (node.kind === ts.SyntaxKind.FalseKeyword) add(node, "true", node.parent);
    else if (ts.isIfStatement(node)) {
      add(node.expression, "true", node.expression);
      add(node.expression, "false", node.expression);
    } else if (ts.isThrowStatement(node)) add(node, ";");
    else if (ts.isExpressionStatement(node) && ts.isCallExpression(skipAwait(node.expression))) {
      add(node, ";");
    } else if (ts.isNumericLiteral(node)) add(node, String(Number(node.text) + 1), node.parent);
    else if (ts.isArrayLiteralExpression(node)) node.elements.forEach((each) => add(each, "...[]"));
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return found;
}

/** The file with the change. */
export function applyMutant(source: string, { start, end, text }: Mutant): string {
  return source.slice(0, start) + text + source.slice(end);
}

function skipAwait(expression: ts.Expression): ts.Expression {
  return ts.isAwaitExpression(expression) ? expression.expression : expression;
}

function short(text: string): string {
  return text.length > 70 ? `${text.slice(0, 67)}…` : text;
}
