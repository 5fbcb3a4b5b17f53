"""Templates: what they give, and how they say what is missing."""

import dataclasses
import importlib
import re
import sys
from typing import NamedTuple

import attrs
import pytest

from graceline import GracelineError
from graceline.dialects.templates import Template, TemplateError, compile_value
from graceline.dialects.templates.meter import Meter

ITEMS = [1, 2, 3]
SCOPE = {
    "items": ITEMS,
    "topic": "Große Straße",
    "none_yet": None,
    "steps": {"a": {"result": {"text": "hi", "count": 3}, "error": None, "status": "ok"}},
    "inputs": {"x": 1},
    "authors": [{"name": "Bo", "age": 3}, {"name": "al", "age": 1}],
}


def value(source, **more):
    return Template(source).evaluate(SCOPE | more)


def refused(source, **more):
    """The text of the error of a template that is refused, when it is read or evaluated."""
    with pytest.raises(TemplateError) as caught:
        value(source, **more)
    return str(caught.value)


def test_a_lone_expression_gives_the_value_itself():
    """`{{ items }}` is the list, not a copy and not its text."""
    assert value("{{ items }}") is ITEMS
    assert value("{{ steps.a.result }}") is SCOPE["steps"]["a"]["result"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ '12' }}", "12"),
        ("{{ 12 }}\n", 12),
        ("{{ 12 }} ", "12 "),
        ("{{ 1 }}{{ 2 }}", "12"),
        ("{% set n = 1 %}\n{{ n + 1 }}\n", 2),
        ("{% if true %}{{ 1 }}{% endif %}", "1"),
        ("{% for i in [1] %}{{ i }}{% endfor %}", "1"),
        ("{# nothing #}", ""),
        ("no template }}", "no template }}"),
        ("", ""),
        ("a\n{{ 1 }}\n", "a\n1\n"),
    ],
)
def test_all_else_gives_text(source, expected):
    """The type of a value depends on how the template is written, never on what the data is."""
    found = value(source)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ steps.a.error == None }}", True),
        ("{{ steps.a.error != none }}", False),
        ("{{ steps.a.error is none }}", True),
        ("{{ null == none_yet }}", True),
        ("{{ true and True and not false and not False }}", True),
    ],
)
def test_constants_are_spelled_as_in_yaml_and_in_python(source, expected):
    """None, none and null are one; true and True are one."""
    assert value(source) is expected


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ topik }}", "there is no 'topik'; did you mean 'topic'?"),
        ("{{ steps.a.result.txt }}", "steps.a.result has no 'txt'; did you mean 'text'?"),
        ("{{ steps['b'].result }}", "steps has no 'b'; valid are: 'a'"),
        ("{{ inputs[3] }}", "inputs has no 3; valid are: 'x'"),
        ("{{ items[3] }}", "items has 3 elements, and none at 3"),
        ("{{ none_yet.text }}", "none_yet is None, and has no 'text'"),
        ("{{ topic.text }}", "topic is a str, and has no 'text'"),
        ("{{ topic.upper }}", "topic.upper is a method; write topic.upper(...)"),
        ("{{ (items | first).x }}", "a value is an int, and has no 'x'"),
        ("{{ [] | first }}", "there is no first element: the collection is empty"),
    ],
)
def test_what_is_missing_is_named(source, said):
    """An error names the template, what is missing in it, and the nearest name that is there."""
    message = refused(source)
    assert message.startswith(f"template {source!r}: ")
    assert said in message


def test_an_error_names_the_line_of_a_long_template():
    """In a text of several lines the one with the mistake is named."""
    assert ", line 3: there is no 'nope'" in refused("one\ntwo\n{{ nope }}\n")
    assert "(line 2)" in refused("one\n{{ topic | nope }}\n")


def test_many_names_are_not_all_listed():
    """A mapping of thousands of keys does not fill the screen, and is not searched through."""
    many = {f"key{number}": number for number in range(5000)}
    message = refused("{{ many.zzz }}", many=many)
    assert message.endswith("'key11', ...")
    assert refused("{{ many.key4999 + 1 + many.key199x }}", many=many).endswith("'key199'?")


