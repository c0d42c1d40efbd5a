"""Envelopes: what is sent, which id a reply has, and what becomes of every malformed one.

The law: a reply gives its own result under its own id, or an OstiaryError; and no error
holds a byte of what the peer sent beyond what the `error` member said.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ostiary._wire.rpc import Method, UnexpectedShape, add_request, refused, settle_reply
from ostiary.errors import APIError, InvalidArgumentError, OstiaryError, ProtocolError

ANY: Method[Any] = Method("any", object)
RAW: Method[msgspec.Raw] = Method("raw", msgspec.Raw)
TEXT: Method[str] = Method("text", str)
SECRET = "hunter2-" + "S3CR3T"


class Named(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    count: int = 0

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError(f"{self.name} has a negative count")


NAMED: Method[Named] = Method("named", Named)


def everything(error: BaseException) -> Iterator[str]:
    """All text that hangs on an exception: its arguments, attributes, context and cause."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or one in seen:
            continue
        seen.append(one)
        yield str(one)
        yield repr(one)
        yield repr(one.args)
        yield repr(one.__dict__)
        if isinstance(one, UnicodeError):
            yield repr(getattr(one, "object", ""))
        waiting += [one.__context__, one.__cause__]


def assert_tells_nothing(error: BaseException) -> None:
    for text in everything(error):
        assert SECRET not in text
        assert SECRET[:6] not in text


class TestRequests:
    @pytest.mark.parametrize("id", [0, 1, 9, 10, 12345, 2**31, 2**62 - 1])
    def test_are_framed_json(self, id: int) -> None:
        frame = add_request(ANY, id, {"a": [1, "ü", None]}, 1000)
        assert struct.unpack(">I", frame[:4])[0] == len(frame) - 4
        assert json.loads(frame[4:]) == {
            "id": id,
            "method": "any",
            "params": {"a": [1, "ü", None]},
        }

    def test_a_method_name_is_escaped(self) -> None:
        odd = 'a"b\\c\n}{ü'
        frame = add_request(Method(odd, object), 3, {}, 1000)
        assert json.loads(frame[4:])["method"] == odd

    def test_the_limit_counts_the_whole_payload(self) -> None:
        frame = add_request(ANY, 7, {"a": "b"}, 1000)
        size = len(frame) - 4
        assert add_request(ANY, 7, {"a": "b"}, size) == frame
        with pytest.raises(InvalidArgumentError, match=f"{size} bytes.*limit is {size - 1}"):
            add_request(ANY, 7, {"a": "b"}, size - 1)

    def test_large_requests_are_whole(self) -> None:
        text = "x" * 3_000_000
        assert json.loads(add_request(ANY, 1, {"a": text}, 2**22)[4:])["params"] == {"a": text}

    @pytest.mark.parametrize(
        "params",
        [
            {"a": object()},
            {"a": {1, 2}, "b": lambda: None},
            {(1, 2): 3},
            {"a": "\ud800" + SECRET},
            {"a": 1 << 70, "b": object()},
        ],
        ids=["object", "function", "tuple key", "surrogate", "huge"],
    )
    def test_params_that_are_no_json_are_refused(self, params: object) -> None:
        with pytest.raises(InvalidArgumentError, match="nothing was sent") as caught:
            add_request(ANY, 1, params, 1000)
        assert_tells_nothing(caught.value)

    def test_endless_params_are_refused(self) -> None:
        loop: list[object] = []
        loop.append(loop)
        with pytest.raises(InvalidArgumentError, match="nothing was sent"):
            add_request(ANY, 1, loop, 1000)

    def test_deep_params_are_refused(self) -> None:
        deep: list[object] = []
        for _ in range(100_000):
            deep = [deep]
        with pytest.raises(InvalidArgumentError, match="nothing was sent"):
            add_request(ANY, 1, deep, 10**6)
        while deep:  # a plain `del` would recurse as deep
            deep = deep.pop()  # type: ignore[assignment]


