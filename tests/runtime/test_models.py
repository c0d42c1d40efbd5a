"""How models are made, checked, shown, sent and read; what holds for every one of them."""

from __future__ import annotations

import copy
import io
import json
import pickle
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from ostiary.errors import InvalidArgumentError as SharedInvalidArgumentError
from ostiary.runtime import models as m
from ostiary.runtime.enums import AgentState, KnowledgeSourceType, ReviewStatus, VaultAuthMethod
from ostiary.runtime.errors import InvalidArgumentError, SymbiontError
from ostiary.runtime.models import accept, reader, wire
from ostiary.secret import Secret
from tests.frames import recorded

from .modelling import MODELS, anything, of_model

WHEN = datetime(2026, 3, 1, 10, 0, tzinfo=UTC)
SECRET = "hvs.NEVER-SHOWN"

# The guide's models as its package has them: what must be given, then what may be.
SEED: dict[str, tuple[str, str]] = {
    "HealthResponse": ("status uptime_seconds timestamp version", ""),
    "ErrorResponse": ("error code", "details"),
    "PaginationInfo": ("page limit total has_next", ""),
    "Agent": (
        "id name description system_prompt tools model temperature top_p max_tokens",
        "",
    ),
    "ResourceUsage": ("", "memory_bytes cpu_percent active_tasks"),
    "AgentStatusResponse": ("agent_id state last_activity resource_usage", ""),
    "WorkflowExecutionRequest": ("workflow_id parameters", "agent_id"),
    "WorkflowExecutionResponse": ("execution_id status started_at", "result"),
    "SystemMetrics": (
        "",
        "uptime_seconds memory_usage_bytes disk_usage_bytes active_agents total_agents "
        "secrets_count mcp_connections vector_db_items memory_usage_percent cpu_usage_percent "
        "disk_usage_percent",
    ),
    "AgentMetrics": (
        "agent_id tasks_completed tasks_failed average_response_time_ms memory_usage_bytes "
        "cpu_usage_percent last_activity uptime_seconds",
        "",
    ),
    "ToolProvider": ("name", "public_key_url"),
    "ToolSchema": ("", "type properties required"),
    "Tool": ("name description schema provider", ""),
    "SecurityFinding": (
        "finding_id severity category title description confidence",
        "recommendation",
    ),
    "AnalysisResults": ("analysis_id risk_score findings completed_at", "recommendations"),
    "ReviewSessionState": (
        "type",
        "analysis_id analysis_completed_at critical_findings human_reviewer_id review_started_at",
    ),
    "ReviewSession": (
        "review_id tool status state submitted_by submitted_at",
        "estimated_completion priority",
    ),
    "ReviewSessionCreate": ("tool submitted_by", "priority"),
    "ReviewSessionResponse": ("review_id status submitted_at", "estimated_completion"),
    "ReviewSessionList": ("sessions pagination", ""),
    "HumanReviewDecision": ("decision reviewer_id", "comments"),
    "SigningRequest": ("review_id signing_key_id", ""),
    "SigningResponse": ("signature signed_at signer_id signature_algorithm", ""),
    "SignedTool": ("tool signature signed_at signer_id signature_algorithm review_id", ""),
    "VaultConfig": (
        "url auth_method",
        "token role_id secret_id kubernetes_role aws_role",
    ),
    "SecretBackendConfig": ("backend_type", "vault_config file_path encryption_key"),
    "SecretRequest": ("agent_id secret_name", "secret_value description"),
    "SecretResponse": ("secret_name agent_id created_at", "updated_at"),
    "SecretListResponse": ("secrets agent_id", ""),
    "McpServerConfig": ("name command", "env cwd timeout_seconds"),
    "McpConnectionInfo": (
        "server_name status",
        "pid connected_at last_error tools_count resources_count",
    ),
    "McpToolInfo": ("name server_name schema", "description verified verification_hash"),
    "McpResourceInfo": ("uri server_name", "name description mime_type"),
    "VectorMetadata": ("source source_type timestamp", "chunk_index agent_id"),
    "KnowledgeItem": ("id content metadata", "embedding"),
    "VectorSearchRequest": ("query", "agent_id source_types limit similarity_threshold"),
    "VectorSearchResult": ("item similarity_score", ""),
    "VectorSearchResponse": ("results query total_results", ""),
    "ContextQuery": ("query", "agent_id max_context_items include_conversation_history"),
    "ContextResponse": ("context_items sources query relevance_scores", ""),
    "DslCompileRequest": ("dsl_content agent_name", "validate_only"),
    "DslCompileResponse": ("success compiled_at", "agent_id errors warnings"),
    "AgentDeployRequest": ("agent_id", "environment config_overrides"),
    "AgentDeployResponse": ("deployment_id agent_id status deployed_at", "endpoint_url"),
    "AgentRoutingRule": ("condition_type condition_value agent_id", "condition_target"),
    "HttpResponseControlConfig": (
        "",
        "default_status agent_output_to_json error_status echo_input_on_error",
    ),
    "HttpInputConfig": (
        "agent_id",
        "bind_address port path auth_header jwt_public_key_path max_body_bytes concurrency "
        "routing_rules response_control forward_headers cors_enabled audit_enabled",
    ),
    "HttpInputServerInfo": (
        "server_id config status",
        "uptime_seconds requests_processed active_connections last_error",
    ),
    "HttpInputCreateRequest": ("config", ""),
    "HttpInputUpdateRequest": ("server_id config", ""),
    "WebhookTriggerRequest": ("server_id payload", "headers"),
    "WebhookTriggerResponse": (
        "status response_code response_body processing_time_ms agent_id",
        "",
    ),
}
DEFAULTS = [
    (m.ReviewSessionCreate, "priority", "normal"),
    (m.McpServerConfig, "timeout_seconds", 30),
    (m.VectorSearchRequest, "limit", 10),
    (m.VectorSearchRequest, "similarity_threshold", 0.7),
    (m.ContextQuery, "max_context_items", 5),
    (m.ContextQuery, "include_conversation_history", True),
    (m.DslCompileRequest, "validate_only", False),
    (m.AgentDeployRequest, "environment", "development"),
    (m.HttpInputConfig, "port", 8081),
    (m.HttpInputConfig, "path", "/webhook"),
    (m.HttpInputConfig, "max_body_bytes", 65536),
    (m.HttpInputConfig, "concurrency", 10),
    (m.HttpInputConfig, "audit_enabled", True),
    (m.HttpResponseControlConfig, "error_status", 500),
    (m.ToolSchema, "type", "object"),
]

