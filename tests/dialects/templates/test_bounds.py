"""No template hangs or exhausts the process: counted, and watched from outside, never timed.

`GRACELINE_PROFILE=thorough` runs many more examples.
"""

import contextlib
import os
import sys
import tracemalloc
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graceline.dialects.templates import Template, TemplateError, access, meter
from graceline.dialects.templates.access import METHODS
from graceline.dialects.templates.filters import FILTERS
from graceline.dialects.templates.meter import MAX_MADE, MAX_STEPS, MAX_VALUE, Meter
from graceline.dialects.templates.tests import TESTS

THOROUGH = os.environ.get("GRACELINE_PROFILE") == "thorough"
DOUBLINGS = 40


def profile(examples, thorough):
    return settings(
        max_examples=thorough if THOROUGH else examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def doubled(start, step, end="{{ x }}", times=DOUBLINGS):
    """A template that makes something twice as large again and again."""
    return f"{{% set x = {start} %}}" + f"{{% set x = {step} %}}" * times + end


TOO_MUCH = {
    "range": "{{ range(10**9) }}",
    "range of a loop": "{% for i in range(1000000000) %}{% endfor %}",
    "range as a list": "{{ range(10**9) | list | length }}",
    "huge range": "{{ range(10**300) }}",
    "nested loops": "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
    "nested filters": "{% for i in range(100000) %}{{ range(100000) | sum }}{% endfor %}",
    "power": "{{ 9**(9**9) }}",
    "powers": doubled("9", "x ** 9"),
    "products": doubled("2**4000", "x * x"),
    "text by number": "{{ 'a' * 10**9 }}",
    "number by text": "{{ 10**9 * 'a' }}",
    "list by number": "{{ [0] * 10**9 }}",
    "tuple by number": "{{ (0,) * 10**9 }}",
    "width of a format": "{{ '%1000000000d' | format(1) }}",
    "precision of a format": "{{ '%.1000000000f' | format(1) }}",
    "width by a star": "{{ '%*d' | format(1000000000, 1) }}",
    "width of a named format": "{{ '%(a)1000000000d' | format(a=1) }}",
    "operator format": "{{ '%1000000000d' % 1 }}",
    "many uses of a format": "{{ ('%(a)s' * 100000) | format(a='b' * 10000) }}",
    "center": "{{ 'a' | center(10**9) }}",
    "indent": "{{ 'a' | indent(10**9, true) }}",
    "indent of lines": "{{ ('a\n' * 90000) | indent(1000) }}",
    "lines": "{{ ('\n' * 10000000).splitlines() }}",
    "split": "{{ ('a,' * 5000000).split(',') }}",
    "split of blanks": "{{ ('a ' * 5000000).split() }}",
    "join": "{{ (['a' * 100000] * 100000) | join }}",
    "join with a long separator": "{{ range(100000) | join('a' * 10000000) }}",
    "join method": "{{ ('a' * 10000000).join(range(90000)) }}",
    "replace": "{{ ('a' * 10000000) | replace('a', 'b' * 10000) }}",
    "replace of nothing": "{{ ('a' * 10000000) | replace('', 'b' * 10000) }}",
    "concatenation": doubled("'a'", "x ~ x"),
    "addition": doubled("'a'", "x + x"),
    "lists": doubled("[1]", "x + x"),
    "a list of itself": doubled("[1]", "[x, x]"),
    "a tuple of itself": doubled("(1,)", "(x, x)"),
    "a mapping of itself": doubled("{}", "{'a': x, 'b': x}"),
    "a list of itself, compared": doubled("[1]", "[x, x]", "{{ x == x }}"),
    "a list of itself in itself": doubled("[1]", "[x, x]", "{{ x in [x] }}"),
    "a list of itself as JSON": doubled("[1]", "[x, x]", "{{ x | tojson }}"),
    "a tuple of itself as a key": doubled("(1,)", "(x, x)", "{{ {x: 1} }}"),
    "depth": doubled("[1]", "[x]", times=200),
    "literal text in a loop": "{% for i in range(90000) %}" + "a" * 50000 + "{% endfor %}",
    "text in a loop": "{% for i in range(90000) %}{{ 'a' * 10000 }}{% endfor %}",
    "a block": "{% set x %}{% for i in range(90000) %}" + "a" * 50000 + "{% endfor %}{% endset %}",
    "quadratic text": "{% set x = 'a' * 1000 %}{% for i in range(90000) %}{{ (x * 1000) | length }}{% endfor %}",
    "sum of lists": "{{ ([[1] * 1000] * 1000) | sum(start=[]) }}",
    "batch": "{{ range(900) | batch(10**9, 'x') }}",
    "slice": "{{ [1] | slice(10**9) }}",
    "sort of long texts": "{% set x = 'a' * 100000 %}{{ ([x] * 90000) | sort }}",
    "unique of long texts": "{% set x = 'a' * 1000000 %}{{ ([x] * 90000) | unique }}",
    "round": "{{ 5 | round(-10**9) }}",
    "int of a long text": "{% for i in range(90000) %}{{ ('9' * 4000) | int }}{% endfor %}",
    "JSON": "{{ ('[' ~ '0,' * 4000000 ~ '0]') | from_json }}",
    "deep JSON": "{{ ('[' * 100000) | from_json }}",
    "JSON with large texts": "{{ (['\\u0000' * 1000000] * 10) | tojson }}",
    "slug of ligatures": "{{ ('ﷺ' * 60000) | slugify }}",
    "slug": "{{ ('ﷺ' * 10000000) | slugify }}",
    "a cycle in the scope": "{{ cycle | string }}",
    "a cycle in the scope, compared": "{{ cycle == other_cycle }}",
    "what is large in the scope, compared": "{{ large == a }}",
    "what is large in the scope, in a list": "{{ [large] }}",
    "what is large in all": "{% for i in range(9) %}{{ 'a' * 10000000 }}{% endfor %}",
    "brackets": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "lists in lists": "{{ " + "[" * 5000 + "]" * 5000 + " }}",
    "signs": "{{ " + "-" * 20000 + "1 }}",
    "not": "{{ " + "not " * 10000 + "1 }}",
    "conditions": "{{ " + "1 if 1 else " * 1000 + "1 }}",
    "a chain of filters": "{{ 1" + "|string" * 5000 + " }}",
    "a chain of attributes": "{{ a" + ".a" * 3000 + " }}",
    "a long sum": "{{ 1" + " + 1" * 3000 + " }}",
    "blocks": "{% if 1 %}" * 2000 + "{% endif %}" * 2000,
    "loops in loops": "{% for i in [1, 2] %}" * 40 + "{% endfor %}" * 40,
    "a long source": "{{ 1 }}" * 100000,
    "a long number": "{{ " + "9" * 60000 + " }}",
    "a long number in base 16": "{{ 0x" + "f" * 60000 + " }}",
    "an endless comment": "{#" * 30000,
    "an endless text": "{{ '" + "\\\\" * 30000,
    "a recursive macro": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "a recursive loop": "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "lipsum": "{{ lipsum(n=1000000) }}",
}
CYCLE, OTHER_CYCLE = [], []
CYCLE.append(CYCLE)
OTHER_CYCLE.append(OTHER_CYCLE)
SCOPE_OF_TROUBLE = {
    "cycle": CYCLE,
    "other_cycle": OTHER_CYCLE,
    "a": {},
    "large": [0] * 3_000_000,
}


@pytest.mark.parametrize("source", TOO_MUCH.values(), ids=TOO_MUCH)
def test_too_much_is_refused(source, monkeypatch):
    """Each is one clear error; the counters stop near their limits, and memory stays small."""
    if "{% for" in source:  # to watch memory makes a step ten times as long
        monkeypatch.setattr(meter, "MAX_STEPS", MAX_STEPS // 10)
    counted = Meter()
    tracemalloc.start()
    try:
        with pytest.raises(TemplateError) as caught:
            template = Template(source)
            template.evaluate_within(SCOPE_OF_TROUBLE, counted)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 1000
    assert peak < 4 * MAX_MADE
    assert counted.steps <= MAX_STEPS + MAX_VALUE // 64
    assert counted.made <= MAX_MADE + MAX_VALUE


WITH_LARGE_VALUES = [
    "{{ x == y }}",
    "{{ x < y }}",
    "{{ x in y }}",
    "{{ x in [y] }}",
    "{{ 'b' in x }}",
    "{{ {x: 1} }}",
    "{{ {}.get(x) }}",
    "{{ {}[x] is defined }}",
    "{{ ('a' ~ x) | length }}",
    "{{ x + y }}",
    "{{ [x] ~ '' }}",
    "{{ x.count('b') }}",
    "{{ x.find('b') }}",
    "{{ x.split('b') }}",
    "{{ [x].count(y) }}",
    "{{ x[1:] }}",
    "{{ '%s' % x }}",
    "{{ [x, y] | sort }}",
    "{{ [x, y] | max }}",
    "{{ [x, y] | unique }}",
    "{{ [[x], [y]] | groupby(0) | length }}",
    "{{ [x, y] | select('eq', x) }}",
    "{{ [x, y] | join }}",
    "{{ x | tojson }}",
    "{{ x | upper }}",
    "{{ x | trim }}",
    "{{ x | replace('b', 'c') }}",
    "{{ x | slugify }}",
    "{{ x | urlencode }}",
    "{{ x | wordcount }}",
    "{{ x | indent }}",
    "{{ x | float }}",
    "{{ x | int }}",
    "{{ x | basename }}",
    "{{ x | reverse }}",
    "{{ ('[' ~ '1' ~ ']' ~ x[:0]) | from_json ~ (x | from_json) }}",
    "{{ x is lower }}",
    "{{ x }}{{ y }}",
]


@pytest.mark.parametrize("source", WITH_LARGE_VALUES)
def test_what_looks_at_large_values_pays_for_them(source):
    """An operation whose work grows with its operands takes steps that grow with them too."""

    def steps(size):
        counted = Meter()
        scope = {"x": "1" * size + "a", "y": "1" * size + "b"}
        with contextlib.suppress(TemplateError):
            Template(source).evaluate_within(scope, counted)
        return counted.steps

    assert steps(500_000) - steps(10) >= 450


@pytest.mark.parametrize(
    ("source", "least"),
    [
        ("{{ range(500) | map('tojson') }}", 2000),
        ("{{ range(500) | map('string') | map('from_json') }}", 2500),
        ("{{ ([[1]] * 500) | map('sort') }}", 3000),
        ("{{ range(500) | groupby('x', 0) }}", 6000),
        ("{% for i in range(100) %}{% set z = x.y | default(1) %}{% endfor %}", 1000),
        ("{% for i in range(100) %}{% set x = '%.1000f' % 1 %}{% endfor %}", 2000),
        ("{% for i in range(100) %}{% set x = (2**4000) | string %}{% endfor %}", 1800),
        (
            "{% set y = '9' * 1200 %}{% for i in range(100) %}{% set x = y | int %}{% endfor %}",
            1500,
        ),
    ],
)
def test_what_takes_long_for_little_takes_more_steps(source, least):
    """JSON, sorting, what is missing, long numbers: one step each would be too cheap for them."""
    counted = Meter()
    Template(source).evaluate_within({"x": {}}, counted)
    assert counted.steps >= least


def test_marks_are_never_sorted_for_a_slug(monkeypatch):
    """A text of marks would be normalised in a time that grows with the square of their number."""
    sizes = []
    real = unicodedata.normalize

    def normalize(form, text):
        sizes.append(sum(map(bool, map(unicodedata.combining, text))))
        return real(form, text)

    monkeypatch.setattr(unicodedata, "normalize", normalize)
    assert Template("{{ ('é' ~ '\u0301\u0316' * 500 ~ 'b') | slugify }}").evaluate({}) == "eb"
    assert max(sizes) <= 1


@pytest.mark.parametrize(
    "source",
    [
        "{{ d.nme | default(3) }}",
        "{{ 3 if d.nme is undefined }}",
        "{{ ([d] | groupby('nme', 3))[0][0] }}",
    ],
)
def test_no_name_is_looked_for_where_another_value_stands_in(source, monkeypatch):
    """The nearest of two hundred names takes milliseconds: only an error that is shown has it."""
    monkeypatch.setattr(access, "nearest", lambda *_: pytest.fail("a name was looked for"))
    assert Template(source).evaluate({"d": {"name": 1}}) == 3


FINE = {
    "a long text": "{{ 'a' * 10**7 }}",
    "a long list": "{{ range(100000) }}",
    "loops": "{% for i in range(200) %}{% for j in range(200) %}{% endfor %}{% endfor %}",
    "a large number": "{{ 2**4095 }}",
    "a sorted list": "{{ range(5000, 0, -1) | sort }}",
    "what is large in the scope": "{{ large }}",
    "the length of what is large": "{{ large | length }}",
    "a part of what is large": "{{ large[5:9] ~ large[0] }}",
    "JSON there and back": "{{ range(20000) | list | tojson | from_json }}",
    "text": "{{ ('line of text\n' * 20000) | indent | upper | replace('LINE', 'row') }}",
}


@pytest.mark.parametrize("source", FINE.values(), ids=FINE)
def test_what_a_pipeline_needs_is_not_too_much(source):
    """The bounds leave room: what the scope holds is handed on however large it is."""
    Template(source).evaluate({"large": [0] * 3_000_000})


UNREACHABLE = [
    "{{ ''.__class__ }}",
    "{{ ''['__class__'] }}",
    "{{ ''['__cla' ~ 'ss__'] }}",
    "{{ '' | attr('__class__') }}",
    "{{ [''] | map(attribute='__class__') }}",
    "{{ [f] | map(attribute='x.__globals__') }}",
    "{{ [['']] | sum(attribute='0.__class__') }}",
    "{{ [f] | groupby('__globals__') }}",
    "{{ [f] | sort(attribute='__globals__') }}",
    "{{ [f] | selectattr('__globals__') }}",
    "{{ [''] | map('attr', '__class__') }}",
    "{{ f.__globals__ }}",
    "{{ f.gi_frame }}",
    "{{ f() }}",
    "{{ o.method() }}",
    "{{ o.value }}",
    "{{ o._private }}",
    "{{ '{0.__class__}'.format(1) }}",
    "{{ '{0.__class__}'.format_map({}) }}",
    "{{ '{0.__class__}' | format(1) ~ ''.__class__ }}",
    "{{ cycler }}",
    "{{ joiner() }}",
    "{{ namespace(a=1) }}",
    "{{ lipsum.__globals__ }}",
    "{{ dict(a=1) }}",
    "{{ self }}",
    "{{ self.__init__ }}",
    "{{ caller() }}",
    "{{ varargs }}",
    "{{ loop }}",
    "{{ context }}",
    "{{ environment }}",
    "{{ range.__class__ }}",
    "{{ __builtins__ }}",
    "{{ [].append(1) }}",
    "{{ {}.update(a=1) }}",
    "{{ {}.clear() }}",
    "{{ (1).bit_length() }}",
    "{{ f(*[1]) }}",
    "{{ range(*[1]) }}",
    "{{ range(**{'stop': 1}) }}",
    "{% set o.method = 1 %}",
    "{% include 'x' %}",
    "{% import 'x' as x %}",
    "{% from 'x' import y %}",
    "{% extends 'x' %}",
    "{% block x %}{% endblock %}",
    "{% macro x() %}{% endmacro %}",
    "{% call x() %}{% endcall %}",
    "{% autoescape true %}{% endautoescape %}",
    "{% do x %}",
    "{% for i in endless %}{% endfor %}",
    "{{ endless | list }}",
]


class Thing:
    value = 1
    _private = 2

    def method(self):
        raise AssertionError("a method was called")


@pytest.mark.parametrize("source", UNREACHABLE)
def test_nothing_is_reached_but_data(source):
    """No dunder, no private name, no method of an object, no function, no other template."""
    scope = {"f": lambda: pytest.fail("a function was called"), "o": Thing()}
    scope["endless"] = iter(int, 1)
    with pytest.raises(TemplateError):
        Template(source).evaluate(scope)


# -- fuzzing --------------------------------------------------------------------------------------

leaves = st.sampled_from(
    ["0", "1", "-1", "7", "2.5", "999", "10**9", "''", "'a'", "'a,b\n'", "'%s%5d'", "'*'", "none"]  # noqa: RUF005 - shorter
    + ["true", "[]", "{}", "()", "items", "deep", "text", "x", "i", "missing", "'upper'", "'k'"]
)
calls = st.sampled_from(sorted(FILTERS))
expressions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(
            "({} {} {})".format,
            inner,
            st.sampled_from(
                ["+", "-", "*", "/", "//", "%", "**", "~", "==", "<", "in", "and", "or"]
            ),
            inner,
        ),
        st.builds("({} | {})".format, inner, calls),
        st.builds("({} | {}({}))".format, inner, calls, inner),
        st.builds("({} | {}({}, {}))".format, inner, calls, inner, inner),
        st.builds("({} | {}(attribute={}))".format, inner, calls, inner),
        st.builds("({} is {})".format, inner, st.sampled_from(sorted(TESTS)).filter(str.isalpha)),
        st.builds("({}.{}({}))".format, inner, st.sampled_from(sorted(METHODS)), inner),
        st.builds("({}.{}())".format, inner, st.sampled_from(sorted(METHODS))),
        st.builds("[{}, {}]".format, inner, inner),
        st.builds("{{{}: {}}}".format, inner, inner),
        st.builds("{}[{}]".format, inner, inner),
        st.builds("{}[{}:{}]".format, inner, inner, inner),
        st.builds("range({})".format, inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
    ),
    max_leaves=6,
)
templates = st.recursive(
    st.builds("{{{{ {} }}}}".format, expressions) | st.just("text"),
    lambda inner: st.one_of(
        st.builds("{{% for i in {} %}}{}{{% endfor %}}".format, expressions, inner),
        st.builds("{{% for i in range(999) %}}{}{{% endfor %}}".format, inner),
        st.builds("{{% set x = {} %}}{}".format, expressions, inner),
        st.builds("{{% set x = [x, x, {}] %}}{}".format, expressions, inner),
        st.builds("{{% set x %}}{}{{% endset %}}{}".format, inner, inner),
        st.builds("{{% if {} %}}{}{{% else %}}{}{{% endif %}}".format, expressions, inner, inner),
        st.builds("{{% filter {} %}}{}{{% endfilter %}}".format, calls, inner),
        st.builds("{}{}".format, inner, inner),
    ),
    max_leaves=6,
)
SCOPE = {
    "items": list(range(200)),
    "deep": [{"k": [1, {"k": "v"}]}] * 20,
    "text": "some words, and more\n" * 50,
    "x": [1, 2],
    "i": 3,
}


class Calls:
    """Counts every call that Python makes, of its own functions and of those in C."""

    def __init__(self):
        self.count = 0

    def __enter__(self):
        self.before = sys.getprofile()
        sys.setprofile(self.note)
        return self

    def __exit__(self, *_):
        sys.setprofile(self.before)

    def note(self, frame, event, arg):
        self.count += event in ("call", "c_call")


CALLS_PER_STEP = 60
CALLS_AT_FIRST = 20_000
"""Calls of an error's hint, which looks for the nearest of two hundred names at the most."""


@profile(300, 200_000)
@given(templates)
def test_steps_count_all_the_work(source):
    """Whatever a template does, the calls that Python makes for it are bounded by its steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(meter, "MAX_STEPS", 20_000)
        patch.setattr(meter, "MAX_VALUE", 1 << 18)
        counted = Meter()
        try:
            template = Template(source)
        except TemplateError:
            return
        with Calls() as calls:
            try:
                template.evaluate_within(SCOPE, counted)
            except TemplateError as error:
                assert len(str(error)) < 3000  # noqa: PT017 - whichever it is
    assert counted.steps <= 20_000 + (1 << 18)
    assert calls.count <= CALLS_AT_FIRST + CALLS_PER_STEP * counted.steps


tokens = st.sampled_from(
    ["{{", "}}", "{%", "%}", "{#", "#}", "if", "for", "in", "set", "endif", "endfor", "else", "raw"]  # noqa: RUF005
    + ["endraw", "a", ".", "|", "(", ")", "[", "]", "{", "}", ",", ":", "'", '"', "\\", "1", "e5"]
    + ["_", "+", "-", "*", "**", "~", "=", "==", " ", "\n", "is", "not", "macro", "filter", "\x00"]
    + ["{{ a }}", "{% set a = 1 %}", "ß", "\ud800", "0x", "{%-", "-%}", "import", "as", "loop"]
)


@profile(400, 500_000)
@given(st.lists(tokens, max_size=25).map("".join) | st.text(max_size=40))
def test_any_text_is_a_template_or_an_error(source):
    """Reading a text and evaluating it ends in a value or in a `TemplateError`."""
    try:
        template = Template(source)
        assert isinstance(template.names, frozenset)
        template.evaluate({"a": [1, "b"]})
    except TemplateError:
        pass