class TestReplyIds:
    @pytest.mark.parametrize(
        "text",
        [
            '{"id":5,"result":1}',
            '{"id": 5, "result": 1}',
            '{"jsonrpc":"2.0","id":5,"result":1}',
            '{"jsonrpc": "2.0", "id": 5, "result": 1}',
            '{"result":1,"id":5}',
            '{"result":1,"id":5,"jsonrpc":"2.0"}',
            '{"error":null,"result":1,"id":5}',
            ' {"id":5,"result":1}',
            '\n\t{ "id" :\r5 , "result":1 }\n',
            '{"id":  5,"result":1}',
            '{"jsonrpc":  "2.0","id":5,"result":1}',
            '{"jsonrpc":"2.0","result":1,"id":5}',
            '{"jsonrpc":"1.0","id":5,"result":1}',
            '{"jsonrpc":null,"id":5,"result":1}',
            '{"\\u0069d":5,"result":1}',
            '{"ID":7,"iD":8,"id":5,"result":1}',
            '{"x":{"id":7},"id":5,"result":1}',
            '{"x":"\\"id\\":7","id":5,"result":1}',
            '{"id":5,"result":1,"x":{"id":6}}',
        ],
    )
    def test_are_found_wherever_they_stand(self, text: str) -> None:
        assert settle_reply(ANY, text.encode()) == (5, 1)

    @pytest.mark.parametrize(
        "id",
        [
            "-1",
            "-0.0",
            '"5"',
            '""',
            "null",
            "true",
            "false",
            "5.0",
            "5.5",
            "5e0",
            "[5]",
            "{}",
            '{"id":5}',
            "4611686018427387904",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551616",
            "99999999999999999999999999",
            "1" * 400,
            "1" * 5000,
            "1e400",
        ],
    )
    @pytest.mark.parametrize("shape", ['{{"id":{},"result":1}}', '{{"result":1,"id":{}}}'])
    def test_of_another_kind_are_refused(self, id: str, shape: str) -> None:
        with pytest.raises(ProtocolError):
            settle_reply(ANY, shape.format(id).encode())

    @pytest.mark.parametrize(
        "text",
        [
            '{"id":05,"result":1}',
            '{"id":+5,"result":1}',
            '{"id":5 5,"result":1}',
            '{"id":0x5,"result":1}',
            '{"id":5"result":1}',
            '{"id":5,,"result":1}',
            '{"id":5,"result":1,}',
            '{"id":5,"result":1',
            '{"id":5,"result":1}}',
            '{"id":5,"result":1}{"id":5,"result":1}',
            '{"id":5,"result":1}\0',
            '\0{"id":5,"result":1}',
            "\ufeff" + '{"id":5,"result":1}',
            "{'id':5,'result':1}",
            '{"id":5,"result":1} // ok',
            '{id:5,"result":1}',
            '{"id":5',
            '{"id":',
            '{"jsonrpc":"2.0","id":5',
            '{"jsonrpc":"2.0","id":',
            '{"jsonrpc":"2.0",',
            '{"jsonrpc":',
            "{}",
            "{",
            "[]",
            '[{"id":5,"result":1}]',
            "5",
            "null",
            '"id"',
            "",
            " ",
            "\0" * 30,
            "{" * 30,
        ],
    )
    def test_of_no_json_are_refused(self, text: str) -> None:
        with pytest.raises(ProtocolError):
            settle_reply(ANY, text.encode())

    @pytest.mark.parametrize("second", ["6", "0", "4611686018427387903"])
    def test_two_in_one_envelope_are_refused(self, second: str) -> None:
        for text in (
            f'{{"id":5,"result":1,"id":{second}}}',
            f'{{"id":5,"id":{second},"result":1}}',
            f'{{"id":5,"result":1,"\\u0069d":{second}}}',
        ):
            with pytest.raises(ProtocolError):
                settle_reply(ANY, text.encode())

    @pytest.mark.parametrize(
        "second",
        ["-5", "9223372036854775808", "18446744073709551621", "9" * 30, '"6"', "null", "6.0"],
    )
    def test_a_second_of_another_kind_is_refused(self, second: str) -> None:
        """18446744073709551621 is 5 for whoever keeps 64 bits of it."""
        for text in (
            f'{{"id":5,"result":1,"id":{second}}}',
            f'{{"id":5,"id":{second},"result":1}}',
        ):
            with pytest.raises(ProtocolError):
                settle_reply(ANY, text.encode())

    def test_every_prefix_of_an_envelope_is_refused(self) -> None:
        text = b'{"jsonrpc": "2.0", "id": 1234567890123456789, "result": {"a": [1]}}'
        with pytest.raises(ProtocolError):  # over 2**62 - 1 by the first of its 19 digits
            settle_reply(ANY, text.replace(b"1234567890123456789", b"9" * 19))
        for size in range(len(text)):
            with pytest.raises(ProtocolError):
                settle_reply(ANY, text[:size])
        assert settle_reply(ANY, text)[0] == 1234567890123456789

    @pytest.mark.parametrize("id", [0, 9, 10**17, 10**18 - 1, 10**18, 2**62 - 1])
    def test_are_read_to_the_last_digit(self, id: int) -> None:
        assert settle_reply(ANY, b'{"id":%d,"result":0}' % id)[0] == id


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "result", "x", ""]), inner, max_size=3)
    ),
    max_leaves=6,
)
IDS = (
    st.integers(0, 20)
    | st.integers(-(2**70), 2**70)
    | st.sampled_from([10**17, 10**18, 2**62, 2**62 - 1, 2**63, 2**64 + 5])
    | st.sampled_from([None, True, "5", 5.0, [5], {"id": 5}])
)
SPACE = st.sampled_from(["", "", "", " ", "  ", "\t", "\n", "\r\n "])


