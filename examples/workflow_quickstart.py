"""A workflow drawn, run, watched and traced; needs `ostiary dev --demo` in another terminal."""

from __future__ import annotations

from ostiary.workflow import (
    Commit,
    GateConfig,
    GraphError,
    RiskTier,
    TaskSpec,
    TaskType,
    TelemetryPipeline,
    WorkflowClient,
    WorkflowSpec,
)


def step(name: str, tool: str, *before: str, risk: RiskTier = RiskTier.LOW) -> TaskSpec:
    return TaskSpec(
        id=name,
        name=f"{name.capitalize()} the data",
        type=TaskType.ACTION,
        tool_name=tool,
        risk_tier=risk,
        depends_on=list(before),
    )


NIGHTLY = WorkflowSpec(
    id="nightly-data",
    name="Nightly data",
    tasks=[
        step("read", "read_file"),
        step("check", "validate_schema", "read"),
        step("convert", "transform_data", "check", risk=RiskTier.MEDIUM),
        step("save", "write_file", "convert", risk=RiskTier.MEDIUM),
    ],
)


def main() -> None:
    with WorkflowClient() as client, TelemetryPipeline(client) as pipeline:
        print(NIGHTLY.to_mermaid())
        try:
            circle = WorkflowSpec(
                id="c",
                name="Circle",
                tasks=[step("a", "read_file", "b"), step("b", "read_file", "a")],
            )
            client.execute_workflow(circle)
        except GraphError as error:
            print(f"not sent: {' -> '.join(error.cycle)}")

        with pipeline.span("the night's work") as span:
            run = client.submit_workflow(NIGHTLY, correlation_id=span.trace_id, rerun=True)
            for event in run.events():
                print(f"{event.sequence:>4} {event.type} {event.task_id or ''}".rstrip())
            result = run.result()
            print(f"it ended: {result.status}")

        gate = GateConfig(
            name="Balance",
            validators=["not_null", "balance_positive"],
            block_on_failure=True,
        )
        for balance in (40, -40):
            judged = client.validate_commit(Commit(id="c-1", data={"balance": balance}), gate)
            print(f"a balance of {balance}: {judged.crv_status}")

        pipeline.flush()
        names = {one.name for one in client.get_trace(span.trace_id)}
        print(f"in its trace: {len(names)} spans, {span.name!r} among them: {span.name in names}")


if __name__ == "__main__":
    main()
