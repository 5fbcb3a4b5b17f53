"""What a template refers to: the names that the loader makes dependencies of."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graceline.dialects.templates import Template, TemplateError


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("plain", set()),
        ("{{ topic }}", {"topic"}),
        ("{{ inputs.x }} {{ inputs['y'] }}", {"inputs.x", "inputs.y"}),
        ("{{ steps.a.result.text.deep }}", {"steps.a.result.text.deep"}),
        ("{{ steps['a-b'].result }}", {"steps.a-b.result"}),
        ("{{ steps.a.result[0].x }}", {"steps.a.result"}),
        ("{{ steps[which].result }}", {"steps", "which"}),
        ("{{ topic.upper().lower() }}", {"topic"}),
        ("{{ steps.a.result.items() | list }}", {"steps.a.result"}),
        ("{{ a | default(b) | replace(c, d=e) }}", {"a", "b", "c", "e"}),
        ("{{ range(n) }}", {"n"}),
        ("{{ a if b else c }}", {"a", "b", "c"}),
        ("{{ {'k': v, w: 1} }}{{ [x, (y,)] }}{{ p ~ q }}", {"v", "w", "x", "y", "p", "q"}),
        ("{{ not a and b or -c == d in e }}", {"a", "b", "c", "d", "e"}),
        ("{{ a is defined }}{{ b is divisibleby(c) }}", {"a", "b", "c"}),
        ("{{ a[b:c:d] }}", {"a", "b", "c", "d"}),
        ("{{ none }}{{ null }}{{ true }}", set()),
        ("{{ (a or b).c }}", {"a", "b"}),
        ("{% for i in xs if i.ok %}{{ i.name }}{{ loop.index }}{{ y }}{% else %}{{ i }}{% endfor %}", {"xs", "y", "i"}),
        ("{% for i, (j, k) in xs %}{{ i }}{{ j }}{{ k }}{% endfor %}{{ loop }}", {"xs", "loop"}),
        ("{% set x = x + y %}{{ x }}", {"x", "y"}),
        ("{% set x = 1 %}{{ x }}{% set z %}{{ x }}{{ w }}{% endset %}{{ z }}", {"w"}),
        ("{% set x | replace(p, '') %}{% endset %}{{ x }}", {"p"}),
        ("{% with a = b, c = a %}{{ a }}{{ c }}{% endwith %}", {"a", "b"}),
        ("{% filter replace(p, q) %}{{ r }}{% endfilter %}", {"p", "q", "r"}),
        ("{% if a %}{% set x = 1 %}{% elif b %}{{ c }}{% else %}{{ d }}{% endif %}{{ x }}", {"a", "b", "c", "d"}),
    ],
)  # fmt: skip
def test_names(source, expected):
    """Paths from the root, without what the template itself defines."""
    assert Template(source).names == expected


def test_paths_keep_dots_apart():
    """A name with a dot in it is one part of its path."""
    assert Template("{{ steps['a.b'].result }}").paths == {("steps", "a.b", "result")}


names = st.sampled_from(["a", "b", "c"])
expressions = st.recursive(
    names | st.sampled_from(["1", "'t'", "[]", "none"]),
    lambda inner: st.one_of(
        st.builds("({} or {})".format, inner, inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("({} ~ {})".format, inner, inner),
        st.builds("[{}, {}]".format, inner, inner),
        st.builds("({} | default({}))".format, inner, inner),
        st.builds("({} | list | length)".format, inner),
        st.builds("({} == {})".format, inner, inner),
    ),
    max_leaves=8,
)
statements = st.recursive(
    st.builds("{{{{ {} }}}}".format, expressions),
    lambda inner: st.one_of(
        st.builds("{{% set {} = {} %}}{}".format, names, expressions, inner),
        st.builds(
            "{{% for {} in [{}] %}}{}{{% endfor %}}{}".format, names, expressions, inner, inner
        ),
        st.builds("{{% if {} %}}{}{{% endif %}}".format, expressions, inner),
        st.builds("{{% with {} = {} %}}{}{{% endwith %}}".format, names, expressions, inner),
    ),
    max_leaves=6,
)


class Noting(dict):
    """A scope that notes what is asked of it."""

    def __init__(self, values):
        super().__init__(values)
        self.asked = set()

    def __getitem__(self, key):
        self.asked.add(key)
        return super().__getitem__(key)

    def __contains__(self, key):
        self.asked.add(key)
        return super().__contains__(key)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(statements, st.sets(names))
def test_nothing_is_asked_that_was_not_named(source, there):
    """Whatever an evaluation looks up in its scope is one of the names, so no dependency is missed."""
    template = Template(source)
    scope = Noting(dict.fromkeys(there, "v"))
    with contextlib.suppress(TemplateError):
        template.evaluate(scope)
    roots = {name.split(".")[0] for name in template.names}
    # A name that one branch sets, and another reads from outside, is the one exception.
    assert scope.asked <= roots | (
        {"a", "b", "c"} if "{% if" in source and "{% set" in source else set()
    )
