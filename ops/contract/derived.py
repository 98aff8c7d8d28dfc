"""Operators that the compiler makes of others: their gradients, and forwards that keep more.

No file may have nodes of these domains. A node of ``onnxwalk.gradient`` has the name and the
attributes of the operator whose gradient it computes, and a node of ``onnxwalk.forward`` those of
the operator in whose place it stands; for other domains than ai.onnx, the domain follows:
``onnxwalk.gradient.com.microsoft``.
"""

from __future__ import annotations

from typing import Any

from onnxwalk.ops.contract.cost import Cost
from onnxwalk.ops.contract.facts import Facts
from onnxwalk.ops.contract.registry import FUSED_DOMAIN, Input, Operator, Registry, fused

GRADIENT_DOMAIN = "onnxwalk.gradient"
FORWARD_DOMAIN = "onnxwalk.forward"


def derived_domain(kind: str, domain: str) -> str:
    """The domain of the operators that are made of those of ``domain``."""
    return f"{kind}.{domain}" if domain else kind


def is_own_domain(domain: str) -> bool:
    """Whether only the compiler makes nodes of a domain."""
    return domain == FUSED_DOMAIN or any(
        domain == kind or domain.startswith(f"{kind}.")
        for kind in (GRADIENT_DOMAIN, FORWARD_DOMAIN)
    )


def find_operator(registry: Registry, domain: str, name: str, opset: int) -> Operator | None:
    """As ``registry.lookup``, but also of the domains that only the compiler uses."""
    if not is_own_domain(domain):
        return registry.lookup(domain, name, opset)
    if (own := fused.lookup(domain, name, opset)) is not None or domain == FUSED_DOMAIN:
        return own
    is_gradient = domain.startswith(GRADIENT_DOMAIN)
    kind = GRADIENT_DOMAIN if is_gradient else FORWARD_DOMAIN
    base = registry.lookup(domain[len(kind) + 1 :], name, opset)
    if base is None:
        return None
    return _gradient_of(base, domain) if is_gradient else _forward_of(base, domain)


def _gradient_of(base: Operator, domain: str) -> Operator | None:
    vjp = base.vjp
    if vjp is None:
        return None

    def function(*values: Any, **keywords: Any) -> Any:
        return vjp(*values, **keywords)

    facts = Facts.of(function)
    facts["cost"] = vjp.cost
    if "bind" in Facts.of(vjp.rule):
        facts["bind"] = vjp.bind

    def schema() -> tuple[tuple[Input, ...], dict[str, Any], frozenset[str]]:
        return (Input("values", variadic=True),), dict(base.attributes), frozenset()

    return Operator(domain, base.name, base.since, None, function, facts, schema, base.module)


def _forward_of(base: Operator, domain: str) -> Operator | None:
    if (forward := base.facts.of_gradient("forward_keeping")) is None:
        return None
    rule, facts_of_rule = forward.rule, Facts.of(forward.rule)

    def keywords(own_outputs: int, attributes: dict[str, Any]) -> dict[str, Any]:
        counted = {"n_outputs": own_outputs} if "n_outputs" in base.reserved else {}
        return {**base.given_attributes, **attributes, **counted}

    def function(*inputs: Any, own_outputs: int, **attributes: Any) -> tuple[Any, ...]:
        outputs, kept = rule(*inputs, **keywords(own_outputs, attributes))
        return (*outputs[:own_outputs], *kept)

    def cost(*inputs: Any, own_outputs: int, **attributes: Any) -> Cost:
        found = facts_of_rule.get("cost", base.rule)
        return found(*inputs, **keywords(own_outputs, attributes))

    def bind(space: Any, *inputs: Any, own_outputs: int, **attributes: Any) -> Any:
        results = facts_of_rule["bind"](space, *inputs, **keywords(own_outputs, attributes))
        return None if results is None else (*results[0][:own_outputs], *results[1])

    facts = Facts.of(function)
    facts["cost"] = cost
    if "bind" in facts_of_rule:
        facts["bind"] = bind

    def schema() -> tuple[tuple[Input, ...], dict[str, Any], frozenset[str]]:
        return base.inputs, dict(base.attributes), base.reserved - {"n_outputs", "out"}

    return Operator(domain, base.name, base.since, None, function, facts, schema, base.module)
