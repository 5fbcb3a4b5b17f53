"""The filters and tests: as Jinja2's where Jinja2 has them, and what they refuse."""

import types
from datetime import date
from enum import Enum

import attrs
import jinja2
import pytest
from jinja2.nativetypes import NativeEnvironment

from graceline.dialects.templates import Template, TemplateError
from graceline.dialects.templates.filters import FILTERS
from graceline.dialects.templates.tests import TESTS

SCOPE = {
    "words": ["b", "A", "c", "a"],
    "numbers": [3, 1, 2.5, 1],
    "people": [
        {"name": "Bo", "age": 3, "tags": ["x"]},
        {"name": "al", "age": 1, "tags": []},
        {"name": "Cy", "age": 3, "tags": ["y", "z"]},
    ],
    "pairs": {"b": 1, "A": 3, "c": 2},
    "text": "the quick  brown\nfox",
    "empty": [],
}

AS_IN_JINJA2 = [
    "{{ -3 | abs }}",
    "{{ (-3.5) | abs }}",
    "{{ numbers | batch(3) | list }}",
    "{{ numbers | batch(3, 'x') | list }}",
    "{{ empty | batch(3, 'x') | list }}",
    "{{ text | capitalize }}",
    "{{ 'ab' | center(7) }}|",
    "{{ numbers | count }}",
    "{{ missing | d('x') }}",
    "{{ missing | default('x') }}",
    "{{ '' | default('x', true) }}",
    "{{ '' | default('x', boolean=true) }}",
    "{{ missing | default(default_value='x') }}",
    "{{ pairs | dictsort }}",
    "{{ pairs | dictsort(true) }}",
    "{{ pairs | dictsort(by='value', reverse=true) }}",
    "{{ 13 | filesizeformat }}",
    "{{ 1300000 | filesizeformat }}",
    "{{ 1300000 | filesizeformat(true) }}",
    "{{ words | first }}",
    "{{ '3.5' | float }}",
    "{{ 'x' | float(1.5) }}",
    "{{ empty | float }}",
    "{{ '%s-%05d' | format('a', 3) }}",
    "{{ '%(a)s' | format(a='b') }}",
    "{% for age, list in people | groupby('age') %}{{ age }}:{{ list | length }};{% endfor %}",
    "{% for g in people | groupby('age') %}{{ g.grouper }}:{{ g.list | map(attribute='name') | join }};{% endfor %}",
    "{% for g in words | groupby(0) %}{{ g[0] }}{{ g[1] | join }};{% endfor %}",
    "{% for g in people | groupby('nope', default='?') %}{{ g.grouper }}{% endfor %}",
    "{{ 'a\nb\n\nc' | indent }}",
    "{{ 'a\nb' | indent(2, true) }}",
    "{{ 'a\nb' | indent('> ') }}",
    "{{ '7' | int }}",
    "{{ '7.9' | int }}",
    "{{ 'ff' | int(base=16) }}",
    "{{ 'x' | int(-1) }}",
    "{{ 7.9 | int }}",
    "{{ empty | int }}",
    "{{ pairs | items | list }}",
    "{{ words | join }}",
    "{{ numbers | join(', ') }}",
    "{{ people | join('/', attribute='name') }}",
    "{{ words | last }}",
    "{{ text | length }}",
    "{{ 'abc' | list }}",
    "{{ pairs | list }}",
    "{{ 'ABC' | lower }}",
    "{{ words | map('upper') | list }}",
    "{{ people | map(attribute='name') | list }}",
    "{{ people | map(attribute='tags.0', default='-') | list }}",
    "{{ words | map('replace', 'a', 'x') | list }}",
    "{{ numbers | max }}",
    "{{ words | max }}",
    "{{ words | max(case_sensitive=true) }}",
    "{{ numbers | min }}",
    "{{ people | min(attribute='age') }}",
    "{{ numbers | reject('eq', 1) | list }}",
    "{{ [0, 1, '', 'a'] | reject | list }}",
    "{{ people | rejectattr('tags') | map(attribute='name') | list }}",
    "{{ 'aaa' | replace('a', 'b') }}",
    "{{ 'aaa' | replace('a', 'b', 2) }}",
    "{{ words | reverse | list }}",
    "{{ 'abc' | reverse }}",
    "{{ 42.55 | round }}",
    "{{ 42.55 | round(1, 'floor') }}",
    "{{ 42.51 | round(method='ceil') }}",
    "{{ [0, 1, '', 'a'] | select | list }}",
    "{{ numbers | select('gt', 1) | list }}",
    "{{ numbers | select('integer') | list }}",
    "{{ people | selectattr('age', 'eq', 3) | map(attribute='name') | list }}",
    "{{ people | selectattr('nope', 'defined') | list }}",
    "{{ people | rejectattr('nope', 'defined') | map(attribute='name') | list }}",
    "{{ people | selectattr('nope', 'undefined') | map(attribute='name') | list }}",
    "{{ people | selectattr('name', 'defined') | map(attribute='name') | list }}",
    "{{ numbers | slice(3) | list }}",
    "{{ numbers | slice(3, 'x') | list }}",
    "{{ [1, 2, 3] | slice(3, 'x') | list }}",
    "{{ words | sort }}",
    "{{ words | sort(true, true) }}",
    "{{ people | sort(attribute='age') | map(attribute='name') | list }}",
    "{{ 3 | string }}",
    "{{ numbers | sum }}",
    "{{ people | sum(attribute='age') }}",
    "{{ [[1], [2]] | sum(start=[]) }}",
    "{{ 'the FOX' | title }}",
    "{{ [1, 'a', none, true] | tojson }}",
    "{{ '  a ' | trim }}",
    "{{ 'xxaxx' | trim('x') }}",
    "{{ 'foo bar baz qux' | truncate(9, leeway=0) }}",
    "{{ 'foo bar baz qux' | truncate(9, true, leeway=0) }}",
    "{{ 'foo bar baz qux' | truncate(11) }}",
    "{{ 'foo bar baz qux' | truncate(5, end='!') }}",
    "{{ words | unique | list }}",
    "{{ words | unique(true) | list }}",
    "{{ people | unique(attribute='age') | map(attribute='name') | list }}",
    "{{ 'abc' | upper }}",
    "{{ 'a b/c?ß' | urlencode }}",
    "{{ text | wordcount }}",
    "{{ 3 is odd }}{{ 3 is even }}{{ 9 is divisibleby(3) }}",
    "{{ true is boolean }}{{ 1 is boolean }}{{ true is true }}{{ 1 is true }}{{ false is false }}",
    "{{ 1 is integer }}{{ true is integer }}{{ 1.0 is float }}{{ 1 is number }}{{ 'a' is number }}",
    "{{ 'a' is string }}{{ pairs is mapping }}{{ words is sequence }}{{ 3 is sequence }}",
    "{{ words is iterable }}{{ 3 is iterable }}{{ 'a' is lower }}{{ 'a' is upper }}{{ none is none }}",
    "{{ 1 is eq 1 }}{{ 1 is ne 1 }}{{ 1 is lt 2 }}{{ 1 is le 1 }}{{ 1 is gt 2 }}{{ 1 is ge 1 }}",
    "{{ 'a' is in words }}{{ words is sameas words }}{{ missing is defined }}",
]
OWN_OR_DIFFERENT = {"from_json", "slugify", "basename"}


