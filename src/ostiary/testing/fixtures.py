"""The guide's fixtures, by its names, for tests of agents without a gateway.

`plugin` makes them known to pytest, so that nothing has to be imported; a suite that imports
them, as the guide's users do, may. A test suite's own fixtures of these names win.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ..gateway.auth.trat import TransactionToken
    from .mock_context import MockContext
    from .mocks import MockGatewayClient

__all__ = ["mock_context", "mock_gateway", "sample_trat"]


@pytest.fixture
def mock_gateway() -> MockGatewayClient:
    """An access object in direct mode, with endpoints below http://localhost:8080."""
    from .mocks import MockGatewayClient

    return MockGatewayClient(is_gateway=False)


@pytest.fixture
def sample_trat() -> TransactionToken:
    """A Transaction Token that allows a few models and is valid for 300 seconds."""
    from .mocks import MockTratClient

    return MockTratClient().get_token()


@pytest.fixture
def mock_context(tmp_path: Path, mock_gateway: MockGatewayClient) -> MockContext:
    """A context of run `test-run-123` in temporary directories, whose models are stand-ins.

    `mock_context.llm.responses = [...]` says what they answer.
    """
    from ..gateway.llm.model_selector import StaticModelSelector
    from .mocks import MockContext

    return MockContext(
        run_id="test-run-123",
        org_id="test-org",
        work_dir=tmp_path / "work",
        output_dir=tmp_path / "output",
        gateway_client=mock_gateway,
        model_selector=StaticModelSelector("gpt-4o"),
    )