@st.composite
def envelopes(draw: st.DrawFn) -> tuple[str, bool]:
    """An envelope as text, and whether one of its keys stands twice."""
    members: list[tuple[str, object]] = [("id", draw(IDS)), ("result", draw(JSON))]
    if draw(st.booleans()):
        members.append(("jsonrpc", draw(st.sampled_from(["2.0", "1.0", 2, None]))))
    if draw(st.booleans()):
        members.append(("error", None))
    extra = st.tuples(st.sampled_from(["x", "id", "ID", "result", ""]), IDS)
    members.extend(draw(st.lists(extra, max_size=2)))
    if draw(st.booleans()):
        members = draw(st.permutations(members))
    names = [name for name, _ in members]
    parts = []
    for name, value in members:
        key = json.dumps(name)
        if name == "id" and draw(st.integers(0, 9)) == 0:
            key = '"\\u0069\\u0064"'
        text = json.dumps(value, ensure_ascii=draw(st.booleans()))
        parts.append(f"{draw(SPACE)}{key}{draw(SPACE)}:{draw(SPACE)}{text}{draw(SPACE)}")
    return f"{draw(SPACE)}{{{','.join(parts)}}}{draw(SPACE)}", len(set(names)) < len(names)


class TestAgainstJson:
    @given(made=envelopes())
    @example(made=('{"id":5,"result":1,"id":5}', True))
    @example(made=('{"id":5,"result":1,"id":18446744073709551621}', True))
    def test_the_id_and_the_result_are_those_json_reads(self, made: tuple[str, bool]) -> None:
        text, doubled = made
        plain = json.loads(text)
        id = plain["id"]
        ours = type(id) is int and 0 <= id < 2**62
        try:
            got = settle_reply(ANY, text.encode("utf-8", "surrogatepass"))
        except ProtocolError:
            assert doubled or not ours
        else:
            assert ours
            assert got == (id, plain["result"])
            assert type(got[1]) is type(plain["result"])

    @given(
        data=st.binary(max_size=60)
        | st.text('{}[]":,id0123456789 result', max_size=60).map(str.encode)
    )
    def test_junk_gives_an_error_of_ours_or_what_json_reads(self, data: bytes) -> None:
        for prefix in (b"", b'{"id":', b'{"id":5', b'{"jsonrpc":"2.0","id":', b'{"id":5,"result":'):
            whole = prefix + data
            try:
                got = settle_reply(ANY, whole)
            except OstiaryError:
                continue
            plain = json.loads(whole)
            assert got == (plain["id"], plain["result"])