def as_text(value):
    """A value with generators as lists, in one form for both."""
    return repr(list(value) if isinstance(value, types.GeneratorType) else value)


@pytest.mark.parametrize("source", AS_IN_JINJA2)
def test_as_in_jinja2(source):
    """What is there under a name of Jinja2's does what Jinja2's does."""
    env = NativeEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    env.policies["json.dumps_kwargs"] = {}
    expected = env.from_string(source).render(SCOPE)
    found = Template(source).evaluate(SCOPE)
    if isinstance(found, str):  # Jinja2 would read a text as Python
        texts = jinja2.Environment(undefined=jinja2.StrictUndefined)  # noqa: S701 - not HTML
        expected = texts.from_string(source).render(SCOPE)
    assert as_text(found) == as_text(expected)


def test_every_filter_and_test_is_compared():
    """The table has every name, but for those that Jinja2 does not have."""
    joined = " ".join(AS_IN_JINJA2)
    assert {name for name in FILTERS if f"| {name}" not in joined} == OWN_OR_DIFFERENT
    named = {name for name in TESTS if name.isidentifier() and f"is {name}" not in joined}
    assert named - {"undefined", "equalto", "greaterthan", "lessthan"} == set()


@attrs.frozen
class Point:
    x: int
    y: int


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ 'Große Straße, 3. Café!' | slugify }}", "grosse-strasse-3-cafe"),
        ("{{ '日本 語_x' | slugify }}", "日本-語-x"),
        ("{{ '--' | slugify }}", ""),
        ("{{ 12 | slugify }}", "12"),
        ("{{ '/a/b.txt' | basename }}", "b.txt"),
        ("{{ 'a/b/' | basename }}", "b"),
        ("{{ '{\"a\": [1, null, 2.5]}' | from_json }}", {"a": [1, None, 2.5]}),
        ("{{ {'b': 1, 'a': 'ß'} | tojson }}", '{"b": 1, "a": "ß"}'),
        ("{{ [1] | tojson(indent=2) }}", "[\n  1\n]"),
        ("{{ point | tojson }}", '{"x": 1, "y": 2}'),
        ("{{ error | tojson }}", '{"type": "KeyError", "message": "\'k\'"}'),
        ("{{ [colour, day, some, frozen] | tojson }}", '["red", "2026-01-02", [1], {"a": 1}]'),
        ("{{ '<a href=\"x\">' | tojson }}", '"<a href=\\"x\\">"'),
        ("{{ [point] | map(attribute='x') }}", [1]),
        ("{{ numbers | reverse }}", [1, 2.5, 1, 3]),
        ("{{ pairs | last }}", "c"),
        ("{{ some | last }}", 1),
        ("{{ '9' * 5000 | int }}", "9" * 5000),
        ("{{ ('9' * 5000) | int(3) }}", 3),
        ("{{ 10000000000000000000000000000 | filesizeformat }}", "10000.0 YB"),
        ("{{ 'abc' | truncate(3) }}", "abc"),
    ],
)
def test_what_jinja2_does_not_have_or_does_otherwise(source, expected):
    """JSON without escapes for HTML, paths, and names of files."""
    scope = SCOPE | {
        "point": Point(1, 2), "error": KeyError("k"), "colour": Colour.RED, "some": {1},
        "day": date(2026, 1, 2), "frozen": types.MappingProxyType({"a": 1}),
    }  # fmt: skip
    assert Template(source).evaluate(scope) == expected


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ 'a' | abs }}", "abs needs a number, not 'a'"),
        ("{{ 'a' | round }}", "round needs a number, not 'a'"),
        ("{{ 1 | round(301) }}", "a precision from -300 to 300, not 301"),
        ("{{ 1 | round(true) }}", "a precision from -300 to 300, not True"),
        ("{{ 1 | round(method='up') }}", "'common', 'ceil' or 'floor', not 'up'"),
        ("{{ (10.0**308) | round(300, 'ceil') }}", "cannot be rounded"),
        ("{{ 1 | batch(0) }}", "batch takes a number from 1, not 0"),
        ("{{ 1 | slice('a') }}", "slice takes a number from 1, not 'a'"),
        ("{{ 1 | list }}", "1 is no list or other collection"),
        ("{{ 1 | length }}", "1 has no length"),
        ("{{ 1 | items }}", "1 is no mapping"),
        ("{{ pairs | dictsort(by='x') }}", "by='key' or by='value', not 'x'"),
        ("{{ [1, 'a'] | sort }}", "they cannot be put in order"),
        ("{{ [1, 'a'] | max }}", "they cannot be put in order"),
        ("{{ empty | min }}", "there is none: the collection is empty"),
        ("{{ empty | last }}", "there is no last element"),
        ("{{ {} | last }}", "there is no last element"),
        ("{{ [[]] | unique }}", "[] cannot be a key"),
        ("{{ words | map }}", "map takes the name of a filter, or attribute= and default="),
        ("{{ words | map(default=1) }}", "map takes the name of a filter"),
        ("{{ words | map('uper') }}", "there is no filter 'uper'; did you mean 'upper'?"),
        ("{{ words | map(3) }}", "there is no filter 3"),
        ("{{ words | select('od') }}", "there is no test 'od'; did you mean 'odd'?"),
        ("{{ words | selectattr }}", "take the name of an attribute"),
        ("{{ people | selectattr('nme') }}", "an element has no 'nme'; did you mean 'name'?"),
        ("{{ people | rejectattr('nme', 'eq', 1) }}", "an element has no 'nme'"),
        ("{{ 'abcdefgh' | truncate(3, leeway=-1) }}", "a leeway of 0 or more, not -1"),
        ("{{ people | map(attribute='nme') }}", "an element has no 'nme'; did you mean 'name'?"),
        ("{{ words | join(3) }}", "join needs a text, not 3"),
        ("{{ 'a' | replace(1, 'b') }}", "replace needs a text, not 1"),
        ("{{ 'a' | replace('a', 'b', 'c') }}", "replace takes a number of times, not 'c'"),
        ("{{ 'a' | indent(1001) }}", "indent takes a width from 0 to 1000, not 1001"),
        ("{{ 'a' | center(-1) }}", "center takes a width from 0 to 1000, not -1"),
        ("{{ 1 | indent }}", "indent needs a text, not 1"),
        ("{{ 'abc' | truncate(2) }}", "truncate takes a length of at least 3, not 2"),
        ("{{ 3 | format }}", "format needs a text, not 3"),
        ("{{ '%s' | format(1, a=2) }}", "values, or values by name, not both"),
        ("{{ '%s %s' | format(1) }}", "not enough arguments"),
        ("{{ (10**1200) | filesizeformat }}", "0000 is too large for filesizeformat"),
        ("{{ '{' | from_json }}", "'{' is no JSON"),
        ("{{ 'NaN' | from_json }}", "JSON has no NaN"),
        ("{{ 3 | from_json }}", "from_json needs a text, not 3"),
        ("{{ [thing] | tojson }}", "cannot be written as JSON: JSON has nothing for a object"),
        ("{{ 1 | tojson(99) }}", "tojson takes an indent from 0 to 16, not 99"),
        ("{{ (10.0**308 * 10) | tojson }}", "cannot be written as JSON"),
        ("{{ 'a' is odd }}", "'a' is no whole number"),
        ("{{ 3 is divisibleby(0) }}", "nothing is divisible by 0"),
        ("{{ 1 is eq }}", "the test 'eq' takes (other)"),
        (
            "{{ 1 | round(1, 'ceil', 3) }}",
            "the filter 'round' takes (precision=0, method='common')",
        ),
        ("{{ words | sort(case=1) }}", "the filter 'sort' takes (reverse=False, case_sensitive"),
    ],
)
def test_what_a_filter_refuses_is_said(source, said):
    """A wrong value or argument is one error that names the filter and what would be right."""
    with pytest.raises(TemplateError) as caught:
        Template(source).evaluate(SCOPE | {"thing": object()})
    assert said in str(caught.value)