def test_default_and_defined_take_what_is_missing():
    """A path may be missing at any of its links; what is missing beside it is still an error."""
    assert value("{{ nope | default('x') }}") == "x"
    assert value("{{ nope | d }}") == ""
    assert value("{{ steps.b.result.text | default(3) }}") == 3
    assert value("{{ none_yet | default('x') }}") is None
    assert value("{{ none_yet | default('x', true) }}") == "x"
    assert value("{{ [] | first | default(7) }}") == 7
    assert value("{{ steps.b is defined }}") is False
    assert value("{{ steps.a is defined and steps.b is undefined }}") is True
    assert "there is no 'nope'" in refused("{{ (1 + nope) | default(3) }}")


def test_an_error_is_not_retried():
    """The same template with the same values is wrong again."""
    assert TemplateError.retryable is False
    assert issubclass(TemplateError, GracelineError)


def test_a_template_is_a_text():
    """Anything else is refused at once, and said to be what it is."""
    with pytest.raises(TemplateError, match="a template is a text, not 3"):
        Template(3)
    assert repr(Template("{{ x }}")) == "Template('{{ x }}')"


@attrs.frozen
class Output:
    code: int
    _hidden: str = "h"

    @property
    def run(self):
        raise AssertionError("a property was asked")


def test_of_an_object_the_fields_are_there_and_nothing_else():
    """Fields of attrs objects can be read; properties, methods and private fields cannot."""
    assert value("{{ out.code }}", out=Output(3)) == 3
    assert value("{{ out['code'] }}", out=Output(3)) == 3
    assert "out has no 'run'; valid are: 'code'" in refused("{{ out.run }}", out=Output(3))
    assert "has no '_hidden'" in refused("{{ out._hidden }}", out=Output(3))


@dataclasses.dataclass
class Record:
    name: str


class Pair(NamedTuple):
    left: int


def test_dataclasses_and_named_tuples_have_fields_too():
    """Whatever kind of record a function returns, its fields have names."""
    assert value("{{ r.name ~ p.left ~ p[0] }}", r=Record("n"), p=Pair(1)) == "n11"
    assert "r has no 'nme'; did you mean 'name'?" in refused("{{ r.nme }}", r=Record("n"))


def test_a_number_of_the_scope_that_has_no_text():
    """Python does not print numbers of thousands of digits, and says so."""
    assert value("{{ n }}", n=10**5000) == 10**5000
    assert "it has no text: Exceeds the limit" in refused("a{{ n }}", n=10**5000)


def test_a_missing_extra_is_named(monkeypatch):
    """Without Jinja2 the error says what to install."""
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.delitem(sys.modules, "graceline.dialects.templates.parsing")
    with pytest.raises(GracelineError, match=r"need jinja2, .* pip install 'graceline\[yaml\]'"):
        importlib.import_module("graceline.dialects.templates.parsing")


def test_of_an_exception_its_type_and_text_are_there():
    """A condition can look at what a step raised."""
    error = KeyError("k")
    error.code = 7
    assert value("{{ e.type ~ e.message ~ e.code }}", e=error) == "KeyError'k'7"
    assert "e has no 'args'" in refused("{{ e.args }}", e=error)


def test_an_object_that_raises_makes_a_template_error():
    """What a value's own methods raise is reported as a mistake of the template, with its cause."""

    class Odd:
        def __str__(self):
            raise OSError("odd")

    with pytest.raises(TemplateError, match="OSError: odd") as caught:
        value("a{{ odd }}", odd=Odd())
    assert isinstance(caught.value.__cause__, OSError)


def test_statements():
    """Conditions, loops with their variable, blocks of set, with and filter."""
    assert value("{% if topic %}a{% elif 1 %}b{% else %}c{% endif %}") == "a"
    assert value("{% if not topic %}a{% elif 1 %}b{% endif %}") == "b"
    assert value("{% if not topic %}a{% else %}c{% endif %}") == "c"
    loop = "{% for i in items if i > 1 %}{{ loop.index }}/{{ loop.length }}:{{ i }}{% if not loop.last %},{% endif %}"
    assert value(loop + "{% endfor %}") == "1/2:2,2/2:3"
    assert value("{% for i in [] %}x{% else %}none{% endfor %}") == "none"
    assert value("{% for k, v in inputs.items() %}{{ k }}={{ v }}{% endfor %}") == "x=1"
    assert value("{% set x %}a{{ 1 }}{% endset %}{{ x }}") == "a1"
    assert value("{% set x | upper %}a{% endset %}{{ x }}") == "A"
    assert value("{% set a, b = items[:2] %}{{ a }}-{{ b }}") == "1-2"
    assert value("{% with y = 2 %}{{ y }}{% endwith %}") == "2"
    assert value("{% filter upper | replace('A', 'b') %}xa{% endfilter %}") == "Xb"
    assert value("{% raw %}{{ x }}{% endraw %}") == "{{ x }}"


