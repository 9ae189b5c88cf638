"""The nodes that a template may contain, and their rewriting so that all work that is not constant is metered.

Loops, lists, slices, comparisons, `~` and plain template text become calls of the environment's functions. Macros,
blocks, imports and recursive loops are not allowed; none of PromptSource's 2,000 templates has any.
"""

from __future__ import annotations

from typing import Any

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

from tunefront.bench.templates.sandbox.filters import FILTERS, TESTS, named
from tunefront.bench.templates.sandbox.limits import Fault

SEPARATOR = "|||"
MARK = "\ue000|||\ue000"
"""Replaces a separator written by the template, so that one in the data, or a | next to it, is text."""
DEEPEST = 60
"""Maximum nesting of nodes; Python compiles about a hundred nested brackets."""

_LISTED = {
    *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For, nodes.Assign, nodes.NSRef),
    *(nodes.Name, nodes.Const, nodes.Tuple, nodes.List, nodes.Dict, nodes.Pair, nodes.Keyword, nodes.CondExpr),
    *(nodes.Filter, nodes.Test, nodes.Call, nodes.Getitem, nodes.Getattr, nodes.Slice, nodes.Concat),
    *(nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.Neg, nodes.Pos),
    *(nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod),
}


class Guard(NodeTransformer):
    """Refuses nodes that are not listed, and rewrites those that must be metered."""

    depth = 0

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:
        """The replacement of this node."""
        if type(node) not in _LISTED:
            name, line = type(node).__name__.lower(), node.lineno
            raise Fault(f"line {line}: `{name}` is not allowed in a template; write out its result")
        self.depth += 1
        if self.depth > DEEPEST:
            raise Fault(f"it is nested deeper than {DEEPEST} levels; simplify it")
        made = super().visit(node, *args, **kwargs)
        self.depth -= 1
        return made

    def visit_TemplateData(self, node: nodes.TemplateData) -> nodes.Node:
        """Constants, unlike template data, go through `_write`."""
        return self.visit(nodes.Const(node.data, lineno=node.lineno))

    def visit_Const(self, node: nodes.Const) -> nodes.Node:
        if isinstance(node.value, str):
            node.value = node.value.replace(SEPARATOR, MARK)
        return node

    def visit_For(self, node: nodes.For) -> nodes.Node:
        if node.recursive:
            raise Fault(f"line {node.lineno}: a recursive loop is not allowed in a template; write it out")
        size = nodes.Const(sum(1 for _ in node.find_all(nodes.Node)))
        self.generic_visit(node)
        node.iter = _call("rounds", node, node.iter, size)
        return node

    def visit_Assign(self, node: nodes.Assign) -> nodes.Node:
        self.generic_visit(node)
        if isinstance(node.target, nodes.NSRef) or node.target.find(nodes.NSRef):
            node.node = _call("built", node, node.node)
        return node

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        self.generic_visit(node)
        return _call("built", node, node) if node.ctx == "load" else node

    def visit_List(self, node: nodes.Node) -> nodes.Node:
        return _call("built", node, self.generic_visit(node))

    visit_Dict = visit_List

    def visit_CondExpr(self, node: nodes.CondExpr) -> nodes.Node:
        """`a if b` without else is empty where b is false, as in Jinja, though not defined."""
        self.generic_visit(node)
        node.expr2 = node.expr2 or nodes.Const("", lineno=node.lineno)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        values = self.visit(nodes.List(node.nodes, lineno=node.lineno))
        return nodes.Filter(values, "join", [], [], None, None, lineno=node.lineno)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        pairs = [value for operand in node.ops for value in (nodes.Const(operand.op), operand.expr)]
        return _call("compared", node, node.expr, *pairs)

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        bounds = (node.arg.start, node.arg.stop, node.arg.step)
        return _call("part", node, node.node, *(nodes.Const(None) if bound is None else bound for bound in bounds))

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:
        named(FILTERS, "filter", node.name)
        return self.generic_visit(node)

    def visit_Test(self, node: nodes.Test) -> nodes.Node:
        named(TESTS, "test", node.name)
        return self.generic_visit(node)


def _call(name: str, at: nodes.Node, *args: nodes.Expr | nodes.Node) -> nodes.Node:
    """A call of an attribute of the environment, which a template cannot name."""
    return nodes.Call(nodes.EnvironmentAttribute(name), list(args), [], None, None, lineno=at.lineno)