AGENT: dict[str, Any] = {
    "id": "agent-7",
    "name": "Helper",
    "description": "d",
    "system_prompt": "p",
    "tools": ["calc"],
    "model": "m-1",
    "temperature": 0.2,
    "top_p": 0.9,
    "max_tokens": 256,
}
TOOL: dict[str, Any] = {
    "name": "adder",
    "description": "adds",
    "schema": {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]},
    "provider": {"name": "acme"},
}
STATUS: dict[str, Any] = {
    "agent_id": "agent-7",
    "state": "idle",
    "last_activity": "2026-03-01T09:59:00Z",
    "resource_usage": {"memory_bytes": 1048576, "cpu_percent": 0.5, "active_tasks": 0},
}


def refused(model: Any, /, **given: Any) -> InvalidArgumentError:
    with pytest.raises(InvalidArgumentError) as caught:
        model(**given)
    assert isinstance(caught.value, SymbiontError)
    assert isinstance(caught.value, SharedInvalidArgumentError)
    assert isinstance(caught.value, ValueError)
    return caught.value


def read(model: Any, document: Any) -> Any:
    return reader(model)(json.dumps(document).encode())


# What there is.


@pytest.mark.parametrize("name", sorted(SEED))
def test_a_model_of_the_guide_has_its_fields(name: str) -> None:
    required, optional = (set(part.split()) for part in SEED[name])
    fields = {one.name: one for one in msgspec.structs.fields(getattr(m, name))}
    assert {one.name for one in fields.values() if one.required} == required
    assert optional <= fields.keys()