def test_what_a_loop_sets_stays_in_it():
    """As in Jinja2: a name that a loop, a `with` or a block sets is gone behind it."""
    assert value("{% set x = 1 %}{% for i in items %}{% set x = i %}{% endfor %}a{{ x }}") == "a1"
    assert "there is no 'i'" in refused("{% for i in items %}{% endfor %}{{ i }}")
    assert "there is no 'y'" in refused("{% with y = 2 %}{% endwith %}{{ y }}")
    assert "there is no 'y'" in refused("{% set x %}{% set y = 2 %}{% endset %}{{ y }}")
    assert "there is no 'i'" in refused("{% for i in items if 0 %}{% else %}{{ i }}{% endfor %}")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ 1 + 2 * 3 - 4 / 2 }}", 5.0),
        ("{{ 7 // 2 + 7 % 4 + 2 ** 3 }}", 14),
        ("{{ -items[0] + +2 }}", 1),
        ("{{ 'a' ~ 1 ~ none }}", "a1None"),
        ("{{ 'ab' * 2 + 'c' }}", "ababc"),
        ("{{ 2 * [1] + [2] }}", [1, 1, 2]),
        ("{{ (1,) + (2,) }}", (1, 2)),
        ("{{ '%s: %05.1f' % ('a', 2) }}", "a: 002.0"),
        ("{{ 1 < 2 < 3 and 3 >= 3 and 1 <= 1 and not 2 > 3 }}", True),
        ("{{ 1 in items and 9 not in items and 'x' in inputs and 'o' in topic }}", True),
        ("{{ 'yes' if items else 'no' }}", "yes"),
        ("{{ none_yet or 'x' }}", "x"),
        ("{{ items[1:] }}", [2, 3]),
        ("{{ items[::-1] }}", [3, 2, 1]),
        ("{{ topic[:5] }}", "Große"),
        ("{{ {'a': items, 'b': {'c': 1}} }}", {"a": ITEMS, "b": {"c": 1}}),
        ("{{ range(3) }}", [0, 1, 2]),
        ("{{ range(5, 0, -2) }}", [5, 3, 1]),
        ("{{ topic.split(' ') }}", ["Große", "Straße"]),
        ("{{ ','.join(['a', 1]) }}", "a,1"),
        ("{{ topic.replace('ß', 'ss').lower().startswith('gro') }}", True),
        ("{{ inputs.get('y', 5) + inputs.get('x') }}", 6),
        ("{{ steps.a.result.keys() }}", ["text", "count"]),
        ("{{ inputs.values() }}", [1]),
        ("{{ 'a\nb'.splitlines() }}", ["a", "b"]),
        ("{{ items.index(2) + items.count(3) + topic.count('ß') }}", 4),
    ],
)
def test_expressions(source, expected):
    """What people know of Jinja2 and Python does what they know."""
    found = value(source)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ 'a' + 1 }}", "'a' + 1 is not defined for str and int; `~` joins"),
        ("{{ [] - 1 }}", "[] - 1 is not defined for list and int"),
        ("{{ 1 / 0 }}", "1 / 0: division by zero"),
        ("{{ (-8) ** 0.5 }}", "is not a real number"),
        ("{{ -'a' }}", "-'a' is not defined: it is no number"),
        ("{{ 1 < 'a' }}", "1 < 'a': '<' not supported"),
        ("{{ 1 in 2 }}", "`in` needs a list, a mapping or a text, not 2"),
        ("{{ 1 in 'a' }}", "1 in 'a': "),
        ("{{ [] in {} }}", "[] cannot be a key"),
        ("{{ {[]: 1} }}", "[] cannot be a key"),
        ("{{ items[::0] }}", "a step other than 0"),
        ("{{ items['a':] }}", "whole numbers, not 'a'"),
        ("{{ inputs[1:] }}", "inputs is a dict, which has no parts from:to"),
        ("{{ 1 if 0 }}", "the condition is false, and there is no else"),
        ("{{ range('a') }}", "range takes a stop"),
        ("{{ range(1, 2, 0) }}", "range takes a stop"),
        ("{% for a, b in [[1]] %}{% endfor %}", "[1] has 1 parts, and there are 2 names for them"),
        ("{% for a in 3 %}{% endfor %}", "3 is no list or other collection"),
        ("{{ topic.keys() }}", "topic is a str, and there is no keys() of it"),
        ("{{ topic.upper(1, 2) }}", "topic.upper() does not take this"),
        ("{{ items.index(9) }}", "items.index() does not take this"),
        ("{{ '%y' % 1 }}", "holds a % that is no directive"),
        ("{{ '%d' % 'a' }}", "'%d' % ...: %d format"),
        ("{{ items.x }}", "items is a list, and has no 'x'"),
        ("{{ 3['a':'b'] }}", "3 is an int, which has no parts from:to"),
        ("{{ [] * [] }}", "[] * [] is not defined for list and list"),
        ("{{ steps[topic[:0] ~ 'a'].x }}", "steps[...] has no 'x'"),
        ("{{ items[0].x }}", "items[0] is an int, and has no 'x'"),
        ("{{ (items or steps)() }}", "what is called here is not the name of a function"),
        ("{{ ('x' ~ 10**9).x() }}", "there is no method 'x'"),
        ("{{ [1] | select('eq') }}", "the filter 'select': "),
        ("{{ items[none] }}", "items is a list, and has nothing at None"),
    ],
)
def test_what_goes_wrong_is_said(source, said):
    """A mistake inside an expression is one error that shows the values."""
    assert said in refused(source)


