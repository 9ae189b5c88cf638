"""What a template can do, that it cannot do more, and that it means what Jinja means."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest

from tests import ROOT
from tunefront.bench.templates.sandbox import limits
from tunefront.bench.templates.sandbox.environment import LONGEST_SOURCE, read, render
from tunefront.bench.templates.sandbox.filters import FILTERS, TESTS
from tunefront.bench.templates.sandbox.guard import DEEPEST
from tunefront.bench.templates.sandbox.limits import Fault

VALUES: dict[str, Any] = {
    "text": "The cat's toy, (the best) fell-down",
    "words": ["the", "Cat", "the", "dog", "cat"],
    "numbers": [3, 1, 2, 3],
    "n": -2.567,
    "digits": " 12.7 ",
    "pairs": {"b": 1, "a": 2},
}

ALIKE = [
    "{{ text }}",
    "{{ text|capitalize }}/{{ text|lower }}/{{ text|upper }}/{{ text|title }}/{{ text|trim('Tn') }}/{{ text|reverse }}",
    "{{ text|length }}/{{ words|count }}/{{ text|wordcount }}/{{ text|first }}/{{ words|last }}/{{ pairs|first }}",
    "{{ text|replace('the', 'a') }}/{{ text|replace('t', 'TT', 2) }}/{{ text|truncate(12) }}",
    "{{ text|truncate(9, true) }}",
    "{{ text|truncate(20, end='!', leeway=0) }}/{{ text|string }}/{{ 3|string }}/{{ text|list|length }}",
    "{{ words|join }}/{{ words|join(', ') }}/{{ words|sort|join(' ') }}/{{ words|sort(true)|join(' ') }}",
    "{{ words|sort(case_sensitive=true)|join(' ') }}/{{ words|unique|join(' ') }}/{{ words|reverse|join(' ') }}",
    "{{ words|unique(true)|join(' ') }}/{{ words|min }}/{{ words|max }}/{{ numbers|min }}/{{ numbers|max }}",
    "{{ numbers|sum }}/{{ n|abs }}/{{ n|round }}/{{ n|round(1) }}/{{ n|round(1, 'floor') }}/{{ n|round(2, 'ceil') }}",
    "{{ digits|int }}/{{ digits|float }}/{{ text|int }}/{{ text|int(5) }}/{{ text|float }}/{{ 'x'|float(1.5) }}",
    "{{ '1e400'|int }}/{{ n|int }}/{{ true|int }}",
    "{{ words|map('upper')|join }}/{{ words|map('replace', 'a', 'o')|join(' ') }}/{{ numbers|map('string')|join }}",
    "{{ numbers|select('odd')|join }}/{{ numbers|reject('odd')|join }}/{{ [0, 1, '']|select|list }}",
    "{{ numbers|select('eq', 3)|list }}/{{ numbers|reject('>', 2)|list }}/{{ words|select('in', ['dog'])|list }}",
    "{{ none|default('d') }}/{{ absent|default('d') }}/{{ ''|d('d', true) }}/{{ absent|d }}/{{ pairs|items|list }}",
    "{{ absent is defined }}/{{ text is defined }}/{{ absent is undefined }}/{{ none is none }}/{{ 4 is even }}",
    "{{ 4 is divisibleby 2 }}/{{ true is boolean }}/{{ 1 is true }}/{{ 1 is integer }}/{{ 1.5 is float }}",
    "{{ text is string }}/{{ words is sequence }}/{{ pairs is mapping }}/{{ words is iterable }}/{{ 1 is number }}",
    "{{ 1 is eq 1 }}/{{ 1 is ne 2 }}/{{ 1 is lt 2 }}/{{ 1 is ge 2 }}/{{ 'a' is in 'abc' }}/{{ false is false }}",
    "{{ 1 < 2 }}/{{ 1 < 3 <= 2 }}/{{ 2 == 2.0 != 3 }}/{{ 'cat' in words }}/{{ 'x' not in text }}/{{ 1 > 2 or 3 >= 3 }}",
    "{{ 1 + 2 * 3 - 4 / 2 }}/{{ 7 // 2 }}/{{ 7 % 3 }}/{{ -n }}/{{ +n }}/{{ 'a' + 'b' }}/{{ [1] + [2] }}/{{ 'ab' * 2 }}",
    "{{ text ~ 1 ~ none }}/{{ not words }}/{{ 1 and 0 }}/{{ 'a' if words else 'b' }}/{{ words[1] }}/{{ words[-1] }}",
    "{{ text[4:7] }}/{{ words[1:] }}/{{ words[::-1] }}/{{ words[:2] }}/{{ pairs['a'] }}/{{ pairs.b }}/{{ (1, 2)[0] }}",
    "{{ text.split(' ')[1:] | join('_') }}/{{ text.lower().strip('t') }}/{{ ', '.join(words) }}/{{ text.find('cat') }}",
    "{{ text.replace('e', '') }}/{{ text.startswith('The') }}/{{ words.index('dog') }}/{{ words.count('the') }}",
    "{{ text.partition(',') }}/{{ text.title() }}/{{ text.split(maxsplit=1) }}/{{ 'a\nb'.splitlines() }}",
    "{{ pairs.items()|list }}/{{ pairs.keys()|list }}/{{ pairs.values()|list }}/{{ pairs.get('z', 9) }}",
    "{{ {'a': [1]} }}",
    "{% for word in words %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{% endfor %}",
    "{% for word in words %}{{ loop.length }}{{ loop.previtem if loop.index > 1 }}{% else %}{% endfor %}",
    "{% for word in words if word != 'the' %}{{ word }}{{ loop.revindex }}{{ loop.cycle('a', 'b') }}{% endfor %}",
    "{% for word in [] %}x{% else %}none{% endfor %}{% for k in pairs %}{{ k }}{% endfor %}",
    "{% for c in 'ab' %}{{ c }},{% endfor %}",
    "{% for a, b in zip(words, numbers) %}{{ a }}={{ b }} {% endfor %}",
    "{% for i in range(5, 0, -2) %}{{ i }}{% endfor %}",
    "{% set ns = namespace(a=0) %}{% for i in numbers %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}",
    "{% set a, b = words[:2] %}{{ b }}{% if n > 0 %}x{% elif n < -2 %}y{% else %}z{% endif %}{# a comment #}",
    "{% raw %}{{ x }}{% endraw %}\n {%- if true %} a {% endif -%} \n b\n",
    "{% for x in words %}{% for y in numbers %}{{ x }}{{ loop.last }} {% endfor %}{{ loop.nextitem|d }}{% endfor %}",
]


def jinja(source: str, values: dict[str, Any]) -> str:
    environment = jinja2.Environment()
    environment.globals["zip"] = zip
    return environment.from_string(source).render(values).strip()


@pytest.mark.parametrize("source", ALIKE)
def test_a_template_means_what_it_means_to_jinja(source: str) -> None:
    assert render(source, VALUES) == [jinja(source, VALUES)]


def test_every_filter_and_test_of_jinjas_is_compared_with_it() -> None:
    text = " ".join(ALIKE)
    own = {"choice", "random", "most_frequent"}
    aliases = {"==", "!=", "<", "<=", ">=", "equalto", "lessthan", "greaterthan", "gt", "le"}
    assert not [name for name in FILTERS.keys() - own if f"|{name}" not in text.replace("('", "|")]
    assert not [name for name in TESTS.keys() - aliases if f"is {name}" not in text and f"('{name}'" not in text]


ATTACKS = {
    "{{ ''.__class__.__mro__ }}": "'__class__' of a text",
    "{{ ''['__class__'] }}": "it reads '__class__' of a text",
    "{{ words.__len__() }}": "it reads '__len__' of a list",
    "{{ pairs.__class__ }}": "it reads '__class__' of a dict",
    "{{ ''|attr('__class__') }}": "there is no filter 'attr'",
    "{{ ['']|map(attribute='__class__') }}": "attribute",
    "{{ ['']|map('attr', '__class__') }}": "there is no filter 'attr'",
    "{{ '{0.__class__}'.format(1) }}": "it reads 'format' of a text",
    "{{ '{x.__class__}'.format_map({'x': 1}) }}": "it reads 'format_map' of a text",
    "{{ '%s'|format(1) }}": "there is no filter 'format'",
    "{{ '%s' % 1 }}": "% is not allowed between a text and a number",
    "{{ '%1000000000d' % 1 }}": "% is not allowed between a text and a number",
    "{{ '%1000000000d' is odd }}": "got a text",
    "{{ ['%1000000000d']|select('divisibleby', 3)|list }}": "got a text",
    "{{ cycler('a').next() }}": "there is no field 'cycler'",
    "{{ joiner() }}": "there is no field 'joiner'",
    "{{ lipsum(n=1000) }}": "there is no field 'lipsum'",
    "{{ dict(a=1) }}": "there is no field 'dict'",
    "{{ namespace(a=1).__init__ }}": "it reads '__init__' of a namespace",
    "{{ namespace(a=1)._Namespace__attrs }}": "it reads '_Namespace__attrs' of a namespace",
    "{{ namespace(a=1) }}": "a namespace as text",
    "{{ namespace }}": "a function as text",
    "{{ range.function }}": "it reads 'function' of a function",
    "{{ ''.upper.bound }}": "it reads 'bound' of a function",
    "{{ self._TemplateReference__context }}": "_TemplateReference__context",
    "{{ self }}": " as text",
    "{% for x in words %}{{ loop }}{% endfor %}": "a loop as text",
    "{% for x in words %}{{ loop._iterable }}{% endfor %}": "it reads '_iterable' of a loop",
    "{% for x in words recursive %}{{ loop(words) }}{% endfor %}": "a recursive loop is not allowed",
    "{{ words.append(1) }}": "to add to a list: {% set ns.list = ns.list + [item] %}",
    "{{ words.clear() }}": "it reads 'clear' of a list",
    "{{ pairs.update({'a': 3}) }}": "update",
    "{{ text() }}": "it calls a text",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}": "line 1: `macro` is not allowed",
    "\n{% macro f() %}{{ caller() }}{% endmacro %}{% call f() %}{% endcall %}": "line 2: `macro` is not allowed",
    "{% call text() %}{% endcall %}": "`callblock` is not allowed",
    "{% include '/etc/passwd' %}": "`include` is not allowed",
    "{% import 'x' as x %}": "`import` is not allowed",
    "{% from 'x' import y %}": "`fromimport` is not allowed",
    "{% extends 'x' %}": "`extends` is not allowed",
    "{% block a %}{{ self.a() }}{% endblock %}": "`block` is not allowed",
    "{% autoescape true %}{{ text }}{% endautoescape %}": "is not allowed",
    "{% filter upper %}a{% endfilter %}": "`filterblock` is not allowed",
    "{% set a %}b{% endset %}": "`assignblock` is not allowed",
    "{% with a = 1 %}{% endwith %}": "`with` is not allowed",
    "{{ 2 ** 3 }}": "`pow` is not allowed",
    "{% do words %}": "not valid Jinja, line 1",
}


@pytest.mark.parametrize("source", ATTACKS)
def test_what_is_not_listed_is_refused(source: str) -> None:
    with pytest.raises(Fault) as refused:
        render(source, VALUES)
    assert ATTACKS[source] in str(refused.value)


LOOP = "{% for x in range(1000) %}"
BOMBS = {
    LOOP * 4 + "x" + "{% endfor %}" * 4: "more than 10,000 times",
    "{% for x in range(10000) if false %}{% endfor %}{% for x in [1] %}{% endfor %}": "more than 10,000 times",
    "{{ range(1000000000) }}": "10,000 numbers",
    "{{ range(0, -1000000000000000000000000, -1) }}": "10,000 numbers",
    "{{ 'a' * 1000000000 }}": "more than 1,000,000",
    "{{ [0] * 1000000000 }}": "more than 1,000,000",
    "{{ (0, 1) * 1000000000 }}": "more than 1,000,000",
    "{{ 1000000000 * 'a' }}": "* is not allowed between a number and a text",
    "{% set a = 'a' * 10 %}" + "{% set a = a + a %}" * 30: "more than 1,000,000",
    "{% set a = 'a' * 10 %}" + "{% set a = a ~ a %}" * 30: "more than 1,000,000",
    "{% set a = 'a' * 10 %}" + "{% set a = a.replace('a', a) %}" * 30: "more than 1,000,000",
    "{% set a = 'a' * 10 %}" + "{% set a = a|replace('', a) %}" * 30: "more than 1,000,000",
    "{% set a = 'a' * 10 %}" + "{% set a = a.join(a) %}" * 30: "more than 1,000,000",
    "{% set a = 'a' * 10 %}" + "{% set a = [a, a]|join(a) %}" * 30: "more than 1,000,000",
    "{% set a = [1] %}" + "{% set a = [a, a] %}" * 40 + "{{ a }}": "more than 2,000,000 items",
    "{% set a = [1] %}" + "{% set a = (a, a) %}" * 40 + "{{ a == 1 }}": "more than 2,000,000 items",
    "{% set a = [1] %}" + "{% set a = {0: a, 1: a} %}" * 40: "more than 2,000,000 items",
    "{% set a = [1] %}" + "{% set a = a + a %}" * 40: "more than",
    "{% set a = [1] %}" + "{% set a = zip(a, a)|list %}" * 40: "more than",
    "{% set n = namespace(a=[1]) %}" + "{% set n.a = [n.a, n.a] %}" * 40: "more than 2,000,000 items",
    "{% set n = namespace() %}{% set n.a = n %}": "a namespace as text",
    "{% set a = 9 %}" + "{% set a = a * a %}" * 40: "more than 100 digits",
    "{% set a = 1 %}" + "{% set a = a + a %}" * 400: "more than 100 digits",
    f"{{{{ {'9' * 5000} }}}}": "it cannot be compiled",
    "{{ 'a'.center(1000000000) }}": "it reads 'center' of a text",
    "{{ 'a'.ljust(1000000000) }}": "it reads 'ljust' of a text",
    "{{ 'a'.zfill(1000000000) }}": "it reads 'zfill' of a text",
    "{{ '\t'.expandtabs(1000000000) }}": "it reads 'expandtabs' of a text",
    "{{ 'a'|center(1000000000) }}": "there is no filter 'center'",
    "{{ 'a'|indent(1000000000) }}": "there is no filter 'indent'",
    "{{ [1]|batch(1000000000, 0) }}": "there is no filter 'batch'",
    "{{ 1.5|round(1000000000, 'ceil') }}": "`round` takes a precision of 0 to 15",
    "{{ ('a' * 1000).strip('b' * 1000) }}": "it strips a set of more than 100 characters",
    "{{ ('a' * 1000)|trim('b' * 1000) }}": "it strips a set of more than 100 characters",
    "{% for x in range(9999) %}" + "{{ 'abc' }}" * 40 + "{% endfor %}": "it writes more than 1,000,000 characters",
    "{% for x in range(9999) %}" + "abc{% if x %}{% endif %}" * 40 + "{% endfor %}": "more than",
    "{% for x in range(9999) %}{% if 'b' in 'a' * 9999 %}{% endif %}{% endfor %}": "it handles more than",
    "{% set a = 'a' * 900000 %}{% for x in range(99) %}{% if a[1:] %}{% endif %}{% endfor %}": "it handles more than",
    "{% set a = 'a' * 900000 %}{% for x in range(99) %}{% if a|list %}{% endif %}{% endfor %}": "it handles more than",
    "{% for x in range(9999) %}" + "{% if x and x and x %}{% endif %}" * 90 + "{% endfor %}": "it handles more than",
    "{{" + "(" * 400 + "1" + ")" * 400 + "}}": "it cannot be compiled",
    "{{ 1" + " + 1" * 400 + "}}": f"it is nested deeper than {DEEPEST} levels",
    "{% if n %}" * 100 + "{% endif %}" * 100: f"it is nested deeper than {DEEPEST} levels",
    "{% for x in words %}" * 25 + "{% endfor %}" * 25: "it cannot be compiled",
    "a" * (LONGEST_SOURCE + 1): "it has more than 50,000 characters",
}


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Half a gigabyte more than the process has, where Linux can enforce that."""
    pages = Path("/proc/self/statm")
    if not pages.exists():
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (int(pages.read_text().split()[0]) * resource.getpagesize() + 2**29, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("source", BOMBS, ids=lambda source: source[:40])
def test_what_would_take_long_or_fill_the_memory_ends_early(source: str) -> None:
    with pytest.raises(Fault) as refused:
        render(source, VALUES)
    assert BOMBS[source] in str(refused.value)


def test_a_limit_does_not_depend_on_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """One iteration more is one too many, on any machine; each rendering starts from zero."""
    whole = f"{{% for x in range({limits.ROUNDS - 1}) %}}{{% endfor %}}{{% for x in [1] %}}x{{% endfor %}}"
    assert render(whole, {}) == render(whole, {}) == ["x"]
    with pytest.raises(Fault, match="more than 10,000 times"):
        render(whole.replace("[1]", "[1, 2]"), {})


def test_what_a_real_template_needs_is_within_the_limits() -> None:
    text = "word " * 2_000
    source = (
        "{% set ns = namespace(kept=[]) %}{% for word in text.split(' ') %}{% if loop.index % 4 == 0 %}"
        "{% set ns.kept = ns.kept + [word.strip()|upper] %}{% endif %}{% endfor %}"
        "{{ ns.kept|join(' ') }} ||| {{ text }}"
    )
    kept, whole = render(source, {"text": text})
    assert kept == " ".join(["WORD"] * 500)
    assert whole == text.strip()
    assert render("{{ text }}", {"text": "a" * 1_000_000}) == ["a" * 1_000_000]


def test_a_separator_is_what_the_template_writes_and_nothing_else() -> None:
    assert render("{{ a }}|||{{ b }} ||| c", {"a": "x|", "b": "p ||| q"}) == ["x|", "p ||| q", "c"]
    assert render("{{ [a, b] | join('|||') }}", {"a": "x|||y", "b": "z"}) == ["x|||y", "z"]
    assert render("{{ a }}", {"a": "\ue000|||\ue000"}) == ["|||"]
    assert render("{{ a|join('-') }}", {"a": ["\ue000|||\ue000", "b"]}) == ["|||-b"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ premis }}", "there is no field 'premis'; did you mean 'premise'? Known: label, premise"),
        ("{{ premis|upper }}", "no field 'premis'"),
        ("{{ premis == 1 }}", "no field 'premis'"),
        ("{{ [premis] }}", "no field 'premis'"),
        ("{% if premis %}{% endif %}", "no field 'premis'"),
        ("{% for x in premis %}{% endfor %}", "no field 'premis'"),
        ("{{ premis.x }}", "no field 'premis'"),
        ("{{ premis['x'] }}", "no field 'premis'"),
        ("{{ premise[premis] }}", "no field 'premis'"),
        ("{{ premis() }}", "no field 'premis'"),
        ("{{ premis + 1 }}", "no field 'premis'"),
        ("{{ -premis }}", "no field 'premis'"),
        ("{{ ['a'][3] }}", "list object has no element 3"),
        ("{{ {'a': 1}.b }}", "no attribute 'b'"),
        ("{{ 1 / 0 }}", "it fails with ZeroDivisionError: division by zero; correct it"),
        ("{{ 'a' + 1 }}", "+ is not allowed between a text and a number"),
        ("{{ 'a' < 1 }}", "it fails with TypeError"),
        ("{{ [3, 'a']|sort }}", "it fails with TypeError"),
        ("{{ []|first }}", "empty list"),
        ("{{ premise.title }}", "a function as text"),
        ("{{ premise.titel() }}", "allowed: capitalize,"),
        ("{{ premise|uper }}", "there is no filter 'uper'; did you mean 'upper'? Known: abs, "),
        ("{{ premise is strin }}", "there is no test 'strin'; did you mean 'string'?"),
        ("{{ ['a']|map('uper')|list }}", "there is no filter 'uper'"),
        ("{{ premise", "it is not valid Jinja, line 1"),
        ("a\n{% if premise %}", "it is not valid Jinja, line 2"),
        ("{{ 1|abs(2) }}", "it fails with TypeError"),
    ],
)
def test_a_fault_says_what_is_wrong(source: str, said: str) -> None:
    with pytest.raises(Fault) as fault:
        render(source, {"premise": "The cat purred.", "label": 1})
    assert said in str(fault.value)
    assert "\n" not in str(fault.value)