class TestShapes:
    def test_a_null_result_is_a_result(self) -> None:
        assert settle_reply(ANY, b'{"id":1,"result":null}') == (1, None)
        assert settle_reply(ANY, b'{"id":1,"result":null,"error":null}') == (1, None)

    @pytest.mark.parametrize("text", [b'{"id":1}', b'{"id":1,"error":null}', b'{"id":1,"x":2}'])
    def test_neither_result_nor_error(self, text: bytes) -> None:
        with pytest.raises(UnexpectedShape) as caught:
            settle_reply(ANY, text)
        assert caught.value.sent

    @pytest.mark.parametrize("error", ['"no"', "{}", "0", "false", '""', "[]", "-32000", "1.5"])
    def test_an_error_beats_a_result(self, error: str) -> None:
        for text in (
            f'{{"id":1,"result":{{"a":1}},"error":{error}}}',
            f'{{"id":1,"error":{error},"result":{{"a":1}}}}',
            f'{{"id":1,"error":{error}}}',
        ):
            with pytest.raises(APIError):
                settle_reply(ANY, text.encode())

    def test_the_error_is_what_fail_makes_of_it(self) -> None:
        seen: list[object] = []

        class Mine(OstiaryError):
            pass

        def fail(body: object) -> Exception:
            seen.append(body)
            return Mine("mine")

        method: Method[object] = Method("m", object, fail=fail)
        for body in ("text", 5, {"a": [1]}, [1], True, 0, 1.5):
            with pytest.raises(Mine):
                settle_reply(method, json.dumps({"id": 1, "error": body}).encode())
        assert seen == ["text", 5, {"a": [1]}, [1], True, 0, 1.5]

    @pytest.mark.parametrize(
        ("body", "message", "code"),
        [
            ("no", "no", None),
            ({"message": "no", "code": "X"}, "no", "X"),
            ({"message": "no", "code": -32000}, "no", "-32000"),
            ({"code": "X"}, "the peer refused", "X"),
            ({"message": "no"}, "no", None),
            ({}, "the peer refused", None),
            ({"message": None, "code": None}, "the peer refused", None),
            (17, "17", None),
        ],
    )
    def test_refused(self, body: object, message: str, code: str | None) -> None:
        error = refused(body)
        assert isinstance(error, APIError)
        assert (error.message, error.code) == (message, code)

    @pytest.mark.parametrize(
        "result", ["5", "null", "[]", '{"name":5}', '{"nome":"x"}', "{}", '"x"', "1.5", "true"]
    )
    def test_a_result_of_another_type_concerns_one_reply(self, result: str) -> None:
        with pytest.raises(UnexpectedShape, match="named") as caught:
            settle_reply(NAMED, f'{{"id":1,"result":{result}}}'.encode())
        assert caught.value.sent

    @pytest.mark.parametrize(
        "result",
        [
            "1e400",
            "-1e400",
            "9" * 400,
            "9" * 5000,
            "-" + "9" * 5000,
            "1." + "0" * 5000 + "1",
            "1e-5000",
            "1e999999999999",
        ],
    )
    def test_huge_numbers(self, result: str) -> None:
        """Read as what they are, or refused: never as another number."""
        for method in (ANY, TEXT, Method("int", int), Method("float", float), RAW):
            try:
                _, got = settle_reply(method, f'{{"id":1,"result":{result}}}'.encode())
            except ProtocolError:
                continue
            if method is RAW:
                assert bytes(got) == result.encode()
            elif isinstance(got, int):
                assert str(got) == result
            else:
                assert got == float(result)

    @pytest.mark.parametrize("result", ["NaN", "Infinity", "-Infinity", "nan", "inf", "undefined"])
    def test_what_is_no_number(self, result: str) -> None:
        for where in ('"result":{}', '"result":[{}]', '"error":{}', '"x":{},"result":1'):
            with pytest.raises(ProtocolError):
                settle_reply(ANY, f'{{"id":1,{where.format(result)}}}'.encode())

    def test_duplicate_members_take_the_last_like_json(self) -> None:
        text = b'{"id":1,"result":1,"result":2}'
        assert settle_reply(ANY, text) == (1, json.loads(text)["result"])
        with pytest.raises(APIError, match="late"):
            settle_reply(ANY, b'{"id":1,"error":null,"result":1,"error":"late"}')

    @pytest.mark.parametrize("half", ["\\ud800", "\\udc00", "\\ud800x", "\\udc00\\ud800"])
    @pytest.mark.parametrize("where", ['"result":"{}"', '"error":"{}"', '"{}":1,"result":1'])
    def test_half_a_surrogate_pair(self, half: str, where: str) -> None:
        """No string that cannot be encoded again comes out."""
        try:
            _, got = settle_reply(ANY, f'{{"id":1,{where.format(half)}}}'.encode())
        except ProtocolError:
            return
        except APIError as error:
            got = error.message
        json.dumps(got, ensure_ascii=False).encode()