def test_a_tree_of_templates():
    """Lists and mappings are gone through; what is no text stays as it is."""
    tree = {
        "url": "x/{{ topic | slugify }}",
        "n": 3,
        "all": ["{{ items }}", {"deep": ("{{ inputs.x }}",)}],
    }
    compiled = compile_value(tree)
    assert compiled.names == {"topic", "items", "inputs.x"}
    assert compiled.evaluate(SCOPE) == {
        "url": "x/grosse-strasse",
        "n": 3,
        "all": [ITEMS, {"deep": [1]}],
    }
    assert compile_value(None).evaluate({}) is None
    assert compile_value("{{ items }}").evaluate(SCOPE) is ITEMS


def test_a_tree_is_evaluated_anew_each_time():
    """Two evaluations share nothing that could be changed."""
    compiled = compile_value({"a": ["x"]})
    first = compiled.evaluate({})
    first["a"].append("y")
    assert compiled.evaluate({}) == {"a": ["x"]}


def test_a_key_is_no_template():
    """A template as a key is refused, since nobody could tell what the keys are."""
    with pytest.raises(TemplateError, match=re.escape("'{{ x }}' is a key, and keys are no")):
        compile_value({"{{ x }}": 1})


def test_a_tree_shares_one_budget(monkeypatch):
    """Many templates in one tree may do no more than one."""
    monkeypatch.setattr("graceline.dialects.templates.meter.MAX_STEPS", 1000)
    loop = "{% for i in range(100) %}{% endfor %}"
    assert compile_value([loop]).evaluate({}) == [""]
    with pytest.raises(TemplateError, match="more than 1000 steps"):
        compile_value([loop] * 20).evaluate({})


def test_the_scope_is_not_changed():
    """Names that a template sets are its own."""
    scope = {"x": 1}
    assert Template("{% set x = 2 %}{{ x }}").evaluate(scope) == 2
    assert scope == {"x": 1}


def test_a_meter_counts():
    """The counter of steps, which the fuzzing relies on, goes up with every node and round."""
    meter = Meter()
    Template("{{ 1 }}").evaluate_within({}, meter)
    few = meter.steps
    Template("{% for i in range(50) %}{{ i }}{% endfor %}").evaluate_within({}, meter)
    assert 0 < few < 10
    assert meter.steps > 100
