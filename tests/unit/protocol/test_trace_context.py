"""traceparent, tracestate and traceresponse: what is a span's name, and what is noise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sokken.protocol.trace_context import TraceContext, parse_trace_context, read_trace_context

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("flags", "is_recorded"), [("01", True), ("00", False), ("03", True), ("02", False), ("ff", True)]
)
def test_the_flag_says_whether_it_is_recorded(flags, is_recorded):
    assert parse_trace_context(f"00-{TRACE}-{SPAN}-{flags}") == TraceContext(TRACE, SPAN, is_recorded)


@pytest.mark.parametrize("is_recorded", [True, False])
def test_what_is_written_is_read(is_recorded):
    context = TraceContext(TRACE, SPAN, is_recorded)
    assert parse_trace_context(str(context)) == context


@pytest.mark.parametrize("later", [f"01-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01-what-comes-later"])
def test_a_later_version_is_read_as_far_as_it_is_known(later):
    assert parse_trace_context(later) == TraceContext(TRACE, SPAN, is_recorded=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        PARENT.upper(),
        f"{PARENT}-more",
        f" {PARENT}",
        f"{PARENT}\n",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00_{TRACE}_{SPAN}_01",
        f"01-{TRACE}-{SPAN}-01x",
        f"01-{TRACE}-{SPAN}-01-{'x' * 500}",
        f"01-{TRACE}-{SPAN}-01-\x07",
        f"00-{TRACE}-{SPAN}-0\N{FULLWIDTH DIGIT ONE}",
    ],
)
def test_what_is_malformed_names_no_span(text):
    assert parse_trace_context(text) is None


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text):
    parsed = parse_trace_context(text, text)
    assert parsed is None or parse_trace_context(str(parsed)) is not None


@pytest.mark.parametrize(
    "state",
    [
        "a=1",
        "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7",
        "fw529a3039@dt=FfAK, b=2",
        ",".join(f"k{n}=v" for n in range(32)),
    ],
)
def test_a_state_is_kept_as_it_is(state):
    assert parse_trace_context(PARENT, state).state == state


@pytest.mark.parametrize(
    "state",
    [
        "a",
        "A=1",
        "a=1,a=2",
        "a=\x01",
        "a=1\r\nx: y",
        "a=ü",
        "=1",
        "a=b=c",
        ",".join(f"k{n}=v" for n in range(33)),
        f"a={'x' * 600}",
    ],
)
def test_a_state_that_is_malformed_or_too_long_is_left_out(state):
    assert parse_trace_context(PARENT, state) == TraceContext(TRACE, SPAN, is_recorded=True)


def test_of_headers():
    assert read_trace_context({}) is None
    assert read_trace_context({"tracestate": "a=1"}) is None
    assert read_trace_context({"traceparent": "nonsense", "tracestate": "a=1"}) is None
    assert read_trace_context({"traceparent": PARENT}) == TraceContext(TRACE, SPAN, is_recorded=True)
    assert read_trace_context({"traceparent": PARENT, "tracestate": "a=1"}).state == "a=1"
