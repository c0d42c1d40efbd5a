"""An agent, its work, its secret, what it knows; needs `ostiary dev --demo` in another terminal."""

from __future__ import annotations

from datetime import datetime

from ostiary.runtime import (
    Agent,
    KnowledgeItem,
    KnowledgeSourceType,
    NotFoundError,
    RuntimeClient,
    SecretRequest,
    VectorMetadata,
    VectorSearchRequest,
    WorkflowExecutionRequest,
)

AGENT = Agent(
    id="front-desk",
    name="Front desk",
    description="Answers who asks",
    system_prompt="Be brief.",
    tools=["directory"],
    model="echo",
    temperature=0.2,
    top_p=0.9,
    max_tokens=200,
)


def main() -> None:
    with RuntimeClient() as client:
        health = client.health_check()
        print(f"{health.status}, version {health.version}")

        print(f"created: {client.create_agent(AGENT)['id']}")
        begun = client.execute_agent("front-desk", "Who is in today?")
        done = client.wait_for_execution("front-desk", begun.execution_id, timeout=30)
        print(f"it ran: {done.status}")

        run = client.execute_workflow(
            WorkflowExecutionRequest(
                workflow_id="data-analysis-workflow",
                parameters={"input_data": "path/to/data.csv", "analysis_type": "statistical"},
                agent_id="front-desk",
            )
        )
        print(f"the workflow: {run['status']}")

        client.store_secret(
            SecretRequest(agent_id="front-desk", secret_name="door", secret_value="4711")
        )
        print(f"its secrets: {client.list_secrets('front-desk').secrets}")
        print(f"the door opens: {client.get_secret('front-desk', 'door') == '4711'}")
        try:
            client.get_secret("front-desk", "../../agents")
        except NotFoundError as error:
            print(f"no way around: {error.code}")

        client.add_knowledge_item(
            KnowledgeItem(
                id="opening-hours",
                content="The front desk is open from eight to six on working days.",
                metadata=VectorMetadata(
                    source="house-rules.md",
                    source_type=KnowledgeSourceType.DOCUMENT,
                    timestamp=datetime.now(),
                    agent_id="front-desk",
                ),
            )
        )
        found = client.search_knowledge(
            VectorSearchRequest(
                query="When is the front desk open?",
                agent_id="front-desk",
                similarity_threshold=0.3,
            )
        )
        for result in found.results:
            print(f"{result.item.metadata.source}: {result.item.content}")


if __name__ == "__main__":
    main()