@pytest.mark.parametrize(("model", "field", "default"), DEFAULTS)
def test_a_default_of_the_guide(model: Any, field: str, default: object) -> None:
    found = {one.name: one.default for one in msgspec.structs.fields(model)}
    assert found[field] == default


def test_the_package_offers_every_model() -> None:
    import ostiary.runtime

    for model in MODELS:
        assert getattr(ostiary.runtime, model.__name__) is model
        assert model.__name__ in ostiary.runtime.__all__
        assert model.__doc__


# What holds for all of them.

lots = settings(max_examples=4, suppress_health_check=list(HealthCheck), deadline=None)


@pytest.mark.parametrize("model", MODELS, ids=lambda one: one.__name__)
@lots
@given(data=st.data())
def test_what_is_sent_is_read_again(model: Any, data: st.DataObject) -> None:
    made = data.draw(of_model(model))
    body = msgspec.json.encode(wire(made))
    assert reader(model)(body) == made
    assert reader(list[model])(b"[" + body + b"]") == [made]
    assert accept(model, json.loads(body)) == made
    assert accept(model, made) is made
    assert pickle.loads(pickle.dumps(made)) == made
    assert copy.deepcopy(made) == made
    assert model.from_dict(made.to_dict()) == made
    assert repr(made).startswith(f"{model.__name__}(")
    # An encoder that knows nothing of models writes nulls, and no `extra`.
    bare = model(**fields_of(made))
    assert reader(model)(msgspec.json.encode(bare)) == bare


def fields_of(made: Any) -> dict[str, Any]:
    return {name: getattr(made, name) for name in type(made).__struct_fields__ if name != "_extra"}


@pytest.mark.parametrize("model", MODELS, ids=lambda one: one.__name__)
def test_a_reply_of_another_shape_is_an_error_and_no_crash(model: Any) -> None:
    for document in (None, [], [None], "text", 5, True):
        with pytest.raises(msgspec.ValidationError):
            read(model, document)


@pytest.mark.parametrize("model", MODELS, ids=lambda one: one.__name__)
@lots
@given(document=st.dictionaries(st.text(max_size=4), anything))
def test_any_object_is_read_or_refused(model: Any, document: dict[str, Any]) -> None:
    names = [one.encode_name for one in msgspec.structs.fields(model)]
    mixed = {names[len(key) % len(names)]: value for key, value in document.items()}
    for one in (document, mixed):
        with suppress(msgspec.ValidationError):
            assert isinstance(read(model, one), model)


# Making one.


def test_an_agent_takes_what_the_guide_gives() -> None:
    agent = m.Agent(**AGENT)
    assert agent.tools == ["calc"]
    assert wire(agent) == AGENT


@pytest.mark.parametrize("name", AGENT)
def test_each_missing_field_alone_is_named(name: str) -> None:
    error = refused(m.Agent, **{key: value for key, value in AGENT.items() if key != name})
    assert error.problems == ((name, "is required"),)
    assert str(error) == f"Agent: {name} is required"


def test_every_missing_field_is_named() -> None:
    assert len(refused(m.Agent, id="only").problems) == 8


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("temperature", "warm", "expected `float`, got `str`"),
        ("temperature", 2.1, "is a number from 0 to 2"),
        ("temperature", float("nan"), "is a number from 0 to 2"),
        ("top_p", -0.1, "is a number from 0 to 1"),
        ("top_p", None, "expected `float`, got `null`"),
        ("max_tokens", 0, "is a number of at least 1"),
        ("max_tokens", 1.5, "expected `int`, got `float`"),
        ("max_tokens", True, "expected `int`, got `bool`"),
        ("tools", "calc", "expected `array`, got `str`"),
        ("id", "", "is not empty"),
        ("id", 7, "expected `str`, got `int`"),
        ("metadata", {"k": 1}, "expected `str`, got `int`"),
    ],
)
def test_a_wrong_value_is_named(field: str, value: object, problem: str) -> None:
    ((place, told),) = refused(m.Agent, **AGENT | {field: value}).problems
    assert place.startswith(field)
    assert told == problem