DEEP = 100_000


class TestDepth:
    @pytest.mark.parametrize(
        "text",
        [
            b'{"id":1,"result":' + b"[" * DEEP + b"]" * DEEP + b"}",
            b'{"id":1,"result":' + b"[" * DEEP,
            b'{"id":1,"result":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}",
            b'{"id":1,"error":' + b"[" * DEEP + b"]" * DEEP + b"}",
            b'{"id":1,"x":' + b"[" * DEEP + b"]" * DEEP + b',"result":1}',
            b'{"x":' + b"[" * DEEP + b"]" * DEEP + b',"id":1,"result":1}',
            b"[" * DEEP + b"]" * DEEP,
            b"[" * DEEP,
            b'{"a":' * DEEP,
        ],
        ids=range(9),
    )
    def test_is_refused(self, text: bytes) -> None:
        for method in (ANY, RAW, NAMED):
            with pytest.raises(ProtocolError) as caught:
                settle_reply(method, text)
            assert caught.value.__context__ is None

    @pytest.mark.parametrize("member", ["result", "error"])
    def test_near_the_limit_gives_an_error_of_ours(self, member: str) -> None:
        """Where decoding still works, showing the error must work too."""
        outcomes = set()
        # 3.12 and later count the depth of C calls apart, and allow more of it.
        for depth in (*range(850, 1060), *range(1100, 60_000, 900)):
            text = f'{{"id":1,"{member}":{"[" * depth}{"]" * depth}}}'
            try:
                settle_reply(ANY, text.encode())
            except OstiaryError as error:
                outcomes.add(type(error))
                str(error)
            else:
                outcomes.add(None)
        assert ProtocolError in outcomes
        assert len(outcomes) == 2


class TestSecrets:
    @pytest.mark.parametrize(
        "text",
        [
            b'{"id":1,"result":"%s\xff"}',
            b'{"id":1,"result":["%s"',
            b'{"id":1,"result":"%s","id":2}',
            b'{"id":1,"result":"%s\\ud800"}',
            b'{"id":1,"result":"%s\n"}',
            b'{"id":1,"%s":1}',
            b'{"id":1,"result":{"%s":1}}',
            b'{"id":1,"result":{"name":"%s","count":"%s"}}',
            b'{"id":1,"result":{"name":"%s","count":-1}}',
            b'{"id":1,"result":{"name":"x","%s":"%s"}}',
            b'{"id":1,"result":"%s"}',
            b'{"id":"%s","result":1}',
            b'{"%s":1,"result":1}',
            b'"%s"',
            b"%s",
            b"\xff%s",
        ],
    )
    def test_are_in_no_error(self, text: bytes) -> None:
        data = text.replace(b"%s", SECRET.encode())
        choice: Method[Any] = Method("choice", Literal["a", "b"])
        tagged: Method[Any] = Method("tagged", dict[Literal["a"], int])
        failed = 0
        for method in (NAMED, TEXT, Method("int", int), choice, tagged, Method("list", list[int])):
            try:
                settle_reply(method, data)
            except ProtocolError as error:
                assert_tells_nothing(error)
                failed += 1
        assert failed >= 4

    def test_the_walk_finds_what_it_looks_for(self) -> None:
        """The check above can fail: chained, attached and undecodable secrets are found."""
        for raised in (
            ProtocolError(f"x {SECRET}"),
            UnicodeDecodeError("utf-8", SECRET.encode(), 0, 1, "x"),
        ):
            outer = ProtocolError("fine")
            outer.__context__ = raised
            with pytest.raises(AssertionError):
                assert_tells_nothing(outer)


class TestMethods:
    def test_tell_what_they_are(self) -> None:
        method: Method[int] = Method("m", int, repeatable=True, session=True, grants=True)
        assert (method.name, method.repeatable, method.session, method.grants) == (
            "m",
            True,
            True,
            True,
        )
        assert not (ANY.repeatable)
        assert not (ANY.session)
        assert not (ANY.grants)
        assert "m" in repr(method)

    def test_a_payload_need_not_be_bytes(self) -> None:
        text = b'{"id":4,"result":[1]}'
        for kind in (bytes, bytearray, memoryview):
            assert settle_reply(ANY, kind(text)) == (4, [1])