def test_the_variables_of_a_template_are_the_fields_that_it_reads() -> None:
    source = "{% set a = premise %}{{ a }}{{ range(2) }}{% for x in words %}{{ x ~ loop.index }}{% endfor %}"
    assert read(source).variables == {"premise", "words"}


def test_choice_is_the_same_in_every_process_and_differs_between_salts_and_calls() -> None:
    source = "{{ range(1000)|list|choice }} {{ range(1000)|list|random }}"
    code = f"from tunefront.bench.templates.sandbox.environment import render; print(*render({source!r}, {{}}, 'one'))"
    for seed in ("1", "2"):
        process = [sys.executable, "-c", code]
        environment = os.environ | {"PYTHONHASHSEED": seed}
        done = subprocess.run(process, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.split() == render(source, {}, "one")[0].split()
    first, second = render(source, {}, "one")[0].split()
    assert first != second
    assert render(source, {}, "two") != render(source, {}, "one")
    chosen = {render("{{ ['a', 'b', 'c']|choice }}", {}, str(salt))[0] for salt in range(30)}
    assert chosen == {"a", "b", "c"}


def test_most_frequent_gives_all_that_occur_as_often_as_any() -> None:
    assert render("{{ ['a', 'b', 'c', 'b', 'a']|most_frequent }}{{ []|most_frequent }}", {}) == ["['a', 'b']None"]