def test_all_that_is_wrong_is_told_at_once_with_its_place() -> None:
    error = refused(
        m.ReviewSessionCreate,
        tool={"name": "", "schema": 3, "provider": {"nam": "x"}, "description": "d"},
        priority="soon",
    )
    assert dict(error.problems) == {
        "tool.name": "is not empty",
        "tool.schema": "is a ToolSchema or a mapping, not int",
        "tool.provider.name": "is required",
        "submitted_by": "is required",
    }
    assert dict(refused(m.Agent, **AGENT | {"tools": ["a", 5]}).problems) == {
        "tools[1]": "expected `str`, got `int`"
    }


def test_a_name_that_no_field_has_is_a_slip_of_the_pen() -> None:
    error = refused(m.HumanReviewDecision, decision="approve", reviewer="r", reviewer_id="r")
    assert error.problems == (
        ("reviewer", "is no field of HumanReviewDecision; did you mean reviewer_id?"),
    )


def test_fields_are_given_by_name() -> None:
    with pytest.raises(InvalidArgumentError, match="takes its fields by name"):
        m.SigningRequest("review-123", "key-456")  # type: ignore[misc]


@pytest.mark.parametrize(
    ("model", "given", "field"),
    [
        (m.HumanReviewDecision, {"decision": "maybe", "reviewer_id": "r"}, "decision"),
        (m.ReviewSessionCreate, {"tool": TOOL, "submitted_by": "s", "priority": "p"}, "priority"),
        (m.VectorSearchRequest, {"query": "q", "limit": 0}, "limit"),
        (m.VectorSearchRequest, {"query": "q", "limit": 1001}, "limit"),
        (m.VectorSearchRequest, {"query": "q", "similarity_threshold": 7}, "similarity_threshold"),
        (m.VectorSearchRequest, {"query": "q", "source_types": ["book"]}, "source_types[0]"),
        (m.VectorSearchRequest, {"query": ""}, "query"),
        (m.ContextQuery, {"query": "q", "max_context_items": 0}, "max_context_items"),
        (m.VaultConfig, {"url": "https://v", "auth_method": "token"}, "token"),
        (m.VaultConfig, {"url": "https://v", "auth_method": "approle", "role_id": "r"},
         "secret_id"),
        (m.VaultConfig, {"url": "https://v", "auth_method": "kubernetes"}, "kubernetes_role"),
        (m.VaultConfig, {"url": "https://v", "auth_method": "aws_iam"}, "aws_role"),
        (m.VaultConfig, {"url": "https://v", "auth_method": "magic"}, "auth_method"),
        (m.VaultConfig, {"url": "vault", "auth_method": "token", "token": "t"}, "url"),
        (m.VaultConfig, {"url": "https://u:p@v", "auth_method": "token", "token": "t"}, "url"),
        (m.SecretBackendConfig, {"backend_type": "vault"}, "vault_config"),
        (m.SecretBackendConfig, {"backend_type": "shoebox"}, "backend_type"),
        (m.McpServerConfig, {"name": "n", "command": []}, "command"),
        (m.McpServerConfig, {"name": "n", "command": [""]}, "command[0]"),
        (m.McpServerConfig, {"name": "n", "command": ["a\0b"]}, "command"),
        (m.McpServerConfig, {"name": "n", "command": ["a"], "timeout_seconds": 0},
         "timeout_seconds"),
        (m.HttpInputConfig, {"agent_id": "a", "port": 70000}, "port"),
        (m.HttpInputConfig, {"agent_id": "a", "path": "hook"}, "path"),
        (
            m.AgentRoutingRule,
            {"condition_type": "header_equals", "condition_value": "v", "agent_id": "a"},
            "condition_target",
        ),
        (m.WebhookInvocationRequest, {"system_prompt": "x" * 4097}, "system_prompt"),
        (m.CreateScheduleRequest, {"name": "n", "agent_name": "a", "cron_expression": "soon"},
         "cron_expression"),
        (m.KnowledgeItem, {"id": "k", "content": "c", "embedding": [float("nan")],
         "metadata": {"source": "s", "source_type": "code", "timestamp": WHEN}}, "embedding"),
        (m.SecurityFinding, {"finding_id": "f", "severity": "low", "category": "other",
         "title": "t", "description": "d", "confidence": 1.1}, "confidence"),
        (m.AnalysisResults, {"analysis_id": "a", "risk_score": 101, "findings": [],
         "completed_at": WHEN}, "risk_score"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(model: Any, given: dict[str, Any], field: str) -> None:
    error = refused(model, **given)
    assert [place for place, _ in error.problems] == [field]
    with pytest.raises(InvalidArgumentError, match="the request: ") as caught:
        accept(model, given, name="the request")
    assert caught.value.problems == error.problems


def test_words_and_members_are_the_same() -> None:
    by_word = m.VaultConfig(url="https://v", auth_method="token", token="t")  # type: ignore[arg-type]
    assert by_word == m.VaultConfig(url="https://v", auth_method=VaultAuthMethod.TOKEN, token="t")
    assert isinstance(by_word.auth_method, VaultAuthMethod)
    search = m.VectorSearchRequest(query="q", source_types=["document"])  # type: ignore[list-item]
    assert search.source_types == [KnowledgeSourceType.DOCUMENT]


@pytest.mark.parametrize(
    "given",
    [WHEN, "2026-03-01T10:00:00Z", "2026-03-01T12:00:00+02:00", "2026-03-01 10:00:00.000Z"],
    ids=str,
)
def test_times_are_datetimes_or_their_text(given: Any) -> None:
    made = m.VectorMetadata(source="s", source_type="document", timestamp=given)  # type: ignore[arg-type]
    assert made.timestamp == WHEN


@pytest.mark.parametrize("given", ["soon", "", 1740823200, date(2026, 3, 1), None], ids=repr)
def test_other_times_are_refused(given: Any) -> None:
    error = refused(m.VectorMetadata, source="s", source_type="document", timestamp=given)
    assert error.problems == (("timestamp", "is a datetime, or one as ISO 8601 text"),)


def test_a_time_without_an_offset_is_sent_as_local_time() -> None:
    naive = datetime(2026, 3, 1, 10, 0)
    made = m.VectorMetadata(source="s", source_type="document", timestamp=naive)  # type: ignore[arg-type]
    assert made.timestamp == naive
    sent = wire(made)["timestamp"]
    assert sent == naive.astimezone()
    assert sent.utcoffset() is not None
    assert json.loads(msgspec.json.encode(wire(made)))["timestamp"].startswith("2026-03-01T10:00")


def test_a_null_for_a_field_with_a_default_is_the_default() -> None:
    assert m.McpServerConfig(name="n", command=["c"], env=None).env == {}  # type: ignore[arg-type]
    first, second = (m.McpServerConfig(name="n", command=["c"]) for _ in range(2))
    first.env["A"] = "1"
    assert second.env == {}


def test_what_was_changed_since_is_checked_before_it_is_sent() -> None:
    agent = m.Agent(**AGENT)
    agent.temperature = 99.0
    with pytest.raises(InvalidArgumentError, match="temperature is a number from 0 to 2"):
        accept(m.Agent, agent)
    with pytest.raises(InvalidArgumentError, match="is a Agent or a mapping, not str"):
        accept(m.Agent, "agent-7")


@pytest.mark.parametrize("cron", ["@daily", "*/5 * * * *", "0 0 3 * * MON", "0 0 3 * * * 2027"])
def test_the_forms_of_cron(cron: str) -> None:
    assert m.UpdateScheduleRequest(cron_expression=cron).cron_expression == cron
    made = m.CreateScheduleRequest(name="n", agent_name="a", cron_expression=cron)
    assert wire(made)["cron_expression"] == cron


def test_what_json_cannot_say_is_refused_when_it_is_asked_for() -> None:
    request = m.WorkflowExecutionRequest(workflow_id="w", parameters={"at": object()})
    with pytest.raises(InvalidArgumentError, match="holds what JSON cannot say"):
        request.to_dict()


# A tool, whose schema has two names.


def test_a_tool_can_be_made_of_its_own_dump() -> None:
    tool = m.Tool(
        name="adder",
        description="adds",
        schema=m.ToolSchema(properties={"a": {"type": "number"}}, required=["a"]),
        provider=m.ToolProvider(name="acme"),
    )
    assert wire(tool) == TOOL
    assert m.Tool(**wire(tool)) == m.Tool.from_dict(tool.to_dict()) == tool
    assert tool.tool_schema is tool.schema
    tool.tool_schema = m.ToolSchema()
    assert tool.schema.properties == {}


def test_a_tool_is_read_under_both_names_and_sent_under_one() -> None:
    old = {**TOOL, "tool_schema": TOOL["schema"]}
    del old["schema"]
    for tool in (read(m.Tool, old), m.Tool(**old), accept(m.Tool, old)):
        assert tool == m.Tool(**TOOL)
        assert wire(tool) == TOOL
    created = accept(m.ReviewSessionCreate, {"tool": old, "submitted_by": "s"})
    assert "schema" in wire(created)["tool"]
    info = read(m.McpToolInfo, {"name": "n", "server_name": "s", "tool_schema": {"x": 1}})
    assert info.schema == info.tool_schema == {"x": 1}


def test_a_schema_keeps_every_keyword() -> None:
    document = {
        "type": "object",
        "properties": {},
        "required": [],
        "additionalProperties": False,
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$defs": {"x": {}},
        "oneOf": [{"type": "null"}],
    }
    schema = read(m.ToolSchema, document)
    assert schema.additional_properties is False
    assert schema.dialect == "http://json-schema.org/draft-07/schema#"
    assert schema.extra == {"oneOf": [{"type": "null"}]}
    assert wire(schema) == document
    assert accept(m.ToolSchema, document) == schema


# Reading.


def test_a_known_reply_and_one_with_news_are_both_read() -> None:
    plain = read(m.AgentStatusResponse, STATUS)
    news = read(
        m.AgentStatusResponse,
        STATUS | {"mood": "fine", "resource_usage": STATUS["resource_usage"] | {"gpu": 1}},
    )
    assert plain.extra == {}
    assert news.extra == {"mood": "fine"}
    assert news.resource_usage.extra == {"gpu": 1}
    assert news.resource_usage.memory_bytes == 1048576
    assert "mood" in repr(news)
    with pytest.raises(TypeError):
        news.extra["mood"] = "other"


def test_a_word_that_is_new_is_read() -> None:
    session = read(
        m.ReviewSessionResponse,
        {"review_id": "r", "status": "quarantined", "submitted_at": "2026-03-01T10:00:00Z"},
    )
    assert session.status == "quarantined"
    assert isinstance(session.status, ReviewStatus)
    assert not session.status.is_known


def test_null_is_absent() -> None:
    state = read(m.ReviewSessionState, {"type": "submitted", "critical_findings": None})
    assert state.critical_findings == []
    with pytest.raises(msgspec.ValidationError, match="missing required field `agent_id`"):
        read(m.AgentStatusResponse, STATUS | {"agent_id": None, "mood": 1})


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-03-01T09:59:00.123456789Z", datetime(2026, 3, 1, 9, 59, 0, 123457, UTC)),
        ("2026-03-01T09:59:00.1234560890123Z", datetime(2026, 3, 1, 9, 59, 0, 123456, UTC)),
        ("2026-03-01T10:05:00+00:00", datetime(2026, 3, 1, 10, 5, tzinfo=UTC)),
        ("2026-03-01T10:05:00", datetime(2026, 3, 1, 10, 5)),
        ("2026-03-01 10:05", datetime(2026, 3, 1, 10, 5)),
        ("2026-03-01", datetime(2026, 3, 1)),
        ("20260301", datetime.fromtimestamp(20260301, UTC)),
        (1772359140, datetime(2026, 3, 1, 9, 59, tzinfo=UTC)),
        (1772359140000, datetime(2026, 3, 1, 9, 59, tzinfo=UTC)),
        ("1772359140.5", datetime(2026, 3, 1, 9, 59, 0, 500000, UTC)),
        ("2026-03-01T09:59:00 +05:30",
         datetime(2026, 3, 1, 9, 59, tzinfo=timezone(timedelta(hours=5, minutes=30)))),
    ],
    ids=str,
)  # fmt: skip
def test_times_in_any_form_that_is_in_use(text: object, meant: datetime) -> None:
    assert read(m.AgentStatusResponse, STATUS | {"last_activity": text}).last_activity == meant


@pytest.mark.parametrize("text", ["soon", "2026-13-01T00:00:00Z", "", 1e300, True], ids=repr)
def test_no_time_is_no_reply(text: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        read(m.AgentStatusResponse, STATUS | {"last_activity": text})


def test_numbers_as_text_and_whole_floats_are_read() -> None:
    health = {"status": "ok", "uptime_seconds": "5", "timestamp": WHEN.isoformat(), "version": "1"}
    assert read(m.HealthResponse, health).uptime_seconds == 5
    assert read(m.HealthResponse, health | {"uptime_seconds": 5.0}).uptime_seconds == 5
    assert read(m.HealthResponse, health | {"uptime_seconds": 5.9}).uptime_seconds == 5
    with pytest.raises(msgspec.ValidationError):
        read(m.HealthResponse, health | {"uptime_seconds": 1e300})


@pytest.mark.parametrize(
    ("sent", "score"), [(35, 35), (0.35, 35), (1.0, 100), (1, 1), (85.4, 85), (0.0, 0)]
)
def test_a_risk_score_is_of_a_hundred(sent: float, score: int) -> None:
    document = {"analysis_id": "a", "risk_score": sent, "findings": [],
                "completed_at": "2026-03-01T10:00:00Z"}  # fmt: skip
    assert read(m.AnalysisResults, document).risk_score == score


def test_metrics_of_either_kind() -> None:
    nested = read(
        m.SystemMetrics,
        {
            "agents": {"total": 2, "running": 1, "idle": 1, "error": 0},
            "system": {"uptime_seconds": 91, "memory_usage": 5, "cpu_usage": 0.5},
        },
    )
    assert (nested.total_agents, nested.active_agents, nested.uptime_seconds) == (2, 1, 91)
    assert (nested.memory_usage_bytes, nested.cpu_usage_percent) == (5, 0.5)
    assert nested.secrets_count is None
    assert nested.extra["agents"]["idle"] == 1
    both = read(m.SystemMetrics, {"total_agents": 7, "agents": {"total": 2}})
    assert both.total_agents == 7


def test_pagination_is_read_by_name_and_by_key() -> None:
    pages = read(m.PaginationInfo, {"page": 1, "limit": 10, "total": 11, "next_cursor": "c"})
    assert pages.has_next is True
    assert pages["total"] == pages.total == 11
    assert dict(pages) == {
        "page": 1,
        "limit": 10,
        "total": 11,
        "has_next": True,
        "next_cursor": "c",
    }
    assert pages.get("nothing", 5) == 5
    with pytest.raises(KeyError):
        pages["_extra"]


def test_a_member_named_as_ours_is_the_servers_own() -> None:
    one = read(m.AgentSummary, {"id": "a", "extra": 1, "_extra": 5, "news": 2})
    assert one.extra == {"extra": 1, "_extra": 5, "news": 2}


# What is secret.

SECRETIVE: list[tuple[Any, dict[str, Any]]] = [
    (m.VaultConfig, {"url": "https://v", "auth_method": "token", "token": SECRET}),
    (
        m.VaultConfig,
        {"url": "https://v", "auth_method": "approle", "role_id": "r", "secret_id": SECRET},
    ),
    (m.SecretRequest, {"agent_id": "a", "secret_name": "n", "secret_value": SECRET}),
    (m.SecretBackendConfig, {"backend_type": "encrypted_file", "encryption_key": SECRET}),
    (m.McpServerConfig, {"name": "n", "command": ["c"], "env": {"KEY": SECRET}}),
    (m.HttpInputConfig, {"agent_id": "a", "auth_header": f"Bearer {SECRET}"}),
    (m.WebhookVerifyConfig, {"provider": "github", "secret": SECRET}),
    (m.WebhookTriggerRequest, {"server_id": "s", "payload": {}, "headers": {"X-Key": SECRET}}),
    (m.SendMessageRequest, {"sender": "a", "payload": "p", "agentpin_jwt": SECRET}),
    (m.HeartbeatRequest, {"state": "idle", "agentpin_jwt": SECRET}),
    (m.AgentEventRequest, {"event_type": "RunStarted", "payload": 1, "agentpin_jwt": SECRET}),
    (m.RegisterChannelRequest, {"name": "n", "platform": "slack", "config": {"token": SECRET}}),
]


@pytest.mark.parametrize(("model", "given"), SECRETIVE)
def test_a_secret_is_not_shown(model: Any, given: dict[str, Any]) -> None:
    made = model(**given)
    shown = [repr(made), str(made), f"{made}", repr([made]), repr(list(made.__rich_repr__()))]
    if model is m.VaultConfig:
        shown.append(
            repr(m.SecretBackendConfig.from_dict({"backend_type": "vault", "vault_config": made}))
        )
    page = io.StringIO()
    Console(file=page, width=300).print(made)
    shown.append(page.getvalue())
    assert not [text for text in shown if SECRET in text]
    assert SECRET in json.dumps(made.to_dict())


@pytest.mark.parametrize(("model", "given"), SECRETIVE)
def test_a_refusal_does_not_repeat_the_secret(model: Any, given: dict[str, Any]) -> None:
    name = next(iter(given))
    for wrong in ({**given, name: 5}, {**given, "no_such_field": 1}):
        error = refused(model, **wrong)
        assert SECRET not in str(error) + repr(error.problems)
        assert SECRET not in recorded(error)


def test_secrets_may_come_wrapped() -> None:
    made = m.SecretRequest(agent_id="a", secret_name="n", secret_value=Secret(SECRET))  # type: ignore[arg-type]
    assert wire(made)["secret_value"] == SECRET
    gone = Secret(SECRET)
    gone.wipe()
    for unreadable in (gone, Secret(b"\xff" + SECRET.encode())):
        error = refused(m.SecretRequest, agent_id="a", secret_name="n", secret_value=unreadable)
        assert [place for place, _ in error.problems] == ["secret_value"]
        assert SECRET not in recorded(error)


def test_states_of_the_runtime_server() -> None:
    status = read(m.AgentStatusResponse, STATUS | {"state": "Running"})
    assert status.state == AgentState.ACTIVE
    assert status.state.raw == "Running"
    assert pickle.loads(pickle.dumps(status)).state.raw == "Running"
